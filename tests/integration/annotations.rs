//! What the policy says of a tool holds: a hostile writer under a grant that is called read-only changes nothing.

use host_tests::{TestHost, policy, repo, tree};
use skillhost::policy::{Hints, Policy};
use skillhost::skill::Annotations;

/// One grant of each kind: its lines, and whether it lets a tool write somewhere.
fn grants() -> Vec<(String, bool)> {
    let folder = |at: &str, access: &str| {
        format!("{{ host = \"{{workspace}}/{at}\", guest = \"/{at}\", access = \"{access}\" }}")
    };
    let other = "clocks = \"real\"\nrandom = \"real\"\nenv = { HOME = \"/a\" }\n";
    let (ro_a, ro_b) = (folder("a", "read-only"), folder("b", "read-only"));
    let (rw_a, rw_b) = (folder("a", "read-write"), folder("b", "read-write"));
    let mut grants = Vec::new();
    for lines in ["", other] {
        grants.push((lines.to_owned(), false));
        grants.push((format!("{lines}filesystem = [{ro_a}]"), false));
        grants.push((format!("{lines}filesystem = [{ro_a}, {ro_b}]"), false));
        grants.push((format!("{lines}filesystem = [{ro_a}, {rw_b}]"), true));
        grants.push((format!("{lines}filesystem = [{rw_a}]"), true));
    }
    grants
}

/// Everything that `probe` can do to a folder, by every way of spelling the way there.
fn attacks() -> Vec<Vec<String>> {
    let mut attacks = Vec::new();
    for at in ["/a", "/b", "/b/../a", "/a/sub/..", "../b"] {
        let file = format!("{at}/file");
        let new = format!("{at}/new");
        for attack in [
            &["write", &file, "x"][..],
            &["write", &new, "x"],
            &["append", &file, "x"],
            &["rename", &file, &new],
            &["remove", &file],
            &["mkdir", &new],
            &["rmdir", &format!("{at}/empty")],
            &["symlink", "file", &new],
            &["hardlink", &file, &new],
            &["set-size", &file, "0"],
            &["set-times", &file, "1"],
        ] {
            attacks.push(attack.iter().map(|arg| (*arg).to_owned()).collect());
        }
    }
    attacks
}

#[test]
fn under_a_read_only_grant_a_hostile_writer_changes_nothing() {
    // A manifest that lies in each direction changes neither the hint nor what holds.
    let says =
        |read_only| Annotations { read_only, destructive: !read_only, idempotent: true, ..Annotations::default() };
    for (lines, may_write) in grants() {
        let text = policy("", &lines);
        let grant = &Policy::parse(&text).expect("a policy").grants[0];
        for read_only in [false, true] {
            assert_eq!(Hints::enforced(grant, &says(read_only)).read_only, !may_write, "{lines}");
        }
        let host = TestHost::with(&text, &[("probe", &repo::component("probe"))]);
        for at in ["a", "b"] {
            host.write(&format!("{at}/file"), "victim");
            std::fs::create_dir_all(host.workspace().join(at).join("empty")).expect("a folder");
            std::fs::create_dir_all(host.workspace().join(at).join("sub")).expect("a folder");
        }
        let before = tree::read(&host.workspace());
        for attack in attacks() {
            let args: Vec<&str> = attack.iter().map(String::as_str).collect();
            host.probed(&args);
            let is_changed = tree::read(&host.workspace()) != before;
            assert!(may_write || !is_changed, "{attack:?} under {lines}");
            if is_changed {
                break;
            }
        }
        assert_eq!(tree::read(&host.workspace()) != before, may_write, "the attacks are real: {lines}");
    }
}
