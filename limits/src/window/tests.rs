//! Each algorithm against its definition, by brute force over every instant.

use super::*;
use proptest::prelude::*;

const SECOND: u64 = Nanos::SECOND.as_u64();
const DAY: u64 = Nanos::DAY.as_u64();
const YEAR: u64 = 365 * DAY;

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Fixed,
    Algorithm::Calendar,
    Algorithm::Sliding,
    Algorithm::Bucket,
];

/// A window whose times are plain numbers, so that definitions can be computed with.
#[derive(Clone, Copy, Debug)]
struct Plain {
    algorithm: Algorithm,
    length: u64,
}

impl Plain {
    fn window(self) -> Window {
        Window {
            algorithm: self.algorithm,
            length: Nanos::new(self.length),
        }
    }

    fn advance(self, state: State, now: u64, limit: u64) -> State {
        self.window().advance(state, Timestamp::new(now), limit)
    }

    fn add(self, state: State, now: u64, amount: u64) -> State {
        self.window().add(state, Timestamp::new(now), amount)
    }

    fn used(self, state: State, now: u64) -> u64 {
        self.window().used(state, Timestamp::new(now))
    }

    fn resets_at(self, state: State, now: u64, limit: u64) -> u64 {
        self.window()
            .resets_at(state, Timestamp::new(now), limit)
            .as_u64()
    }

    fn fits_at(self, state: State, now: u64, limit: u64) -> u64 {
        self.window()
            .fits_at(state, Timestamp::new(now), limit, 1)
            .as_u64()
    }
}

/// Amounts used, each at an instant, in order.
type Hits = Vec<(u64, u64)>;

fn hits() -> impl Strategy<Value = Hits> {
    prop::collection::vec((0..200_u64, 0..20_u64), 0..12).prop_map(|mut hits| {
        hits.sort_unstable();
        hits
    })
}

/// Returns the state after the hits up to and including an instant, as of that instant.
fn state(window: Plain, hits: &Hits, now: u64, limit: u64) -> State {
    let past = hits.iter().filter(|(at, _)| *at <= now);
    let state = past.fold(State::default(), |state, (at, amount)| {
        window.add(window.advance(state, *at, limit), *at, *amount)
    });
    window.advance(state, now, limit)
}

fn sum(hits: &Hits, from: u64, to: u64) -> u64 {
    let within = hits.iter().filter(|(at, _)| (from..=to).contains(at));
    within.map(|(_, amount)| amount).sum()
}

/// Returns what is used by the definition of an algorithm.
fn defined(window: Plain, hits: &Hits, now: u64, limit: u64) -> u64 {
    let length = window.length;
    let start = now - now % length;
    match window.algorithm {
        Algorithm::Fixed => {
            let mut begun = None;
            for (at, _) in hits.iter().filter(|(at, _)| *at <= now) {
                if begun.is_none_or(|begun| *at >= begun + length) {
                    begun = Some(*at);
                }
            }
            match begun {
                Some(begun) if now < begun + length => sum(hits, begun, now),
                _ => 0,
            }
        }
        Algorithm::Calendar => sum(hits, start, now),
        Algorithm::Sliding => {
            let before = match start.checked_sub(length) {
                Some(before) => sum(hits, before, start - 1),
                None => 0,
            };
            sum(hits, start, now) + (before * (start + length - now)).div_ceil(length)
        }
        Algorithm::Bucket => {
            let mut missing = 0;
            for instant in 0..=now {
                missing = u64::saturating_sub(missing, if instant > 0 { limit } else { 0 });
                missing += sum(hits, instant, instant) * length;
            }
            missing.div_ceil(length)
        }
    }
}

/// Asserts that less than the limit is used at the predicted instant, and not before it.
fn assert_fits(window: Plain, state: State, now: u64, limit: u64) {
    let fits = |at| window.used(window.advance(state, at, limit), at) < limit;
    let at = window.fits_at(state, now, limit);
    assert!(at >= now);
    if at < u64::MAX {
        assert!(fits(at), "{window:?} {state:?} does not fit at {at}");
    }
    if at > now {
        assert!(!fits(at - 1), "{window:?} {state:?} fits before {at}");
    }
}

proptest! {
    #[test]
    fn usage_matches_the_definition(
        hits in hits(),
        length in 1..60_u64,
        now in 0..300_u64,
        limit in 1..30_u64,
    ) {
        for algorithm in ALGORITHMS {
            let window = Plain { algorithm, length };
            let state = state(window, &hits, now, limit);
            prop_assert_eq!(
                window.used(state, now),
                defined(window, &hits, now, limit),
                "{:?}", algorithm
            );
        }
    }

    #[test]
    fn next_request_fits_as_predicted_and_not_before(
        hits in hits(),
        length in 1..60_u64,
        now in 0..300_u64,
        limit in 1..30_u64,
    ) {
        for algorithm in ALGORITHMS {
            let window = Plain { algorithm, length };
            assert_fits(window, state(window, &hits, now, limit), now, limit);
        }
    }

    #[test]
    fn prediction_is_correct_for_any_numbers(
        now in 0..60 * YEAR,
        length in prop_oneof![Just(SECOND), Just(DAY), Just(7 * DAY), Just(30 * DAY), Just(YEAR), 1..YEAR],
        limit in prop_oneof![1..1000_u64, 1..u64::MAX, Just(u64::MAX)],
        hits in prop::collection::vec(
            (0..YEAR, prop_oneof![0..1000_u64, any::<u64>(), Just(u64::MAX)]), 1..6),
        algorithm in prop::sample::select(ALGORITHMS.to_vec()),
    ) {
        let window = Plain { algorithm, length };
        let mut now = now;
        let mut state = State::default();
        for (wait, amount) in hits {
            now += wait;
            state = window.add(window.advance(state, now, limit), now, amount);
            assert_fits(window, state, now, limit);
        }
    }

    #[test]
    fn usage_ends_at_the_reset(
        hits in hits(),
        length in 1..60_u64,
        now in 0..300_u64,
        limit in 1..30_u64,
    ) {
        for algorithm in ALGORITHMS {
            let window = Plain { algorithm, length };
            let state = state(window, &hits, now, limit);
            if window.used(state, now) > 0 {
                let used = |at| window.used(window.advance(state, at, limit), at);
                let reset = window.resets_at(state, now, limit);
                prop_assert_eq!(used(reset), 0);
                prop_assert!(used(reset - 1) > 0);
            }
        }
    }

    #[test]
    fn clock_step_back_changes_no_decision(
        hits in hits(),
        length in 1..60_u64,
        now in 0..300_u64,
        back in 0..300_u64,
        limit in 1..30_u64,
    ) {
        for algorithm in ALGORITHMS {
            let window = Plain { algorithm, length };
            let state = state(window, &hits, now, limit);
            let earlier = now.saturating_sub(back);
            let stepped = window.advance(state, earlier, limit);
            prop_assert!(window.used(stepped, earlier) >= window.used(state, now));
            let anew = window.add(State::default(), earlier, state.used + state.previous + 1);
            let longest = window.fits_at(anew, earlier, limit);
            prop_assert!(window.fits_at(stepped, earlier, limit) <= longest);
        }
    }

    #[test]
    fn maximum_of_states_reads_as_high_as_either(
        first in hits(),
        second in hits(),
        length in 1..60_u64,
        now in 200..300_u64,
        limit in 1..30_u64,
    ) {
        for algorithm in ALGORITHMS {
            let window = Plain { algorithm, length };
            let stored = |hits: &Hits| state(window, hits, hits.last().map_or(0, |hit| hit.0), limit);
            let (first, second) = (stored(&first), stored(&second));
            let used = |state| window.used(window.advance(state, now, limit), now);
            prop_assert!(used(first.max(second)) >= used(first).max(used(second)));
        }
    }
}

/// Returns the midnights at which months end, by walking through the years.
fn month_bounds() -> impl Iterator<Item = u64> {
    let days = (1970..2500).flat_map(|year: u64| {
        let leap =
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let february = if leap { 29 } else { 28 };
        [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    });
    days.scan(0, |bound, days| {
        *bound += days * DAY;
        Some(*bound)
    })
}

fn end_of(now: u64, length: u64) -> u64 {
    calendar::end(Timestamp::new(now), Nanos::new(length)).as_u64()
}

#[test]
fn months_begin_on_their_first_day() {
    let mut begin = 0;
    for end in month_bounds() {
        for now in [begin, begin + 1, begin + 17 * DAY, end - 1] {
            assert_eq!(end_of(now, 30 * DAY), end);
        }
        begin = end;
    }
}

#[test]
fn weeks_begin_on_monday() {
    // 2026-06-01 was a Monday.
    let monday = 20_605 * DAY;
    for (now, end) in [
        (monday - 1, monday),
        (monday, monday + 7 * DAY),
        (monday + 6 * DAY, monday + 7 * DAY),
        (0, 4 * DAY),
    ] {
        assert_eq!(end_of(now, 7 * DAY), end);
    }
}

#[test]
fn calendar_has_divisors_of_days_weeks_and_months() {
    let follows = |length| {
        let algorithm = Algorithm::Calendar;
        let window = Plain { algorithm, length }.window();
        window.follows_calendar()
    };
    for length in [
        SECOND,
        60 * SECOND,
        3600 * SECOND,
        6 * 3600 * SECOND,
        DAY,
        7 * DAY,
        30 * DAY,
    ] {
        assert!(follows(length), "{length}");
    }
    for length in [
        0,
        7 * SECOND,
        5 * 3600 * SECOND,
        2 * DAY,
        8 * DAY,
        31 * DAY,
        YEAR,
    ] {
        assert!(!follows(length), "{length}");
    }
}

#[test]
fn extremes_saturate() {
    for algorithm in ALGORITHMS {
        for length in [0, 1, YEAR, u64::MAX] {
            let window = Plain { algorithm, length };
            for now in [0, YEAR, u64::MAX] {
                for limit in [0, 1, u64::MAX] {
                    let state = window.add(State::default(), now, u64::MAX);
                    let state = window.add(window.advance(state, now, limit), now, u64::MAX);
                    assert!(window.resets_at(state, now, limit) >= now);
                    assert!(window.fits_at(state, now, limit) >= now);
                }
            }
        }
    }
}
