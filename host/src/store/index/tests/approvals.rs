//! What people are asked: once, in time, about what would run.

use super::*;

const ASKED: Duration = Duration::from_secs(1_800_000_000);

fn request(case: &Case, subject: &str) -> ApprovalRequest {
    ApprovalRequest {
        run: case.id().to_owned(),
        step: "pay".to_owned(),
        subject: Digest::of(subject.as_bytes()),
        request: json!({"message": "pay?"}).to_string(),
        expires_at: Some(ASKED + Duration::from_secs(60)),
    }
}

fn answer(approved: bool) -> Answer {
    Answer { approved, by: "user:ann".to_owned(), reason: "looked at it".to_owned() }
}

#[test]
fn a_question_is_answered_once() {
    let case = Case::new();
    let mut index = case.begun();
    let missing = index.decide_approval(case.id(), "pay", &answer(true), ASKED).unwrap_err();
    assert!(matches!(missing, IndexError::NotAsked { .. }), "{missing}");
    let asked = index.request_approval(&request(&case, "a")).unwrap();
    assert_eq!(asked.state, ApprovalState::Pending);
    assert_eq!(index.pending_approvals().unwrap(), [asked]);
    let decided = index.decide_approval(case.id(), "pay", &answer(true), ASKED).unwrap();
    assert_eq!((decided.state, decided.decided_by.as_deref()), (ApprovalState::Approved, Some("user:ann")));
    assert_eq!(decided.reason, "looked at it");
    for approved in [true, false] {
        let again = index.decide_approval(case.id(), "pay", &answer(approved), ASKED).unwrap_err();
        assert_eq!(
            again.to_string(),
            format!("the approval of step `pay` of run `{}` is approved (by user:ann)", case.id())
        );
    }
    // Asked again about the same it stays answered.
    assert_eq!(index.request_approval(&request(&case, "a")).unwrap(), decided);
    assert!(index.db("test").batch("UPDATE approvals SET state = 'rejected'").is_err());
}

#[test]
fn an_answer_in_time_counts_and_a_late_one_does_not() {
    let case = Case::new();
    let mut index = case.begun();
    index.request_approval(&request(&case, "a")).unwrap();
    let late = ASKED + Duration::from_secs(60);
    for _ in 0..2 {
        let error = index.decide_approval(case.id(), "pay", &answer(true), late).unwrap_err();
        assert!(matches!(error, IndexError::Expired { .. }) && error.hint().is_some(), "{error}");
    }
    let [known] = &index.approvals(case.id()).unwrap()[..] else { panic!("one question") };
    assert_eq!((known.state, &known.decided_by), (ApprovalState::Expired, &None));

    index.request_approval(&request(&case, "b")).unwrap();
    assert_eq!(index.expire_approvals(late - Duration::from_micros(1)).unwrap(), []);
    let expired = index.expire_approvals(late).unwrap();
    assert_eq!(expired.iter().map(|approval| approval.state).collect::<Vec<_>>(), [ApprovalState::Expired]);
    // Its run is to end, and is listed until it has.
    let listed = index.pending_approvals().unwrap();
    assert_eq!(
        listed.iter().map(|approval| approval.state).collect::<Vec<_>>(),
        [ApprovalState::Expired, ApprovalState::Expired]
    );
    assert_eq!(index.expired_runs(late).unwrap(), [case.id()]);
}

#[test]
fn an_answer_is_about_what_was_asked() {
    let case = Case::new();
    let mut index = case.begun();
    index.request_approval(&request(&case, "a")).unwrap();
    index.request_approval(&request(&case, "b")).unwrap();
    let decided = index.decide_approval(case.id(), "pay", &answer(false), ASKED).unwrap();
    assert_eq!((decided.state, decided.subject), (ApprovalState::Rejected, Digest::of(b"b")));
    let mut states: Vec<_> =
        index.approvals(case.id()).unwrap().into_iter().map(|one| (one.subject, one.state)).collect();
    states.sort_by_key(|(subject, _)| *subject != Digest::of(b"a"));
    let expected = [(Digest::of(b"a"), ApprovalState::Invalid), (Digest::of(b"b"), ApprovalState::Rejected)];
    assert_eq!(states, expected);

    index.request_approval(&request(&case, "c")).unwrap();
    assert_eq!(index.invalidate_approvals(case.id(), "the run was cancelled").unwrap(), 1);
    let error = index.decide_approval(case.id(), "pay", &answer(true), ASKED).unwrap_err();
    assert!(matches!(error, IndexError::Decided { state: ApprovalState::Invalid, .. }), "{error}");
}

#[test]
fn of_two_that_answer_at_once_one_is_heard() {
    let case = Case::new();
    let mut index = case.begun();
    index.request_approval(&request(&case, "a")).unwrap();
    let heard: usize = std::thread::scope(|scope| {
        let answers: Vec<_> = [true, false, true, false]
            .map(|approved| {
                let (state, run) = (case.store.state(), case.id());
                scope.spawn(move || {
                    let mut index = Index::open(state, Durability::Buffered).unwrap();
                    usize::from(index.decide_approval(run, "pay", &answer(approved), ASKED).is_ok())
                })
            })
            .into_iter()
            .collect();
        answers.into_iter().map(|answer| answer.join().unwrap()).sum()
    });
    assert_eq!(heard, 1);
}

#[test]
fn texts_are_bounded_and_runs_known() {
    let case = Case::new();
    let mut index = case.begun();
    let long = ApprovalRequest { request: "x".repeat(limits::APPROVAL_REQUEST_BYTES_MAX + 1), ..request(&case, "a") };
    assert!(matches!(index.request_approval(&long), Err(IndexError::TooLong { .. })));
    let nobody = ApprovalRequest { run: "nobody".to_owned(), ..request(&case, "a") };
    assert!(matches!(index.request_approval(&nobody), Err(IndexError::NoSuchRun { .. })));
    let long = Answer { reason: "x".repeat(limits::APPROVAL_TEXT_BYTES_MAX + 1), ..answer(true) };
    assert!(matches!(index.decide_approval(case.id(), "pay", &long, ASKED), Err(IndexError::TooLong { .. })));
}

#[test]
fn deliveries_keep_no_secrets() {
    let case = Case::new();
    let mut index = case.begun();
    for (url, kept) in [
        ("https://ann:pw@example.org:8443/hook/x?token=abc#f", "https://example.org:8443/hook/x"),
        ("https://example.org/", "https://example.org/"),
        ("no url", ""),
    ] {
        let delivery = Delivery {
            run: case.id().to_owned(),
            step: "pay".to_owned(),
            url: url.to_owned(),
            status: Some(503),
            error: Some("busy".to_owned()),
        };
        index.record_delivery(&delivery).unwrap();
        let (_, last) = index.deliveries(case.id()).unwrap().pop().unwrap();
        assert_eq!(last, Delivery { url: kept.to_owned(), ..delivery });
    }
}

/// A run that asked, was answered, and went on; then asked again and waits.
fn asked_twice(case: &Case) -> (Digest, Vec<Event>) {
    use crate::policy::ApprovalAnswer;
    use crate::trace::event::{ApprovalEvent, Flow};
    use crate::trace::flow::ApprovalRequested;

    let request = |step: &str, subject| {
        let asked = ApprovalRequested {
            tool: None,
            needs_approval: vec!["the plan".to_owned()],
            subject,
            message: "pay?".to_owned(),
            context: serde_json::Map::new(),
        };
        Flow::ApprovalRequest(asked).of(&step.parse().unwrap())
    };
    let subject = Digest::of(b"first");
    let answer = ApprovalAnswer::approve("user:ann", "looked at it");
    let (step, tool) = ("pay".parse().unwrap(), "host.approve".parse().unwrap());
    let approval = ApprovalEvent { step, tool, needs_approval: vec!["the plan".to_owned()], answer };
    let events = vec![
        samples::header(),
        request("pay", subject),
        Event::Approval(approval),
        request("ship", Digest::of(b"second")),
    ];
    fs::write(case.run.trace(), samples::recorded(&events)).unwrap();
    (subject, events)
}

#[test]
fn a_decision_that_a_run_has_gone_on_with_is_built_again_from_its_trace() {
    let case = Case::new();
    let (subject, _) = asked_twice(&case);
    for _ in 0..2 {
        reindex(&case.store, Durability::Buffered, &|_| Vec::new()).unwrap();
        let index = case.open();
        let [known] = &index.approvals(case.id()).unwrap()[..] else { panic!("one answer") };
        assert_eq!((known.step.as_str(), known.subject, known.state), ("pay", subject, ApprovalState::Approved));
        assert_eq!((known.decided_by.as_deref(), known.reason.as_str()), (Some("user:ann"), "looked at it"));
        assert!(known.request.contains("pay?") && known.decided_at.is_some());
        // What waits is asked again by whoever goes on with the run: nobody has answered it.
        assert_eq!(index.pending_approvals().unwrap(), []);
    }
}

#[test]
fn what_was_decided_is_taken_out_of_a_damaged_file() {
    let case = Case::new();
    let (subject, events) = asked_twice(&case);
    let mut index = case.begun();
    index.commit(case.id(), &rows(&events)).unwrap();
    let ask = |index: &mut Index, step: &str, subject| {
        let asked = ApprovalRequest { step: step.to_owned(), subject, ..request(&case, "x") };
        index.request_approval(&asked).unwrap();
    };
    ask(&mut index, "pay", subject);
    index.decide_approval(case.id(), "pay", &answer(true), ASKED).unwrap();
    // Answered, and killed before the run went on: no trace has it. And one that nobody has answered.
    ask(&mut index, "ship", Digest::of(b"second"));
    index.decide_approval(case.id(), "ship", &answer(false), ASKED).unwrap();
    ask(&mut index, "bill", Digest::of(b"third"));
    let access = NewAccess {
        action: AccessAction::Reject,
        who: "ann".to_owned(),
        run: Some(case.id().to_owned()),
        step: None,
        detail: String::new(),
    };
    index.note_access(&access).unwrap();
    let (before, accesses) = (index.approvals(case.id()).unwrap(), index.accesses(9).unwrap());
    assert_eq!((before.len(), accesses.len()), (3, 1));
    index.db("test").batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(index);
    let path = case.store.state().join(INDEX_FILE);
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    bytes[4096..12288].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    reindex(&case.store, Durability::Full, &|_| Vec::new()).unwrap();
    let index = case.open();
    assert_eq!(index.approvals(case.id()).unwrap(), before);
    assert_eq!(index.accesses(9).unwrap(), accesses);
    assert_eq!(index.pending_approvals().unwrap().len(), 1);
    drop(index);

    // Where nothing of it can be read, what the trace tells of is there.
    fs::write(&path, vec![0x5a; whole.len()]).unwrap();
    for name in COMPANIONS {
        let _gone = fs::remove_file(case.store.state().join(name));
    }
    reindex(&case.store, Durability::Full, &|_| Vec::new()).unwrap();
    let index = case.open();
    let known = index.approvals(case.id()).unwrap();
    assert_eq!(
        known.iter().map(|one| (one.step.as_str(), one.state)).collect::<Vec<_>>(),
        [("pay", ApprovalState::Approved)]
    );
}
