//! What the policy does not grant: the guest never starts, or finds nothing.

use super::case::{Case, Expect, Family, case, probe};
use super::wat;
use host_tests::guest::component;
use serde_json::json;

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

/// The policy has nothing for it.
fn sockets(name: &'static str, what: &'static str, interface: &'static str) -> Case {
    case(Family::Grants, name, what, move || imports(interface, "(func)"), Expect::Denied)
}

/// What it asks for is refused to it as the second of the error codes, which is `access-denied`.
fn closed(name: &'static str, what: &'static str, call: &'static str) -> Case {
    let component = move || {
        let core = format!(
            r#"(func (export "go") (result i32) {call}
                 (i32.store8 (i32.const 8) (i32.load8_u (i32.const 0)))
                 (i32.store (i32.const 12) (i32.load8_u (i32.const 4)))
                 (i32.const 8))
               (data (i32.const 16) "localhost")"#
        );
        wat::guest("export go: func() -> result<u32, u32>;", &core)
    };
    case(Family::Grants, name, what, component, Expect::Error(json!(1))).grant("sockets = \"closed\"")
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
        sockets("tcp", "imports TCP sockets", "wasi:sockets/tcp@0.2.6"),
        sockets("udp", "imports UDP sockets", "wasi:sockets/udp@0.2.6"),
        sockets("names", "imports the look-up of names", "wasi:sockets/ip-name-lookup@0.2.6"),
        sockets("network", "imports the network as such", "wasi:sockets/instance-network@0.2.6"),
        closed(
            "closed tcp",
            "makes a TCP socket under `sockets = \"closed\"`",
            "(call $tcp (i32.const 0) (i32.const 0))",
        ),
        closed("closed udp", "makes a UDP socket under it", "(call $udp (i32.const 1) (i32.const 0))"),
        closed(
            "closed names",
            "looks `localhost` up under it",
            r#"(call $resolve (call $network) (i32.const 16) (i32.const 9) (i32.const 0))"#,
        ),
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
