//! Guest paths as text: absolute, without `.`, `..` and empty parts.

/// `path` below `base`, with `.` and `..` applied as text. A path that leads above the root stays at it.
pub(crate) fn join(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// What leads from `folder` to `path`: empty where they are the same, `None` where `path` is not below it.
pub(crate) fn below<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(folder.trim_end_matches('/'))?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
}

/// The folder that a path is in.
pub(crate) fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

/// The deepest folder that both lie in or are.
pub(crate) fn common(one: &str, two: &str) -> String {
    let shared: Vec<&str> = one
        .split('/')
        .zip(two.split('/'))
        .take_while(|(a, b)| a == b)
        .map(|(part, _)| part)
        .filter(|part| !part.is_empty())
        .collect();
    format!("/{}", shared.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_text() {
        assert_eq!(join("/data", "a/./b//c"), "/data/a/b/c");
        assert_eq!(join("/data", "../etc"), "/etc");
        assert_eq!(join("/data", "../../.."), "/");
        assert_eq!(join("/", "."), "/");
        assert_eq!(below("/data/a", "/data"), Some("a"));
        assert_eq!(below("/data", "/data"), Some(""));
        assert_eq!(below("/database", "/data"), None);
        assert_eq!(below("/a", "/"), Some("a"));
        assert_eq!((parent("/a/b"), parent("/a"), parent("/")), ("/a", "/", "/"));
        assert_eq!(common("/a/b/c", "/a/b/d"), "/a/b");
        assert_eq!(common("/a/b", "/a/b/d"), "/a/b");
        assert_eq!(common("/ab", "/a"), "/");
    }
}
