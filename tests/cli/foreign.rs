//! Somebody else's folder: whatever lies where a file of a run should be, no command waits for it, follows it, or takes it for nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::program::Program;

const STATE: [&str; 2] = ["--state", ".skillhost"];

/// A run with blobs, a component and a journal, and its folder.
fn program() -> (Program, PathBuf) {
    let program = Program::new();
    let policy = "schema = \"skillhost.policy/1\"\n[limits]\nfuel = 9007199254740991\ndeadline_ms = 86400000\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n\
        filesystem = [ { host = \"{workspace}\", guest = \"/workspace\", access = \"read-write\" } ]\n";
    program.write("policies/default.toml", policy).write("workspace/a.txt", "text ".repeat(10_000));
    let plan = json!({"schema": "skillhost.plan/1", "name": "p", "steps": [
        {"id": "r", "tool": "files.read-text", "input": {"path": "/workspace/a.txt"}},
        {"id": "w", "tool": "files.write-text", "depends_on": ["r"],
            "input": {"path": "/workspace/a.txt", "text": "{{steps.r}} {{steps.r}}"}},
    ]});
    program.write("plan.json", plan.to_string());
    assert_eq!(run(&program, &["run", "plan.json"]).code, 0);
    let runs = fs::read_dir(program.path(".skillhost/runs")).unwrap();
    let folder = runs.map(|run| run.unwrap().path()).max().unwrap();
    (program, folder)
}

fn run(program: &Program, args: &[&str]) -> crate::program::Ended {
    // By its whole path: one that any folder can have is bounded.
    let policy = program.path("policies/default.toml").display().to_string();
    program.run_with(&[("HOST_POLICY", &policy)], &[&STATE[..], args].concat())
}

/// All files below a folder, relative to it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path.strip_prefix(folder).unwrap().to_owned()) }
        }
    }
    found.sort();
    found
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("`mkfifo` of coreutils").success());
}

/// Puts something in a file's place for as long as `act` takes.
fn instead(path: &Path, put: impl FnOnce(&Path), act: impl FnOnce()) {
    let aside = path.with_extension("aside");
    fs::rename(path, &aside).unwrap();
    put(path);
    act();
    fs::remove_file(path).unwrap();
    fs::rename(&aside, path).unwrap();
}

#[test]
fn a_replay_reads_nothing_but_files_of_the_folder() {
    let (program, folder) = program();
    let copy = program.path("theirs");
    assert!(Command::new("cp").arg("-a").arg(&folder).arg(&copy).status().unwrap().success());
    assert_eq!(run(&program, &["replay", "theirs"]).code, 0);
    let read = |file: &Path| {
        let name = file.to_string_lossy();
        ["trace.jsonl", "plan.json", "policy.toml"].contains(&&*name)
            || name.starts_with("blobs/")
            || name.starts_with("components/")
    };
    let all = files(&copy);
    assert!(
        ["blobs/", "components/", "journal/"]
            .iter()
            .all(|folder| { all.iter().any(|file| file.to_string_lossy().starts_with(folder)) })
    );
    for file in &all {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let elsewhere = program.path("elsewhere");
        fs::copy(copy.join(file), &elsewhere).unwrap();
        let link = |path: &Path| std::os::unix::fs::symlink(&elsewhere, path).unwrap();
        for put in [&pipe as &dyn Fn(&Path), &link] {
            instead(&copy.join(file), put, || {
                for args in [&["replay", "theirs"][..], &["trace", "verify", "theirs"], &["trace", "show", "theirs"]] {
                    let ended = run(&program, args);
                    if args[0] == "replay" && read(file) {
                        assert_ne!(ended.code, 0, "{}: {}", file.display(), ended.all());
                        assert!(ended.stderr.contains(&name), "{}: {}", file.display(), ended.all());
                    }
                }
            });
        }
        fs::remove_file(elsewhere).unwrap();
    }
    // A link in place of a folder leads out of it as well.
    fs::rename(copy.join("blobs"), program.path("their-blobs")).unwrap();
    std::os::unix::fs::symlink("../their-blobs", copy.join("blobs")).unwrap();
    let ended = run(&program, &["replay", "theirs"]);
    assert!(ended.code == 20 && ended.stderr.contains("a symbolic link, not a folder"), "{}", ended.all());
}

#[test]
fn a_strangers_record_is_replayed_under_ones_own_limits() {
    let (program, folder) = program();
    let copy = program.path("theirs");
    assert!(Command::new("cp").arg("-a").arg(&folder).arg(&copy).status().unwrap().success());
    // What it says of its own limits is nothing that counts: the step had a day and 2^53 fuel.
    assert!(fs::read_to_string(copy.join("policy.toml")).unwrap().contains("fuel = 9007199254740991"));
    assert_eq!(run(&program, &["replay", "theirs"]).code, 0);
    let ended = run(&program, &["replay", "theirs", "--limit", "fuel=50000"]);
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(ended.stderr.contains("step `r` takes more than this replay gives it: fuel 50000"), "{}", ended.all());
    assert!(ended.stderr.contains("`--limit fuel=500000` raises this one"), "{}", ended.all());
    // One's own run had them from one's own policy.
    for own in ["last".to_owned(), folder.display().to_string()] {
        assert_eq!(run(&program, &["replay", &own, "--limit", "fuel=50000"]).code, 0);
    }
    assert_eq!(run(&program, &["replay", "theirs", "--limit", "fuel"]).code, 2);
    assert_eq!(run(&program, &["replay", "theirs", "--limit", "time=1"]).code, 2);
}

#[test]
fn no_command_waits_for_what_is_no_file() {
    let (program, folder) = program();
    let in_run = ["trace.jsonl", "lock", "place.json", "plan.json", "policy.toml"].map(|name| folder.join(name));
    let in_state = [program.path(".skillhost/host.db")];
    let journal = files(&folder.join("journal")).into_iter().map(|file| folder.join("journal").join(file));
    for file in in_run.into_iter().chain(in_state).chain(journal) {
        assert!(file.is_file(), "{}", file.display());
        instead(&file, pipe, || {
            for args in [
                &["runs"][..],
                &["dashboard"],
                &["history"],
                &["gc", "--dry-run"],
                &["recover"],
                &["undo"],
                &["rollback", "last"],
                &["resume", "last"],
                &["audit", "export"],
                &["trace", "diff", "last", "last"],
            ] {
                // That it ends is what is asked for; what it says differs.
                run(&program, args);
            }
        });
    }
}
