//! Metrics in Envoy: `wasmcustom.tollgate.*`.
//!
//! Names carry their tags as `.key=value` parts, which the `stats_tags` of the manifests turn into
//! labels. No tag holds the identity of a caller. All metrics are defined with the configuration,
//! except those of models, of which there are at most [`MAX_MODELS`] sets.

use super::gauges;
use crate::host::{Host, MetricId, MetricKind, Result};
use crate::policies::Unit;
use filter_config::{Configuration, LimitIndex, Usd};
use limits::Occupancy;
use std::cell::{Cell, RefCell};
use usage_meter::Usage;

/// The number of models with metrics of their own; the others are counted as `other`.
const MAX_MODELS: usize = 64;

/// The decision on an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// No limit applies to it.
    Unmatched,
    /// Every limit that applies has room.
    Admitted,
    /// A limit in dry run would have rejected it.
    ShadowDenied,
    /// It was admitted after it was queued.
    Queued,
    /// It was admitted as a fallback.
    Alternative,
    /// A limit rejected it.
    Denied,
    /// It was rejected because it has no identity that a limit counts by.
    Unauthenticated,
    /// A rule of access does not allow its model.
    Forbidden,
    /// Its policy needs its body, which is malformed.
    InvalidRequest,
    /// The worker has no memory left for it.
    Overloaded,
    /// Its policy could not be evaluated, and it was rejected for that reason.
    Failed,
    /// Its policy could not be evaluated, and it was admitted nevertheless.
    FailedOpen,
    /// It ended while it was pending.
    Abandoned,
}

impl Decision {
    const ALL: [Self; 13] = [
        Self::Unmatched,
        Self::Admitted,
        Self::ShadowDenied,
        Self::Queued,
        Self::Alternative,
        Self::Denied,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::InvalidRequest,
        Self::Overloaded,
        Self::Failed,
        Self::FailedOpen,
        Self::Abandoned,
    ];

    /// Returns whether the request was rejected.
    #[must_use]
    pub(crate) const fn is_rejection(self) -> bool {
        match self {
            Self::Denied
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::InvalidRequest
            | Self::Overloaded
            | Self::Failed => true,
            Self::Unmatched
            | Self::Admitted
            | Self::ShadowDenied
            | Self::Queued
            | Self::Alternative
            | Self::FailedOpen
            | Self::Abandoned => false,
        }
    }

    /// Returns whether it is what becomes of most exchanges.
    #[must_use]
    pub(crate) const fn is_usual(self) -> bool {
        matches!(self, Self::Admitted | Self::Unmatched)
    }

    /// Returns the name in filter state and metrics.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unmatched => "unmatched",
            Self::Admitted => "admitted",
            Self::ShadowDenied => "shadow_denied",
            Self::Queued => "queued",
            Self::Alternative => "alternative",
            Self::Denied => "denied",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::InvalidRequest => "invalid_request",
            Self::Overloaded => "overloaded",
            Self::Failed => "failed",
            Self::FailedOpen => "failed_open",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The part because of which a request is rejected with a 500.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FailedPart {
    /// An expression, or the routes of the policies.
    #[default]
    Evaluation,
    /// The counters of this Envoy.
    Counters,
    /// The rate limit service.
    Service,
    /// The request, which a fallback was to change.
    Request,
}

impl FailedPart {
    const ALL: [Self; 4] = [
        Self::Evaluation,
        Self::Counters,
        Self::Service,
        Self::Request,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Evaluation => "evaluation",
            Self::Counters => "counters",
            Self::Service => "service",
            Self::Request => "request",
        }
    }
}

/// Events that are counted without tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// A completion ended without a usage report.
    MissingUsage,
    /// A response reported numbers of tokens that are not plausible.
    UnreadableUsage,
    /// An upstream was found to reject requests for a usage report.
    IncludeUsageRejected,
    /// An exchange was charged an estimate.
    Estimated,
    /// A value that an expression reads was absent or null.
    MissingValues,
    /// An expression could not be evaluated.
    EvaluationErrors,
    /// Something was not kept because the worker had no memory for it.
    MemoryShortages,
    /// Counters could not be read or written: an admission could not be decided, or usage was not recorded.
    StorageErrors,
    /// A model without a price of its own was used although there are prices.
    Unpriced,
    /// A rate had more live counters than fit on a page, for the first time.
    PageOverflows,
    /// A live counter was evicted from a full page.
    CounterEvictions,
    /// An update was repeated because another worker had written the page.
    StorageRetries,
    /// A page of counters could not be decoded and was treated as empty.
    PagesUnreadable,
}

impl Count {
    const ALL: [Self; 13] = [
        Self::MissingUsage,
        Self::UnreadableUsage,
        Self::IncludeUsageRejected,
        Self::Estimated,
        Self::MissingValues,
        Self::EvaluationErrors,
        Self::MemoryShortages,
        Self::StorageErrors,
        Self::Unpriced,
        Self::PageOverflows,
        Self::CounterEvictions,
        Self::StorageRetries,
        Self::PagesUnreadable,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::MissingUsage => "tollgate.missing_usage",
            Self::UnreadableUsage => "tollgate.unreadable_usage",
            Self::IncludeUsageRejected => "tollgate.include_usage_rejected",
            Self::Estimated => "tollgate.estimated",
            Self::MissingValues => "tollgate.missing_values",
            Self::EvaluationErrors => "tollgate.evaluation_errors",
            Self::MemoryShortages => "tollgate.memory_shortages",
            Self::StorageErrors => "tollgate.storage_errors",
            Self::Unpriced => "tollgate.unpriced",
            Self::PageOverflows => "tollgate.page_overflows",
            Self::CounterEvictions => "tollgate.counter_evictions",
            Self::StorageRetries => "tollgate.storage_retries",
            Self::PagesUnreadable => "tollgate.pages_unreadable",
        }
    }
}

/// The metrics of a model: one for each kind of tokens, and one for money where there are prices.
type ModelMetrics = ([MetricId; TOKENS.len()], Option<MetricId>);

/// The kinds of tokens.
const TOKENS: [&str; 5] = ["input", "output", "cached", "cache_creation", "reasoning"];

/// The metrics of a limit.
#[derive(Clone, Copy, Debug)]
struct LimitMetrics {
    denied: MetricId,
    shadow_denied: MetricId,
    alerts: MetricId,
    reserved: MetricId,
    admitted: MetricId,
    rejected: MetricId,
    /// The tokens, or the cost, that it has counted.
    used_tokens: Option<MetricId>,
    /// The billionths of a dollar that it has counted.
    used_usd: Option<MetricId>,
}

/// The metrics, each defined once.
#[derive(Debug)]
pub(crate) struct Metrics {
    decisions: [MetricId; Decision::ALL.len()],
    /// The requests with the decision `failed`, by the part that failed.
    failed: [MetricId; FailedPart::ALL.len()],
    /// The metrics of each limit, by policy and limit.
    limits: Vec<Vec<LimitMetrics>>,
    counts: [MetricId; Count::ALL.len()],
    queued: MetricId,
    /// The occupancy at the last report.
    occupancy: Cell<Occupancy>,
    models: RefCell<Vec<(String, ModelMetrics)>>,
}

// === impl Metrics ===

impl Metrics {
    /// Defines the metrics of a configuration.
    ///
    /// # Errors
    /// Whatever Envoy answers; none is expected.
    pub(crate) fn define(host: &dyn Host, configuration: &Configuration) -> Result<Self> {
        let counter = |name: &str| host.define_metric(MetricKind::Counter, name);
        let mut decisions = [MetricId(0); Decision::ALL.len()];
        for (id, decision) in decisions.iter_mut().zip(Decision::ALL) {
            let has_tags = matches!(
                decision,
                Decision::Denied | Decision::ShadowDenied | Decision::Failed
            );
            if !has_tags {
                *id = counter(&format!("tollgate.requests.decision={}", decision.name()))?;
            }
        }
        let mut failed = [MetricId(0); FailedPart::ALL.len()];
        for (id, part) in failed.iter_mut().zip(FailedPart::ALL) {
            let name = format!("tollgate.requests.decision=failed.reason={}", part.name());
            *id = counter(&name)?;
        }
        let mut limits = Vec::new();
        for policy in &configuration.policies {
            let mut of_policy = Vec::new();
            for limit in &policy.limits {
                let tags = format!("policy={}.limit={}", tag(&policy.name), tag(&limit.name));
                let used = |unit: &str, is_unused: bool| {
                    let name = || format!("tollgate.limit_used.unit={unit}.{tags}");
                    (!is_unused).then(|| counter(&name())).transpose()
                };
                of_policy.push(LimitMetrics {
                    denied: counter(&format!("tollgate.requests.decision=denied.{tags}"))?,
                    shadow_denied: counter(&format!(
                        "tollgate.requests.decision=shadow_denied.{tags}"
                    ))?,
                    alerts: counter(&format!("tollgate.alerts.{tags}"))?,
                    reserved: host
                        .define_metric(MetricKind::Gauge, &format!("tollgate.reserved.{tags}"))?,
                    admitted: counter(&format!("tollgate.limit_admitted.{tags}"))?,
                    rejected: counter(&format!("tollgate.limit_rejected.{tags}"))?,
                    used_tokens: used("tokens", limit.rates.is_empty())?,
                    used_usd: used("usd_billionths", limit.budgets.is_empty())?,
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
            failed,
            limits,
            counts,
            queued: host.define_metric(MetricKind::Gauge, "tollgate.queued")?,
            occupancy: Cell::default(),
            models: RefCell::default(),
        })
    }

    /// Counts an exchange by its decision and the limit that decided, or the part that failed.
    pub(crate) fn decision(
        &self,
        host: &dyn Host,
        decision: Decision,
        limit: Option<LimitIndex>,
        failed: FailedPart,
    ) {
        let of_limit = limit.and_then(|limit| self.of_limit(limit));
        let id = match (decision, of_limit) {
            (Decision::Denied, Some(of_limit)) => Some(&of_limit.denied),
            (Decision::ShadowDenied, Some(of_limit)) => Some(&of_limit.shadow_denied),
            (Decision::Denied | Decision::ShadowDenied, None) => None,
            (Decision::Failed, _) => self.failed.get(failed as usize),
            _ => self.decisions.get(decision as usize),
        };
        add(host, id, 1);
        if decision == Decision::Denied {
            add(host, of_limit.map(|of_limit| &of_limit.rejected), 1);
        }
    }

    /// Counts an exchange that a limit has admitted.
    pub(crate) fn limit_admitted(&self, host: &dyn Host, limit: LimitIndex) {
        let of_limit = self.of_limit(limit);
        add(host, of_limit.map(|of_limit| &of_limit.admitted), 1);
    }

    /// Counts what an exchange has used of a limit, in the unit of one of its rates. Of those with the same unit, the
    /// first counts.
    pub(crate) fn limit_used(&self, host: &dyn Host, limit: LimitIndex, unit: Unit, amount: u64) {
        let of_limit = self.of_limit(limit);
        let id = of_limit.and_then(|of_limit| match unit {
            Unit::Tokens(0) => of_limit.used_tokens.as_ref(),
            Unit::Usd(0) => of_limit.used_usd.as_ref(),
            _ => None,
        });
        if amount > 0 {
            add(host, id, i64::try_from(amount).unwrap_or(i64::MAX));
        }
    }

    /// Counts an alert of a limit.
    pub(crate) fn alert(&self, host: &dyn Host, limit: LimitIndex) {
        let of_limit = self.of_limit(limit);
        add(host, of_limit.map(|of_limit| &of_limit.alerts), 1);
    }

    /// Adds to the tokens that requests in flight reserve of a limit; a negative amount is subtracted.
    pub(crate) fn reserved(&self, host: &dyn Host, limit: LimitIndex, tokens: i64) {
        if let Some(of_limit) = self.of_limit(limit) {
            gauges::add(host, of_limit.reserved, tokens);
        }
    }

    /// Adds to the reserved tokens that this worker has to subtract from the gauge, without changing the gauge: another
    /// worker may have added them, or may subtract them.
    pub(crate) fn take_over_reserved(&self, limit: LimitIndex, tokens: i64) {
        if let Some(of_limit) = self.of_limit(limit) {
            gauges::count(of_limit.reserved, tokens);
        }
    }

    /// Adds to the number of queued requests.
    pub(crate) fn queued(&self, host: &dyn Host, requests: i64) {
        gauges::add(host, self.queued, requests);
    }

    fn of_limit(&self, limit: LimitIndex) -> Option<&LimitMetrics> {
        self.limits.get(limit.policy)?.get(limit.limit)
    }

    /// Counts what the counters went through since the last report. Returns whether some were evicted.
    pub(crate) fn occupancy(&self, host: &dyn Host, now: Occupancy) -> bool {
        let before = self.occupancy.replace(now);
        if now == before {
            return false;
        }
        for (count, now, before) in [
            (
                Count::PageOverflows,
                now.page_overflows,
                before.page_overflows,
            ),
            (Count::CounterEvictions, now.evictions, before.evictions),
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

    /// Counts an event that has happened a number of times.
    pub(crate) fn count(&self, host: &dyn Host, count: Count, times: usize) {
        let times = i64::try_from(times).unwrap_or(i64::MAX);
        add(host, self.counts.get(count as usize), times);
    }

    /// Counts the tokens of an exchange and, where there are prices, what they cost.
    pub(crate) fn tokens(
        &self,
        host: &dyn Host,
        model: Option<&str>,
        usage: &Usage,
        usd: Option<Usd>,
    ) {
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

    /// Returns the metrics of a model, which are defined when it is first seen.
    fn model(&self, host: &dyn Host, model: &str, is_priced: bool) -> Option<ModelMetrics> {
        let mut models = self.models.borrow_mut();
        if let Some((_, ids)) = models.iter().find(|(known, _)| known == model) {
            return Some(*ids);
        }
        let name = if models.len() < MAX_MODELS {
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
        host.add_to_metric(*id, amount);
    }
}

/// Returns a name as the value of a tag: characters with a meaning in a metric's name are replaced.
fn tag(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/');
    name.chars()
        .take(128)
        .map(|c| if plain(c) { c } else { '_' })
        .collect()
}
