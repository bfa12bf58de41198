//! Actions that are requests to an HTTP API: by method alone, such as `GET`, or by method and path,
//! such as `POST /refunds/*`.

use counterfoil_protocol::contract::Pattern;

use crate::json::Json;

/// The methods. Tools cannot have these names.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// Whether a verb is a method of HTTP.
pub(crate) fn is_method(verb: &str) -> bool {
    METHODS.contains(&verb)
}

/// The pattern for paths in the name of an action, if it is one by method and path.
pub(crate) fn path_pattern(action: &str) -> Option<&str> {
    let (method, path) = action.split_once(' ')?;
    (is_method(method) && path.starts_with('/')).then_some(path)
}

/// Of the actions by method and path that match, the most particular one: the one with the longest
/// name, of several the first.
pub(crate) fn find<'a, T>(
    actions: impl Iterator<Item = (&'a String, T)>,
    method: &str,
    path: &str,
) -> Option<T> {
    let mut found: Option<(usize, T)> = None;
    for (name, action) in actions {
        let matches = name.split_once(' ').is_some_and(|(own, pattern)| {
            own == method && Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(path))
        });
        if matches
            && found
                .as_ref()
                .is_none_or(|(length, _)| name.len() > *length)
        {
            found = Some((name.len(), action));
        }
    }
    found.map(|(_, action)| action)
}

/// What a policy for a method and path is shown of the parameters: path, query and body. The method
/// is known, and headers are not for policies.
pub(crate) fn shown(parameters: Json) -> Json {
    match parameters {
        Json::Object(mut members) => {
            members.remove("method");
            members.remove("headers");
            Json::Object(members)
        }
        other => other,
    }
}
