//! What answers requests, one after the other: it keeps loaded skills warm and knows the ids that it has seen. Every call has a sandbox of
//! its own; nothing of a request is kept for the next one.

use std::collections::{BTreeSet, VecDeque};

use crate::bundle::Bundle;
use crate::clock::{self, Stopwatch};
use crate::context::{RequestContext, RequestKey};
use crate::host::{Keep, SkillHost};
use crate::id::Digest;
use crate::limits;
use crate::protocol::code::Detail;
use crate::protocol::keyed::{self, Todo};
use crate::protocol::loading::Loading;
use crate::protocol::request::{Action, Refused, Request};
use crate::protocol::response::{Facts, Failure, Keyed, Response, millis};
use crate::protocol::{describe, invoke};
use crate::sandbox::CancelToken;
use crate::store::StoreError;
use crate::store::keys::Keys;

/// How requests are answered.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Whether every run is kept, not only those that may have an effect.
    pub record_all: bool,
    /// Whether answers tell where the time went.
    pub timings: bool,
    /// Whether answers say nothing of where in a guest something failed. It is in the trace of a run that is kept.
    pub no_traceback: bool,
    /// What is known of who asks where a request does not say it.
    pub context: RequestContext,
    /// Ends what runs.
    pub cancel: CancelToken,
}

/// Answers requests.
#[derive(Debug)]
pub struct Session<'h> {
    host: &'h SkillHost,
    settings: Settings,
    seen: Seen,
    ids: Ids,
    answered: u64,
    /// Opened for the first request that has a key.
    keys: Option<Keys>,
    loading: Loading,
}

impl<'h> Session<'h> {
    /// A session on a host; it should be one that [keeps skills warm](crate::SkillHostBuilder::keep_warm).
    #[must_use]
    pub fn new(host: &'h SkillHost, mut settings: Settings) -> Self {
        settings.context.snapshot_id = host.bundle.as_ref().map(|bundle| bundle.id.to_string());
        Self {
            host,
            settings,
            seen: Seen::default(),
            ids: Ids::new(),
            answered: 0,
            keys: None,
            loading: Loading::default(),
        }
    }

    /// Answers the request in `bytes`, whatever they are.
    pub fn answer(&mut self, bytes: &[u8]) -> Response {
        let started = Stopwatch::start();
        let request = Request::parse(bytes);
        self.answer_read(request, started)
    }

    /// Answers a request that was read, or says why it cannot be.
    pub fn answer_read(&mut self, request: Result<Request, Refused>, started: Stopwatch) -> Response {
        let read = started.elapsed();
        let (mut result, mut context, mut facts) = match request {
            Ok(request) => self.answer_one(request),
            Err(refused) => {
                let (failure, context) = *refused;
                (Err(Box::new(failure)), context, Facts::default())
            }
        };
        complete(&mut context, &self.settings.context, &mut self.ids);
        let cold_start = self.answered == 0;
        self.answered += 1;
        if self.settings.no_traceback {
            result = result.map_err(|failure| Box::new(failure.without_traceback()));
        }
        let total = started.elapsed();
        if self.settings.timings {
            facts.timings.insert(0, ("read", read));
            facts.timings.push(("total", total));
        } else {
            facts.timings.clear();
        }
        let mut response = Response { result, context, facts, cold_start, duration_ms: millis(total) };
        if self.settings.timings {
            // What the answer says of being written has to be known before it is.
            let started = Stopwatch::start();
            drop(serde_json::to_vec(&response));
            response.facts.timings.push(("serialize", started.elapsed()));
        }
        response
    }

    fn answer_one(&mut self, mut request: Request) -> (Result<serde_json::Value, Box<Failure>>, RequestContext, Facts) {
        if let Some(id) = &request.context.request_id
            && !self.seen.add(id)
        {
            let message = format!("a request with the id `{id}` was answered before");
            let failure = Failure::new(Detail::DuplicateRequest, message);
            return (Err(Box::new(failure)), request.context, Facts::default());
        }
        complete(&mut request.context, &self.settings.context, &mut self.ids);
        let bundle = self.host.bundle.as_deref();
        // A run looks for itself.
        if request.action == Action::Describe
            && let Some(Err(error)) = bundle.map(Bundle::check_unchanged)
        {
            return (Err(Box::new(Failure::of_bundle(&error))), request.context, Facts::default());
        }
        let (result, facts) = match request.action {
            Action::Describe => (describe::describe(self.host, bundle, &request), Facts::default()),
            Action::Invoke | Action::Execute => {
                let keep = if self.settings.record_all { Keep::All } else { Keep::Effects };
                match keyed::key_of(&request) {
                    None => {
                        let loading = &mut self.loading;
                        invoke::invoke(self.host, bundle, &mut request, (keep, None), loading, &self.settings.cancel)
                    }
                    Some(key) => self.once(&key, &mut request, keep).unwrap_or_else(|error| {
                        let failure = Failure::new(Detail::StateError, error.to_string()).hint_of(error.hint());
                        (Err(Box::new(failure)), Facts::default())
                    }),
                }
            }
        };
        (result, request.context, facts)
    }
}

/// What is to be done of a request that has a key.
type Once = (Result<serde_json::Value, Box<Failure>>, Facts);

impl Session<'_> {
    /// Answers a request with a key, or gives the answer that was given before. The answer is kept before it is given.
    fn once(&mut self, key: &RequestKey, request: &mut Request, keep: Keep) -> Result<Once, StoreError> {
        let Self { host, settings, keys, loading, .. } = self;
        let keys = match keys {
            Some(keys) => keys,
            None => keys.insert(Keys::open(host.store(), host.durability)?),
        };
        if let Todo::Known(result, facts) = keyed::begin(keys, key)? {
            return Ok((result, *facts));
        }
        let bundle = host.bundle.as_deref();
        let (result, mut facts) =
            invoke::invoke(host, bundle, request, (keep, Some(key.clone())), loading, &settings.cancel);
        keyed::end(keys, key, &result, &facts)?;
        facts.keyed = Some(Keyed { key: key.key.clone(), from_record: false });
        Ok((result, facts))
    }
}

/// Fills in what a request does not say of who asks: from what is known of its surroundings, and ids that are made here.
fn complete(context: &mut RequestContext, known: &RequestContext, ids: &mut Ids) {
    let RequestContext { request_id, trace_id, tenant_id, workspace_id, project_id, user_id, snapshot_id, .. } =
        context;
    let fields = [
        (tenant_id, &known.tenant_id),
        (workspace_id, &known.workspace_id),
        (project_id, &known.project_id),
        (user_id, &known.user_id),
        (snapshot_id, &known.snapshot_id),
    ];
    for (field, known) in fields {
        if field.is_none() {
            field.clone_from(known);
        }
    }
    request_id.get_or_insert_with(|| format!("req-{}", ids.next()));
    trace_id.get_or_insert_with(|| known.trace_id.clone().unwrap_or_else(|| ids.next()));
}

/// Makes ids that nobody else has: the system is asked once for random bytes, not for each id.
#[derive(Debug)]
struct Ids {
    seed: [u8; 16],
    given: u64,
}

impl Ids {
    /// Where the system gives no random bytes, the time stands for them.
    fn new() -> Self {
        let seed = clock::entropy().unwrap_or_else(|_| clock::since_epoch().as_nanos().to_be_bytes());
        Self { seed, given: 0 }
    }

    /// 32 hexadecimal digits.
    fn next(&mut self) -> String {
        self.given += 1;
        let mut id = Digest::of(&[&self.seed[..], &self.given.to_be_bytes()].concat()).to_string();
        id.truncate(32);
        id
    }
}

/// The ids of the last requests.
#[derive(Debug, Default)]
struct Seen {
    ids: BTreeSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// Takes note of an id; `false` where it was seen before.
    fn add(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > limits::REQUEST_IDS_SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_ids_are_the_same() {
        let (mut one, mut other) = (Ids::new(), Ids::new());
        let ids: BTreeSet<String> = (0..1_000).flat_map(|_| [one.next(), other.next()]).collect();
        assert_eq!(ids.len(), 2_000);
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    }

    #[test]
    fn so_many_ids_are_known_and_no_more() {
        let mut seen = Seen::default();
        assert!((0..=limits::REQUEST_IDS_SEEN_MAX).all(|id| seen.add(&id.to_string())));
        assert!(!seen.add("1"), "it was seen before");
        assert!(seen.add("0"), "the oldest is forgotten");
    }
}
