//! What Envoy counts for us: `wasmcustom.tollgate.*`.
//!
//! Names carry their tags as `.key=value` parts, which the `stats_tags` of the manifests turn into
//! labels. No tag ever holds a caller's identity, and every metric is defined at configuration,
//! save one set for each model, of which there are at most [`MOST_MODELS`].

use crate::host::{Host, MetricId, MetricKind, Result};
use filter_config::{Configuration, Usd};
use limits::Occupancy;
use std::cell::{Cell, RefCell};
use usage_meter::Usage;

/// How many models have metrics of their own; the rest is counted as `other`.
pub const MOST_MODELS: usize = 64;

/// What became of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No limit applies to it.
    Unmatched,
    /// Every limit that applies has room.
    Admitted,
    /// A limit in shadow would have refused it.
    ShadowDenied,
    /// It had to wait, and then every limit had room.
    Queued,
    /// It was changed, and as it was then every limit had room.
    Alternative,
    /// A limit refused it.
    Denied,
    /// Its policy could not be evaluated, and it was refused for that.
    Failed,
    /// Its policy could not be evaluated, and it was let go all the same.
    FailedOpen,
}

impl Decision {
    const ALL: [Self; 8] = [
        Self::Unmatched,
        Self::Admitted,
        Self::ShadowDenied,
        Self::Queued,
        Self::Alternative,
        Self::Denied,
        Self::Failed,
        Self::FailedOpen,
    ];

    /// The name, as filter state and metrics have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unmatched => "unmatched",
            Self::Admitted => "admitted",
            Self::ShadowDenied => "shadow_denied",
            Self::Queued => "queued",
            Self::Alternative => "alternative",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::FailedOpen => "failed_open",
        }
    }
}

/// Events that are counted without tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A completion ended without a usage report.
    MissingUsage,
    /// An exchange was charged an estimate.
    Estimated,
    /// A `when` met a value that was absent or null, and did not hold.
    MissingValues,
    /// An expression could not be evaluated.
    EvaluationErrors,
    /// The storage failed: an admission that could not be decided, or usage that was not counted.
    StorageErrors,
    /// A model without a price of its own was used, where there are prices.
    Unpriced,
    /// A page of counters overflowed for the first time.
    PagesFull,
    /// A live counter was pushed out of a full page, into what newcomers begin with.
    CountersPushedOut,
    /// An update started over because another worker was first.
    StorageRetries,
    /// A page of counters could not be read, and was taken as empty.
    PagesUnreadable,
}

impl Count {
    const ALL: [Self; 10] = [
        Self::MissingUsage,
        Self::Estimated,
        Self::MissingValues,
        Self::EvaluationErrors,
        Self::StorageErrors,
        Self::Unpriced,
        Self::PagesFull,
        Self::CountersPushedOut,
        Self::StorageRetries,
        Self::PagesUnreadable,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::MissingUsage => "tollgate.missing_usage",
            Self::Estimated => "tollgate.estimated",
            Self::MissingValues => "tollgate.missing_values",
            Self::EvaluationErrors => "tollgate.evaluation_errors",
            Self::StorageErrors => "tollgate.storage_errors",
            Self::Unpriced => "tollgate.unpriced",
            Self::PagesFull => "tollgate.pages_full",
            Self::CountersPushedOut => "tollgate.counters_pushed_out",
            Self::StorageRetries => "tollgate.storage_retries",
            Self::PagesUnreadable => "tollgate.pages_unreadable",
        }
    }
}

/// The metrics of a model: of each kind of tokens, and of money where there are prices.
type OfModel = ([MetricId; TOKENS.len()], Option<MetricId>);

/// The kinds of tokens that are counted.
const TOKENS: [&str; 5] = ["input", "output", "cached", "cache_creation", "reasoning"];

/// The metrics of a limit.
#[derive(Clone, Copy, Debug)]
struct OfLimit {
    denied: MetricId,
    shadow_denied: MetricId,
    alerts: MetricId,
    held: MetricId,
}

/// The metrics, each defined once.
#[derive(Debug)]
pub struct Metrics {
    decisions: [MetricId; Decision::ALL.len()],
    /// What is told of a limit, by policy and limit, in the order of the configuration.
    limits: Vec<Vec<OfLimit>>,
    counts: [MetricId; Count::ALL.len()],
    queued: MetricId,
    /// What the storage had met when it was told last.
    occupancy: Cell<Occupancy>,
    models: RefCell<Vec<(String, OfModel)>>,
}

// === impl Metrics ===

impl Metrics {
    /// Defines the metrics of a configuration.
    ///
    /// # Errors
    /// Whatever Envoy answers; none is expected.
    pub fn define(host: &dyn Host, configuration: &Configuration) -> Result<Self> {
        let counter = |name: &str| host.define_metric(MetricKind::Counter, name);
        let mut decisions = [MetricId(0); Decision::ALL.len()];
        for (id, decision) in decisions.iter_mut().zip(Decision::ALL) {
            if !matches!(decision, Decision::Denied | Decision::ShadowDenied) {
                *id = counter(&format!("tollgate.requests.decision={}", decision.name()))?;
            }
        }
        let mut limits = Vec::new();
        for policy in &configuration.policies {
            let mut of_policy = Vec::new();
            for limit in &policy.limits {
                let tags = format!("policy={}.limit={}", tag(&policy.name), tag(&limit.name));
                of_policy.push(OfLimit {
                    denied: counter(&format!("tollgate.requests.decision=denied.{tags}"))?,
                    shadow_denied: counter(&format!(
                        "tollgate.requests.decision=shadow_denied.{tags}"
                    ))?,
                    alerts: counter(&format!("tollgate.alerts.{tags}"))?,
                    held: host
                        .define_metric(MetricKind::Gauge, &format!("tollgate.held.{tags}"))?,
                });
            }
            limits.push(of_policy);
        }
        let mut counts = [MetricId(0); Count::ALL.len()];
        for (id, count) in counts.iter_mut().zip(Count::ALL) {
            *id = counter(count.name())?;
        }
        Ok(Self {
            decisions,
            limits,
            counts,
            queued: host.define_metric(MetricKind::Gauge, "tollgate.queued")?,
            occupancy: Cell::default(),
            models: RefCell::default(),
        })
    }

    /// Counts an exchange. `limit` is the policy and the limit that decided, by their indices.
    pub fn decided(&self, host: &dyn Host, decision: Decision, limit: Option<(usize, usize)>) {
        let of_limit = limit.and_then(|(policy, limit)| self.limits.get(policy)?.get(limit));
        let id = match (decision, of_limit) {
            (Decision::Denied, Some(of_limit)) => Some(&of_limit.denied),
            (Decision::ShadowDenied, Some(of_limit)) => Some(&of_limit.shadow_denied),
            (Decision::Denied | Decision::ShadowDenied, None) => None,
            _ => self.decisions.get(decision as usize),
        };
        add(host, id, 1);
    }

    /// Counts a counter that went past its limit's `alertAt`.
    pub fn alerted(&self, host: &dyn Host, policy: usize, limit: usize) {
        let of_limit = self.limits.get(policy).and_then(|limits| limits.get(limit));
        add(host, of_limit.map(|of_limit| &of_limit.alerts), 1);
    }

    /// Tells that a request holds tokens of a limit or, with less than none, that it holds them no longer.
    pub fn held(&self, host: &dyn Host, policy: usize, limit: usize, tokens: i64) {
        let of_limit = self.limits.get(policy).and_then(|limits| limits.get(limit));
        add(host, of_limit.map(|of_limit| &of_limit.held), tokens);
    }

    /// Tells that a request waits, or `waits` no longer.
    pub fn queued(&self, host: &dyn Host, waits: bool) {
        add(host, Some(&self.queued), if waits { 1 } else { -1 });
    }

    /// Counts what the storage has met since it was told last. Returns whether counters were pushed
    /// out.
    pub fn occupied(&self, host: &dyn Host, now: Occupancy) -> bool {
        let before = self.occupancy.replace(now);
        if now == before {
            return false;
        }
        for (count, now, before) in [
            (Count::PagesFull, now.page_overflows, before.page_overflows),
            (Count::CountersPushedOut, now.evictions, before.evictions),
            (Count::StorageRetries, now.retries, before.retries),
            (Count::PagesUnreadable, now.unreadable, before.unreadable),
        ] {
            let more = i64::try_from(now.saturating_sub(before)).unwrap_or(i64::MAX);
            if more > 0 {
                add(host, self.counts.get(count as usize), more);
            }
        }
        now.evictions > before.evictions
    }

    /// Counts an event.
    pub fn count(&self, host: &dyn Host, count: Count) {
        add(host, self.counts.get(count as usize), 1);
    }

    /// Counts the tokens of an exchange and, where there are prices, what they cost.
    pub fn tokens(&self, host: &dyn Host, model: Option<&str>, usage: &Usage, usd: Option<Usd>) {
        let amounts = [
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_tokens,
            usage.cache_creation_tokens,
            usage.reasoning_tokens,
        ];
        let whole = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        if let Some((ids, of_usd)) = self.model(host, model.unwrap_or("unknown"), usd.is_some()) {
            for (id, amount) in ids.iter().zip(amounts) {
                if amount > 0 {
                    add(host, Some(id), whole(amount));
                }
            }
            add(host, of_usd.as_ref(), whole(usd.unwrap_or_default().0));
        }
    }

    /// The metrics of a model, defined when it is first seen.
    fn model(&self, host: &dyn Host, model: &str, is_priced: bool) -> Option<OfModel> {
        let mut models = self.models.borrow_mut();
        if let Some((_, ids)) = models.iter().find(|(known, _)| known == model) {
            return Some(*ids);
        }
        let name = if models.len() < MOST_MODELS {
            model
        } else {
            "other"
        };
        if let Some((_, ids)) = models.iter().find(|(known, _)| known == name) {
            return Some(*ids);
        }
        let mut ids = [MetricId(0); TOKENS.len()];
        for (id, kind) in ids.iter_mut().zip(TOKENS) {
            let name = format!("tollgate.tokens.kind={kind}.model={}", tag(name));
            *id = host.define_metric(MetricKind::Counter, &name).ok()?;
        }
        let of_usd = is_priced.then(|| {
            let name = format!("tollgate.usd_billionths.model={}", tag(name));
            host.define_metric(MetricKind::Counter, &name).ok()
        });
        let ids = (ids, of_usd.flatten());
        models.push((name.to_owned(), ids));
        Some(ids)
    }
}

fn add(host: &dyn Host, id: Option<&MetricId>, amount: i64) {
    if let Some(id) = id {
        // A metric that cannot be written has nowhere to be reported.
        let _ = host.add_to_metric(*id, amount);
    }
}

/// A name as the value of a tag: what has a meaning in a metric's name is replaced.
fn tag(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/');
    name.chars()
        .take(128)
        .map(|c| if plain(c) { c } else { '_' })
        .collect()
}
