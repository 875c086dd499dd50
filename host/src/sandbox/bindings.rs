//! The bindings of our own WIT package, generated; nothing else is here.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "imports",
    imports: { default: trappable },
});
