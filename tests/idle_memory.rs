//! The memory that an idle exchange takes.

#[path = "../examples/idle_memory/exchanges.rs"]
mod exchanges;

use exchanges::{CASES, Headers, measure};

#[test]
fn idle_exchanges_stay_within_their_bounds() {
    for case in &CASES {
        for headers in [Headers::Usual, Headers::Large] {
            let size = measure(case, headers);
            assert!(
                (0..=case.max_bytes()).contains(&size.bytes),
                "{}, {headers:?} headers: {} bytes beside {}",
                case.state,
                size.bytes,
                size.headers
            );
        }
    }
}
