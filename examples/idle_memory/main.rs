//! The memory of an idle exchange, natively and state by state: pointers of the module are half as large, so that it
//! takes less. It prints, and asserts nothing; `tests/idle_memory.rs` does.

mod exchanges;

use exchanges::{CASES, Headers, measure};

fn main() {
    println!(
        "\nBytes of an idle exchange beside the map of its request's headers, if that is still needed:"
    );
    println!(
        "{:>44} {:>8} {:>14} {:>17}",
        "", "at most", "usual headers", "80 kB of headers"
    );
    for case in &CASES {
        let [usual, large] = [Headers::Usual, Headers::Large].map(|headers| measure(case, headers));
        let map = if large.headers > 0 { " + map" } else { "" };
        println!(
            "{:>44} {:>8} {:>14} {:>17}{map}",
            case.state,
            case.max_bytes(),
            usual.bytes,
            large.bytes,
        );
    }
}
