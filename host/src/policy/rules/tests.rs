use super::*;

const OK: &str = "@id(\"ok\") permit(principal, action, resource);\n";

fn problems(text: &str) -> Vec<Problem> {
    RuleSet::parse(text).unwrap_err()
}

/// Code, line and column of the one problem.
fn one(text: &str) -> (String, u64, u64) {
    let found = problems(text);
    assert_eq!(found.len(), 1, "{text}\n{found:#?}");
    let position = found[0].position.unwrap_or_else(|| panic!("{found:#?}"));
    (found[0].code.clone(), position.line, position.column)
}

#[test]
fn rules_are_read_with_what_is_said_of_them() {
    let text = "// comment\n@id(\"readers\") @reason(\"agents may read\")\npermit(principal is Agent, action == Action::\"call\", \
                resource) when { resource.read_only };\n\n@id(\"big\") @approval(\"required\")\npermit(principal in \
                Role::\"payer\", action, resource == Tool::\"pay.send\") when { context.input.amount < 500 };\n@id(\"no\")\n\
                forbid(principal, action, resource in Skill::\"files\") unless { context.granted.filesystem_write };\n";
    let set = RuleSet::parse(text).unwrap();
    let seen: Vec<_> = set
        .rules()
        .iter()
        .map(|rule| (rule.id.as_str(), rule.permits, rule.line, rule.reason.as_deref(), rule.approval))
        .collect();
    assert_eq!(
        seen,
        [
            ("readers", true, 2, Some("agents may read"), None),
            ("big", true, 5, None, Some(Approval::Required)),
            ("no", false, 7, None, None),
        ]
    );
    assert_eq!((set.text(), set.digest()), (text, Digest::of(text.as_bytes())));
    assert_eq!(RuleSet::parse("").unwrap().rules().len(), 0);
}

#[test]
fn each_mistake_is_refused_with_its_line() {
    for (text, code, line, place) in [
        ("permit(principal, action, resource);", "missing-rule-id", 1, "permit"),
        ("@id permit(principal, action, resource);", "bad-rule-id", 1, "@id"),
        ("@id(\"a b\") permit(principal, action, resource);", "bad-rule-id", 1, "@id"),
        ("@id(\"ok\") forbid(principal, action, resource);", "duplicate-rule-id", 2, "@id"),
        ("@id(\"a\") @aproval(\"never\") permit(principal, action, resource);", "unknown-annotation", 1, "@id"),
        ("@id(\"a\") @approval(\"yes\") permit(principal, action, resource);", "bad-approval", 1, "@id"),
        ("@id(\"a\") @approval(\"never\") forbid(principal, action, resource);", "approval-of-forbid", 1, "@id"),
        ("@id(\"a\") @reason permit(principal, action, resource);", "bad-reason", 1, "@id"),
        ("@id(\"a\") permit(principal == ?principal, action, resource);", "rule-template", 1, "@id"),
        ("\n\n@id(\"a\") permit(principal, action, resource", "bad-rules", 3, ""),
        (
            "@id(\"a\") permit(principal, action, resource) when { resource.rsk == \"low\" };",
            "rule-type",
            1,
            "resource.rsk",
        ),
        (
            "@id(\"a\") permit(principal, action, resource) when { resource.risk < 3 };",
            "rule-type",
            1,
            "resource.risk <",
        ),
        ("@id(\"a\") permit(principal is Robot, action, resource);", "rule-type", 1, "Robot"),
        ("@id(\"a\") permit(principal, action == Action::\"cal\", resource);", "rule-type", 1, "Action::"),
        (
            "@id(\"a\")\npermit(principal, action, resource) when { context.plan.nam == \"x\" };",
            "rule-type",
            2,
            "context",
        ),
        (
            "@id(\"a\") permit(principal, action, resource) when { context.inpt.x == 1 };",
            "rule-type",
            1,
            "context.inpt",
        ),
        (
            "@id(\"a\") permit(principal, action, resource) when { context.input.x + resource.risk_level };",
            "rule-type",
            1,
            "context.input.x",
        ),
        ("@id(\"a\") permit(principal, action, resource) when { 1 };", "rule-type", 1, "1 }"),
        ("@id(\"a\") permit(principal, action, resource) when { false };", "rule-never-applies", 1, ""),
        ("@id(\"a\") permit(principal is Tool, action, resource);", "rule-never-applies", 1, ""),
    ] {
        let (text, line) =
            if code == "duplicate-rule-id" { (format!("{OK}{text}"), line) } else { (text.to_owned(), line) };
        let found = problems(&text);
        let position = found[0].position.unwrap_or_else(|| panic!("{text}\n{found:#?}"));
        assert_eq!((found[0].code.as_str(), position.line), (code, line), "{text}\n{found:#?}");
        let written =
            text.lines().nth(usize::try_from(line).unwrap() - 1).and_then(|line| line.find(place)).unwrap() as u64 + 1;
        assert!(place.is_empty() || position.column == written, "{text}\n{found:#?}");
        assert!(!found[0].message.contains('\n') && !found[0].message.ends_with('.'), "{}", found[0].message);
    }
    assert_eq!(one("@id(\"a\") permit(principal, action, resource) when { resource.rik == \"low\" };").0, "rule-type");
}

#[test]
fn a_mistake_names_the_rule_and_says_what_to_do() {
    let found = problems("@id(\"a\") permit(principal, action, resource) when { resource.rsk == \"low\" };");
    assert_eq!(found[0].message, "rule `a`: attribute `rsk` on entity type `Tool` not found");
    assert_eq!(found[0].hint.as_deref(), Some("did you mean `risk`?"));
    let found = problems("@id(\"a\") @aproval(\"never\") permit(principal, action, resource);");
    assert_eq!(found[0].hint.as_deref(), Some("did you mean `approval`?"));
}

#[test]
fn several_mistakes_are_in_one_report_in_the_order_of_the_text() {
    let found = problems("permit(principal, action, resource);\n@id(\"x\") @y permit(principal, action, resource);\n");
    let seen: Vec<_> = found.iter().map(|problem| (problem.code.as_str(), problem.position.unwrap().line)).collect();
    assert_eq!(seen, [("missing-rule-id", 1), ("unknown-annotation", 2)]);
}

#[test]
fn what_stands_behind_a_test_of_the_input_is_checked_as_well() {
    let rule = |condition: &str| format!("@id(\"a\") permit(principal, action, resource) when {{ {condition} }};");
    for open in [
        "context.input.amount < 500",
        "context.input has amount && context.input.amount < 500",
        "context.input has who && context.input.who == principal.name",
        "context.input[\"group-by\"] == \"x\"",
        "context.input has a && context.input.a.b.contains(\"x\")",
        "!(context.input has x)",
    ] {
        RuleSet::parse(&rule(open)).unwrap_or_else(|problems| panic!("{open}: {problems:#?}"));
    }
    for wrong in [
        "context.input has amount && resource.rsk == \"low\"",
        "context.input has amount && context.plan.name == 5",
        "resource.rsk == \"low\" && context.input.amount < 500",
    ] {
        let found = problems(&rule(wrong));
        assert_eq!((found[0].code.as_str(), found[0].position.unwrap().line), ("rule-type", 1), "{wrong}");
    }
}

#[test]
fn rules_are_bounded() {
    let many = |count: usize| -> String {
        (0..count).map(|index| format!("@id(\"r{index}\")permit(principal,action,resource);\n")).collect()
    };
    assert_eq!(problems(&many(limits::RULES_MAX + 1))[0].code, "too-many-rules");
    assert_eq!(problems(&"x".repeat(limits::RULES_BYTES_MAX + 1))[0].code, "rules-too-large");
}

#[test]
fn the_deepest_rules_that_the_bounds_let_through_do_not_end_the_stack() {
    let head = "@id(\"a\")permit(principal,action,resource)when{";
    for (unit, end) in
        [("true&&", "true"), ("1+", "1==1"), ("true||", "true"), ("1*", "1==1"), ("!", "true"), ("-", "1==1")]
    {
        let room = limits::RULE_BYTES_MAX - head.len() - end.len() - 8;
        let text = format!("{head}{}{end}}};", unit.repeat(room / unit.len()));
        // Whether it is refused is Cedar's affair; that it answers is ours.
        let _answer = RuleSet::parse(&text).is_ok();
    }
    let nested = |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    for inner in [
        nested("(", ")", limits::RULE_DEPTH_MAX - 1),
        nested("[", "]", limits::RULE_DEPTH_MAX - 1),
        nested("{a:", "}", limits::RULE_DEPTH_MAX - 1),
        nested("if true then 1 else ", "", 150),
    ] {
        let _answer = RuleSet::parse(&format!("{head}{inner}==1}};")).is_ok();
    }
}

#[test]
fn the_example_of_the_documentation_is_a_file_of_rules() {
    let docs = include_str!("../../../../docs/policy-format.md");
    let example = docs.split("```cedar\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(RuleSet::parse(example).unwrap().rules().len() >= 3);
    let schema = docs.split("```cedarschema\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let plain = |text: &str| {
        text.lines().filter(|line| !line.trim_start().starts_with("//")).map(str::trim).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        plain(schema).split_whitespace().collect::<Vec<_>>(),
        plain(SCHEMA).split_whitespace().collect::<Vec<_>>()
    );
}
