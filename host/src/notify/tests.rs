//! Who is told, and for how long that is waited for. What goes over the wire is tested with a server (`tests/integration/webhooks.rs`).

use std::net::{Ipv4Addr, TcpListener};

use super::*;

fn policy(lines: &str) -> Policy {
    let text = format!("schema = \"skillhost.policy/1\"\n{lines}\n");
    Policy::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn operator(url: Option<&str>) -> Operator {
    Operator { webhook: url.map(str::to_owned), key: None }
}

const APPROVAL: &str = "[approval]\nwebhook = \"https://policy.test/hook\"";

#[test]
fn the_plan_comes_first_and_the_environment_last() {
    let with = policy(APPROVAL);
    let without = policy("");
    let env = operator(Some("https://env.test/hook"));
    let chosen = |plan: Option<&str>, policy: &Policy, operator: &Operator| {
        Webhook::choose(plan, policy, operator).map(|webhook| (webhook.url.clone(), webhook.named_by().name()))
    };
    let plan = Some("https://plan.test/hook");
    let said = |url: &str, by: &'static str| Some((url.to_owned(), by));
    assert_eq!(chosen(plan, &with, &env), said("https://plan.test/hook", "plan"));
    assert_eq!(chosen(None, &with, &env), said("https://policy.test/hook", "policy"));
    assert_eq!(chosen(None, &without, &env), said("https://env.test/hook", "environment"));
    assert_eq!(chosen(None, &without, &operator(None)), None);
    // A plan's URL that is refused is not silently replaced by another one.
    let webhook = Webhook::choose(plan, &with, &env).unwrap();
    let via = Via { policy: &with, secrets: Secrets::default(), resolver: None };
    let delivery = webhook.deliver(&via, b"{}".to_vec());
    assert_eq!((delivery.to.as_str(), delivery.attempts), ("https://plan.test/hook", 0));
    assert!(delivery.status.unwrap_err().contains("no network rule"));
}

#[test]
fn paths_of_operators_are_in_no_record() {
    let empty = policy("");
    let via = Via { policy: &empty, secrets: Secrets::default(), resolver: None };
    for (url, to) in [
        ("https://user:s3cret@hooks.test/", "a url that is none"),
        ("https://hooks.test/s3cret/../x", "a url that is none"),
        ("s3cret", "a url that is none"),
        ("https://hooks.test:1/ s3cret", "a url that is none"),
    ] {
        let webhook = Webhook::choose(None, &empty, &operator(Some(url))).unwrap();
        let delivery = webhook.deliver(&via, b"{}".to_vec());
        assert_eq!((delivery.to.as_str(), delivery.attempts), (to, 0));
        assert!(!format!("{delivery:?} {delivery} {webhook:?}").contains("s3cret"), "{delivery:?}");
    }
    let webhook = Webhook::choose(None, &empty, &operator(Some("https://hooks.test/s3cret?x=s3cret"))).unwrap();
    assert_eq!(webhook.shown(), "https://hooks.test");
    assert!(!format!("{webhook:?}").contains("s3cret"));
    let webhook = Webhook::choose(Some("https://hooks.test/a?x=s3cret"), &empty, &operator(None)).unwrap();
    assert_eq!(webhook.shown(), "https://hooks.test/a");
}

#[test]
fn a_server_that_is_silent_is_given_up() {
    // Takes connections into its queue and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/hook", silent.local_addr().unwrap());
    let empty = policy("");
    let via = Via { policy: &empty, secrets: Secrets::default(), resolver: None };
    let webhook = Webhook::choose(None, &empty, &operator(Some(&url))).unwrap();
    let delivery = webhook.deliver_within(&via, b"{}".to_vec(), Duration::from_millis(50));
    assert_eq!((delivery.status, delivery.attempts), (Err("there was no answer in time".to_owned()), 1));
}
