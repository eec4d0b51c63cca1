use super::{Approach, Outcome, SKIP_DURATION, Support, TRUST_DURATION};
use limits::{Nanos, Timestamp};
use proptest::prelude::*;

const NAMED: Outcome = Outcome::Rejected { is_named: true };
const UNNAMED: Outcome = Outcome::Rejected { is_named: false };

/// An upstream that answers requests.
struct Upstream {
    support: Support,
    now: Timestamp,
}

impl Upstream {
    fn new() -> Self {
        Self {
            support: Support::default(),
            now: Timestamp::new(Nanos::DAY.saturating_mul(1000).as_u64()),
        }
    }

    /// Lets the upstream answer a request, whose body it accepts or not; returns what was done with it.
    fn answer(&mut self, with_field: Outcome, without: Outcome) -> Approach {
        let approach = self.support.approach(self.now);
        let outcome = if approach == Approach::Ask {
            with_field
        } else {
            without
        };
        self.support = self.support.after(approach, outcome, self.now);
        approach
    }
}

#[test]
fn one_rejection_that_names_field_is_sufficient() {
    let mut upstream = Upstream::new();
    let mut answer = || upstream.answer(NAMED, Outcome::Accepted);
    assert_eq!(answer(), Approach::Ask);
    assert_eq!(answer(), Approach::Probe);
    assert_eq!(answer(), Approach::Skip);
    upstream.now = upstream.now.saturating_add(SKIP_DURATION);
    assert_eq!(upstream.answer(NAMED, Outcome::Accepted), Approach::Ask);
}

#[test]
fn several_unnamed_rejections_are_required() {
    let mut upstream = Upstream::new();
    let mut asked = 0;
    for _ in 0..6 {
        let approach = upstream.answer(UNNAMED, Outcome::Accepted);
        asked += usize::from(approach == Approach::Ask);
    }
    assert_eq!(asked, 4);
    assert_eq!(upstream.support.approach(upstream.now), Approach::Skip);
}

#[test]
fn requests_that_always_fail_prove_nothing() {
    let mut upstream = Upstream::new();
    for _ in 0..100 {
        let approach = upstream.answer(UNNAMED, UNNAMED);
        assert_ne!(approach, Approach::Skip);
    }
}

#[test]
fn invalid_requests_leave_working_upstream_asked() {
    let mut upstream = Upstream::new();
    upstream.answer(Outcome::Accepted, Outcome::Accepted);
    for round in 0..100 {
        // An attacker that sends invalid requests and valid ones as it likes.
        let outcome = if round % 3 == 0 {
            Outcome::Accepted
        } else {
            UNNAMED
        };
        assert_eq!(upstream.answer(outcome, outcome), Approach::Ask);
    }
    upstream.now = upstream.now.saturating_add(TRUST_DURATION);
    upstream.answer(UNNAMED, UNNAMED);
    assert_eq!(upstream.support.rejected, 1, "it may have changed");
}

#[test]
fn accepted_request_clears_suspicion() {
    let mut upstream = Upstream::new();
    upstream.answer(UNNAMED, UNNAMED);
    upstream.answer(UNNAMED, UNNAMED);
    upstream.answer(Outcome::Accepted, Outcome::Accepted);
    assert_eq!(upstream.support.rejected, 0);
    assert_eq!(upstream.support.accepted_at, upstream.now);
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Accepted), Just(NAMED), Just(UNNAMED)]
}

proptest! {
    #[test]
    fn support_round_trips(
        outcomes in prop::collection::vec((outcome(), outcome(), 0..7_200_u64), 0..40)
    ) {
        let mut upstream = Upstream::new();
        for (with_field, without, seconds) in outcomes {
            upstream.answer(with_field, without);
            upstream.now = upstream.now.saturating_add(Nanos::from_secs(seconds));
            let bytes = upstream.support.to_bytes();
            prop_assert_eq!(Support::from_bytes(&bytes), Some(upstream.support));
        }
    }

    #[test]
    fn any_bytes_do_not_panic(bytes: Vec<u8>) {
        let _ = Support::from_bytes(&bytes);
    }

    #[test]
    fn accepting_upstream_is_always_asked(
        // Requests of any clients: valid ones are accepted, the others rejected, whatever is added to them.
        valid in prop::collection::vec(any::<bool>(), 1..100)
    ) {
        let mut upstream = Upstream::new();
        upstream.answer(Outcome::Accepted, Outcome::Accepted);
        for is_valid in valid {
            let outcome = if is_valid { Outcome::Accepted } else { UNNAMED };
            upstream.answer(outcome, outcome);
            prop_assert_eq!(upstream.support.approach(upstream.now), Approach::Ask);
        }
    }
}
