//! Every method of the supported MCP revisions, in one table.

use std::fmt;

/// The protocol revisions the gateway speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2025-06-18: sessions with a handshake; batches removed.
    V2025_06_18,
    /// 2025-11-25: adds tasks.
    V2025_11_25,
    /// 2026-07-28: no handshake, the revision stands in each request's `_meta`.
    V2026_07_28,
}

impl Revision {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// The revision with this date; `None` for ones the gateway does not speak.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|revision| revision.as_str() == text)
    }

    /// The date that names the revision.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Whether each request carries its revision and each result a `resultType`.
    pub fn is_stateless(self) -> bool {
        self >= Self::V2026_07_28
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who sends a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The agent's side.
    Client,
    /// The tool's side.
    Server,
}

/// What an action does. Records and policies hold the name of its method, such as `tools/call`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `tools/call`
    CallTool,
    /// `tasks/cancel`
    CancelTask,
    /// `completion/complete`: sends what was typed so far to the server.
    Complete,
    /// `prompts/get`
    GetPrompt,
    /// `tasks/get`
    GetTask,
    /// `tasks/result`
    GetTaskResult,
    /// `resources/read`
    ReadResource,
    /// `resources/subscribe`
    SubscribeResource,
    /// `resources/unsubscribe`
    UnsubscribeResource,
    /// `tasks/update`
    UpdateTask,
}

impl Verb {
    /// A word for it, for people and logs. In records and policies stands the name of the method.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallTool => "call_tool",
            Self::CancelTask => "cancel_task",
            Self::Complete => "complete",
            Self::GetPrompt => "get_prompt",
            Self::GetTask => "get_task",
            Self::GetTaskResult => "get_task_result",
            Self::ReadResource => "read_resource",
            Self::SubscribeResource => "subscribe_resource",
            Self::UnsubscribeResource => "unsubscribe_resource",
            Self::UpdateTask => "update_task",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One method of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    name: &'static str,
    client: Option<Use>,
    server: Option<Use>,
    first: Revision,
    last: Revision,
}

impl Method {
    /// The method with this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.name == name)
    }

    /// The method's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether a revision, or one of its official extensions, has this method.
    pub fn exists_in(&self, revision: Revision) -> bool {
        self.first <= revision && revision <= self.last
    }

    /// What the method is when `sender` sends it; `None` if that side may not.
    pub(super) fn used_by(&self, sender: Sender) -> Option<Use> {
        match sender {
            Sender::Client => self.client,
            Sender::Server => self.server,
        }
    }
}

/// What a method is for one sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A request that is decided by policy.
    Action(Verb),
    /// A request that opens, describes or keeps up a session.
    Lifecycle,
    /// A message without an answer.
    Notification,
    /// A request of the server to the client.
    ServerRequest,
}

/// Whether the method names a request in any revision, so that it needs an id.
pub(super) fn is_request(name: &str) -> bool {
    Method::find(name).is_some_and(|method| {
        [method.client, method.server]
            .into_iter()
            .flatten()
            .any(|used| used != Use::Notification)
    })
}

/// Whether the method names a notification, known or not, so that it may have no id.
pub(super) fn is_notification_name(name: &str) -> bool {
    name.starts_with("notifications/")
}

const FIRST: Revision = Revision::V2025_06_18;
const TASKS: Revision = Revision::V2025_11_25;
const STATELESS: Revision = Revision::V2026_07_28;

// Sources: the unions ClientRequest, ClientNotification, ServerRequest and ServerNotification at
// the end of schema.ts of each revision. Tasks left the core in 2026-07-28 for an extension that
// keeps `tasks/get` and `tasks/cancel` and adds `tasks/update` (SEP-2663).
static METHODS: &[Method] = &[
    action("tools/call", Verb::CallTool, FIRST, STATELESS),
    action("resources/read", Verb::ReadResource, FIRST, STATELESS),
    action("prompts/get", Verb::GetPrompt, FIRST, STATELESS),
    action("completion/complete", Verb::Complete, FIRST, STATELESS),
    action("resources/subscribe", Verb::SubscribeResource, FIRST, TASKS),
    action(
        "resources/unsubscribe",
        Verb::UnsubscribeResource,
        FIRST,
        TASKS,
    ),
    task("tasks/get", Verb::GetTask, TASKS, STATELESS),
    task("tasks/result", Verb::GetTaskResult, TASKS, TASKS),
    task("tasks/cancel", Verb::CancelTask, TASKS, STATELESS),
    action("tasks/update", Verb::UpdateTask, STATELESS, STATELESS),
    lifecycle("initialize", FIRST, TASKS),
    both("ping", Use::Lifecycle, FIRST, TASKS),
    lifecycle("server/discover", STATELESS, STATELESS),
    lifecycle("tools/list", FIRST, STATELESS),
    lifecycle("resources/list", FIRST, STATELESS),
    lifecycle("resources/templates/list", FIRST, STATELESS),
    lifecycle("prompts/list", FIRST, STATELESS),
    both("tasks/list", Use::Lifecycle, TASKS, TASKS),
    lifecycle("logging/setLevel", FIRST, TASKS),
    lifecycle("subscriptions/listen", STATELESS, STATELESS),
    to_client("sampling/createMessage", Use::ServerRequest, FIRST, TASKS),
    to_client("roots/list", Use::ServerRequest, FIRST, TASKS),
    to_client("elicitation/create", Use::ServerRequest, FIRST, TASKS),
    both(
        "notifications/cancelled",
        Use::Notification,
        FIRST,
        STATELESS,
    ),
    both(
        "notifications/progress",
        Use::Notification,
        FIRST,
        STATELESS,
    ),
    to_server("notifications/initialized", FIRST, TASKS),
    to_server("notifications/roots/list_changed", FIRST, TASKS),
    both(
        "notifications/tasks/status",
        Use::Notification,
        TASKS,
        TASKS,
    ),
    to_client("notifications/message", Use::Notification, FIRST, STATELESS),
    to_client(
        "notifications/resources/updated",
        Use::Notification,
        FIRST,
        STATELESS,
    ),
    to_client(
        "notifications/resources/list_changed",
        Use::Notification,
        FIRST,
        STATELESS,
    ),
    to_client(
        "notifications/tools/list_changed",
        Use::Notification,
        FIRST,
        STATELESS,
    ),
    to_client(
        "notifications/prompts/list_changed",
        Use::Notification,
        FIRST,
        STATELESS,
    ),
    to_client(
        "notifications/elicitation/complete",
        Use::Notification,
        TASKS,
        TASKS,
    ),
    to_client(
        "notifications/subscriptions/acknowledged",
        Use::Notification,
        STATELESS,
        STATELESS,
    ),
];

const fn action(name: &'static str, verb: Verb, first: Revision, last: Revision) -> Method {
    Method {
        name,
        client: Some(Use::Action(verb)),
        server: None,
        first,
        last,
    }
}

/// Tasks may run on either side; the server asks about those on the client's.
const fn task(name: &'static str, verb: Verb, first: Revision, last: Revision) -> Method {
    let server = Some(Use::ServerRequest);
    Method {
        name,
        client: Some(Use::Action(verb)),
        server,
        first,
        last,
    }
}

const fn lifecycle(name: &'static str, first: Revision, last: Revision) -> Method {
    Method {
        name,
        client: Some(Use::Lifecycle),
        server: None,
        first,
        last,
    }
}

const fn both(name: &'static str, used: Use, first: Revision, last: Revision) -> Method {
    Method {
        name,
        client: Some(used),
        server: Some(used),
        first,
        last,
    }
}

const fn to_client(name: &'static str, used: Use, first: Revision, last: Revision) -> Method {
    Method {
        name,
        client: None,
        server: Some(used),
        first,
        last,
    }
}

const fn to_server(name: &'static str, first: Revision, last: Revision) -> Method {
    Method {
        name,
        client: Some(Use::Notification),
        server: None,
        first,
        last,
    }
}
