//! `[network]` and a grant's `network`: from text to rules that mean one thing each.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use url::Host;

use crate::limits;
use crate::policy::document::secrets::{self, References};
use crate::policy::network::{
    BadUrl, HOST_HEADERS, HeaderValue, HostPattern, NetworkRule, NetworkSettings, PathPattern, Roots, Scheme, address,
    comparable_path, covered_by, path_fault, read_port, split_authority,
};
use crate::problem::shown;
use crate::toml_text::{Fields, Node, Place, Reader};

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
    let Some(fields) = reader.table(node, &["dns", "roots"], &[]) else { return NetworkSettings::default() };
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
        let fields = reader.table(&node, &["file"], &[])?;
        let Some(node) = fields.get("file") else {
            let hint = Some("write `\"mozilla\"`, or `{ file = \"/path\" }` for a PEM file".to_owned());
            reader.report(&fields.place, "missing-key", "the table has no `file`", hint);
            return None;
        };
        secrets::read_file(reader, &node).map(Roots::File)
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
    let fields = reader.table(node, &["url", "methods", "addresses", "headers", "secrets"], &[])?;
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

struct Url {
    scheme: Scheme,
    host: HostPattern,
    /// The host where it is an address.
    address: Option<core::net::IpAddr>,
    port: u16,
    path: PathPattern,
}

fn read_url(text: &str) -> Result<Url, Refusal> {
    let bad = |message: String, hint: &str| -> Result<Url, Refusal> { refusal("bad-url", message, hint) };
    if text.len() > limits::URL_BYTES_MAX {
        return bad(format!("the url has {} bytes", text.len()), "shorten it");
    }
    let name = shown(text);
    if let Some(odd) = text.chars().find(|c| c.is_whitespace() || c.is_control() || *c == '\\') {
        return bad(
            format!("the url `{name}` holds `{}`", odd.escape_debug()),
            "remove it, or percent-encode it in the path",
        );
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return bad(format!("`{name}` is no url"), "write it in full, such as `https://api.example.com/v1/*`");
    };
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => {
            return bad(format!("the scheme `{}` is neither `http` nor `https`", shown(other)), "write `https://…`");
        }
    };
    if rest.contains('#') {
        return bad(format!("the url `{name}` has a fragment"), "remove it: it is never part of a request");
    }
    if rest.contains('?') {
        return bad(format!("the url `{name}` has a query"), "remove it: rules compare the path, any query may follow");
    }
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len())).unwrap_or((rest, ""));
    if authority.contains('@') {
        let hint = "put them into `[secrets]` and name them in the rule's `headers`";
        // Without the text: it may be shown to others.
        return bad("the url holds credentials".to_owned(), hint);
    }
    let (host, port) = match split_authority(authority) {
        Ok(parts) => parts,
        Err(fault) => return bad(format!("the url `{name}` is refused: {fault}"), "write `https://host/path`"),
    };
    let port = match port.map_or(Ok(scheme.default_port()), read_port) {
        Ok(port) => port,
        Err(_) => return bad(format!("the port of `{name}` is none"), "write a number from 1 to 65535, or no colon"),
    };
    let (host, address) = read_host(host)?;
    Ok(Url { scheme, host, address, port, path: read_path(path)? })
}

fn read_host(text: &str) -> Result<(HostPattern, Option<core::net::IpAddr>), Refusal> {
    let bad = |message: String, hint: String| refusal("bad-host", message, hint);
    let name = shown(text);
    let (base, is_below) = text.strip_prefix("*.").map_or((text, false), |base| (base, true));
    if !base.is_ascii() {
        let hint = match Host::parse(base) {
            Ok(Host::Domain(ascii)) => format!("write it in its ascii form (punycode): `{ascii}`"),
            _ => "write it in its ascii form (punycode)".to_owned(),
        };
        return bad(format!("the host `{name}` has letters beyond ascii"), hint);
    }
    if base.contains('*') {
        return bad(
            format!("the host `{name}` has a star inside"),
            "name each host; a star may stand for the first part alone: `*.example.com`".to_owned(),
        );
    }
    let lower = base.to_ascii_lowercase();
    let parsed = Host::parse(&lower);
    if let Ok(host @ (Host::Ipv4(_) | Host::Ipv6(_))) = &parsed {
        let canonical = host.to_string();
        if is_below {
            return bad(format!("the address `{name}` has no names below it"), format!("write `{canonical}`"));
        }
        if canonical != lower {
            let message = format!("the address `{name}` is not in its canonical form");
            return bad(message, format!("write `{canonical}`"));
        }
        let address = match host {
            Host::Ipv4(address) => core::net::IpAddr::V4(*address),
            Host::Ipv6(address) => core::net::IpAddr::V6(*address),
            Host::Domain(_) => return bad(format!("the host `{name}` is none"), String::new()),
        };
        if let core::net::IpAddr::V6(v6) = address
            && v6.to_ipv4_mapped().is_some()
        {
            let hint = format!("write `{}`", address.to_canonical());
            return bad(format!("the address `{name}` is an ipv4 address in the form of an ipv6 one"), hint);
        }
        return Ok((HostPattern::Exact(canonical), Some(address)));
    }
    if lower.ends_with('.') {
        let hint = format!("write `{}`", text.trim_end_matches('.'));
        return bad(format!("the host `{name}` ends in a dot"), hint);
    }
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    match parsed {
        Ok(Host::Domain(domain)) if domain == lower && lower.len() <= 253 && lower.split('.').all(label) => {
            Ok((if is_below { HostPattern::Below(lower) } else { HostPattern::Exact(lower) }, None))
        }
        _ => bad(format!("`{name}` is no host"), "write a name such as `api.example.com`, or an address".to_owned()),
    }
}

fn read_path(text: &str) -> Result<PathPattern, Refusal> {
    let bad = |message: String, hint: String| refusal("bad-path", message, hint);
    let name = shown(text);
    if text.is_empty() {
        return bad("the url has no path".to_owned(), "end it with `/*` for all paths, or with `/`".to_owned());
    }
    let (path, is_prefix) = text.strip_suffix('*').map_or((text, false), |path| (path, true));
    if path.contains('*') || (is_prefix && !path.ends_with('/')) {
        let hint = "a star stands at the end alone, after a slash: `/v1/*`".to_owned();
        return bad(format!("the path `{name}` has a star inside of a segment"), hint);
    }
    if let Some(fault) = path_fault(path) {
        let hint = match fault {
            BadUrl::Hidden => "such requests are always refused, so that the rule would never apply",
            _ => "write it in its simplest form, percent-encoded where needed",
        };
        return bad(format!("the path `{name}` is refused: {fault}"), hint.to_owned());
    }
    let comparable = comparable_path(path);
    if comparable != path {
        let star = if is_prefix { "*" } else { "" };
        let message = format!("the path `{name}` is not in its simplest form");
        return bad(message, format!("write `{comparable}{star}`"));
    }
    Ok(if is_prefix { PathPattern::Prefix(comparable) } else { PathPattern::Exact(comparable) })
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
    let fields = reader.table(node, &["secret", "prefix"], &[])?;
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
