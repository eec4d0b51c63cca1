//! The sums at the end, and whether they are exact.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use envoy_test::{
    client::{Protocol, client},
    metered::Metered,
};

use crate::{
    Outcome,
    journal::{Ending, Journal},
    kind::Kind,
    operator::Operator,
    policy::{self, AMPLE},
    traffic::MAX_TOKENS,
};

/// How much memory may grow after the warm-up, in bytes.
const MAX_GROWTH: u64 = 64 << 20;

/// The `x-test-id` of the last request, which is not charged.
const LAST: &str = "last";

/// The errors that a report shows.
const MAX_ERRORS: usize = 20;

/// The exchanges of a kind.
#[derive(Debug, Default)]
struct Row {
    sent: u64,
    complete: u64,
    rejected: u64,
    left: u64,
    cut: u64,
    /// The tokens that the provider has reported to clients that have received the whole response.
    reported: u64,
    /// The tokens of all exchanges in the access log, and of background responses.
    charged: u64,
    /// The tokens that the counter of the caller has.
    counted: u64,
}

/// The results of a run.
#[derive(Debug)]
pub(crate) struct Report {
    title: String,
    rows: BTreeMap<Kind, Row>,
    errors: Vec<String>,
    facts: Vec<(&'static str, String)>,
}

// === impl Report ===

impl Report {
    /// Compares what the clients have received with what was charged.
    pub(crate) async fn of(
        title: &str,
        metered: &Metered,
        journal: &Journal,
        operator: &Operator,
    ) -> Outcome<Self> {
        let mut report = Self {
            title: title.to_owned(),
            rows: BTreeMap::new(),
            errors: Vec::new(),
            facts: Vec::new(),
        };
        report.compare_exchanges(metered, journal).await?;
        report.compare_counters(metered, operator).await?;
        report.add_facts(operator);
        Ok(report)
    }

    /// Returns an error if a sum differs or memory has grown.
    pub(crate) fn check(&self) -> Outcome {
        if self.errors.is_empty() {
            return Ok(());
        }
        let shown = self.errors.iter().take(MAX_ERRORS).cloned();
        let shown: Vec<_> = shown.collect();
        Err(format!(
            "{}: {} errors\n{}",
            self.title,
            self.errors.len(),
            shown.join("\n")
        )
        .into())
    }

    /// Compares each exchange with its entry in the access log.
    async fn compare_exchanges(&mut self, metered: &Metered, journal: &Journal) -> Outcome {
        let exchanges = journal.exchanges().clone();
        flush_access_log(metered).await?;
        // A client that leaves at once may have sent nothing.
        let entries = metered.envoy.access_log(1).await?;
        let mut logged = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for entry in &entries {
            if let Some(id) = entry.test_id() {
                if !seen.insert(id) {
                    self.errors.push(format!("{id} is logged twice"));
                }
                logged.insert(id, entry);
            }
        }
        for (id, exchange) in &exchanges {
            let row = self.rows.entry(exchange.kind).or_default();
            row.sent += 1;
            let entry = logged.get(id.as_str());
            let charged = entry.and_then(|entry| entry.tollgate_number("total_tokens"));
            row.charged += charged.unwrap_or(0);
            match exchange.ending {
                Ending::Response(200) if exchange.kind == Kind::Background => {
                    row.complete += 1;
                    row.reported += exchange.tokens;
                    row.charged += exchange.tokens;
                }
                Ending::Response(200) => {
                    row.complete += 1;
                    row.reported += exchange.tokens;
                    if charged != Some(exchange.tokens) {
                        let expected = exchange.tokens;
                        self.errors.push(format!(
                            "{id}: charged {charged:?}, expected {expected}: {entry:?}"
                        ));
                    }
                }
                Ending::Response(503) if exchange.kind == Kind::Failure => {
                    row.complete += 1;
                    if charged.unwrap_or(0) > 0 {
                        self.errors
                            .push(format!("{id}: an error is charged {charged:?}"));
                    }
                }
                Ending::Response(429) if exchange.kind.can_be_rejected() => {
                    row.rejected += 1;
                    if charged.is_some() {
                        self.errors
                            .push(format!("{id}: a rejection is charged {charged:?}"));
                    }
                }
                Ending::Response(status) => {
                    self.errors.push(format!(
                        "{id}, {:?}: status {status}: {entry:?}",
                        exchange.kind
                    ));
                }
                Ending::Left => row.left += 1,
                Ending::Cut => row.cut += 1,
            }
        }
        Ok(())
    }

    /// Compares the sums of the access log with counters and metrics.
    async fn compare_counters(&mut self, metered: &Metered, operator: &Operator) -> Outcome {
        let charged: u64 = self.rows.values().map(|row| row.charged).sum();
        if let Some(limitador) = &operator.limitador {
            let counted = policy::counted(limitador).await?;
            // Calls in flight when connections were closed may have been counted, and are repeated. Each is for one
            // exchange, because clients are too few for settlements to be merged while the service is up.
            let tolerance = operator.interrupted * MAX_TOKENS;
            self.facts.push((
                "counted by the service",
                format!(
                    "{counted}, expected {charged} and at most {tolerance} more for {} interrupted calls",
                    operator.interrupted
                ),
            ));
            if !(charged..=charged + tolerance).contains(&counted) {
                self.errors.push(format!(
                    "the service has counted {counted}, expected {charged} to {}",
                    charged + tolerance
                ));
            }
        } else {
            for (kind, row) in &mut self.rows {
                row.counted = AMPLE - metered.remaining(kind.caller()).await?;
                if row.counted != row.charged {
                    self.errors.push(format!(
                        "{kind:?}: counted {}, expected {}",
                        row.counted, row.charged
                    ));
                }
            }
        }
        let sum = |stats: &BTreeMap<String, u64>| {
            let kinds = stats
                .iter()
                .filter(|(name, _)| name.contains("kind=input.") || name.contains("kind=output."));
            kinds.map(|(_, tokens)| tokens).sum::<u64>()
        };
        let tokens = "wasmcustom.tollgate.tokens.kind=";
        let waited = metered
            .envoy
            .wait_for_stats(tokens, |stats| sum(stats) == charged)
            .await;
        let metric = match waited {
            Ok(_) => charged,
            Err(_) => sum(&metered.envoy.stats(tokens).await?),
        };
        self.facts
            .push(("tokens in metrics", format!("{metric}, expected {charged}")));
        if metric != charged {
            self.errors
                .push(format!("metrics have {metric} tokens, expected {charged}"));
        }
        Ok(())
    }

    fn add_facts(&mut self, operator: &Operator) {
        let mebibytes = |bytes: u64| bytes >> 20;
        let Operator {
            warm,
            highest,
            last,
            ..
        } = *operator;
        self.facts
            .push(("time", format!("{} s", operator.elapsed.as_secs())));
        self.facts
            .push(("updates of the configuration", operator.updates.to_string()));
        if operator.limitador.is_some() {
            self.facts.push((
                "outages of the service",
                format!("{} closed, {} failing", operator.closed, operator.failed),
            ));
        }
        let memory = format!(
            "{} MiB after the warm-up, at most {}, {} at the end",
            mebibytes(warm),
            mebibytes(highest),
            mebibytes(last)
        );
        if last > warm + MAX_GROWTH {
            self.errors.push(format!("resident memory: {memory}"));
        }
        self.facts.push(("resident memory", memory));
    }
}

/// Waits until the access log has the entries of all exchanges that have ended: Envoy writes them in order, after up to a
/// second.
async fn flush_access_log(metered: &Metered) -> Outcome {
    let url = metered.envoy.url("/v1/models");
    let request = client(Protocol::Http1).get(url).header("x-test-id", LAST);
    request.send().await?.bytes().await?;
    metered.envoy.logged(LAST).await?;
    Ok(())
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "\n{}\n", self.title)?;
        writeln!(
            formatter,
            "| kind | sent | complete | rejected | left | cut | reported | charged | counted |"
        )?;
        writeln!(formatter, "|---|---:|---:|---:|---:|---:|---:|---:|---:|")?;
        for (kind, row) in &self.rows {
            let Row {
                sent,
                complete,
                rejected,
                left,
                cut,
                reported,
                charged,
                counted,
            } = row;
            let kind = kind.caller();
            writeln!(
                formatter,
                "| {kind} | {sent} | {complete} | {rejected} | {left} | {cut} | {reported} | {charged} | {counted} |"
            )?;
        }
        writeln!(formatter)?;
        for (name, fact) in &self.facts {
            writeln!(formatter, "* {name}: {fact}")?;
        }
        writeln!(formatter, "* errors: {}", self.errors.len())
    }
}
