//! `wasi:config/store`: settings, answered from the grant's `config` and nothing else. A key that the policy does not name is not there.

use wasmtime::component::Linker;
use wasmtime::{Result, StoreContextMut};

use crate::sandbox::ctx::{Live, SkillCtx};
use crate::sandbox::table::table;
use crate::sandbox::wire::variant;
use bindings::wasi::config::store::{Error, Host};

mod bindings {
    //! Generated; nothing else is here.

    wasmtime::component::bindgen!({
        inline: "
            package wasi:config@0.2.0-draft;
            interface store {
              variant error { upstream(string), io(string) }
              get: func(key: string) -> result<option<string>, error>;
              get-all: func() -> result<list<tuple<string, string>>, error>;
            }
            world settings { import store; }
        ",
        imports: { default: trappable },
    });
}

/// The versions that components ask for. Both are drafts, and the same functions with the same types.
const INTERFACES: [&str; 2] = ["wasi:config/store@0.2.0-draft", "wasi:config/store@0.2.0-rc.1"];

pub(super) fn add_to_linker(linker: &mut Linker<SkillCtx>) -> Result<()> {
    for interface in INTERFACES {
        let mut instance = linker.instance(interface)?;
        instance.func_wrap("get", |mut store: StoreContextMut<'_, SkillCtx>, (key,): (String,)| {
            store.data_mut().get(key).map(|value| (value,))
        })?;
        instance.func_wrap("get-all", |mut store: StoreContextMut<'_, SkillCtx>, (): ()| {
            store.data_mut().get_all().map(|values| (values,))
        })?;
    }
    Ok(())
}

impl Live {
    #[expect(clippy::needless_pass_by_value, reason = "the table hands arguments over")]
    fn setting(&mut self, key: String) -> Result<Result<Option<String>, Error>> {
        Ok(Ok(self.config.get(&key).cloned()))
    }

    fn settings(&mut self) -> Result<Result<Vec<(String, String)>, Error>> {
        Ok(Ok(self.config.iter().map(|(key, value)| (key.clone(), value.clone())).collect()))
    }
}

variant!(Error { "upstream": Upstream(message), "io": Io(message) });

table! { impl Host as "wasi:config/store#" via |live| live;
    ours(setting) fn get = "get"(key "key": String) -> Result<Result<Option<String>, Error>>;
    ours(settings) fn get_all = "get-all"() -> Result<Result<Vec<(String, String)>, Error>>;
}
