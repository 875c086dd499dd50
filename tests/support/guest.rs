//! Guests from WebAssembly text: a core module, the interfaces it imports and the functions it exports, made into a component.

use std::sync::OnceLock;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

use crate::repo;

/// A guest. Its core module gets a memory of four pages and an allocator that never frees, starting at 64 KiB: below that, the text may
/// use memory as it likes.
#[derive(Debug, Clone, Copy)]
pub struct Guest<'a> {
    /// Imported interfaces, such as `wasi:random/random@0.2.12`.
    pub imports: &'a [&'a str],
    /// Items of the world, such as `export go: func() -> string;`.
    pub exports: &'a str,
    /// The module's fields, imports first.
    pub core: &'a str,
}

/// The newest version of WASI that the host provides.
pub const WASI: &str = "0.2.12";

/// The WIT of WASI and of the host's own package, read once.
pub fn wit() -> &'static Resolve {
    static WIT: OnceLock<Resolve> = OnceLock::new();
    WIT.get_or_init(|| {
        let mut resolve = Resolve::default();
        // The same WASI as in wasmtime-wasi, with HTTP.
        resolve.push_dir(repo::dependency("wasmtime-wasi-http").join("wit")).expect("WASI's WIT is read");
        let own = repo::text("wit/skill.wit");
        resolve.push_str("skill.wit", &own).expect("the host's WIT is read");
        for version in ["0.2.0-draft", "0.2.0-rc.1"] {
            let config = format!(
                "package wasi:config@{version};
                 interface store {{
                   variant error {{ upstream(string), io(string) }}
                   get: func(key: string) -> result<option<string>, error>;
                   get-all: func() -> result<list<tuple<string, string>>, error>;
                 }}"
            );
            resolve.push_str("config.wit", &config).expect("the WIT of settings is read");
        }
        resolve
    })
}

impl Guest<'_> {
    /// The component.
    pub fn build(&self) -> Vec<u8> {
        self.built(ALLOCATOR)
    }

    /// The component where the text has an allocator of its own.
    pub fn build_with_own_allocator(&self) -> Vec<u8> {
        self.built("")
    }

    fn built(&self, allocator: &str) -> Vec<u8> {
        let (resolve, world) = world(self.imports, self.exports);
        let text = format!("(module $guest {} (memory (export \"memory\") 4) {allocator})", self.core);
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("the world fits");
        let encoder = ComponentEncoder::default().validate(true).module(&module);
        encoder.and_then(|mut encoder| encoder.encode()).unwrap_or_else(|error| panic!("{error:#}"))
    }
}

/// Never frees, and grows the memory where it must.
const ALLOCATOR: &str = r#"
    (global $next (mut i32) (i32.const 65536))
    (func (export "cabi_realloc") (param $old i32) (param $old-len i32) (param $align i32) (param $len i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get $len)))
      (block $fits
        (loop $more
          (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
          (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        unreachable)
      (local.get $at))"#;

fn world(imports: &[&str], exports: &str) -> (Resolve, WorldId) {
    let mut resolve = wit().clone();
    let imports: String = imports.iter().map(|interface| format!("import {interface};\n")).collect();
    let text = format!("package test:guest;\nworld guest {{\n{imports}{exports}\n}}\n");
    let package = resolve.push_str("guest.wit", &text).unwrap_or_else(|error| panic!("{error:#}\n{text}"));
    let world = resolve.select_world(&[package], Some("guest")).expect("the world is there");
    (resolve, world)
}

/// A component from component text.
pub fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}
