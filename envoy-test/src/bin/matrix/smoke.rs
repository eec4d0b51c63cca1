//! The tests that run with every version: what depends on Envoy rather than on tollgate.

use std::{
    collections::HashMap,
    error::Error,
    process::{Command, Stdio},
    time::Instant,
};

/// What a column of the table shows.
pub(crate) struct Check {
    /// The heading.
    pub title: &'static str,
    /// The end-to-end tests, by name.
    tests: &'static [&'static str],
}

/// The columns.
pub(crate) const CHECKS: [Check; 6] = [
    Check {
        title: "Kuadrant's tutorial",
        tests: &[
            "examples::kuadrant::json_passes_over_http1",
            "examples::kuadrant::stream_passes_over_http1_on_two_workers",
        ],
    },
    Check {
        title: "SSE over HTTP/2",
        tests: &[
            "metering::http2_response_is_exact_in_every_framing",
            "include_usage::http2_upstream_report_is_requested_and_withheld",
        ],
    },
    Check {
        title: "limitador",
        tests: &[
            "limitador::exchange_makes_two_calls_to_service",
            "limitador::client_disconnect_records_estimate",
            "long_cluster_names::service_behind_long_cluster_name_is_reached",
        ],
    },
    Check {
        title: "hostile headers",
        tests: &[
            "malformed_input::header_that_is_not_utf8_is_a_key",
            "malformed_input::repeated_header_is_joined",
            "malformed_input::large_header_is_a_key",
        ],
    },
    Check {
        title: "`holdHeaders`",
        tests: &[
            "on_exceeded::over_limit_request_falls_back_to_another_model",
            "include_usage::http2_held_headers_report_is_requested_and_withheld",
        ],
    },
    Check {
        title: "reload",
        tests: &[
            "configuration::recorded_usage_survives_update",
            "configuration::exchange_in_flight_survives_update",
            "configuration::invalid_update_is_rejected_and_old_configuration_stays",
            "vm_trap::trap_keeps_counters_and_reservations_expire",
        ],
    },
];

/// Runs the tests with a version of Envoy. Returns for each check whether all of its tests have passed.
pub(crate) fn run(version: &str) -> Result<Vec<bool>, Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let start = Instant::now();
    let output = Command::new(cargo)
        // Of the whole workspace, as `make test` runs it: one package alone has other features, and would be built again.
        .args(["test", "--quiet", "--locked", "--workspace"])
        .args(["--test", "e2e", "--", "--exact", "--format", "pretty"])
        .args(CHECKS.iter().flat_map(|check| check.tests))
        .env("ENVOY_VERSION", version)
        .stderr(Stdio::inherit())
        .output()?;
    let output = String::from_utf8_lossy(&output.stdout);
    let results = results(&output);
    let tests = CHECKS.iter().flat_map(|check| check.tests);
    if let Some(missing) = tests.into_iter().find(|test| !results.contains_key(**test)) {
        return Err(format!("{output}\nEnvoy {version}: no result of the test {missing}").into());
    }
    let passed = |test: &&str| results.get(*test) == Some(&true);
    let checks: Vec<_> = CHECKS
        .iter()
        .map(|check| check.tests.iter().all(passed))
        .collect();
    if checks.contains(&false) {
        eprintln!("{output}");
    }
    let took = start.elapsed().as_secs();
    eprintln!("Envoy {version}: {} tests in {took} s", results.len());
    Ok(checks)
}

/// Returns whether each test has passed, from lines such as `test replies::rejection ... ok`.
fn results(output: &str) -> HashMap<&str, bool> {
    output
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "))
        .map(|(test, result)| (test, result == "ok"))
        .collect()
}

#[cfg(test)]
mod tests;
