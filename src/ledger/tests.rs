//! The ledger with a rate limit service, apart from a whole stream.

use super::{Admission, Check, LedgerError, PendingCheck, Precheck, Rejection, Stage, Verdict};
use crate::admit::{self, AdmissionError};
use crate::host::HostError;
use crate::host::double::Call;
use crate::testing::{Filter, per_user};
use limits::service::mock::Limitador;
use limits::service::{CallId, CheckReply};
use serde_json::{Value, json};

/// A filter with a service, and the service.
struct Remote {
    filter: Filter,
    limitador: Limitador,
    replied: usize,
}

impl Remote {
    fn with(limits: &Value, storage: &Value) -> Self {
        let mut settings = json!({ "type": "limitador", "cluster": "limitador" });
        for (name, value) in storage.as_object().into_iter().flatten() {
            settings[name] = value.clone();
        }
        Self {
            filter: Filter::new(limits, &json!({ "storage": settings })),
            limitador: Limitador::new(50),
            replied: 0,
        }
    }

    fn new(storage: &Value) -> Self {
        Self::with(&json!({ "free": per_user(50) }), storage)
    }

    /// Checks a request of alice that is expected to use so many tokens.
    fn check(&self, expected: u64, stream: Option<u32>) -> Result<Check, AdmissionError> {
        let filter = &self.filter;
        let mut attributes = filter.attributes("alice", &[("x-request-id", "r-1")]);
        let demands = filter.demands(&mut attributes, None, expected)?;
        let headers = attributes.headers();
        let Filter { ledger, queue, .. } = filter;
        Ok(admit::check(ledger, queue, headers, demands, stream)?)
    }

    fn pending(&self, expected: u64) -> Box<PendingCheck> {
        match self.check(expected, Some(1)).unwrap() {
            Check::Pending(pending) => pending,
            Check::Decided(verdict) => panic!("decided without the service: {verdict:?}"),
        }
    }

    /// Returns the next reply, by what the service says to the call.
    fn reply_by(
        &mut self,
        say: impl FnOnce(&mut Limitador, &str, &[u8]) -> Result<Vec<u8>, u32>,
    ) -> Option<CheckReply> {
        let call = self.filter.host.grpc.borrow()[self.replied].clone();
        self.replied += 1;
        let reply = say(&mut self.limitador, &call.method, &call.message);
        let id = CallId(u32::try_from(self.replied).unwrap());
        let reply = reply.as_deref().map_err(|status| *status);
        self.filter.ledger.on_reply(id, reply)
    }

    fn reply(&mut self) -> Option<CheckReply> {
        self.reply_by(Limitador::call)
    }

    /// Returns the verdict on a request, by the replies of the service.
    fn decide(&mut self, expected: u64) -> Verdict {
        let mut pending = self.pending(expected);
        loop {
            let reply = self.reply().expect("a reply to a check");
            match pending.on_reply(&self.filter.ledger, reply).unwrap() {
                Check::Decided(verdict) => return verdict,
                Check::Pending(next) => pending = next,
            }
        }
    }

    fn admit(&mut self, expected: u64) -> Admission {
        match self.decide(expected) {
            Verdict::Admitted(admission) => admission,
            Verdict::Rejected(rejection, _) => panic!("{rejection:?}"),
        }
    }

    fn reject(&mut self, expected: u64) -> Rejection {
        match self.decide(expected) {
            Verdict::Rejected(rejection, _) => rejection,
            Verdict::Admitted(admission) => panic!("{admission:?}"),
        }
    }

    fn methods(&self) -> Vec<String> {
        let calls = self.filter.host.grpc.borrow();
        calls.iter().map(|call| call.method.clone()).collect()
    }
}

#[test]
fn service_reserves_and_commits() {
    let mut remote = Remote::new(&json!({}));
    let mut admission = remote.admit(30);
    remote
        .filter
        .ledger
        .settle(&mut admission, Stage::End, |_| 20)
        .unwrap();
    assert!(remote.reply().is_none(), "no check waits for a settlement");
    assert_eq!(remote.methods(), ["Reserve", "Commit"]);
    assert_eq!(remote.limitador.total(), 20);
    assert!(remote.limitador.reserved.is_empty());
    let calls = remote.filter.host.grpc.borrow();
    assert_eq!(
        calls[0].metadata,
        [("x-request-id".to_owned(), b"r-1".to_vec())]
    );
}

#[test]
fn service_rejects_what_it_has_no_room_for() {
    let mut remote = Remote::new(&json!({}));
    remote.admit(30);
    let rejection = remote.reject(30);
    assert_eq!(rejection.charge.counter.standing.limit, 50);
    let standing = remote.filter.ledger.used_at_service(&rejection.charge);
    assert_eq!(standing, Some(0), "nothing was used yet");
}

#[test]
fn abandoned_check_releases_late_grant() {
    let mut remote = Remote::new(&json!({}));
    let mut pending = remote.pending(30);
    pending.abandon(&remote.filter.ledger);
    let reply = remote.reply().unwrap();
    remote.filter.ledger.release_reply(reply);
    while remote.replied < remote.methods().len() {
        remote.reply();
    }
    assert!(remote.limitador.reserved.is_empty());
    assert_eq!(remote.limitador.total(), 0);
}

#[test]
fn failure_mode_decides_without_reply() {
    for (mode, admits) in [
        ("local", Some(false)),
        ("allow", Some(true)),
        ("deny", None),
    ] {
        let mut remote = Remote::new(&json!({ "failureMode": mode }));
        let pending = remote.pending(60);
        let reply = remote.reply_by(|_, _, _| Err(14)).unwrap();
        match (pending.on_reply(&remote.filter.ledger, reply), admits) {
            (Ok(Check::Decided(Verdict::Admitted(admission))), Some(_)) => {
                assert_eq!(admission.failed_open, mode == "allow", "{mode}");
            }
            (Err(LedgerError::ServiceUnavailable), None) => {}
            (other, _) => panic!("{mode}: {other:?}"),
        }
    }
}

#[test]
fn local_count_decides_when_no_stream_waits() {
    let remote = Remote::new(&json!({}));
    let Check::Decided(Verdict::Admitted(_)) = remote.check(50, None).unwrap() else {
        panic!("admitted by the local count");
    };
    let Check::Decided(Verdict::Rejected(..)) = remote.check(1, None).unwrap() else {
        panic!("rejected beside the first");
    };
    assert!(remote.methods().is_empty());
}

#[test]
fn local_count_limits_concurrency_with_check_report() {
    let remote = Remote::new(&json!({ "protocol": "check-report" }));
    remote.pending(30);
    let Check::Decided(Verdict::Rejected(rejection, _)) = remote.check(30, Some(2)).unwrap() else {
        panic!("30 of 50 are reserved");
    };
    assert!(rejection.charge.counter.standing.is_only_reserved());
}

#[test]
fn dry_run_is_checked_and_rejects_nothing() {
    let mut limit = per_user(50);
    limit["shadow"] = json!(true);
    let mut remote = Remote::with(&json!({ "free": limit }), &json!({}));
    remote.limitador.limit = 0;
    let admission = remote.admit(30);
    assert!(admission.shadow_rejected.is_some());
}

#[test]
fn requests_are_counted_at_admission() {
    let limits = json!({ "free": {
        "requests": [{ "limit": 2, "window": "1m" }],
        "counters": [{ "expression": "auth.user" }]
    } });
    let mut remote = Remote::with(&limits, &json!({}));
    let admission = remote.admit(30);
    assert_eq!(remote.methods(), ["Reserve", "Commit"]);
    assert_eq!(admission.charges[0].counter.amount, 0, "counted already");
}

#[test]
fn precheck_leaves_the_last_word_to_the_service() {
    let remote = Remote::new(&json!({}));
    let filter = &remote.filter;
    let Check::Decided(Verdict::Admitted(mut admission)) = remote.check(1, None).unwrap() else {
        panic!("admitted by the local count");
    };
    filter
        .ledger
        .settle(&mut admission, Stage::End, |_| 60)
        .unwrap();
    let mut attributes = filter.attributes("alice", &[]);
    let applicable = filter.applicable(&mut attributes).unwrap();
    let precheck = filter.ledger.precheck(&applicable.charges).unwrap();
    assert!(matches!(precheck, Precheck::CallService), "{precheck:?}");
}

#[test]
fn unreadable_counters_follow_failure_mode() {
    let limits = json!({ "free": per_user(50) });
    for (mode, is_admitted) in [("deny", false), ("allow", true)] {
        let filter = Filter::new(&limits, &json!({ "failureMode": mode }));
        filter
            .host
            .fail(Call::SharedData, 1_000, HostError::InternalFailure);
        let verdict = filter.check(&mut filter.attributes("alice", &[]), 1);
        assert_eq!(verdict.is_ok(), is_admitted, "{mode}");
        if let Ok(Verdict::Admitted(admission)) = verdict {
            assert!(admission.failed_open);
        }
        assert!(filter.host.metric("tollgate.storage_errors") > 0);
    }
}

#[test]
fn request_that_cannot_wait_is_checked_exactly() {
    for protocol in ["reserve", "check-report"] {
        let storage = json!({ "protocol": protocol });
        for (used, reserved, amount, is_admitted) in [
            (0, 30, 20, true),
            (0, 30, 21, false),
            (0, 50, 1, false),
            (49, 0, 30, true),
            (50, 0, 1, false),
            (20, 10, 20, true),
            (20, 10, 21, false),
        ] {
            let remote = Remote::new(&storage);
            let admit = |amount| match remote.check(amount, None).unwrap() {
                Check::Decided(Verdict::Admitted(admission)) => Some(admission),
                Check::Decided(Verdict::Rejected(..)) => None,
                Check::Pending(_) => panic!("no stream can wait"),
            };
            if used > 0 {
                let mut admission = admit(used).unwrap();
                let settled = remote
                    .filter
                    .ledger
                    .settle(&mut admission, Stage::End, |_| used);
                settled.unwrap();
            }
            if reserved > 0 {
                admit(reserved).unwrap();
            }
            let case = (protocol, used, reserved, amount);
            assert_eq!(admit(amount).is_some(), is_admitted, "{case:?}");
        }
    }
}

#[test]
fn check_without_reply_is_decided_exactly() {
    for (used, reserved, amount, is_admitted) in [
        (0, 30, 20, true),
        (0, 30, 21, false),
        (49, 0, 30, true),
        (50, 0, 1, false),
        (20, 10, 20, true),
        (20, 10, 21, false),
    ] {
        let mut remote = Remote::new(&json!({ "failureMode": "local" }));
        if used > 0 {
            let mut admission = remote.admit(used);
            let settled = remote
                .filter
                .ledger
                .settle(&mut admission, Stage::End, |_| used);
            settled.unwrap();
            remote.reply();
        }
        if reserved > 0 {
            remote.admit(reserved);
        }
        let pending = remote.pending(amount);
        let reply = remote.reply_by(|_, _, _| Err(14)).unwrap();
        let admitted = match pending.on_reply(&remote.filter.ledger, reply).unwrap() {
            Check::Decided(Verdict::Admitted(_)) => true,
            Check::Decided(Verdict::Rejected(..)) => false,
            Check::Pending(_) => panic!("there is no other call"),
        };
        assert_eq!(admitted, is_admitted, "{:?}", (used, reserved, amount));
    }
}
