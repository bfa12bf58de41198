use crate::message::call::{handshake_version, revision_of, stated_version, states_capabilities};
use crate::message::{Action, Classified, Message, Method, Revision, Sender, Verb, classify};

fn request(method: &str, params: &str) -> Message {
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    Message::parse(text.as_bytes()).unwrap()
}

fn action(method: &str, params: &str) -> Action {
    match classify(&request(method, params), Sender::Client).unwrap() {
        Classified::Action(action) => action,
        other => panic!("{method} is {other:?}"),
    }
}

#[test]
fn reads_tool_calls() {
    let message = request(
        "tools/call",
        r#"{"name":"send_m\u0061il","arguments":{ "to":1 }}"#,
    );
    let Classified::Action(call) = classify(&message, Sender::Client).unwrap() else {
        panic!("not an action")
    };
    assert_eq!((call.verb, call.subject()), (Verb::CallTool, "send_mail"));
    assert_eq!(call.arguments_bytes(&message), br#"{ "to":1 }"#);
    assert!(!call.as_task && !call.continues);

    let message = request("tools/call", r#"{"name":"x"}"#);
    assert_eq!(
        action("tools/call", r#"{"name":"x"}"#).arguments_bytes(&message),
        b"{}"
    );
}

#[test]
fn reads_the_other_actions() {
    for (method, params, verb, subject) in [
        (
            "resources/read",
            r#"{"uri":"file:///a"}"#,
            Verb::ReadResource,
            "file:///a",
        ),
        (
            "resources/subscribe",
            r#"{"uri":"u"}"#,
            Verb::SubscribeResource,
            "u",
        ),
        (
            "resources/unsubscribe",
            r#"{"uri":"u"}"#,
            Verb::UnsubscribeResource,
            "u",
        ),
        ("prompts/get", r#"{"name":"p"}"#, Verb::GetPrompt, "p"),
        ("tasks/get", r#"{"taskId":"t"}"#, Verb::GetTask, "t"),
        (
            "tasks/result",
            r#"{"taskId":"t"}"#,
            Verb::GetTaskResult,
            "t",
        ),
        ("tasks/cancel", r#"{"taskId":"t"}"#, Verb::CancelTask, "t"),
        ("tasks/update", r#"{"taskId":"t"}"#, Verb::UpdateTask, "t"),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/prompt","name":"p"}}"#,
            Verb::Complete,
            "",
        ),
    ] {
        let action = action(method, params);
        assert_eq!((action.verb, action.subject()), (verb, subject));
    }
}

#[test]
fn refuses_parameters_that_peers_may_read_differently() {
    for (method, params) in [
        ("tools/call", "{}"),
        ("tools/call", r#"{"name":null}"#),
        ("tools/call", r#"{"name":""}"#),
        ("tools/call", r#"{"name":["x"]}"#),
        ("tools/call", r#"{"name":"x","arguments":null}"#),
        ("tools/call", r#"{"name":"x","arguments":[]}"#),
        ("tools/call", r#"{"name":"x","arguments":"{}"}"#),
        ("resources/read", r#"{"uri":1}"#),
        ("prompts/get", r#"{"name":"x","arguments":null}"#),
        ("tasks/get", "{}"),
        ("completion/complete", "{}"),
    ] {
        let error = classify(&request(method, params), Sender::Client).unwrap_err();
        assert_eq!(error.code(), "invalid_params", "{method} {params}");
        assert_eq!(error.id().as_json(), "1");
    }
    let without = Message::parse(br#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#).unwrap();
    let error = classify(&without, Sender::Client).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`params.name` of `tools/call` is not a string that is not empty"
    );
}

#[test]
fn notices_tasks_and_continued_requests() {
    assert!(action("tools/call", r#"{"name":"x","task":{"ttl":1}}"#).as_task);
    assert!(action("tools/call", r#"{"name":"x","requestState":"s"}"#).continues);
    assert!(action("tools/call", r#"{"name":"x","inputResponses":{}}"#).continues);
}

#[test]
fn knows_who_may_send_what() {
    let of = |method: &str, sender| classify(&request(method, "{}"), sender).unwrap();
    for method in [
        "initialize",
        "ping",
        "server/discover",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "prompts/list",
        "logging/setLevel",
        "subscriptions/listen",
        "tasks/list",
    ] {
        assert!(
            matches!(of(method, Sender::Client), Classified::Lifecycle(m) if m.name() == method)
        );
    }
    for method in ["sampling/createMessage", "roots/list", "elicitation/create"] {
        assert!(matches!(
            of(method, Sender::Server),
            Classified::ServerRequest(_)
        ));
        assert!(matches!(of(method, Sender::Client), Classified::Unknown(_)));
    }
    assert!(matches!(
        of("ping", Sender::Server),
        Classified::Lifecycle(_)
    ));
    assert!(matches!(
        of("tasks/get", Sender::Server),
        Classified::ServerRequest(_)
    ));
    for method in ["tools/call", "tools/list", "initialize"] {
        assert!(matches!(of(method, Sender::Server), Classified::Unknown(_)));
    }
    for method in [
        "Tools/Call",
        "tools/call ",
        "tools/callx",
        "vendor/run",
        "",
        "rpc.discover",
    ] {
        assert_eq!(
            of(method, Sender::Client),
            Classified::Unknown(method.to_owned())
        );
    }
}

#[test]
fn tells_notifications_apart() {
    let of = |method: &str, sender| {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#);
        classify(&Message::parse(text.as_bytes()).unwrap(), sender).unwrap()
    };
    assert!(matches!(
        of("notifications/initialized", Sender::Client),
        Classified::Notification(_)
    ));
    assert!(matches!(
        of("notifications/message", Sender::Server),
        Classified::Notification(_)
    ));
    assert!(matches!(
        of("notifications/x", Sender::Client),
        Classified::UnknownNotification(_)
    ));
    assert!(matches!(
        of("vendor/run", Sender::Client),
        Classified::Unknown(_)
    ));
    let response = Message::parse(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#).unwrap();
    assert_eq!(
        classify(&response, Sender::Server),
        Ok(Classified::Response)
    );
}

#[test]
fn knows_the_revisions_of_methods() {
    let exists = |name: &str| {
        let method = Method::find(name).unwrap();
        Revision::ALL.map(|revision| method.exists_in(revision))
    };
    assert_eq!(exists("tools/call"), [true, true, true]);
    assert_eq!(exists("initialize"), [true, true, false]);
    assert_eq!(exists("tasks/result"), [false, true, false]);
    assert_eq!(exists("server/discover"), [false, false, true]);
    for revision in Revision::ALL {
        assert_eq!(Revision::parse(revision.as_str()), Some(revision));
    }
    assert_eq!(Revision::parse("2024-11-05"), None);
}

#[test]
fn reads_versions() {
    let message = request(
        "tools/list",
        r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}"#,
    );
    assert_eq!(stated_version(&message).as_deref(), Some("2026-07-28"));
    assert!(states_capabilities(&message));
    assert_eq!(
        revision_of(&message, Revision::V2025_06_18),
        Ok(Revision::V2026_07_28)
    );

    let message = request("tools/list", "{}");
    assert_eq!(
        revision_of(&message, Revision::V2025_11_25),
        Ok(Revision::V2025_11_25)
    );
    assert!(!states_capabilities(&message));
    let message = request(
        "ping",
        r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2031-01-01"}}"#,
    );
    assert_eq!(
        revision_of(&message, Revision::V2025_11_25),
        Err("2031-01-01".to_owned())
    );

    let message = request("initialize", r#"{"protocolVersion":"2025-06-18"}"#);
    assert_eq!(handshake_version(&message).as_deref(), Some("2025-06-18"));
    let message = Message::parse(
        br#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}"#,
    );
    assert_eq!(
        handshake_version(&message.unwrap()).as_deref(),
        Some("2025-11-25")
    );
}
