//! Requests with an idempotency key: what makes two of them the same, and answers as they are kept and read again.

use serde_json::{Map, Value, json};

use crate::canonical;
use crate::context::RequestKey;
use crate::id::Digest;
use crate::protocol::code::Detail;
use crate::protocol::request::{KINDS, Request};
use crate::protocol::response::{Acted, Facts, Failure, Keyed};
use crate::store::StoreError;
use crate::store::keys::{Claimed, Keys};

/// What is to be done with a request.
pub(super) enum Todo {
    /// It is to be answered.
    Answer,
    /// This is the answer.
    Known(Result<Value, Box<Failure>>, Box<Facts>),
}

/// The key of a request with what it is about: all that it says but its ids and the time that it has.
pub(super) fn key_of(request: &Request) -> Option<RequestKey> {
    let key = request.idempotency_key.clone()?;
    let context = &request.context;
    let mut said = json!({
        "action": request.action.name(),
        "capabilities": request.capabilities,
        "event": request.event,
        "handler": request.handler,
        "http": request.http,
        "kind": request.kind,
        "legacy": request.legacy,
        "mcp": request.mcp,
        "who": [context.tenant_id, context.workspace_id, context.project_id, context.user_id],
    });
    // Only where there is one: keys of requests without it stay what they were.
    if let (false, Value::Object(members)) = (context.env.is_empty(), &mut said) {
        members.insert("env".to_owned(), json!(context.env));
    }
    Some(RequestKey { key, request: Digest::of(&canonical::to_vec(&said)) })
}

/// Claims a key, or gives the answer that it has.
pub(super) fn begin(keys: &mut Keys, key: &RequestKey) -> Result<Todo, StoreError> {
    let shown = &key.key;
    let failure = match keys.claim(key)? {
        Claimed::Mine => return Ok(Todo::Answer),
        Claimed::Answered(answer) => match read(&answer, key) {
            Some((result, facts)) => return Ok(Todo::Known(result, Box::new(facts))),
            None => lost(shown, None),
        },
        Claimed::Other => {
            let message = format!("the key `{shown}` was used for another request");
            Failure::new(Detail::KeyReused, message)
        }
        Claimed::UnderWay => {
            Failure::new(Detail::RequestUnderWay, format!("a request with the key `{shown}` is being answered"))
        }
        Claimed::Lost { run } => lost(shown, run),
        Claimed::Full => Failure::new(Detail::StateError, "as many idempotency keys as may be are known")
            .hint("`host gc` forgets old ones"),
    };
    let facts = Facts { keyed: Some(Keyed { key: shown.clone(), from_record: false }), ..Facts::default() };
    Ok(Todo::Known(Err(Box::new(failure)), Box::new(facts)))
}

fn lost(key: &str, run: Option<String>) -> Failure {
    let message = format!("a request with the key `{key}` was begun before, and its answer is not known");
    let failure = Failure::new(Detail::AnswerLost, message);
    match run {
        Some(run) => failure
            .hint(format!("`host trace show {run}` says what it did; `host recover` goes on with what was stopped"))
            .with("run", run),
        None => failure,
    }
}

/// Keeps what became of a request that was claimed. Of one that came to nothing the key is free again; of one of which that is not known
/// nothing is said, so that whoever asks again looks for it.
pub(super) fn end(
    keys: &mut Keys,
    key: &RequestKey,
    result: &Result<Value, Box<Failure>>,
    facts: &Facts,
) -> Result<(), StoreError> {
    match facts.acted {
        Acted::Yes => keys.answer(&key.key, &written(result, facts), facts.run.as_deref()),
        Acted::No => keys.release(&key.key),
        Acted::Maybe => Ok(()),
    }
}

/// An answer as it is kept: what it says of this host, and nothing of who asked.
fn written(result: &Result<Value, Box<Failure>>, facts: &Facts) -> String {
    let mut answer = Map::new();
    let mut put = |key: &str, value: Value| drop(answer.insert(key.to_owned(), value));
    match result {
        Ok(result) => put("result", result.clone()),
        Err(failure) => {
            let Failure { detail, message, hint, details } = &**failure;
            put("error", json!({ "code": detail.name(), "message": message, "hint": hint, "details": details }));
        }
    }
    put("run", json!(facts.run));
    put("trace_head", json!(facts.trace_head));
    put("resource", json!(facts.resource));
    Value::Object(answer).to_string()
}

/// Reads it again; `None` where another version has written it otherwise.
fn read(answer: &str, key: &RequestKey) -> Option<(Result<Value, Box<Failure>>, Facts)> {
    let mut answer: Value = serde_json::from_str(answer).ok()?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let resource = answer.get("resource").and_then(Value::as_array).and_then(|pair| {
        let kind = KINDS.into_iter().find(|kind| pair.first().is_some_and(|said| said == kind))?;
        Some((kind, text(pair.get(1))?))
    });
    let facts = Facts {
        resource,
        trace_head: text(answer.get("trace_head")).and_then(|head| head.parse().ok()),
        run: text(answer.get("run")),
        keyed: Some(Keyed { key: key.key.clone(), from_record: true }),
        ..Facts::default()
    };
    let result = match answer.get_mut("error") {
        None => Ok(answer.get_mut("result")?.take()),
        Some(error) => {
            let code = text(error.get("code"))?;
            let detail = Detail::ALL.iter().copied().find(|detail| detail.name() == code)?;
            let (message, hint) = (text(error.get("message"))?, text(error.get("hint"))?);
            let Value::Object(details) = error.get_mut("details")?.take() else { return None };
            Err(Box::new(Failure { detail, message, hint, details }))
        }
    };
    Some((result, facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_it_was() {
        let key = RequestKey { key: "k".to_owned(), request: Digest::of(b"") };
        let facts = Facts {
            run: Some("r".to_owned()),
            trace_head: Some(Digest::of(b"head")),
            resource: Some(("tool", "a.b".to_owned())),
            ..Facts::default()
        };
        let failure = Failure::new(Detail::Trap, "it trapped").with("limit", "fuel");
        for result in [Ok(json!({"error": 1})), Ok(Value::Null), Err(Box::new(failure))] {
            let (read, known) = read(&written(&result, &facts), &key).unwrap();
            assert_eq!(read, result);
            assert_eq!(
                (known.run, known.trace_head, known.resource),
                (facts.run.clone(), facts.trace_head, facts.resource.clone())
            );
        }
        assert!(read(r#"{"error":{"code":"OF_ANOTHER_VERSION","message":"","hint":"","details":{}}}"#, &key).is_none());
    }

    #[test]
    fn what_a_request_is_about_is_all_but_its_ids_and_its_time() {
        let key = |text: &str| key_of(&Request::parse(text.as_bytes()).unwrap()).unwrap().request;
        let one = key(r#"{"action":"invoke","handler":"a.b","event":{"x":1,"y":2},"meta":{"idempotency_key":"k"}}"#);
        let same = r#"{"action":"invoke","name":"a.b","event":{"y":2,"x":1.0},"ctx":{"trace_id":"t"},
            "meta":{"idempotency_key":"k","timeout_ms":5,"request_id":"r"}}"#;
        assert_eq!(key(same), one);
        for other in [
            r#"{"action":"execute","handler":"a.b","event":{"x":1,"y":2},"meta":{"idempotency_key":"k"}}"#,
            r#"{"action":"invoke","handler":"a.c","event":{"x":1,"y":2},"meta":{"idempotency_key":"k"}}"#,
            r#"{"action":"invoke","handler":"a.b","event":{"x":1,"y":3},"meta":{"idempotency_key":"k"}}"#,
            r#"{"action":"invoke","handler":"a.b","event":{"x":1,"y":2},"ctx":{"tenant_id":"t"},"meta":{"idempotency_key":"k"}}"#,
        ] {
            assert_ne!(key(other), one, "{other}");
        }
    }
}
