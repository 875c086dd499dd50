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
    assert_eq!(index.pending_approvals().unwrap(), []);
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
