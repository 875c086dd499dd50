//! Which numbers in host calls are handles: a trace does not say, the interfaces do.

use serde_json::Value;

use crate::trace::event::CallEvent;

/// Functions whose result holds handles, as (end of the name, resource).
const RESULTS: [(&str, &str); 32] = [
    (".subscribe", "pollable"),
    ("#subscribe-instant", "pollable"),
    ("#subscribe-duration", "pollable"),
    (".read-via-stream", "input-stream"),
    (".write-via-stream", "output-stream"),
    (".append-via-stream", "output-stream"),
    (".read-directory", "directory-entry-stream"),
    (".open-at", "descriptor"),
    ("#get-directories", "descriptor"),
    ("#get-stdin", "input-stream"),
    ("#get-stdout", "output-stream"),
    ("#get-stderr", "output-stream"),
    ("#get-terminal-stdin", "terminal-input"),
    ("#get-terminal-stdout", "terminal-output"),
    ("#get-terminal-stderr", "terminal-output"),
    ("#instance-network", "network"),
    ("#[constructor]fields", "fields"),
    ("fields.from-list", "fields"),
    ("fields.clone", "fields"),
    (".headers", "fields"),
    ("#[constructor]outgoing-request", "outgoing-request"),
    ("#[constructor]request-options", "request-options"),
    ("#[constructor]outgoing-response", "outgoing-response"),
    ("outgoing-request.body", "outgoing-body"),
    ("outgoing-body.write", "output-stream"),
    ("outgoing-handler#handle", "future-incoming-response"),
    ("future-incoming-response.get", "incoming-response"),
    ("incoming-response.consume", "incoming-body"),
    ("incoming-request.consume", "incoming-body"),
    ("incoming-body.stream", "input-stream"),
    ("incoming-body.finish", "future-trailers"),
    ("future-trailers.get", "fields"),
];

/// The resource that the numbers of a parameter are handles of.
pub(super) fn of_parameter<'a>(function: &'a str, name: &str) -> Option<&'a str> {
    let function = function.split_once('#').map_or(function, |(_, function)| function);
    match name {
        "self" => function
            .strip_prefix("[method]")
            .and_then(|method| method.split('.').next())
            .or_else(|| function.strip_prefix("[resource-drop]")),
        "new-descriptor" | "other" if function.starts_with("[method]descriptor.") => Some("descriptor"),
        "src" if function.starts_with("[method]output-stream.") => Some("input-stream"),
        "in" if function == "poll" => Some("pollable"),
        "err" if matches!(function, "filesystem-error-code" | "http-error-code") => Some("error"),
        "headers" if function.starts_with("[constructor]outgoing-") => Some("fields"),
        "this" => function.strip_prefix("[static]").and_then(|method| method.split('.').next()),
        "trailers" if function == "[static]outgoing-body.finish" => Some("fields"),
        "request" if function == "handle" => Some("outgoing-request"),
        "options" if function == "handle" => Some("request-options"),
        _ => None,
    }
}

/// The resource that the numbers of a result are handles of.
pub(super) fn of_result(function: &str, case: &str) -> Option<&'static str> {
    match case {
        "ok" => {
            let found = RESULTS.iter().find(|(end, _)| function.ends_with(end));
            found.map(|(_, resource)| *resource)
        }
        // A failed stream operation gives out its error.
        "err" if function.contains("-stream.") && !function.contains("directory-entry-stream") => Some("error"),
        _ => None,
    }
}

/// Calls `each` with every handle that a call gave to the guest.
pub(super) fn given_out(call: &CallEvent, mut each: impl FnMut(u64)) {
    for (case, value) in call.result.as_object().into_iter().flatten() {
        if of_result(&call.function, case).is_some() {
            numbers(value, &mut each);
        }
    }
}

fn numbers(value: &Value, each: &mut impl FnMut(u64)) {
    match value {
        Value::Number(number) => number.as_u64().into_iter().for_each(each),
        Value::Array(items) => items.iter().for_each(|item| numbers(item, each)),
        // An error inside of an answer has numbers that are none.
        Value::Object(members) => {
            members.iter().filter(|(name, _)| *name != "err").for_each(|(_, member)| numbers(member, each));
        }
        _ => {}
    }
}
