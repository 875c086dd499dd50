//! What the policy does not grant: the guest never starts, or finds nothing.

use super::case::{Case, Expect, Family, case, probe};
use super::wat;
use host_tests::guest::component;

/// A policy that grants something to another skill.
const OTHERS: &str = r#"schema = "skillhost.policy/1"
    [[grant]]
    skills = ["text"]
    tools = ["*"]
    [[grant]]
    skills = ["guest"]
    tools = ["other"]
    filesystem = [{ host = "{workspace}", guest = "/workspace", access = "read-write" }]"#;

/// A component that imports a function of this interface.
fn imports(interface: &str, ty: &str) -> Vec<u8> {
    component(&format!(
        r#"(component (import "{interface}" (instance (export "f" {ty})))
           (core module $m (func (export "go"))) (core instance $i (instantiate $m))
           (func (export "go") (canon lift (core func $i "go"))))"#
    ))
}

fn not_provided(name: &'static str, what: &'static str, interface: &'static str) -> Case {
    case(Family::Grants, name, what, move || imports(interface, "(func)"), Expect::Refused("import-not-provided"))
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            Family::Grants,
            "no grant",
            "would write in its start function, under a policy that grants its tool nothing",
            || wat::go(r#"(func $s (drop (call $stdout))) (start $s) (func (export "go"))"#),
            Expect::Denied,
        )
        .policy(OTHERS),
        case(
            Family::Grants,
            "another tool's grant",
            "has a tool that is granted a folder, and is called by another name",
            || {
                wat::guest(
                    "export go: func(); export other: func();",
                    r#"(func (export "go") (drop (call $first))) (func (export "other"))"#,
                )
            },
            Expect::Denied,
        )
        .policy(OTHERS),
        probe(
            Family::Grants,
            "no folder",
            "reads a file where no folder is granted",
            &["cat", "/workspace/inner"],
            Expect::Fails("error: "),
        ),
        not_provided("tcp", "imports TCP sockets", "wasi:sockets/tcp@0.2.6"),
        not_provided("udp", "imports UDP sockets", "wasi:sockets/udp@0.2.6"),
        not_provided("names", "imports the look-up of names", "wasi:sockets/ip-name-lookup@0.2.6"),
        not_provided("network", "imports the network as such", "wasi:sockets/instance-network@0.2.6"),
        not_provided(
            "later version",
            "imports an interface in a version that is not known",
            "wasi:filesystem/types@0.3.0",
        ),
        not_provided(
            "own package",
            "imports an interface of the host's own package that there is not",
            "skillhost:skill/admin@0.1.0",
        ),
        not_provided("later log", "imports the host's log in another version", "skillhost:skill/log@9.0.0"),
        not_provided(
            "look-alike",
            "imports an interface whose name only looks like one of WASI",
            "wasi:cli/enviroment@0.2.6",
        ),
        case(
            Family::Grants,
            "no interface",
            "imports a bare function",
            || {
                component(
                    r#"(component (import "open-door" (func))
                       (core module $m (func (export "go"))) (core instance $i (instantiate $m))
                       (func (export "go") (canon lift (core func $i "go"))))"#,
                )
            },
            Expect::Refused("import-not-provided"),
        ),
        case(
            Family::Grants,
            "another component",
            "imports another component, to be linked by the host",
            || {
                component(
                    r#"(component (import "other" (component))
                       (core module $m (func (export "go"))) (core instance $i (instantiate $m))
                       (func (export "go") (canon lift (core func $i "go"))))"#,
                )
            },
            Expect::Refused("component-unsupported"),
        ),
        case(
            Family::Grants,
            "another type",
            "imports a function that the host has, with another type",
            || {
                component(
                    r#"(component
                       (import "wasi:random/random@0.2.6" (instance (export "get-random-bytes" (func (result string)))))
                       (core module $m (func (export "go"))) (core instance $i (instantiate $m))
                       (func (export "go") (canon lift (core func $i "go"))))"#,
                )
            },
            Expect::Unlinkable("wrong type"),
        ),
    ]
}
