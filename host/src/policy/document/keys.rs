//! The keys of a policy: what its reader knows and what its JSON Schema says, in one table.

use serde_json::Value;

use crate::form::{CEILINGS, DIGEST, Form, Key, LIMITS, NAME, Rule, Shape, TAGS, TEXT};
use crate::limits;
use crate::policy::SCHEMA;

/// Any text without NUL.
const PLAIN: Form = Form::Text { max: usize::MAX, pattern: "^[^\\u0000]*$" };
const SECRET_NAME: Form = Form::Text { max: limits::NAME_BYTES_MAX, pattern: "^[A-Za-z][A-Za-z0-9_]*$" };
const VARIABLE_NAME: Form = Form::Text { max: usize::MAX, pattern: "^[^=\\u0000]+$" };
const FILE: Form = Form::Text { max: usize::MAX, pattern: "^(?![\\s\\S]*/\\.\\.(/|$))/[^\\u0000]*$" };
/// A value of `env`.
const VARIABLE: Form = Form::AnyOf(&[PLAIN, Form::Object(&TOLD)]);
/// A value of `config`.
const SETTING: Form = Form::AnyOf(&[TEXT, Form::Object(&TOLD)]);

/// The whole policy.
pub(super) const POLICY: Shape = Shape {
    keys: &[
        Key::new("schema", Form::Word(&[SCHEMA]), "The version of the form.").required(),
        Key::new("limits", Form::Object(&CEILINGS), "The limits of every step."),
        Key::new("run", Form::Object(&RUN), "What a run may use in all."),
        Key::new(
            "rules",
            Form::Text { max: usize::MAX, pattern: "^(?!([\\s\\S]*/)?\\.{0,2}(/|$))[^\\\\:\\u0000]+$" },
            "A file of Cedar rules below the policy's folder.",
        ),
        Key::new(
            "roles",
            Form::Map {
                names: "^(agent|user):[A-Za-z][A-Za-z0-9_-]{0,127}$",
                max: usize::MAX,
                of: &Form::List { of: &NAME, min: 0, max: limits::ROLES_MAX, unique: true },
            },
            "The roles of principals, for the rules.",
        ),
        Key::new("network", Form::Object(&NETWORK), "How names are looked up and servers are trusted."),
        Key::new("approval", Form::Object(&APPROVAL), "Who is told that a run waits, and for how long it waits."),
        Key::new("audit", Form::Object(&AUDIT), "What an audit may show of the runs."),
        Key::new(
            "secrets",
            Form::Map {
                names: "^[A-Za-z][A-Za-z0-9_]{0,127}$",
                max: limits::SECRETS_MAX,
                of: &Form::Object(&SECRET_SOURCE),
            },
            "Where the values of secrets are.",
        ),
        Key::new(
            "grant",
            Form::List { of: &Form::Object(&GRANT), min: 0, max: limits::GRANTS_MAX, unique: false },
            "What tools may do. The first grant that names a tool applies alone.",
        ),
    ],
    rules: &[Rule::With("roles", "rules")],
};

/// `[run]`.
pub(super) const RUN: Shape = Shape::of(&[
    Key::new("steps", Form::Integer(1, limits::STEPS_MAX as u64), "Steps of a plan."),
    Key::new("fuel", Form::Integer(1, limits::FUEL_MAX), "Fuel of all steps."),
    Key::new("host_calls", Form::Integer(1, limits::RUN_HOST_CALLS_MAX), "Host calls of all steps."),
    Key::new("deadline_ms", Form::Integer(1, limits::RUN_DEADLINE_MS_MAX), "Milliseconds from the first step's begin."),
    Key::new("attempts", Form::Integer(1, limits::ATTEMPTS_MAX as u64), "Attempts of a step, the first included."),
]);

/// `[network]`.
pub(super) const NETWORK: Shape = Shape::of(&[
    Key::new("dns", TEXT, "Address and port of a DNS server."),
    Key::new("roots", Form::AnyOf(&[Form::Word(&["mozilla"]), Form::Object(&ROOTS)]), "Whom servers are trusted by."),
]);

/// `roots` of `[network]`.
pub(super) const ROOTS: Shape = Shape::of(&[Key::new("file", FILE, "A PEM file.").required()]);

/// `[approval]`.
pub(super) const APPROVAL: Shape = Shape::of(&[
    Key::new("webhook", TEXT, "The URL that is told where the plan's step names none."),
    Key::new("expires_in_s", Form::Integer(1, limits::APPROVAL_EXPIRES_S_MAX), "How long a request is open."),
    Key::new(
        "network",
        Form::List { of: &Form::Object(&WEBHOOK_RULE), min: 0, max: limits::NETWORK_RULES_MAX, unique: false },
        "Which URLs of plans may be told.",
    ),
]);

/// `[audit]`.
pub(in crate::policy) const AUDIT: Shape = Shape::of(&[
    Key::new(
        "level",
        Form::Text {
            max: usize::MAX,
            pattern: "^([Mm][Ii][Nn][Ii][Mm][Aa][Ll]|[Bb][Aa][Ss][Ii][Cc]|[Ss][Tt][Aa][Nn][Dd][Aa][Rr][Dd]|\
                  [Dd][Ee][Tt][Aa][Ii][Ll][Ee][Dd]|[Ff][Uu][Ll][Ll]|[Ff][Oo][Rr][Ee][Nn][Ss][Ii][Cc])$",
        },
        "The most of payloads that is shown: nothing (`minimal`, `basic`), what they are like (`standard`, `detailed`), all (`full`, `forensic`).",
    ),
    Key::new("retention_days", Form::Integer(1, limits::RETENTION_DAYS_MAX), "For how many days runs are kept."),
    Key::new("tags", TAGS, "Labels of every run under the policy, such as `soc2`."),
]);

/// An entry of `[secrets]`.
pub(super) const SECRET_SOURCE: Shape = Shape {
    keys: &[
        Key::new("env", VARIABLE_NAME, "A variable of the host's."),
        Key::new("file", FILE, "A file, less one newline at its end."),
    ],
    rules: &[Rule::One(&["env", "file"])],
};

/// What a guest is told and the policy does not say: the placeholder of a secret, or what a request says.
pub(super) const TOLD: Shape = Shape {
    keys: &[
        Key::new("secret", SECRET_NAME, "Its name in `[secrets]`."),
        Key::new("request", VARIABLE_NAME, "Its name in `meta.env` of a request."),
        Key::new("default", PLAIN, "What it is where the request does not say it."),
    ],
    rules: &[Rule::One(&["secret", "request"]), Rule::With("default", "request")],
};

/// A header that holds a secret.
pub(super) const HEADER: Shape = Shape::of(&[
    Key::new("secret", SECRET_NAME, "Its name in `[secrets]`.").required(),
    Key::new("prefix", Form::Text { max: HEADER_MAX, pattern: "^([!-~]([ -~]*[!-~])?)? *$" }, "What stands before it."),
]);

const HEADER_MAX: usize = limits::REQUEST_HEADER_BYTES_MAX / 4;

/// A grant.
pub(super) const GRANT: Shape = Shape::of(&[
    Key::new(
        "skills",
        patterns(&Form::Text { max: limits::NAME_BYTES_MAX * 2 + 1, pattern: "^([A-Za-z][A-Za-z0-9_-]*\\*?|\\*)$" }),
        "Names of skills, or beginnings with a star.",
    )
    .required(),
    Key::new(
        "tools",
        patterns(&Form::Text {
            max: limits::NAME_BYTES_MAX * 2 + 1,
            pattern: "^([A-Za-z][A-Za-z0-9_-]*(\\.[A-Za-z][A-Za-z0-9_-]*)?\\*?|([A-Za-z][A-Za-z0-9_-]*\\.)?\\*)$",
        }),
        "Names of tools without their skill, or beginnings with a star.",
    )
    .required(),
    Key::new("origin", Form::Word(&["built-in", "given", "plan", "bundle"]), "Where the skill has to be from."),
    Key::new("sha256", DIGEST, "The component that the skill has to be."),
    Key::new(
        "filesystem",
        Form::List { of: &Form::Object(&PREOPEN), min: 0, max: usize::MAX, unique: false },
        "Folders that the tool sees.",
    ),
    Key::new(
        "network",
        Form::List { of: &Form::Object(&NETWORK_RULE), min: 0, max: limits::NETWORK_RULES_MAX, unique: false },
        "Requests that the tool may make. The first rule that allows one applies alone.",
    ),
    Key::new("sockets", Form::Word(&["closed"]), "Closed sockets for a component that imports some: all are refused."),
    Key::new("clocks", Form::Word(&["virtual", "real"]), "What clocks show."),
    Key::new("random", Form::Word(&["seeded", "real"]), "Where random bytes come from."),
    Key::new("env", Form::Map { names: "^[^=\\u0000]+$", max: usize::MAX, of: &VARIABLE }, "Environment variables."),
    Key::new("config", Form::Map { names: "", max: usize::MAX, of: &SETTING }, "What `wasi:config/store` answers."),
    Key::new(
        "calls",
        Form::List {
            of: &Form::Text {
                max: usize::MAX,
                pattern: "^[A-Za-z][A-Za-z0-9_-]{0,127}\\.([A-Za-z][A-Za-z0-9_-]*(\\.[A-Za-z][A-Za-z0-9_-]*)?\\*?|([A-Za-z][A-Za-z0-9_-]*\\.)?\\*)$",
            },
            min: 0,
            max: limits::CALLS_MAX,
            unique: true,
        },
        "Tools of other skills that the tool may call.",
    ),
    Key::new("approval", Form::Word(&["never", "required"]), "Whether a person is asked before each call."),
    Key::new("limits", Form::Object(&LIMITS), "Limits of its own, below those of the policy."),
]);

const fn patterns(of: &'static Form) -> Form {
    Form::List { of, min: 1, max: usize::MAX, unique: false }
}

/// A folder.
pub(super) const PREOPEN: Shape = Shape::of(&[
    Key::new(
        "host",
        Form::Text {
            max: usize::MAX,
            pattern: "^(?![\\s\\S]*/\\.\\.(/|$))(\\{workspace\\}(/[^{}\\u0000]*)?|/[^{}\\u0000]*)$",
        },
        "Where it is: an absolute path, or one below `{workspace}`.",
    )
    .required(),
    Key::new(
        "guest",
        Form::Text {
            max: usize::MAX,
            pattern: "^(?!\\{)(/|\\.|/?(?!\\.{1,2}(/|$))[^/\\u0000]+(/(?!\\.{1,2}(/|$))[^/\\u0000]+)*)$",
        },
        "Where the guest sees it.",
    )
    .required(),
    Key::new("access", Form::Word(&["read-only", "read-write"]), "What may be done there.").required(),
]);

/// A network rule of a grant.
pub(super) const NETWORK_RULE: Shape = Shape::of(&RULE_KEYS);
/// A network rule of `[approval]`.
const WEBHOOK_RULE: Shape = Shape::of(&WEBHOOK_RULE_KEYS);

const RULE_KEYS: [Key; 5] = rule_keys(Form::List {
    of: &Form::Text { max: limits::NAME_BYTES_MAX, pattern: "^(?!(CONNECT|TRACE|\\*)$)[!#$%&'*+.^_`|~0-9A-Z-]+$" },
    min: 1,
    max: limits::NETWORK_RULE_ITEMS_MAX,
    unique: true,
});
const WEBHOOK_RULE_KEYS: [Key; 5] =
    rule_keys(Form::List { of: &Form::Word(&["POST"]), min: 1, max: limits::NETWORK_RULE_ITEMS_MAX, unique: true });

const fn rule_keys(methods: Form) -> [Key; 5] {
    [
        Key::new("url", TEXT, "The places, such as `https://api.example.com/v1/*`.").required(),
        Key::new("methods", methods, "The methods.").required(),
        Key::new("addresses", items(&TEXT), "Ranges of addresses that are not public and may be reached."),
        Key::new("headers", HEADERS, "Headers that the host sets."),
        Key::new("secrets", items(&SECRET_NAME), "Secrets whose placeholders the guest may send."),
    ]
}

const HEADERS: Form = Form::Map {
    names: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$",
    max: limits::NETWORK_RULE_ITEMS_MAX,
    of: &Form::AnyOf(&[Form::Text { max: HEADER_MAX, pattern: "^([!-~]([ -~]*[!-~])?)?$" }, Form::Object(&HEADER)]),
};

const fn items(of: &'static Form) -> Form {
    Form::List { of, min: 1, max: limits::NETWORK_RULE_ITEMS_MAX, unique: false }
}

/// The JSON Schema of a policy, as the JSON of what its TOML says.
pub(in crate::policy) fn schema() -> Value {
    POLICY.document("A policy")
}

#[cfg(test)]
mod tests;
