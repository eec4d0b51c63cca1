//! Recorded responses of real services, if the corpus is present.

use super::recordings::cases;

#[test]
fn recorded_responses_are_metered_exactly() {
    let Some(cases) = cases("TOLLGATE_CORPUS", "corpus") else {
        println!("recorded_responses_are_metered_exactly: skipped, there is no corpus");
        return;
    };
    let mut failures = Vec::new();
    let mut count = 0;
    // A fixed seed, so that failures are reproducible.
    let mut random = fastrand::Rng::with_seed(0x9e37_79b9_7f4a_7c15);
    for case in cases {
        if case.expected["ambiguous"] == true {
            continue;
        }
        count += 1;
        let mut meter = case.meter();
        meter.push(&case.body);
        // A final result must not change.
        let early = meter.is_likely_final().then(|| meter.usage());
        meter.finish();
        if early.is_some_and(|early| early != meter.usage()) {
            failures.push(format!("{}: final too early", case.id));
        }
        failures.extend(case.difference("whole", &meter));

        let mut meter = case.meter();
        for byte in &case.body {
            let before = meter.is_likely_final().then(|| meter.usage());
            meter.push(&[*byte]);
            if before.is_some_and(|before| before != meter.usage()) {
                failures.push(format!("{}: changed after it was final", case.id));
            }
        }
        meter.finish();
        failures.extend(case.difference("byte by byte", &meter));

        for longest in [7, 100, 1_400, 16_384] {
            let mut meter = case.meter();
            let mut rest = case.body.as_slice();
            while !rest.is_empty() {
                let length = random.usize(1..=longest);
                let (piece, tail) = rest.split_at(length.min(rest.len()));
                meter.push(piece);
                rest = tail;
            }
            meter.finish();
            failures.extend(case.difference("random", &meter));
        }
    }
    println!("{count} cases");
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn output_bytes_approximate_skipped_events() {
    let Some(cases) = cases("TOLLGATE_CORPUS", "corpus") else {
        println!("output_bytes_approximate_skipped_events: skipped, there is no corpus");
        return;
    };
    let mut failures = Vec::new();
    let mut count = 0;
    for case in cases {
        if case.expected["container"] != "sse" || case.header("content-encoding").is_some() {
            continue;
        }
        // Nothing is skipped in single bytes.
        let mut every_byte = case.meter();
        let mut from = 0;
        for tenths in 1..10 {
            let cut = case.body.len() * tenths / 10;
            for byte in case.body[from..cut].chunks(1) {
                every_byte.push(byte);
            }
            from = cut;
            let exact = every_byte.output_bytes();
            for piece in [1_400, 4_096, 16_384] {
                let mut meter = case.meter();
                for piece in case.body[..cut].chunks(piece) {
                    meter.push(piece);
                }
                meter.finish();
                let found = meter.output_bytes();
                count += 1;
                assert!(
                    found.abs_diff(exact) <= exact / 2,
                    "{}: {found} for {exact}",
                    case.id
                );
                if found.abs_diff(exact) > exact / 4 {
                    failures.push(format!(
                        "{} at {cut} by {piece}: {found} for {exact}",
                        case.id
                    ));
                }
            }
        }
    }
    // An estimate for skipped events: nearly always within a quarter.
    assert!(
        failures.len() * 100 <= count,
        "{count} prefixes, too many differ:\n{}",
        failures.join("\n")
    );
}
