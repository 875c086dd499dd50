//! The place that a request is for, taken apart so that it can mean one thing only.

use std::fmt;

use http::Uri;
use url::Host;

use crate::limits;
use crate::policy::network::Scheme;

/// Scheme, host, port and path of a request, in the form in which rules are compared with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    scheme: Scheme,
    host: Host<String>,
    host_text: String,
    port: u16,
    path: String,
}

/// Why a URL is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message says what each is")]
pub enum BadUrl {
    #[error("it is longer than {} bytes", limits::URL_BYTES_MAX)]
    TooLong,
    #[error("its scheme is neither http nor https")]
    Scheme,
    #[error("it names no host")]
    NoHost,
    #[error("it holds a user name or password")]
    Credentials,
    #[error("its host is neither a name nor an address")]
    Host,
    #[error("its port is not a number from 1 to 65535")]
    Port,
    #[error("its path does not begin with a slash")]
    NoSlash,
    #[error("its path holds a character that must be percent-encoded")]
    Character,
    #[error("its path holds a percent sign without two hexadecimal digits")]
    Percent,
    #[error("its path has `.` or `..` as a segment")]
    DotSegment,
    #[error("its path has an empty segment")]
    EmptySegment,
    #[error("its path holds an encoded slash, backslash or control character")]
    Hidden,
    #[error("its path is percent-encoded more than {} times", limits::PATH_DECODINGS_MAX)]
    TooDeep,
}

impl Target {
    /// The place that `uri` means.
    ///
    /// # Errors
    ///
    /// [`BadUrl`] where it means none, or could mean several.
    pub fn of(uri: &Uri) -> Result<Self, BadUrl> {
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(BadUrl::Scheme),
        };
        let authority = uri.authority().ok_or(BadUrl::NoHost)?.as_str();
        let path_and_query = uri.path_and_query().map_or(0, |text| text.as_str().len());
        if authority.len().saturating_add(path_and_query) > limits::URL_BYTES_MAX {
            return Err(BadUrl::TooLong);
        }
        if authority.contains('@') {
            return Err(BadUrl::Credentials);
        }
        let (host, port) = split_authority(authority)?;
        let port = port.map_or(Ok(scheme.default_port()), read_port)?;
        // The reading of the WHATWG, which browsers share with the system's resolver: `0x7f.1`, `2130706433` and `127.1` are addresses.
        let host = Host::parse(host).map_err(|_| BadUrl::Host)?;
        if matches!(&host, Host::Domain(name) if name.is_empty()) {
            return Err(BadUrl::NoHost);
        }
        let path = match uri.path() {
            "" => "/",
            path => path,
        };
        if let Some(fault) = path_fault(path) {
            return Err(fault);
        }
        Ok(Self { scheme, host_text: host.to_string(), host, port, path: comparable_path(path) })
    }

    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host: a name in lower case, or an address in its canonical form, IPv6 in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host_text
    }

    /// The host taken apart.
    #[must_use]
    pub const fn parsed_host(&self) -> &Host<String> {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The path in its comparable form.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What stands in the `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host_text.clone()
        } else {
            format!("{}:{}", self.host_text, self.port)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.name(), self.authority(), self.path)
    }
}

/// Host and port of an authority without user information.
pub(crate) fn split_authority(authority: &str) -> Result<(&str, Option<&str>), BadUrl> {
    let (host, rest) = if authority.starts_with('[') {
        let end = authority.find(']').ok_or(BadUrl::Host)?;
        authority.split_at_checked(end.saturating_add(1)).ok_or(BadUrl::Host)?
    } else {
        let end = authority.find(':').unwrap_or(authority.len());
        authority.split_at_checked(end).ok_or(BadUrl::Host)?
    };
    if host.is_empty() {
        return Err(BadUrl::NoHost);
    }
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(BadUrl::Host),
    }
}

/// A port as digits alone: `u16::from_str` would take a sign.
pub(crate) fn read_port(text: &str) -> Result<u16, BadUrl> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = if digits { text.parse().ok() } else { None };
    port.filter(|port| *port != 0).ok_or(BadUrl::Port)
}

/// What is wrong with a path: anything by which it could mean another place than its text says.
pub(crate) fn path_fault(path: &str) -> Option<BadUrl> {
    if !path.starts_with('/') {
        return Some(BadUrl::NoSlash);
    }
    if !path.bytes().all(is_path_byte) {
        return Some(BadUrl::Character);
    }
    if path.contains("//") {
        return Some(BadUrl::EmptySegment);
    }
    let mut bytes = path.as_bytes().to_vec();
    for depth in 0..=limits::PATH_DECODINGS_MAX {
        if bytes.split(|byte| *byte == b'/').any(is_dot_segment) {
            return Some(BadUrl::DotSegment);
        }
        let (decoded, escapes) = match decode(&bytes, depth == 0) {
            Ok(decoded) => decoded,
            Err(fault) => return Some(fault),
        };
        if escapes == 0 {
            return None;
        }
        bytes = decoded;
    }
    Some(BadUrl::TooDeep)
}

/// Whether a segment, or one of its parts between semicolons, is `.` or `..`: some servers cut parameters off before they resolve the
/// dots, and some take a semicolon for a slash.
fn is_dot_segment(segment: &[u8]) -> bool {
    segment.split(|byte| *byte == b';').any(|part| matches!(part, b"." | b".."))
}

/// One percent-decoding, and how many escapes there were. A lone percent sign is a fault in what was sent and a plain one further in.
fn decode(bytes: &[u8], is_outermost: bool) -> Result<(Vec<u8>, usize), BadUrl> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut escapes = 0_usize;
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        match escape(after) {
            Some((b'/' | b'\\' | 0..=0x1f | 0x7f, _)) => return Err(BadUrl::Hidden),
            Some((byte, after)) => {
                decoded.push(byte);
                escapes += 1;
                rest = after;
            }
            None if is_outermost => return Err(BadUrl::Percent),
            None => decoded.push(b'%'),
        }
    }
    Ok((decoded, escapes))
}

/// The byte that two hexadecimal digits mean, and what follows them.
fn escape(after: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], rest) = after.split_first_chunk::<2>()?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(((digit(*high)? << 4) | digit(*low)?, rest))
}

/// A sound path in the form in which two spellings of one path are the same (RFC 3986, 6.2.2): escapes in upper case, none for characters
/// that need none.
pub(crate) fn comparable_path(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, escape(after)) {
            (b'%', Some((byte, after))) => {
                rest = after;
                if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                    text.push(char::from(byte));
                } else {
                    text.push('%');
                    for nibble in [byte >> 4, byte & 15] {
                        text.extend(char::from_digit(u32::from(nibble), 16).map(|digit| digit.to_ascii_uppercase()));
                    }
                }
            }
            _ => text.push(char::from(*first)),
        }
    }
    text
}

/// What may stand in a path (RFC 3986 `pchar`, slash and percent sign).
const fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
                | b'/'
                | b'%'
        )
}
