//! `storage`: from `fs://` addresses to folders of a grant.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Reader;
use crate::policy::{WORKSPACE, quoted};
use crate::problem::{pointer_to, shown};

/// How each address begins.
const SCHEME: &str = "fs://";

/// The folders as entries of `filesystem`, in the order of their guest paths.
pub(super) fn read(reader: &mut Reader, permissions: &Map<String, Value>) -> Vec<String> {
    let mut folders: BTreeMap<String, (String, bool)> = BTreeMap::new();
    for (item, at) in reader.allowed(permissions, "storage", &["uri", "access"]) {
        let writes = writes(reader, item, &at);
        let Some((uri, at)) = reader.text(item, &at, "uri") else { continue };
        let Some((host, guest)) = folder(reader, uri, &at) else { continue };
        let Some(writes) = writes else { continue };
        if !guest.starts_with('/') {
            let why = "there it is below the folder that Wassette was started in, here below that of `--workspace`";
            reader.change(&at, &json!(uri), json!({ "host": host, "guest": guest }), why);
        }
        folders.entry(guest).or_insert((host, false)).1 |= writes;
    }
    let entries = folders.into_iter().map(|(guest, (host, writes))| {
        let access = if writes { "read-write" } else { "read-only" };
        format!("{{ host = {}, guest = {}, access = \"{access}\" }}", quoted(&host), quoted(&guest))
    });
    entries.collect()
}

/// Whether an entry allows writing; reading has to be allowed with it.
fn writes(reader: &mut Reader, item: &Map<String, Value>, at: &str) -> Option<bool> {
    let at = pointer_to(at, "access");
    let words: Option<Vec<&str>> =
        item.get("access").and_then(Value::as_array).and_then(|list| list.iter().map(Value::as_str).collect());
    let known = |words: &Vec<&str>| words.iter().all(|word| matches!(*word, "read" | "write"));
    match words.filter(|words| !words.is_empty()).filter(known) {
        Some(words) if words.contains(&"read") => Some(words.contains(&"write")),
        Some(_) => {
            let message = "a folder that is written and never read is not to be had".to_owned();
            reader.report("bad-access", &at, message, "write `[read, write]`, or remove the folder");
            None
        }
        None => {
            let message = "the access is no list of `read` and `write`".to_owned();
            reader.report("bad-access", &at, message, "write `[read]` or `[read, write]`");
            None
        }
    }
}

/// The folder on the host and what the guest calls it, which is the same text there.
fn folder(reader: &mut Reader, uri: &str, at: &str) -> Option<(String, String)> {
    let hint = "write `fs://FOLDER/**` or `fs:///absolute/FOLDER/**`";
    let Some(path) = uri.strip_prefix(SCHEME) else {
        let message = format!("`{}` is no address of a folder", shown(uri));
        reader.report("bad-uri", at, message, hint);
        return None;
    };
    let path = path.strip_suffix("/**").unwrap_or(path);
    let path = if path.is_empty() && uri.len() > SCHEME.len() { "/" } else { path.strip_suffix('/').unwrap_or(path) };
    let names = path.strip_prefix('/').unwrap_or(path);
    let is_plain = path == "/" || names.split('/').all(|name| !matches!(name, "" | "." | "..") && !is_glob(name));
    if !is_plain {
        let message = format!("`{}` is no whole folder in its simplest form", shown(uri));
        reader.report("bad-uri", at, message, hint);
        return None;
    }
    let host = match path {
        _ if path.starts_with('/') => path.to_owned(),
        "workspace" => WORKSPACE.to_owned(),
        _ => format!("{WORKSPACE}/{path}"),
    };
    Some((host, path.to_owned()))
}

fn is_glob(name: &str) -> bool {
    name.contains(['*', '?', '[', ']', '{', '}', '\\', '\0'])
}
