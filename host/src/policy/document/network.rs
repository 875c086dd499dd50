//! `[network]` and a grant's `network`: from text to rules that mean one thing each.

mod url;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::limits;
use crate::policy::document::keys;
use crate::policy::document::network::url::{Url, read_url};
use crate::policy::document::secrets::{self, References};
use crate::policy::network::{HOST_HEADERS, HeaderValue, NetworkRule, NetworkSettings, Roots, address, covered_by};
use crate::problem::shown;
use crate::toml_text::{Fields, Node, Place, Reader};

/// Code, message and hint of what is wrong with a value.
type Refusal = (&'static str, String, Option<String>);

fn refusal<T>(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Result<T, Refusal> {
    Err((code, message.into(), Some(hint.into())))
}

/// Reports what was refused.
fn sound<T>(reader: &mut Reader<'_>, place: &Place, result: Result<T, Refusal>) -> Option<T> {
    result.map_err(|(code, message, hint)| reader.report(place, code, message, hint)).ok()
}

/// Reads `[network]`.
pub(super) fn read_settings<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> NetworkSettings {
    let Some(fields) = reader.shaped(node, &keys::NETWORK) else { return NetworkSettings::default() };
    let dns = fields.get("dns").and_then(|node| {
        let text = reader.string(&node)?;
        let server = text.parse::<core::net::SocketAddr>().ok().filter(|server| server.port() != 0);
        if server.is_none() {
            let message = format!("`{}` is no address of a DNS server", shown(text));
            let hint = "write address and port, such as `127.0.0.1:53` or `[::1]:53`".to_owned();
            reader.report(&node.place, "bad-dns", message, Some(hint));
        }
        server
    });
    let roots = fields.get("roots").and_then(|node| {
        if !Reader::is_table(&node) {
            return reader.one_of(&node, &[("mozilla", ())]).map(|()| Roots::Mozilla);
        }
        let fields = reader.shaped(&node, &keys::ROOTS)?;
        let Some(node) = fields.get("file") else {
            let hint = Some("write `\"mozilla\"`, or `{ file = \"/path\" }` for a PEM file".to_owned());
            reader.report(&fields.place, "missing-key", "the table has no `file`", hint);
            return None;
        };
        let position = reader.position_of(&node.place);
        secrets::read_file(reader, &node).map(|path| Roots::File { path, position })
    });
    NetworkSettings { dns, roots: roots.unwrap_or_default() }
}

/// Reads a grant's `network`.
pub(super) fn read_rules<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>, used: &mut References) -> Vec<NetworkRule> {
    let Some(nodes) = reader.array(node, "tables") else { return Vec::new() };
    if nodes.len() > limits::NETWORK_RULES_MAX {
        let message = format!("there are {} rules; at most {} are read", nodes.len(), limits::NETWORK_RULES_MAX);
        reader.report(&node.place, "too-many-rules", message, None);
        return Vec::new();
    }
    let mut rules: Vec<NetworkRule> = Vec::with_capacity(nodes.len());
    // Where the rule of an index was not readable, those after it are not held against it.
    let mut indices: Vec<usize> = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let Some(rule) = read_rule(reader, node, used) else { continue };
        if let Some(earlier) = covered_by(&rules, &rule) {
            let names: Vec<String> =
                earlier.iter().filter_map(|at| indices.get(*at)).map(ToString::to_string).collect();
            let message = format!("rule {index} never applies: rule {} allows all of it first", names.join(" and "));
            let hint = "the first rule that allows a request applies alone: move this one up or remove it".to_owned();
            reader.report(&node.place, "unreachable-rule", message, Some(hint));
        }
        rules.push(rule);
        indices.push(index);
    }
    rules
}

fn read_rule<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>, used: &mut References) -> Option<NetworkRule> {
    let fields = reader.shaped(node, &keys::NETWORK_RULE)?;
    let url = match fields.get("url") {
        None => {
            let hint = Some("write `url = \"https://api.example.com/v1/*\"`".to_owned());
            reader.report(&fields.place, "missing-key", "the rule has no `url`", hint);
            None
        }
        Some(node) => {
            let text = reader.string(&node)?;
            sound(reader, &node.place, read_url(text)).map(|url| (url, node.place))
        }
    };
    let methods = read_methods(reader, &fields);
    let addresses = fields.get("addresses").and_then(|node| read_addresses(reader, &node)).unwrap_or_default();
    let headers = fields.get("headers").map(|node| read_headers(reader, &node, used)).unwrap_or_default();
    let secrets = fields.get("secrets").and_then(|node| {
        let items = read_items(reader, &node, "names of secrets")?;
        Some(items.iter().filter_map(|item| used.read(reader, item)).collect::<BTreeSet<_>>())
    });
    let (Url { scheme, host, address, port, path }, place) = url?;
    if let Some(address) = address
        && let Err(what) = address::check(address, &addresses)
    {
        let range = IpNet::from(address::canonical(address));
        let hint = format!("if the rule shall reach it, add `addresses = [\"{range}\"]`");
        reader.report(&place, "address-not-public", format!("the address `{address}` is {what}"), Some(hint));
    }
    let secrets = secrets.unwrap_or_default();
    Some(NetworkRule { scheme, host, port, path, methods: methods?, addresses, headers, secrets })
}

/// The places that a URL names, as a rule without methods; `None` where it is no URL that a rule can have.
pub(crate) fn places(url: &str) -> Option<NetworkRule> {
    let Url { scheme, host, port, path, .. } = read_url(url).ok()?;
    Some(NetworkRule {
        scheme,
        host,
        port,
        path,
        methods: BTreeSet::new(),
        addresses: Vec::new(),
        headers: BTreeMap::new(),
        secrets: BTreeSet::new(),
    })
}

/// The elements of an array of a rule.
fn read_items<'d, 't>(reader: &mut Reader<'t>, node: &Node<'d, 't>, of: &str) -> Option<Vec<Node<'d, 't>>> {
    let items = reader.array(node, of)?;
    let fault = match items.len() {
        0 => format!("`{}` names nothing", node.place.key()),
        count if count > limits::NETWORK_RULE_ITEMS_MAX => {
            format!("`{}` has {count} entries; at most {} are read", node.place.key(), limits::NETWORK_RULE_ITEMS_MAX)
        }
        _ => return Some(items),
    };
    let code = if items.is_empty() { "empty-list" } else { "too-many-items" };
    reader.report(&node.place, code, fault, None);
    None
}

fn read_methods<'t>(reader: &mut Reader<'t>, fields: &Fields<'_, 't>) -> Option<BTreeSet<String>> {
    let Some(node) = fields.get("methods") else {
        let hint = Some("write `methods = [\"GET\"]`".to_owned());
        reader.report(&fields.place, "missing-key", "the rule has no `methods`", hint);
        return None;
    };
    let items = read_items(reader, &node, "methods")?;
    let mut methods = BTreeSet::new();
    for item in &items {
        let text = reader.string(item)?;
        let method = read_method(text).and_then(|()| {
            if methods.insert(text.to_owned()) {
                return Ok(());
            }
            refusal("duplicate", format!("the method `{text}` is named twice"), "remove one")
        });
        sound(reader, &item.place, method)?;
    }
    Some(methods)
}

fn read_method(text: &str) -> Result<(), Refusal> {
    let bad = |message: String, hint: String| refusal("bad-method", message, hint);
    let name = shown(text);
    if text == "*" {
        return bad("a rule names its methods one by one".to_owned(), "write such as `[\"GET\", \"HEAD\"]`".to_owned());
    }
    if matches!(text, "CONNECT" | "TRACE") {
        // A tunnel would carry what no rule looks at; a trace would send back what was put in at egress.
        return bad(format!("the method `{text}` is never sent"), "remove it".to_owned());
    }
    let is_token = http::Method::from_bytes(text.as_bytes()).is_ok() && text.len() <= limits::NAME_BYTES_MAX;
    if !is_token || text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        let hint = match text.to_ascii_uppercase() {
            upper if http::Method::from_bytes(upper.as_bytes()).is_ok() => format!("write `{upper}`"),
            _ => "write a method's name, such as `GET`".to_owned(),
        };
        return bad(format!("`{name}` is no method"), hint);
    }
    Ok(())
}

fn read_addresses<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Option<Vec<IpNet>> {
    let items = read_items(reader, node, "address ranges")?;
    let mut ranges = Vec::with_capacity(items.len());
    for item in &items {
        let text = reader.string(item)?;
        let range = sound(reader, &item.place, read_range(text))?;
        ranges.push(range);
    }
    Some(ranges)
}

fn read_range(text: &str) -> Result<IpNet, Refusal> {
    let bad = |message: String, hint: String| refusal("bad-address", message, hint);
    let name = shown(text);
    let Ok(range) = text.parse::<IpNet>() else {
        let hint = match text.parse::<core::net::IpAddr>() {
            Ok(address) => format!("write `{}`", IpNet::from(address)),
            Err(_) => "write such as `127.0.0.1/32`, `10.0.0.0/8` or `fd00::/8`".to_owned(),
        };
        return bad(format!("`{name}` is no range of addresses"), hint);
    };
    let canonical = range.trunc();
    if canonical.to_string() != text {
        return bad(format!("the range `{name}` is not in its canonical form"), format!("write `{canonical}`"));
    }
    Ok(canonical)
}

fn read_headers<'t>(
    reader: &mut Reader<'t>,
    node: &Node<'_, 't>,
    used: &mut References,
) -> BTreeMap<String, HeaderValue> {
    let Some(fields) = reader.open_table(node) else { return BTreeMap::new() };
    let mut headers = BTreeMap::new();
    for (name, node) in fields.entries() {
        if headers.len() == limits::NETWORK_RULE_ITEMS_MAX {
            let message = format!("there are more than {} headers", limits::NETWORK_RULE_ITEMS_MAX);
            reader.report(&node.place, "too-many-items", message, None);
            break;
        }
        let lower = name.to_ascii_lowercase();
        let checked = read_header_name(&lower).and_then(|()| {
            if headers.contains_key(&lower) {
                return refusal("duplicate", format!("the header `{lower}` is set twice"), "remove one");
            }
            Ok(())
        });
        let value = read_header_value(reader, &node, used);
        if sound(reader, &node.place, checked).is_some()
            && let Some(value) = value
        {
            headers.insert(lower, value);
        }
    }
    headers
}

fn read_header_name(lower: &str) -> Result<(), Refusal> {
    if http::HeaderName::from_bytes(lower.as_bytes()).is_err() || lower.len() > limits::NAME_BYTES_MAX {
        return refusal("bad-header", format!("`{}` is no name of a header", shown(lower)), "write such as `X-Client`");
    }
    if HOST_HEADERS.contains(&lower) || matches!(lower, "content-length" | "accept-encoding") {
        let hint = "remove it: it follows from the request";
        return refusal("bad-header", format!("the header `{lower}` is set by the host alone"), hint);
    }
    Ok(())
}

fn read_header_value<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>, used: &mut References) -> Option<HeaderValue> {
    if !Reader::is_table(node) {
        let text = reader.string(node)?;
        sound(reader, &node.place, read_header_text(text, text))?;
        return Some(HeaderValue::Text(text.to_owned()));
    }
    let fields = reader.shaped(node, &keys::HEADER)?;
    let prefix = match fields.get("prefix") {
        None => "",
        Some(node) => {
            let text = reader.string(&node)?;
            // A space at its end is what most prefixes have.
            sound(reader, &node.place, read_header_text(text, text.trim_end_matches(' ')))?;
            text
        }
    };
    let Some(node) = fields.get("secret") else {
        let hint = Some("write a text, or `{ secret = \"NAME\" }`".to_owned());
        reader.report(&fields.place, "missing-key", "the table has no `secret`", hint);
        return None;
    };
    Some(HeaderValue::Secret { name: used.read(reader, &node)?, prefix: prefix.to_owned() })
}

fn read_header_text(text: &str, trimmed: &str) -> Result<(), Refusal> {
    let visible = trimmed.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
    if !visible || trimmed != trimmed.trim() || text.len() > limits::REQUEST_HEADER_BYTES_MAX / 4 {
        let hint = "printable ascii, without spaces around it";
        return refusal("bad-header", format!("`{}` is no value of a header", shown(text)), hint);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
