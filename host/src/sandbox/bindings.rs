//! The bindings of our own WIT package, generated; nothing else is here.

#![expect(missing_docs, unreachable_pub, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "imports",
    imports: { default: trappable },
});
