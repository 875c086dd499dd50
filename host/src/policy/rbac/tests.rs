use cedar_policy::{Authorizer, Context, Decision, Entities, PolicySet, Request};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::json;

/// What Cedar decides for `agent:NAME` or `user:NAME` in `role`, a tool and its risk; with whether a permitting rule wants approval.
fn decided(cedar: &str, who: (&str, &str), role: &str, tool: &str, risk: &str) -> Decides {
    let rules: PolicySet = cedar.parse().unwrap_or_else(|error| panic!("{error}\n{cedar}"));
    let entities = json!([
        {"uid": {"type": who.0, "id": who.1}, "attrs": {"name": who.1}, "parents": [{"type": "Role", "id": role}]},
        {"uid": {"type": "Tool", "id": tool}, "attrs": {"name": tool, "risk": risk}, "parents": []},
    ]);
    let entities = Entities::from_json_value(entities, None).unwrap();
    let uid = |kind: &str, name: &str| format!("{kind}::\"{name}\"").parse().unwrap();
    let request =
        Request::new(uid(who.0, who.1), uid("Action", "call"), uid("Tool", tool), Context::empty(), None).unwrap();
    let answer = Authorizer::new().is_authorized(&request, &rules, &entities);
    assert_eq!(answer.diagnostics().errors().count(), 0, "{cedar}");
    if answer.decision() == Decision::Deny {
        return Decides::Deny;
    }
    let asks = |id| rules.policy(id).is_some_and(|rule| rule.annotation("approval") == Some("required"));
    if answer.diagnostics().reason().any(asks) { Decides::Ask } else { Decides::Allow }
}

fn imported(text: &str) -> String {
    import(&json::parse_yaml(text.as_bytes()).unwrap()).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

const WHEN: &str = r#"
default: DENY
rules:
  - when: { capability: "files.remove" }
    principal: "agent:*"
    decision: DENY
  - when: { capability: "files.*", risk_level: HIGH }
    principal: "agent:*"
    decision: REQUIRE_APPROVAL
  - when: { capability: "files.*" }
    principal: "agent:*"
    decision: ALLOW
  - principal: "role:admin"
    decision: ALLOW
"#;

const ACTION: &str = r#"
rules:
  - { principal: "agent:*", capabilities: ["files.remove"], action: DENY }
  - { principal: "agent:*", capabilities: ["files.*"], when: { risk_level: HIGH }, action: REQUIRE_APPROVAL }
  - { principal: "agent:*", capabilities: ["files.*"], action: ALLOW }
  - { principal: "role:admin", capabilities: ["*"], action: ALLOW }
"#;

#[test]
fn both_spellings_say_the_same() {
    assert_eq!(imported(WHEN), imported(ACTION));
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = imported(WHEN);
    let agent = ("Agent", "reporter");
    assert_eq!(decided(&rules, agent, "none", "files.read-text", "low"), Decides::Allow);
    assert_eq!(decided(&rules, agent, "none", "files.write-text", "high"), Decides::Ask);
    assert_eq!(decided(&rules, agent, "none", "files.remove", "low"), Decides::Deny);
    assert_eq!(decided(&rules, agent, "none", "csv.filter", "low"), Decides::Deny);
    // An earlier rule decides for admins as well; what no earlier one matches is theirs.
    assert_eq!(decided(&rules, agent, "admin", "files.remove", "low"), Decides::Deny);
    assert_eq!(decided(&rules, agent, "admin", "csv.filter", "low"), Decides::Allow);
    assert_eq!(decided(&rules, ("User", "ada"), "admin", "files.remove", "low"), Decides::Allow);
    assert_eq!(decided(&rules, ("User", "ada"), "none", "files.read-text", "low"), Decides::Deny);
}

#[test]
fn mistakes_are_all_found_with_their_place() {
    let text = r#"
default: ALLOW
rules:
  - { principal: "robot:x", capability: "files.*", decision: ALLOW }
  - { principal: "*", capability: "fi*les", decision: MAYBE }
  - { principal: "role:ad*", capabilities: [], decision: ALLOW }
  - { principal: "*", capability: "a.b", capabilities: ["a.c"], decision: ALLOW }
  - { principal: "*", capability: "a.b" }
  - { principal: "*", capability: "a.b\"", decision: ALLOW, unless: "x" }
  - { when: { risk_level: SOME }, decision: DENY }
"#;
    let problems = import(&json::parse_yaml(text.as_bytes()).unwrap()).unwrap_err();
    let found: Vec<(&str, &str)> =
        problems.iter().map(|problem| (problem.code.as_str(), problem.pointer.as_str())).collect();
    assert_eq!(
        found,
        [
            ("bad-default", "/default"),
            ("bad-principal", "/rules/0/principal"),
            ("bad-pattern", "/rules/1/capability"),
            ("bad-decision", "/rules/1/decision"),
            ("bad-principal", "/rules/2/principal"),
            ("empty-list", "/rules/2/capabilities"),
            ("said-twice", "/rules/3/capabilities"),
            ("missing-key", "/rules/4"),
            ("unknown-key", "/rules/5/unless"),
            ("bad-pattern", "/rules/5/capability"),
            ("bad-risk", "/rules/6/when/risk_level"),
        ]
    );
    assert!(problems.iter().all(|problem| problem.hint.is_some()));
}

#[test]
fn the_number_of_rules_is_bounded() {
    let rules = |count: usize| json!({"rules": vec![json!({"decision": "DENY"}); count]});
    assert!(import(&rules(limits::RULES_IMPORTED_MAX)).is_ok());
    let problems = import(&rules(limits::RULES_IMPORTED_MAX + 1)).unwrap_err();
    assert_eq!(problems[0].code, "too-many-rules");
}

/// First match, written down directly.
fn oracle(
    rules: &[(String, String, Option<String>, Decides)],
    who: (&str, &str),
    role: &str,
    tool: &str,
    risk: &str,
) -> Decides {
    let named = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    };
    let principal = |pattern: &str| match pattern.split_once(':') {
        None => true,
        Some(("role", name)) => name == role,
        Some((kind, name)) => kind == who.0.to_lowercase() && named(name, who.1),
    };
    let found = rules.iter().find(|(whom, tools, of_risk, _)| {
        principal(whom) && named(tools, tool) && of_risk.as_ref().is_none_or(|of| *of == risk)
    });
    found.map_or(Decides::Deny, |(_, _, _, decides)| *decides)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn cedar_decides_as_the_first_match(
        rules in proptest::collection::vec(
            (
                prop::sample::select(vec!["*", "agent:*", "agent:a", "agent:ab*", "user:*", "user:a", "role:r", "role:s"]),
                prop::sample::select(vec!["*", "x.*", "x.a", "x.ab", "x.a*", "y.b"]),
                prop::option::of(prop::sample::select(vec!["low", "high"])),
                prop::sample::select(vec![Decides::Allow, Decides::Deny, Decides::Ask]),
            ),
            0..6,
        ),
    ) {
        let rules: Vec<(String, String, Option<String>, Decides)> =
            rules.into_iter().map(|(who, tool, risk, decides)| (who.into(), tool.into(), risk.map(Into::into), decides)).collect();
        let written = |decides| match decides {
            Decides::Allow => "ALLOW",
            Decides::Deny => "DENY",
            Decides::Ask => "REQUIRE_APPROVAL",
        };
        let documents = rules.iter().map(|(who, tool, risk, decides)| {
            let mut when = json!({"capability": tool});
            if let Some(risk) = risk {
                when["risk_level"] = json!(risk.to_uppercase());
            }
            json!({"principal": who, "when": when, "decision": written(*decides)})
        });
        let cedar = import(&json!({"rules": documents.collect::<Vec<_>>()})).unwrap();
        for who in [("Agent", "a"), ("Agent", "abc"), ("User", "a"), ("User", "b")] {
            for (role, tool, risk) in [("r", "x.a", "low"), ("s", "x.ab", "high"), ("t", "y.b", "low"), ("r", "z.z", "medium")] {
                prop_assert_eq!(decided(&cedar, who, role, tool, risk), oracle(&rules, who, role, tool, risk), "{}", &cedar);
            }
        }
    }
}
