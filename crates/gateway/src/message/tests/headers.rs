use crate::message::Message;
use crate::message::headers::check;

const STATELESS: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"é","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
const OLDER: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}"#;

fn verdict(message: &str, headers: &[(&str, &str)]) -> Result<(), String> {
    let message = Message::parse(message.as_bytes()).unwrap();
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()));
    check(&message, headers).map_err(|error| error.to_string())
}

#[test]
fn accepts_headers_that_agree() {
    let all = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("mcp-name", "=?base64?w6k=?="),
        ("Mcp-Param-Region", "anything"),
    ];
    assert_eq!(verdict(STATELESS, &all), Ok(()));
    assert_eq!(verdict(OLDER, &[]), Ok(()));
    assert_eq!(
        verdict(
            OLDER,
            &[("mcp-protocol-version", "2025-06-18"), ("mcp-name", "x")]
        ),
        Ok(())
    );
    let listed = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    assert_eq!(
        verdict(listed, &all[..1]),
        Err("the header `mcp-method` is missing".to_owned())
    );
    let headers = [all[0], ("mcp-method", "tools/list")];
    assert_eq!(verdict(listed, &headers), Ok(()));
    assert_eq!(
        verdict(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, &[]),
        Ok(())
    );
}

#[test]
fn refuses_each_header_that_is_missing_doubled_or_different() {
    let good = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "=?base64?w6k=?="),
    ];
    for (index, (name, _)) in good.iter().enumerate() {
        let mut missing = good.to_vec();
        missing.remove(index);
        assert_eq!(
            verdict(STATELESS, &missing),
            Err(format!("the header `{name}` is missing"))
        );

        let mut doubled = good.to_vec();
        doubled.push(good[index]);
        assert_eq!(
            verdict(STATELESS, &doubled),
            Err(format!("the header `{name}` occurs more than once"))
        );

        let mut different = good.to_vec();
        different[index].1 = "other";
        assert_eq!(
            verdict(STATELESS, &different),
            Err(format!("the header `{name}` does not agree with the body"))
        );
    }
    assert!(
        verdict(
            STATELESS,
            &[good[0], good[1], ("mcp-name", "=?base64?w6k?=")]
        )
        .is_err()
    );
}

#[test]
fn refuses_headers_that_contradict_an_older_body() {
    assert!(verdict(OLDER, &[("mcp-name", "y")]).is_err());
    assert!(verdict(OLDER, &[("mcp-method", "tools/list")]).is_err());
    assert!(verdict(OLDER, &[("mcp-method", "Tools/call")]).is_err());
    assert!(verdict(OLDER, &[("mcp-protocol-version", "2026-07-28")]).is_err());
}
