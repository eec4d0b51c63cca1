//! Usage reports as providers and gateways send them, if the set of them is present.

use fastrand::Rng;
use memchr::memmem;

use super::recordings::{Case, cases};
use crate::request::Purpose;
use crate::{Meter, Usage};

/// The sizes of the pieces in which a body is delivered.
#[derive(Clone, Copy, Debug)]
enum Delivery {
    Whole,
    Random,
    Tiny,
    Events,
}

const DELIVERIES: [Delivery; 6] = [
    Delivery::Whole,
    Delivery::Random,
    Delivery::Random,
    Delivery::Random,
    Delivery::Tiny,
    Delivery::Events,
];

// === impl Delivery ===

impl Delivery {
    /// Returns the length of the next piece.
    fn next(self, rest: &[u8], random: &mut Rng) -> usize {
        match self {
            Self::Whole => rest.len(),
            Self::Random => random.usize(1..=rest.len()),
            Self::Tiny => random.usize(1..=3).min(rest.len()),
            Self::Events => event_length(rest),
        }
    }
}

// === impl Case ===

impl Case {
    fn deliver(&self, delivery: Delivery, random: &mut Rng) -> Meter {
        let mut meter = self.meter();
        let mut rest = self.body.as_slice();
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(delivery.next(rest, random));
            meter.push(piece);
            rest = tail;
        }
        if self.expected["cut"] == true {
            meter.cut_off();
        } else {
            meter.finish();
        }
        meter
    }

    /// Describes what is wrong about the result of a delivery, if anything.
    fn mismatch(&self, meter: &Meter) -> Option<String> {
        let usage = meter.usage();
        let is_partial = meter.is_partial();
        let mismatch = if self.expected["must_estimate"].is_object() {
            let is_estimated = meter.is_completion()
                && (usage.is_none() || is_partial || self.expected["cut"] == true);
            (!is_estimated).then(|| format!("{usage:?} is not estimated"))
        } else if self.expected["usage_present"] == true {
            let is_exact = usage.is_some_and(|usage| self.is_expected(&usage)) && !is_partial;
            (!is_exact).then(|| format!("{usage:?}, partial: {is_partial}"))
        } else {
            // A request that only reads what is stored is not metered, nor is one whose path says that it
            // generates nothing, unless it has generated text.
            let is_managed = Purpose::of(&self.method, &self.path) != Purpose::Generate;
            let has_text = meter.is_completion() && meter.output_bytes() > 0;
            let is_free = (usage.is_none() && !meter.is_completion())
                || self.method != "POST"
                || (is_managed && !has_text);
            (!is_free).then(|| format!("{usage:?} is not free"))
        };
        mismatch.map(|mismatch| format!("{}: {mismatch}", self.id))
    }

    fn is_expected(&self, usage: &Usage) -> bool {
        let normalized = &self.expected["normalized"];
        [
            (&normalized["input_tokens"], usage.input_tokens),
            (&normalized["output_tokens"], usage.output_tokens),
            (&normalized["total_tokens"], usage.total_tokens),
            (&self.expected["cached_tokens"], usage.cached_tokens),
            (
                &self.expected["cache_creation_tokens"],
                usage.cache_creation_tokens,
            ),
            (&self.expected["reasoning_tokens"], usage.reasoning_tokens),
        ]
        .into_iter()
        .all(|(expected, found)| expected.as_u64().is_none_or(|expected| expected == found))
    }
}

#[test]
fn reports_are_read_exactly_in_every_delivery() {
    let Some(cases) = cases("TOLLGATE_REPORTS", "reports") else {
        println!("reports_are_read_exactly_in_every_delivery: skipped, there are no reports");
        return;
    };
    let mut failures = Vec::new();
    let mut disputed = Vec::new();
    // A fixed seed, so that failures are reproducible.
    let mut random = Rng::with_seed(0x9e37_79b9_7f4a_7c15);
    for case in cases {
        for delivery in DELIVERIES {
            let meter = case.deliver(delivery, &mut random);
            if let Some(mismatch) = case.mismatch(&meter) {
                let mismatches = if case.expected["ambiguous"] == true {
                    &mut disputed
                } else {
                    &mut failures
                };
                mismatches.push(format!("{mismatch} ({delivery:?})"));
            }
        }
    }
    // Sound readers may differ on these.
    println!("disputed:\n{}", disputed.join("\n"));
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Returns the length of the event, message or line at the start of `bytes`.
fn event_length(bytes: &[u8]) -> usize {
    let length = match bytes {
        [0, a, b, c, ..] => Some(u32::from_be_bytes([0, *a, *b, *c]) as usize),
        [b'{', ..] => memchr::memchr(b'\n', bytes).map(|at| at + 1),
        _ => memmem::find(bytes, b"\n\n").map(|at| at + 2),
    };
    length.map_or(bytes.len(), |length| length.clamp(1, bytes.len()))
}
