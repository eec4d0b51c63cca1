//! Responses as public bug reports describe them, replayed through Envoy in six deliveries each.
//!
//! They are in the folder that `TOLLGATE_REPORTS` names, by default `../shared/reports` beside the repository.

use bytes::Bytes;
use envoy_test::{
    client::{Protocol, client},
    metered::{CALLER, Metered, each_caller},
    random,
};
use reqwest::{Client, Method, RequestBuilder};

use crate::corpus::{Case, cases};
use crate::support::{TestResult, logged_tokens};

/// More tokens than all responses report together.
const LIMIT: u64 = 1_000_000_000_000;

/// How a response is delivered.
#[derive(Clone, Copy, Debug)]
enum Delivery {
    /// In one part.
    Whole,
    /// In parts of so many bytes.
    Every(usize),
    /// An event or a line in each part.
    Events,
}

// === impl Delivery ===

impl Delivery {
    /// Returns the six deliveries of a body.
    fn all(length: usize, rng: &mut fastrand::Rng) -> [Self; 6] {
        let mut cut = || Self::Every(rng.usize(2..length.max(3)));
        [
            Self::Whole,
            cut(),
            cut(),
            cut(),
            Self::Every(3),
            Self::Events,
        ]
    }

    /// Instructs the provider; where the response is `cut` off, to close the connection at its end.
    fn instruct(self, request: RequestBuilder, case: &Case) -> RequestBuilder {
        let length = case.response.body.len();
        let (request, parts) = match self {
            Self::Whole => (request, 1),
            Self::Every(bytes) => (
                request.header("x-mock-split", bytes),
                length.div_ceil(bytes),
            ),
            Self::Events => {
                let body = String::from_utf8_lossy(&case.response.body);
                let blank_lines = body.matches("\n\n").count();
                let events = match blank_lines {
                    0 => body.lines().count(),
                    lines => lines + usize::from(!body.ends_with("\n\n")),
                };
                (request.header("x-mock-script-events", "1"), events)
            }
        };
        if case.expected["cut"] == true {
            request.header("x-mock-abort-after", parts)
        } else {
            request
        }
    }
}

/// Requests a case. Returns the body of the response; `None` if it is cut off.
async fn replay(
    client: &Client,
    metered: &Metered,
    case: &Case,
    id: &str,
    delivery: Delivery,
) -> Option<Bytes> {
    let request = client
        .request(case.method.clone(), metered.envoy.url(&case.path))
        .header(CALLER, "shared")
        .header("x-test-id", id)
        .header("x-mock-script", &case.id);
    let mut request = delivery.instruct(request, case);
    if case.method == Method::POST {
        request = request
            .header("content-type", &case.content_type)
            .body(case.request.clone());
    }
    request.send().await.ok()?.bytes().await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reported_responses_are_charged_exactly_in_any_delivery() -> TestResult {
    let Some(cases) = cases("TOLLGATE_REPORTS", "reports")? else {
        println!("reports: skipped, there is no folder of responses");
        return Ok(());
    };
    let seed = random::seed();
    println!("TOLLGATE_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    // Estimates come first: reports of other responses of the same model would teach the estimator.
    let (estimated, exact): (Vec<Case>, Vec<Case>) = cases
        .into_iter()
        .partition(|case| case.expected["must_estimate"].is_object());
    let metered = Metered::build(each_caller(LIMIT), |builder| builder.concurrency(1)).await?;
    let clients = Protocol::ALL.map(client);
    let mut exchanges = Vec::new();
    for case in estimated.iter().chain(&exact) {
        metered.llm.script(&case.id, case.response.clone());
        let deliveries = Delivery::all(case.response.body.len(), &mut rng);
        for (delivery, client) in deliveries.into_iter().zip(clients.iter().cycle()) {
            let id = format!("{} {delivery:?}", case.id);
            let body = replay(client, &metered, case, &id, delivery).await;
            exchanges.push((case, id, body));
        }
    }
    let log = metered.envoy.access_log(exchanges.len()).await?;
    let mut failures = Vec::new();
    for (case, id, body) in &exchanges {
        let entry = log.iter().find(|entry| entry.test_id() == Some(id));
        let entry = entry.ok_or("an exchange that is not logged")?;
        let is_estimate = entry.tollgate("estimated") == Some("true");
        let tokens = logged_tokens(entry).map(|tokens| tokens.unwrap_or(0));
        let mismatch = case.mismatch(tokens, is_estimate);
        failures.extend(mismatch.map(|mismatch| format!("{id}: {mismatch}")));
        let is_expected = match body {
            Some(body) => case.is_expected(body),
            None => case.expected["cut"] == true,
        };
        if !is_expected {
            failures.push(format!("{id}: another body"));
        }
        let is_free = !case.expected["must_estimate"].is_object() && case.tokens().is_none();
        if is_free && is_estimate {
            failures.push(format!("{id}: {tokens:?} is not free"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} exchanges: {failures:#?}",
        failures.len(),
        exchanges.len()
    );
    metered.check().await?;
    Ok(())
}
