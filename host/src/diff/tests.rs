use std::convert::Infallible;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn content(text: impl AsRef<[u8]>) -> Content {
    Content::of(text.as_ref().to_vec())
}

fn of(old: &str, new: &str) -> String {
    unified("f", Some(&content(old)), Some(&content(new)))
}

/// What `patch` does: applies a unified diff and checks every line of it. Knows nothing of how diffs are made.
fn patched(old: &str, diff: &str) -> String {
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let (mut out, mut at) = (String::new(), 0);
    let mut lines = diff.split_inclusive('\n').skip(2).peekable();
    let range = |text: &str| {
        let (start, len) = text.split_once(',').unwrap_or((text, "1"));
        let (start, len): (usize, usize) = (start.parse().unwrap(), len.parse().unwrap());
        (if len == 0 { start } else { start - 1 }, len)
    };
    while let Some(head) = lines.next() {
        let mut places = head.strip_prefix("@@ -").unwrap().strip_suffix(" @@\n").unwrap().split(" +");
        let (from, mut old_left) = range(places.next().unwrap());
        let (to, mut new_left) = range(places.next().unwrap());
        out.extend(old[at..from].iter().copied());
        at = from;
        assert_eq!(out.split_inclusive('\n').count(), to, "{diff}");
        while old_left + new_left > 0 {
            let line = lines.next().unwrap();
            let (mark, text) = line.split_at(1);
            let is_last = lines.next_if(|next| next.starts_with('\\')).is_some();
            let text = if is_last { text.strip_suffix('\n').unwrap() } else { text };
            if mark != "+" {
                assert_eq!(old[at], text, "{diff}");
                (at, old_left) = (at + 1, old_left - 1);
            }
            if mark != "-" {
                out.push_str(text);
                new_left -= 1;
            }
        }
    }
    out.extend(old[at..].iter().copied());
    out
}

#[test]
fn a_diff_has_the_form_that_everybody_knows() {
    let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n";
    let new = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n11\n12\n13";
    assert_eq!(
        of(old, new),
        "--- f\n+++ f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n@@ -10,3 +10,4 @@\n 10\n 11\n 12\n+13\n\\ No \
         newline at end of file\n"
    );
    assert_eq!(of("a\n", "a\n"), "");
    assert_eq!(of("a\n", "a"), "--- f\n+++ f\n@@ -1 +1 @@\n-a\n+a\n\\ No newline at end of file\n");
    assert_eq!(of("", "a\n"), "--- f\n+++ f\n@@ -0,0 +1 @@\n+a\n");
    assert_eq!(unified("f", None, Some(&content("a\n"))), "--- /dev/null\n+++ f\n@@ -0,0 +1 @@\n+a\n");
    assert_eq!(unified("f", Some(&content("a\n")), None), "--- f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n");
    assert_eq!(unified("f", None, Some(&content(""))), "--- /dev/null\n+++ f\n");
    assert_eq!(unified("f", None, None), "");
}

#[test]
fn what_is_no_text_is_told_by_length_and_digest() {
    for bytes in [&b"a\0b"[..], &b"\xff\xfe"[..]] {
        let text = unified("f", Some(&content(bytes)), Some(&content("a\n")));
        let (was, is) = (Digest::of(bytes), Digest::of(b"a\n"));
        let expected =
            format!("contents of f are not compared: {} bytes, sha256 {was} -> 2 bytes, sha256 {is}\n", bytes.len());
        assert_eq!(text, expected);
    }
}

#[test]
fn a_long_file_is_told_by_length_and_digest() {
    let fits = "x".repeat(limits::DIFF_INPUT_BYTES_MAX);
    assert!(content(&fits).bytes.is_some());
    let long = content(format!("{fits}x"));
    assert_eq!((long.len, &long.bytes), (1_048_577, &None));
    let text = unified("f", None, Some(&long));
    assert_eq!(text, format!("contents of f are not compared: nothing -> 1048577 bytes, sha256 {}\n", long.digest));
}

#[test]
fn a_long_diff_is_cut_at_a_line() {
    let new: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
    let text = of("", &new);
    assert!(text.len() < limits::DIFF_OUTPUT_BYTES_MAX + 100, "{}", text.len());
    let shown = text.lines().filter(|line| line.starts_with("+line ")).count();
    assert!(shown > 4_000, "{shown}");
    let last = format!("\n… {} more lines of this diff\n", 20_000 - shown);
    assert!(text.ends_with(&last), "{:?}", text.lines().last());
}

#[test]
fn what_would_take_too_long_is_one_change() {
    let side = |name: &str| -> String {
        let middle: String = (0..20_000).map(|line| format!("{name}{}\n", line * 7 % 1_000)).collect();
        format!("first\n{middle}last\n")
    };
    let (old, new) = (side("a"), side("b"));
    let (old, new) = (lines(&old), lines(&new));
    assert_eq!(
        operations(&old, &new).0,
        [
            DiffOp::Equal { old_index: 0, new_index: 0, len: 1 },
            DiffOp::Replace { old_index: 1, old_len: 20_000, new_index: 1, new_len: 20_000 },
            DiffOp::Equal { old_index: 20_001, new_index: 20_001, len: 1 },
        ]
    );
}

fn text() -> impl Strategy<Value = String> {
    // Few different lines, so that many are equal; some texts end without a line feed.
    (proptest::collection::vec("[ab]{0,1}|-+ @|\r|é", 0..40), any::<bool>()).prop_map(|(lines, ends)| {
        let text = lines.join("\n");
        if ends && !text.is_empty() { text + "\n" } else { text }
    })
}

proptest! {
    #[test]
    fn a_diff_makes_the_new_text_of_the_old_one(old in text(), new in text()) {
        prop_assert_eq!(patched(&old, &of(&old, &new)), new);
    }
}

fn node(kind: Kind, mode: u32) -> Node {
    Node { kind, mode }
}

fn tree(entries: &[(&str, Node)]) -> Tree {
    entries.iter().map(|(path, node)| (PathBuf::from(path), node.clone())).collect()
}

#[test]
fn trees_are_compared_path_by_path() {
    let link = |target: &str| Kind::Symlink { target: target.into() };
    let before = tree(&[
        ("a", node(Kind::Folder, 0o755)),
        ("a/gone", node(Kind::File, 0o644)),
        ("a/same", node(Kind::File, 0o644)),
        ("b", node(Kind::File, 0o644)),
        ("c", node(Kind::File, 0o644)),
        ("l", node(link("a"), 0o777)),
        ("m", node(Kind::File, 0o644)),
        ("n", node(link("a"), 0o777)),
    ]);
    let after = tree(&[
        ("a", node(Kind::Folder, 0o755)),
        ("a/new", node(Kind::Folder, 0o755)),
        ("a/same", node(Kind::File, 0o644)),
        ("b", node(Kind::File, 0o600)),
        ("c", node(Kind::Folder, 0o755)),
        ("l", node(link("b"), 0o777)),
        ("m", node(Kind::File, 0o755)),
        ("n", node(link("a"), 0o700)),
    ]);
    let diff = TreeDiff::between(&before, &after, |path| Ok::<_, Infallible>(path != std::path::Path::new("b")));
    let diff = diff.unwrap();
    let told: Vec<_> = diff.changes.iter().map(|change| (change.path.to_str().unwrap(), change.what.name())).collect();
    assert_eq!(
        told,
        [
            ("a/gone", "removed"),
            ("a/new", "created"),
            ("b", "modified"),
            ("c", "replaced"),
            ("l", "modified"),
            ("m", "mode")
        ]
    );
    let line = |change: &TreeChange| {
        let TreeChange { path, what, before, after } = change.clone();
        Change { path: path.display().to_string(), what, before, after, diff: String::new() }.line()
    };
    assert_eq!(
        diff.changes.iter().map(line).collect::<Vec<_>>(),
        [
            "removed file a/gone",
            "created folder a/new",
            "modified file b (mode 0644 -> 0600)",
            "replaced file c by a folder (mode 0644 -> 0755)",
            "modified symlink l -> b",
            "changed mode of file m (mode 0644 -> 0755)",
        ]
    );
}

#[test]
fn what_is_more_than_anybody_reads_is_counted() {
    let many: Tree = (0..limits::DIFF_CHANGES_MAX + 3)
        .map(|index| (PathBuf::from(format!("{index:06}")), node(Kind::File, 0o644)))
        .collect();
    let diff = TreeDiff::between(&many, &Tree::new(), |_| Ok::<_, Infallible>(true)).unwrap();
    assert_eq!((diff.changes.len(), diff.more), (limits::DIFF_CHANGES_MAX, 3));
    let change = |name: &str| Change {
        path: name.to_owned(),
        what: What::Removed,
        before: None,
        after: None,
        diff: String::new(),
    };
    let mut all = Changes { list: vec![change("a"); limits::DIFF_CHANGES_MAX - 1], ..Changes::default() };
    all.append(Changes { list: vec![change("b"); 3], more: 4, notices: vec!["n".to_owned()] });
    assert_eq!((all.list.len(), all.more, all.notices.len()), (limits::DIFF_CHANGES_MAX, 6, 1));
    assert_eq!(all.list.last().unwrap().path, "b");
}
