//! Who compiles, what is kept of it, and what of that is used: the program as its user and as somebody else leaves things lying around.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use host_tests::bombs;

use crate::program::{Ended, Program};

const CALL: [&str; 6] =
    ["call", "text.split", "--policy", "policy.toml", "--input", r#"{"text": "a,b", "pattern": ","}"#];
const POLICY: &str = "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"text\"]\ntools = [\"split\"]\n";

/// A program with a policy and a cache of its own, which is empty.
fn program() -> (Program, PathBuf) {
    let program = Program::new();
    program.write("policy.toml", POLICY);
    let cache = program.home("own-cache");
    (program, cache)
}

/// Calls a tool with this cache and says whether anything was said of it.
fn called(program: &Program, cache: &Path) -> String {
    let ended = program.run_with(&[("XDG_CACHE_HOME", cache.to_str().unwrap())], &[&CALL[..], &["--verbose"]].concat());
    assert_eq!((ended.code, ended.stdout.trim()), (0, "[\n  \"a\",\n  \"b\"\n]"), "{}", ended.all());
    let said = ended.stderr.lines().filter(|line| line.contains("compiled") || line.contains("cache of"));
    said.collect::<Vec<_>>().join("\n")
}

fn entry(cache: &Path) -> PathBuf {
    let mut files = fs::read_dir(cache.join("skillhost/code")).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|ending| ending == "code")).unwrap()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn what_this_user_has_not_compiled_is_compiled_again_and_verbose_says_so() {
    let (program, cache) = program();
    assert_eq!(called(&program, &cache), "");
    assert_eq!(called(&program, &cache), "");
    // A changed entry.
    let path = entry(&cache);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let said = called(&program, &cache);
    assert!(said.contains("the component is compiled again: it is not signed with the key of this cache"), "{said}");
    assert_eq!(called(&program, &cache), "");
    // A cache that came with a folder, key and all.
    let shipped = program.home("shipped");
    fs::create_dir_all(shipped.join("skillhost/code")).unwrap();
    for file in [cache.join("skillhost/code/key"), entry(&cache)] {
        let copy = shipped.join("skillhost/code").join(file.file_name().unwrap());
        fs::copy(&file, &copy).unwrap();
        fs::set_permissions(copy, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let said = called(&program, &shipped);
    assert!(said.contains("it was not made here but copied"), "{said}");
    // One that others may write.
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    let said = called(&program, &cache);
    assert!(said.contains("other users may write `"), "{said}");
    if is_root() {
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).unwrap();
        chown(cache.join("skillhost/code"), Some(1000), Some(1000)).unwrap();
        let said = called(&program, &cache);
        assert!(said.contains("belongs to the user 1000"), "{said}");
    }
}

/// What a container's image has: root compiled it, somebody else reads it.
#[test]
fn a_cache_that_root_made_serves_others_who_cannot_change_it() {
    if !is_root() {
        // Only root can make one.
        return;
    }
    let (program, cache) = program();
    assert_eq!(called(&program, &cache), "");
    for path in
        [program.path(""), program.home(""), cache.clone(), cache.join("skillhost"), cache.join("skillhost/code")]
    {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for path in [cache.join("skillhost/code/key"), entry(&cache)] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    // Where others can start it.
    let host = program.path("host");
    fs::copy(env!("CARGO_BIN_EXE_host-under-test"), &host).unwrap();
    fs::create_dir(program.path("state")).unwrap();
    chown(program.path("state"), Some(1000), Some(1000)).unwrap();
    let as_other = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "1000", "--regid", "1000", "--clear-groups"]).arg(&host).args(CALL);
        command.args(["--verbose", "--state", "state"]).env_clear().env("XDG_CACHE_HOME", &cache);
        let output =
            command.current_dir(program.path("")).stdin(Stdio::null()).output().expect("setpriv of util-linux");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        stderr.lines().filter(|line| line.contains("compiled")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(as_other(), "");
    let before = fs::metadata(entry(&cache)).unwrap().modified().unwrap();
    fs::write(entry(&cache), b"forged").unwrap();
    let said = as_other();
    assert!(said.contains("compiled again: it is cut off") && said.contains("cannot be kept"), "{said}");
    assert_eq!(fs::read(entry(&cache)).unwrap(), b"forged");
    assert!(fs::metadata(entry(&cache)).unwrap().modified().unwrap() >= before);
    // For root itself a key that others can read is none.
    let said = called(&program, &cache);
    assert!(said.contains("other users may read it"), "{said}");
}

#[test]
fn what_costs_a_compiler_too_much_is_an_outcome() {
    let (program, cache) = program();
    let cache = [("XDG_CACHE_HOME", cache.to_str().unwrap())];
    let inspect = |bomb: &bombs::Bomb| -> Ended {
        program.write("bomb.wasm", (bomb.build)());
        program.run_with(&cache, &["inspect", "bomb.wasm"])
    };
    for bomb in bombs::REFUSED {
        let ended = inspect(bomb);
        assert_eq!(ended.code, 3, "{}: {}", bomb.name, ended.all());
        assert!(ended.stderr.contains("the component is too complex: "), "{}: {}", bomb.name, ended.all());
    }
    for bomb in bombs::BOUNDED {
        let ended = inspect(bomb);
        assert!(
            ended.code == 0 || ended.stderr.contains("too complex") || ended.stderr.contains("the compiler failed"),
            "{}: {}",
            bomb.name,
            ended.all()
        );
    }
}

#[test]
fn nobody_takes_the_compiler_for_a_command() {
    let program = Program::new();
    let argument = "--compile-for-the-process-that-started-me/1";
    // Without an order on stdin it says so and ends.
    let ended = program.run(&[argument]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{}", ended.all());
    let ended =
        program.piped(&[argument], "{\"parent\":1,\"memory_bytes\":1,\"cpu_s\":1,\"guarded\":true,\"bytes\":0}\n");
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.stderr.contains("is gone"), "{}", ended.all());
    // As a part of a command line it is what it looks like: an option that there is not.
    for args in [&["call", argument][..], &[argument, "--json"], &["--json", argument]] {
        let ended = program.run(args);
        assert_eq!(ended.code, 2, "{}", ended.all());
    }
    assert!(!program.run(&["--help"]).stdout.contains("compile-for"));
}

/// As under `ulimit -v`, under valgrind, and wherever else address space is limited.
#[test]
fn little_address_space_is_enough_for_small_guests() {
    let program = Program::new();
    program.write("policy.toml", POLICY);
    let line = "ulimit -v 4000000; exec \"$HOST\" call text.split --policy policy.toml --verbose --input '{\"text\": \"a,b\", \"pattern\": \",\"}'";
    let ended = program.shell(line);
    assert_eq!((ended.code, ended.stdout.trim()), (0, "[\n  \"a\",\n  \"b\"\n]"), "{}", ended.all());
    assert!(ended.stderr.contains("too little address space for a pool"), "{}", ended.all());
    let head = |ended: &Ended| ended.stderr.lines().find(|line| line.contains("head")).map(str::to_owned);
    let usual = program.shell(&line.replace("ulimit -v 4000000; ", ""));
    assert!(!usual.stderr.contains("address space"), "{}", usual.all());
    assert_eq!(head(&ended), head(&usual));
}
