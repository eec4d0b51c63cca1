//! Each algorithm against its definition, by brute force over every instant.

use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
const YEAR: u64 = 365 * DAY;

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Fixed,
    Algorithm::Calendar,
    Algorithm::Sliding,
    Algorithm::Bucket,
];

/// Amounts used, each at an instant, in order.
type Hits = Vec<(u64, u64)>;

fn hits() -> impl Strategy<Value = Hits> {
    prop::collection::vec((0..200_u64, 0..20_u64), 0..12).prop_map(|mut hits| {
        hits.sort_unstable();
        hits
    })
}

/// A state that has met the hits up to and including an instant, as of that instant.
fn state(window: Window, hits: &Hits, now: u64, limit: u64) -> State {
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

/// What the definition of an algorithm says is used.
fn defined(window: Window, hits: &Hits, now: u64, limit: u64) -> u64 {
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

/// An instant at which less than the limit is used comes true, and none before it.
fn assert_fits(window: Window, state: State, now: u64, limit: u64) {
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
    fn used_is_what_the_definition_says(
        hits in hits(),
        length in 1..60_u64,
        now in 0..300_u64,
        limit in 1..30_u64,
    ) {
        for algorithm in ALGORITHMS {
            let window = Window { algorithm, length };
            let state = state(window, &hits, now, limit);
            prop_assert_eq!(
                window.used(state, now),
                defined(window, &hits, now, limit),
                "{:?}", algorithm
            );
        }
    }

    #[test]
    fn the_next_request_fits_when_told_and_not_before(
        hits in hits(),
        length in 1..60_u64,
        now in 0..300_u64,
        limit in 1..30_u64,
    ) {
        for algorithm in ALGORITHMS {
            let window = Window { algorithm, length };
            assert_fits(window, state(window, &hits, now, limit), now, limit);
        }
    }

    #[test]
    fn the_next_request_fits_when_told_whatever_the_numbers(
        now in 0..60 * YEAR,
        length in prop_oneof![Just(SECOND), Just(DAY), Just(7 * DAY), Just(30 * DAY), Just(YEAR), 1..YEAR],
        limit in prop_oneof![1..1000_u64, 1..u64::MAX, Just(u64::MAX)],
        hits in prop::collection::vec(
            (0..YEAR, prop_oneof![0..1000_u64, any::<u64>(), Just(u64::MAX)]), 1..6),
        algorithm in prop::sample::select(ALGORITHMS.to_vec()),
    ) {
        let window = Window { algorithm, length };
        let mut now = now;
        let mut state = State::default();
        for (wait, amount) in hits {
            now += wait;
            state = window.add(window.advance(state, now, limit), now, amount);
            assert_fits(window, state, now, limit);
        }
    }

    #[test]
    fn nothing_is_used_from_the_reset_on_and_something_before(
        hits in hits(),
        length in 1..60_u64,
        now in 0..300_u64,
        limit in 1..30_u64,
    ) {
        for algorithm in ALGORITHMS {
            let window = Window { algorithm, length };
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
    fn a_step_back_frees_nobody_and_locks_nobody_out(
        hits in hits(),
        length in 1..60_u64,
        now in 0..300_u64,
        back in 0..300_u64,
        limit in 1..30_u64,
    ) {
        for algorithm in ALGORITHMS {
            let window = Window { algorithm, length };
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
    fn the_larger_of_two_states_reads_as_high_as_either_for_ever(
        first in hits(),
        second in hits(),
        length in 1..60_u64,
        now in 200..300_u64,
        limit in 1..30_u64,
    ) {
        for algorithm in ALGORITHMS {
            let window = Window { algorithm, length };
            let stored = |hits: &Hits| state(window, hits, hits.last().map_or(0, |hit| hit.0), limit);
            let (first, second) = (stored(&first), stored(&second));
            let used = |state| window.used(window.advance(state, now, limit), now);
            prop_assert!(used(first.max(second)) >= used(first).max(used(second)));
        }
    }
}

/// Midnights at which a month begins, by walking through the years.
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

#[test]
fn months_begin_on_their_first_day() {
    let mut begin = 0;
    for end in month_bounds() {
        for now in [begin, begin + 1, begin + 17 * DAY, end - 1] {
            assert_eq!(calendar::end(now, 30 * DAY), end);
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
        assert_eq!(calendar::end(now, 7 * DAY), end);
    }
}

#[test]
fn the_calendar_has_what_divides_a_day_and_weeks_and_months() {
    let follows = |length| {
        let algorithm = Algorithm::Calendar;
        Window { algorithm, length }.follows_calendar()
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
fn extremes_do_not_overflow() {
    for algorithm in ALGORITHMS {
        for length in [0, 1, YEAR, u64::MAX] {
            let window = Window { algorithm, length };
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
