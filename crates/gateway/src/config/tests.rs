use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/home/op/operator.toml")).map_err(|error| error.to_string())
}

#[test]
fn the_documented_example_parses() {
    let documentation = include_str!("../config.rs");
    let example: String = documentation
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .skip_while(|line| *line != " ```toml")
        .skip(1)
        .take_while(|line| *line != " ```")
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect();
    let config = parse(&example).unwrap();
    assert_eq!(config.operator.as_str(), "acme.example");
    assert_eq!(config.exchange_url(), "http://127.0.0.1:7100/exchange/v1");
    let agent = &config.agents[0];
    let token = Path::new("/home/op/keys/support-bot.token");
    assert_eq!(agent.token_file.as_deref(), Some(token));
    let server = config.server("desk").unwrap();
    let globex = OperatorName::new("globex.example").unwrap();
    assert_eq!(server.direction, Direction::Outgoing(globex));
    assert_eq!(config.server("other").unwrap_err().code(), "unknown_server");
}

#[test]
fn what_is_left_out_has_the_documented_value() {
    let config = parse("operator = \"acme.example\"").unwrap();
    assert!(!config.keep_clear_text);
    assert_eq!(config.batch_interval, Duration::from_secs(1));
    assert_eq!(config.batch_records, 1024);
    assert!(config.log.is_none());
    assert_eq!(config.gateway.listen.to_string(), "127.0.0.1:7100");
    assert_eq!(config.gateway.freshness, Duration::from_secs(120));
    assert_eq!(config.gateway.message_bytes, 4_194_304);
    assert_eq!(config.gateway.call_limit, Duration::from_secs(600));
    assert_eq!(config.gateway.evidence_limit, Duration::from_secs(30));
    assert!(config.contract_required().is_empty());
}

#[test]
fn a_contract_can_be_required_for_calls_between_operators() {
    let server = |callers: &str, contract: &str| {
        parse(&format!(
            "operator = \"acme.example\"\n[[servers]]\nname = \"desk\"\ncallers = \"{callers}\"\n\
             url = \"http://127.0.0.1:1/\"\ncontract = \"{contract}\"\n"
        ))
    };
    let required = server("operators", "required").unwrap().contract_required();
    assert_eq!(required.len(), 1);
    let free = server("operators", "if_agreed")
        .unwrap()
        .contract_required();
    assert!(free.is_empty());
    assert!(server("agents", "required").unwrap_err().contains(":2: "));
    assert!(
        server("operators", "requird")
            .unwrap_err()
            .contains("requird")
    );
}

#[test]
fn every_mistake_names_its_line() {
    let base = "operator = \"acme.example\"\n";
    for (more, line, part) in [
        ("polcy = 1", 2, "polcy"),
        ("[journal]\nkeep_clear_txt = true", 3, "keep_clear_txt"),
        (
            "[journal]\nkeep_clear_text = \"yes\"",
            3,
            "expected a boolean",
        ),
        ("[batch]\nrecords = 0", 3, "not between"),
        ("[batch]\ninterval_millis = -1", 3, ""),
        ("[log]\nurl = \"ftp://x\"", 3, "not an http"),
        ("[log]\nbacklog_records = 1", 2, "url"),
        (
            "[log]\nurl = \"http://x\"\nbacklog_records = 0",
            4,
            "not between",
        ),
        ("[gateway]\nlisten = \"localhost\"", 3, "not an address"),
        ("[gateway]\nurl = \"http://a:b@c\"", 3, "without user"),
        ("[gateway]\nfreshness_seconds = 0", 3, "not between"),
        ("[gateway]\nmessage_bytes = 1", 3, "not between"),
        ("[gateway]\norigins = [\"http://a/b\"]", 3, "not an origin"),
        ("[gateways]\n", 2, "gateways"),
        ("[[budgets]]\nrisk_points = 1", 2, "period_seconds"),
        ("[[budgets]]\nrisk_points = -1\nperiod_seconds = 1", 3, ""),
        (
            "[[budgets]]\nrisk_points = 1\nperiod_seconds = 0",
            4,
            "not between",
        ),
        (
            "[[budgets]]\nagnt = \"x\"\nrisk_points = 1\nperiod_seconds = 1",
            3,
            "agnt",
        ),
        ("[[agents]]\nname = \"\"", 3, "agent name"),
        (
            "[[agents]]\nname = \"a\"\n[[agents]]\nname = \"b\"",
            2,
            "token_file",
        ),
        (
            "[gateway]\nlisten = \"0.0.0.0:1\"\n[[agents]]\nname = \"a\"",
            4,
            "token_file",
        ),
        (
            "[[servers]]\nname = \"a b\"\ncallers = \"agents\"\nurl = \"http://x\"",
            3,
            "server name",
        ),
        (
            "[[servers]]\nname = \"a\"\ncallers = \"anyone\"\nurl = \"http://x\"",
            4,
            "anyone",
        ),
        (
            "[[servers]]\nname = \"a\"\ncallers = \"agents\"",
            2,
            "exactly one",
        ),
        (
            "[[servers]]\nname = \"a\"\ncallers = \"agents\"\ncommand = []",
            5,
            "no program",
        ),
        (
            "[[servers]]\nname = \"a\"\ncallers = \"operators\"\nurl = \"http://x\"\noperator = \"b.example\"",
            2,
            "is ours",
        ),
        (
            "[[servers]]\nname = \"a\"\ncallers = \"agents\"\ncommand = [\"x\"]\noperator = \"b.example\"",
            2,
            "reached by `url`",
        ),
        (
            "[[servers]]\nname = \"a\"\ncallers = \"agents\"\nprotocol = \"http\"\ncommand = [\"x\"]",
            2,
            "only MCP servers",
        ),
        (
            "[[servers]]\nname = \"a\"\ncallers = \"agents\"\nprotocol = \"http\"\nurl = \"http://x/?a\"",
            2,
            "has a query",
        ),
        (
            "[[servers]]\nname = \"a\"\ncallers = \"agents\"\nprotocol = \"soap\"\nurl = \"http://x\"",
            5,
            "soap",
        ),
        (
            "[[servers]]\nname = \"a\"\ncallers = \"agents\"\nurl = \"http://x\"\noperator = \"acme.example\"",
            6,
            "itself",
        ),
        (
            "[[servers]]\nname = \"a\"\ncallers = \"agents\"\nurl = \"http://x\"\n[[servers]]\nname = \"a\"\ncallers = \"agents\"\nurl = \"http://x\"",
            6,
            "twice",
        ),
    ] {
        let error = parse(&format!("{base}{more}")).unwrap_err();
        let place = format!("/home/op/operator.toml:{line}: ");
        assert!(error.starts_with(&place), "{more:?}: {error}");
        assert!(error.contains(part), "{more:?}: {error}");
    }
    assert!(parse("").unwrap_err().contains("operator"));
    assert!(parse("operator = \"Acme\"").unwrap_err().contains(":1: "));
}
