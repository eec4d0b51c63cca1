//! The log lines of a rate limit service's client, which users parse and alert on.

use crate::stream::tests::service::harness::{CHECK, Gateway, RESERVE};
use insta::assert_snapshot;

impl Gateway {
    /// Returns the lines that were logged, as Envoy prints them.
    fn log(&self) -> String {
        let lines = self.envoy.log.lines().into_iter();
        let lines = lines.map(|(level, line)| format!("{} {line}", level.as_str().to_lowercase()));
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn circuit_lines_match_snapshot() {
    let mut gateway = Gateway::new(CHECK);
    for _ in 0..5 {
        gateway.exchange_by(1, &mut |_| Some(Err(14)));
    }
    gateway.wait(10_000);
    assert_snapshot!(gateway.log());
}

#[test]
fn unsupported_reserve_line_matches_snapshot() {
    let mut gateway = Gateway::new(RESERVE);
    gateway.limitador.lacks_reserve = true;
    gateway.exchange(30);
    assert_snapshot!(gateway.log());
}
