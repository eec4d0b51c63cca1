//! The comparison of an SDK's results with and without tollgate, and its treatment of rejections.

use envoy_test::envoy::AccessLogEntry;

use crate::{
    gateways::{Gateways, HOURLY, HOURLY_MESSAGE, SECONDS},
    install::Installation,
    provider::Tokens,
    script::{self, Document, Failure, Outcome, Scenario, test_id},
    sdk::{Sdk, Wait},
};

/// How often a scenario is repeated in which a limit was reset before it could reject, because the machine is busy.
const MAX_REPETITIONS: usize = 5;

/// What an SDK was found to do.
#[derive(Debug)]
pub(crate) struct Report {
    /// The version of the SDK.
    pub version: String,
    /// The names of the calls.
    pub calls: Vec<String>,
    /// What is not as it should be, each with the call that it concerns.
    pub failures: Vec<(String, String)>,
}

/// The call that exhausts the limit which rejects the others.
const FIRST: &str = "first";

/// Runs all scenarios of an SDK.
pub(crate) async fn check(
    gateways: &Gateways,
    installation: &Installation,
    sdk: &Sdk,
) -> Result<Report, String> {
    let mut report = compare(gateways, installation, sdk).await?;
    let rejections = rejections(gateways, installation, sdk).await?;
    report.failures.extend(rejections);
    let retries = retries(gateways, installation, sdk).await?;
    report
        .failures
        .extend(retries.map(|failure| (String::from("retry"), failure)));
    Ok(report)
}

/// Compares the results of all calls.
async fn compare(
    gateways: &Gateways,
    installation: &Installation,
    sdk: &Sdk,
) -> Result<Report, String> {
    let caller = format!("calls-{}", sdk.id());
    let run =
        async |url: String| script::run(installation, sdk, &url, Scenario::Calls, &caller).await;
    let plain = run(gateways.plain.url("")).await?;
    let metered = run(gateways.metered.url("")).await?;
    let mut failures = Vec::new();
    for (call, expected) in &plain.calls {
        let found = match (expected, metered.calls.get(call)) {
            (Outcome::Error(error), _) => Err(format!("fails without tollgate: {error:?}")),
            (_, None) => Err("has no result".to_owned()),
            (Outcome::Result(_), Some(found)) if found == expected => {
                charge(gateways, &caller, call).await
            }
            (expected, Some(found)) => Err(format!("expected {expected:?}\nfound {found:?}")),
        };
        failures.extend(found.err().map(|failure| (call.clone(), failure)));
    }
    Ok(Report {
        version: plain.version,
        calls: plain.calls.into_keys().collect(),
        failures,
    })
}

/// Checks what a call was charged, and the protocol that it used.
async fn charge(gateways: &Gateways, caller: &str, call: &str) -> Result<(), String> {
    let id = test_id(caller, call);
    let entry = gateways.metered.logged(&id).await;
    let entry = entry.map_err(|error| error.to_string())?;
    let usage = gateways.provider.usage(&id).unwrap_or_default();
    let number = |key: &str| entry.tollgate_number(key).unwrap_or(0);
    let words: Vec<_> = call.split(' ').collect();
    if words.contains(&"http2") != (entry.protocol() == "HTTP/2") {
        return Err(format!("was sent over {}", entry.protocol()));
    }
    let is_estimated = entry.tollgate("estimated") == Some("true");
    if words.contains(&"abort") {
        return if is_estimated && number("total_tokens") > 0 && number("output_tokens") > 0 {
            Ok(())
        } else {
            Err(format!("was not charged an estimate: {entry:?}"))
        };
    }
    let charged = Tokens {
        input: number("input_tokens"),
        output: number("output_tokens"),
        cached: number("cached_tokens"),
        // The access log has no reasoning.
        reasoning: usage.reasoning,
    };
    if charged == usage && number("total_tokens") == usage.total() && !is_estimated {
        Ok(())
    } else {
        Err(format!(
            "was charged {charged:?} instead of {usage:?}: {entry:?}"
        ))
    }
}

/// Checks the errors that the rejections of an hourly limit become. Returns what is wrong.
async fn rejections(
    gateways: &Gateways,
    installation: &Installation,
    sdk: &Sdk,
) -> Result<Vec<(String, String)>, String> {
    let caller = format!("{HOURLY}-{}", sdk.id());
    let url = gateways.metered.url("");
    let document = script::run(installation, sdk, &url, Scenario::Rejected, &caller).await?;
    let mut failures = Vec::new();
    for (call, outcome) in &document.calls {
        let checked = match (call.as_str(), outcome) {
            (FIRST, Outcome::Result(_)) => Ok(()),
            (FIRST, Outcome::Error(error)) => Err(format!("is rejected: {error:?}")),
            (_, Outcome::Result(result)) => Err(format!("is not rejected: {result}")),
            (_, Outcome::Error(error)) => {
                let entries = gateways.logged(&test_id(&caller, call)).await;
                let entries = entries.map_err(|error| error.to_string())?;
                let is_stream = call.contains("stream");
                rejection(sdk, is_stream, error, &entries)
            }
        };
        failures.extend(
            checked
                .err()
                .map(|failure| (format!("rejected {call}"), failure)),
        );
    }
    Ok(failures)
}

fn rejection(
    sdk: &Sdk,
    is_stream: bool,
    error: &Failure,
    entries: &[AccessLogEntry],
) -> Result<(), String> {
    // Some retry no streams.
    let attempts = if is_stream {
        entries.len().clamp(1, sdk.attempts)
    } else {
        sdk.attempts
    };
    let statuses: Vec<_> = entries.iter().map(AccessLogEntry::status).collect();
    // Some show the body as it is.
    let message = error.message.replace('\\', "");
    if error.class != sdk.error || error.status != Some(429) {
        Err(format!(
            "expected {} with the status 429, found {error:?}",
            sdk.error
        ))
    } else if !message.contains(HOURLY_MESSAGE) {
        Err(format!(
            "the message is not that of tollgate: {}",
            error.message
        ))
    } else if statuses != vec![429; attempts] {
        Err(format!("expected {attempts} requests, found {statuses:?}"))
    } else {
        Ok(())
    }
}

/// Checks what the SDK does when a limit that rejects is reset after seconds. Returns what is wrong.
async fn retries(
    gateways: &Gateways,
    installation: &Installation,
    sdk: &Sdk,
) -> Result<Option<String>, String> {
    for repetition in 0..MAX_REPETITIONS {
        let caller = format!("{SECONDS}-{}-{repetition}", sdk.id());
        let url = gateways.metered.url("");
        let document = script::run(installation, sdk, &url, Scenario::Retried, &caller).await?;
        if let Some(Outcome::Error(error)) = document.calls.get(FIRST) {
            return Ok(Some(format!("the first request is rejected: {error:?}")));
        }
        let entries = gateways.logged(&test_id(&caller, "second")).await;
        let entries = entries.map_err(|error| error.to_string())?;
        let rejected = entries.iter().filter(|entry| entry.status() == 429).count();
        if rejected > 0 {
            return Ok(retry(sdk, &document, rejected).err());
        }
    }
    Err(format!("the limit \"{SECONDS}\" has rejected nothing"))
}

fn retry(sdk: &Sdk, document: &Document, rejected: usize) -> Result<(), String> {
    let outcome = document.calls.get("second");
    match (sdk.wait, outcome) {
        // A timer may end a moment early, and some wait for no more than a few seconds at once.
        (Wait::AsRequested, Some(Outcome::Result(_))) if rejected <= 2 => Ok(()),
        (Wait::OwnBackoff, Some(Outcome::Result(_))) => Ok(()),
        (Wait::None, Some(Outcome::Error(error))) if error.class == sdk.error && rejected == 1 => {
            Ok(())
        }
        (wait, outcome) => Err(format!(
            "expected {wait:?}, found {rejected} rejections and {outcome:?}"
        )),
    }
}
