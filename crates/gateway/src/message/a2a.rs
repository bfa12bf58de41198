//! The methods of A2A over JSON-RPC, by both of the names that they have had.
//!
//! Every request is decided, under one verb whichever version the agents speak: 1.0 calls
//! `SendMessage` what 0.3 calls `message/send`, and a policy must not be got around by the other
//! name.

/// One method.
#[derive(Debug, PartialEq, Eq)]
pub struct A2aMethod {
    name: &'static str,
    verb: &'static str,
}

impl A2aMethod {
    /// The method of this name, in any version.
    pub fn find(name: &str) -> Option<&'static Self> {
        METHODS
            .iter()
            .find(|method| method.name == name || method.verb == name)
    }

    /// What records and policies call it.
    pub const fn verb(&self) -> &'static str {
        self.verb
    }
}

// Sources: A2A 1.0, section on the JSON-RPC binding (the names of the service's methods); A2A 0.3,
// the same section. `tasks/list` came with 1.0.
static METHODS: [A2aMethod; 11] = [
    method("SendMessage", "message/send"),
    method("SendStreamingMessage", "message/stream"),
    method("GetTask", "tasks/get"),
    method("ListTasks", "tasks/list"),
    method("CancelTask", "tasks/cancel"),
    method("SubscribeToTask", "tasks/resubscribe"),
    method(
        "CreateTaskPushNotificationConfig",
        "tasks/pushNotificationConfig/set",
    ),
    method(
        "GetTaskPushNotificationConfig",
        "tasks/pushNotificationConfig/get",
    ),
    method(
        "ListTaskPushNotificationConfigs",
        "tasks/pushNotificationConfig/list",
    ),
    method(
        "DeleteTaskPushNotificationConfig",
        "tasks/pushNotificationConfig/delete",
    ),
    method("GetExtendedAgentCard", "agent/getAuthenticatedExtendedCard"),
];

const fn method(name: &'static str, verb: &'static str) -> A2aMethod {
    A2aMethod { name, verb }
}
