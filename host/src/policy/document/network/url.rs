//! The URL of a rule: one place, or a pattern of places, spelled in one way only.

use ::url::Host;

use crate::limits;
use crate::policy::document::network::{Refusal, refusal};
use crate::policy::network::{
    BadUrl, HostPattern, PathPattern, Scheme, comparable_path, path_fault, read_port, split_authority,
};
use crate::problem::shown;

/// A rule's `url`, taken apart.
pub(super) struct Url {
    pub(super) scheme: Scheme,
    pub(super) host: HostPattern,
    /// The host where it is an address.
    pub(super) address: Option<core::net::IpAddr>,
    pub(super) port: u16,
    pub(super) path: PathPattern,
}

/// Reads a rule's `url`. Nothing of it is corrected: what could mislead a reader is refused.
pub(super) fn read_url(text: &str) -> Result<Url, Refusal> {
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
