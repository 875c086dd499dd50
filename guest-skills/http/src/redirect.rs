//! What a redirect asks for (RFC 9110 §15.4).

/// How the next request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// With the same method and body.
    Same,
    /// As a GET without a body.
    Get,
}

/// What follows an answer with this status to a request with this method; nothing where it is no redirect that has a place to go.
/// 300 lets the reader choose, 304 is about a cache, 305 and 306 are no longer used: they are answers.
pub(crate) fn next(status: u16, method: &str) -> Option<Next> {
    match (status, method) {
        (303, "HEAD") => Some(Next::Same),
        (303, _) | (301 | 302, "POST") => Some(Next::Get),
        (301 | 302 | 307 | 308, _) => Some(Next::Same),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        for (status, method, wanted) in [
            (301, "GET", Some(Next::Same)),
            (301, "POST", Some(Next::Get)),
            (302, "POST", Some(Next::Get)),
            (302, "PUT", Some(Next::Same)),
            (303, "PUT", Some(Next::Get)),
            (303, "HEAD", Some(Next::Same)),
            (307, "POST", Some(Next::Same)),
            (308, "DELETE", Some(Next::Same)),
            (300, "GET", None),
            (304, "GET", None),
            (305, "GET", None),
            (200, "GET", None),
        ] {
            assert_eq!(next(status, method), wanted, "{status} {method}");
        }
    }
}
