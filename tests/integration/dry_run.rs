//! A dry run does everything that a run does, and nothing of it stays.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use host_tests::test_host::Run;
use host_tests::{TestHost, plan, repo, step};
use serde_json::{Value, json};
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::policy::{ApprovalAnswer, ApprovalRequest, Preview};
use skillhost::report::{DryRun, Report, json as report_json};
use skillhost::{Error, RunOptions};

const READS: &str = "files.read-text";
const WRITES: &str = "files.write-text";

fn options() -> RunOptions {
    RunOptions { dry_run: true, ..RunOptions::default() }
}

fn host() -> TestHost {
    let host = TestHost::new(&repo::text("policies/default.toml"));
    host.write("in.csv", "a,b\n1,2\n");
    host.write("sub/old.txt", "one\ntwo\n");
    host
}

/// Everything that can be seen of a folder but who looked at it when: contents, kinds, modes, times, inodes.
fn digest(folder: &Path) -> Vec<String> {
    let (mut found, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(at) = waiting.pop() {
        let meta = std::fs::symlink_metadata(&at).unwrap();
        let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        found.push(format!("{at:?} {:o} {} {} {times:?}", meta.mode(), meta.ino(), meta.nlink()));
        if meta.is_dir() {
            waiting.extend(std::fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path()));
        } else if meta.is_file() {
            found.push(format!("{:?}", std::fs::read(&at).unwrap()));
        }
    }
    found.sort();
    found
}

fn rehearse(host: &TestHost, plan: &Value) -> Report {
    rehearse_with(host, plan, &options())
}

/// Rehearses a plan, after which everything has to be as before.
fn rehearse_with(host: &TestHost, plan: &Value, options: &RunOptions) -> Report {
    let before = digest(&host.workspace());
    let report = host.host.run(&host.document(plan), options).unwrap();
    assert_eq!(digest(&host.workspace()), before);
    assert_eq!(host.host.store().list(10).unwrap(), []);
    assert!(!host.state().join("host.db").exists());
    let copies = std::fs::read_dir(host.state().join("scratch")).unwrap();
    let copies: Vec<_> = copies.map(|entry| entry.unwrap()).filter(|entry| entry.path().is_dir()).collect();
    assert!(copies.is_empty(), "{copies:?}");
    assert_eq!((report.run.as_str(), report.folder.as_path()), ("", Path::new("")));
    report
}

fn dry(report: &Report) -> &DryRun {
    report.dry_run.as_ref().unwrap_or_else(|| panic!("{report:#?}"))
}

fn told(host: &TestHost, report: &Report) -> Vec<String> {
    let workspace = format!("{}/", host.workspace().display());
    dry(report).changes.list.iter().map(|change| change.line().replace(&workspace, "")).collect()
}

#[test]
fn steps_really_run_and_see_what_those_before_them_did() {
    let host = host();
    let report = rehearse(
        &host,
        &plan([
            step("read", READS, json!({"path": "/workspace/in.csv"})),
            step("sum", "csv.summarise", json!({"text": "{{steps.read}}", "value": "b"})),
            step("write", WRITES, json!({"path": "/workspace/sub/new.txt", "text": "{{steps.sum.rows}} row\n"})),
            step("again", READS, json!({"path": "/workspace/sub/new.txt"})),
            step("over", WRITES, json!({"path": "/workspace/sub/old.txt", "text": "one\n{{steps.again}}"})),
            step("gone", "files.remove", json!({"path": "/workspace/in.csv"})),
        ]),
    );
    assert_eq!(report.outcome, RunOutcome::Completed, "{report:#?}");
    assert_eq!(report.steps[3].outcome, Some(Outcome::Completed { output: json!("1 row\n") }));
    assert_eq!(told(&host, &report), ["removed file in.csv", "created file sub/new.txt", "modified file sub/old.txt"]);
    let path = host.workspace().join("sub/old.txt").display().to_string();
    let diff = &dry(&report).changes.list[2].diff;
    assert_eq!(*diff, format!("--- {path}\n+++ {path}\n@@ -1,2 +1,2 @@\n one\n-two\n+1 row\n"));
    let value = report_json::report(&report);
    assert_eq!(
        value["changes"][2],
        json!({"path": path, "change": "modified", "kind": "file", "diff": diff}),
        "{value:#}"
    );
    assert_eq!((&value["dry_run"], value.get("run"), value.get("trace")), (&json!(true), None, None));
}

#[test]
fn it_ends_as_the_run_would() {
    let host = host();
    let report = rehearse(
        &host,
        &plan([
            step("write", WRITES, json!({"path": "/workspace/new.txt", "text": "x"})),
            step("fails", READS, json!({"path": "/workspace/none.txt"})),
            step("later", WRITES, json!({"path": "/workspace/later.txt", "text": "x"})),
        ]),
    );
    assert_eq!(report.outcome, RunOutcome::Failed);
    assert_eq!(report.steps[2].outcome, None);
    let denied = rehearse(&host, &plan([step("denied", "http.get", json!({"url": "http://a.example/"}))]));
    assert_eq!(denied.outcome, RunOutcome::Denied, "{denied:#?}");
    assert_eq!(dry(&denied), &DryRun::default());
    let refused = rehearse(&host, &plan([step("refused", "files.none", json!({}))]));
    assert_eq!((refused.outcome, refused.problems.is_empty()), (RunOutcome::Refused, false));
}

#[test]
fn the_run_after_it_does_what_it_said() {
    let host = host();
    let plan = plan([
        step("write", WRITES, json!({"path": "/workspace/new.txt", "text": "x\n"})),
        step("move", "files.move", json!({"source": "/workspace/sub/old.txt", "target": "/workspace/old.txt"})),
    ]);
    let rehearsed = rehearse(&host, &plan);
    assert_eq!(told(&host, &rehearsed), ["created file new.txt", "created file old.txt", "removed file sub/old.txt"]);
    let run: Run = host.run(&plan).completed();
    assert!(run.report.dry_run.is_none());
    let outcomes = |report: &Report| report.steps.iter().map(|step| step.outcome.clone()).collect::<Vec<_>>();
    assert_eq!(outcomes(&rehearsed), outcomes(&run.report));
    // What would be changed now is nothing new.
    let again = host
        .host
        .run(
            &host.document(&json!({
                "schema": "skillhost.plan/1", "name": "again",
                "steps": [step("write", WRITES, json!({"path": "/workspace/new.txt", "text": "x\n"}))],
            })),
            &options(),
        )
        .unwrap();
    assert!(told(&host, &again).is_empty(), "{again:#?}");
}

/// A policy with folders beside the workspace.
fn folders(host: &Path, lines: &[(&str, &str, &str)]) -> String {
    let preopen = |(name, guest, access): &(&str, &str, &str)| {
        format!("{{ host = \"{}\", guest = \"{guest}\", access = \"{access}\" }}", host.join(name).display())
    };
    let preopens: Vec<String> = lines.iter().map(preopen).collect();
    format!(
        "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"files\"]\ntools = [\"*\"]\nfilesystem = [{}]\n",
        preopens.join(", ")
    )
}

#[test]
fn folders_inside_of_each_other_have_one_copy() {
    let real = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(real.path().join("a/b/c")).unwrap();
    std::fs::create_dir(real.path().join("other")).unwrap();
    std::fs::write(real.path().join("other/x"), "x").unwrap();
    let policy = folders(
        real.path(),
        &[
            ("a", "/all", "read-only"),
            ("a/b", "/b", "read-write"),
            ("a/b/c", "/c", "read-only"),
            ("other", "/o", "read-only"),
        ],
    );
    let host = TestHost::new(&policy);
    let before = digest(real.path());
    let report = rehearse(
        &host,
        &plan([
            step("write", WRITES, json!({"path": "/b/c/new", "text": "new"})),
            step("below", READS, json!({"path": "/c/new"})),
            step("above", READS, json!({"path": "/all/b/c/new"})),
            step("other", READS, json!({"path": "/o/x"})),
        ]),
    );
    assert_eq!(report.outcome, RunOutcome::Completed, "{report:#?}");
    assert_eq!(digest(real.path()), before);
    let line = format!("created file {}", real.path().join("a/b/c/new").display());
    assert_eq!(told(&host, &report), [line]);
}

#[test]
fn a_workspace_that_is_not_there_is_not_made() {
    let host = TestHost::new(&repo::text("policies/default.toml"));
    std::fs::remove_dir(host.workspace()).unwrap();
    let document = host.document(&plan([step("write", WRITES, json!({"path": "/workspace/new", "text": "x"}))]));
    let report = host.host.run(&document, &options()).unwrap();
    assert_eq!(report.outcome, RunOutcome::Completed);
    assert_eq!(told(&host, &report), ["created file new"]);
    assert!(dry(&report).changes.notices[0].ends_with("would be created"), "{report:#?}");
    assert!(!host.workspace().exists());
}

#[test]
fn a_folder_that_is_not_there_is_the_error_that_it_is() {
    let real = tempfile::tempdir().unwrap();
    let host = TestHost::new(&folders(real.path(), &[("none", "/none", "read-write")]));
    let document = host.document(&plan([step("write", WRITES, json!({"path": "/none/new", "text": "x"}))]));
    // Of a dry run there is nothing that would have to end.
    let dry = host.host.run(&document, &options()).unwrap_err();
    let real = host.host.run(&document, &RunOptions::default()).unwrap().failure.unwrap();
    assert!(real.told().starts_with(&dry.to_string()), "{real:?}");
    assert!(matches!(dry, Error::Sandbox(_)), "{dry:?}");
}

#[test]
fn nobody_is_asked_and_who_would_be_is_told() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let policy = repo::text("policies/default.toml").replace("approval = \"never\"", "approval = \"required\"");
    assert!(policy.contains("approval = \"required\""));
    let plan = plan([
        step("write", WRITES, json!({"path": "/workspace/new", "text": "x"})),
        json!({"id": "ask", "approve": {"message": "go on?"}}),
        step("after", WRITES, json!({"path": "/workspace/by", "text": "{{steps.ask.by}}"})),
    ]);
    let asks = TestHost::configured(&policy, &[], |builder| {
        builder.approver(|_: &ApprovalRequest<'_>| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            ApprovalAnswer::reject("nobody", "")
        })
    });
    let waits = TestHost::configured(&policy, &[], |builder| builder.pauses(true));
    for host in [asks, waits] {
        let report = rehearse(&host, &plan);
        assert_eq!(report.outcome, RunOutcome::Completed, "{report:#?}");
        let approvals = dry(&report).approvals.iter();
        let approvals: Vec<_> = approvals.map(|one| (one.step.as_str(), one.needs_approval.join(", "))).collect();
        let named: Vec<_> = approvals.iter().map(|(step, why)| (*step, why.as_str())).collect();
        assert_eq!(named, [("write", "grant 0"), ("ask", "the plan"), ("after", "grant 0")]);
        assert!(dry(&report).changes.list[0].diff.contains("+dry run\n"), "{report:#?}");
    }
    assert_eq!(ASKED.load(Ordering::SeqCst), 0);
    // Where nobody could be asked, the run is denied and so is its rehearsal.
    let nobody = TestHost::new(&policy);
    assert_eq!(rehearse(&nobody, &plan).outcome, RunOutcome::Denied);
}

#[test]
fn no_server_is_reached() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    let policy = format!(
        "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"http\"]\ntools = [\"*\"]\nnetwork = [{{ url = \"{url}*\", \
         methods = [\"GET\"], addresses = [\"127.0.0.0/8\"] }}]\n"
    );
    let host = TestHost::new(&policy);
    let report = rehearse(&host, &plan([step("get", "http.get", json!({"url": url}))]));
    assert_eq!(report.outcome, RunOutcome::Failed, "{report:#?}");
    let Some(Outcome::Failed { error }) = &report.steps[0].outcome else { panic!("{report:#?}") };
    assert!(error.to_string().contains("denied"), "{error}");
    assert_eq!(dry(&report).network, ["get".parse().unwrap()]);
    assert_eq!(server.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn what_was_cancelled_changes_nothing_either() {
    let host = host();
    let options = options();
    options.cancel.cancel();
    let report =
        rehearse_with(&host, &plan([step("write", WRITES, json!({"path": "/workspace/new", "text": "x"}))]), &options);
    assert_eq!((report.outcome, told(&host, &report).len()), (RunOutcome::Cancelled, 0));
}

/// Runs a plan whose approver looks at what each step would do, and approves.
fn looked_at(policy: &str, prepare: impl Fn(&TestHost), plan: &Value) -> (TestHost, Report, Vec<Option<Preview>>) {
    let seen: Arc<Mutex<Vec<Option<Preview>>>> = Arc::default();
    let looks = Arc::clone(&seen);
    let host = TestHost::configured(policy, &[], |builder| {
        builder.approver(move |request: &ApprovalRequest<'_>| {
            looks.lock().unwrap().push(request.rehearsal.preview());
            ApprovalAnswer::approve("test", "")
        })
    });
    prepare(&host);
    let report = host.host.run(&host.document(plan), &RunOptions::default()).unwrap();
    let seen = seen.lock().unwrap().clone();
    (host, report, seen)
}

fn asking() -> String {
    repo::text("policies/default.toml").replace("approval = \"never\"", "approval = \"required\"")
}

#[test]
fn whoever_is_asked_sees_what_the_step_would_do() {
    let plan = plan([
        step("write", WRITES, json!({"path": "/workspace/new.txt", "text": "x\n"})),
        step("over", WRITES, json!({"path": "/workspace/new.txt", "text": "y\n"})),
        step("none", READS, json!({"path": "/workspace/none.txt"})),
    ]);
    let (host, report, seen) = looked_at(&asking(), |host| host.write("in.csv", "1"), &plan);
    let lines = |preview: &Option<Preview>| {
        let changes = &preview.as_ref().unwrap().changes;
        changes.list.iter().map(|change| change.line()).collect::<Vec<_>>()
    };
    let path = host.workspace().join("new.txt").display().to_string();
    assert_eq!(lines(&seen[0]), [format!("created file {path}")]);
    // Each is rehearsed on what is there when its turn has come, and what was rehearsed is what then happens.
    assert_eq!(lines(&seen[1]), [format!("modified file {path}")]);
    let diff = &seen[1].as_ref().unwrap().changes.list[0].diff;
    assert_eq!(*diff, format!("--- {path}\n+++ {path}\n@@ -1 +1 @@\n-x\n+y\n"));
    assert!(lines(&seen[2]).is_empty());
    let ended: Vec<_> = seen.iter().map(|preview| preview.as_ref().unwrap().ended.clone().ok()).collect();
    let outcomes: Vec<_> = report.steps.iter().map(|step| step.outcome.clone()).collect();
    assert_eq!(ended, outcomes);
    assert_eq!(std::fs::read_to_string(path).unwrap(), "y\n");
    assert_eq!(report.outcome, RunOutcome::Failed);
    // A rehearsal is not in the record.
    let run = Run { trace: host_tests::trace::TraceFiles::read(&report.folder), report };
    assert_eq!(run.trace.of_kind("step-begin").count(), 3);
    host.replay_equals(&run);
}

#[test]
fn nothing_is_copied_where_nobody_looks() {
    let host = TestHost::configured(&asking(), &[], |builder| {
        builder.approver(|_: &ApprovalRequest<'_>| ApprovalAnswer::approve("test", ""))
    });
    let run = host.call(WRITES, json!({"path": "/workspace/new", "text": "x"})).completed();
    assert_eq!(run.report.dry_run, None);
    assert!(!host.state().join("scratch").exists());
}

#[test]
fn what_cannot_be_rehearsed_is_said() {
    let many = |host: &TestHost| {
        for index in 0..=skillhost::limits::PREVIEW_ENTRIES_MAX {
            std::fs::File::create(host.workspace().join(index.to_string())).unwrap();
        }
    };
    let plan = plan([step("write", WRITES, json!({"path": "/workspace/new", "text": "x"}))]);
    let (_, report, seen) = looked_at(&asking(), many, &plan);
    assert_eq!(report.outcome, RunOutcome::Completed);
    let [Some(Preview { ended: Err(why), changes })] = &seen[..] else { panic!("{seen:?}") };
    assert!(why.contains("too large to be copied") && why.contains("20000 files"), "{why}");
    assert!(changes.is_empty());
    // Where nothing may be written there is nothing to rehearse.
    let reads = asking().replace("read-write", "read-only");
    let plan = plan_of_reading();
    let (_, _, seen) = looked_at(&reads, |host| host.write("in.csv", "1"), &plan);
    assert_eq!(seen, [None]);
}

fn plan_of_reading() -> Value {
    plan([step("read", READS, json!({"path": "/workspace/in.csv"}))])
}
