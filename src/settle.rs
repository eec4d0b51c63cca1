//! Settlement: what an exchange used becomes its cost, and is added to its counters.

pub mod price;
#[cfg(test)]
mod tests;

use crate::admit::{Admission, Denial, EvaluationError, Fault, evaluate};
use crate::attributes::{Attributes, Outcome};
use crate::plugin::{Charge, Count, Counts, MINUTE, Plugin};
use filter_config::{Attribute, Expression, OnMissing, Usd};
use limits::{Standing, StoreError, Timestamp};
use usage_meter::{Meter, Usage};

/// What an exchange used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The tokens.
    pub usage: Usage,
    /// Whether they were estimated rather than reported.
    pub estimated: bool,
}

/// What is known of an exchange besides its response.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The model, for what was learnt of it.
    pub model: Option<&'a str>,
    /// Bytes of request body that went to the upstream.
    pub bytes: u64,
    /// Whether the response came to its end, or to where nothing that follows can change its report.
    pub is_complete: bool,
}

/// What the response that a meter read used; `None` when it is nothing that costs.
///
/// A completion that reported nothing, because nobody asked or somebody hung up, is estimated from
/// what passed. What it had reported until it broke off is the least that it costs.
#[must_use]
pub fn reading(plugin: &Plugin, meter: &Meter, request: &Request<'_>) -> Option<Reading> {
    let reported = meter.usage();
    let is_whole = reported.is_some() && request.is_complete;
    let estimates = plugin.configuration.usage.on_missing == OnMissing::Estimate;
    if is_whole || !meter.is_completion() || !estimates {
        return reported.map(|usage| Reading {
            usage,
            estimated: false,
        });
    }
    let floor = reported.unwrap_or_default();
    let estimate = estimate(plugin, request, meter.output_bytes()).usage;
    let input_tokens = match floor.input_tokens {
        0 => estimate.input_tokens,
        reported => reported,
    };
    let output_tokens = floor.output_tokens.max(estimate.output_tokens);
    let usage = Usage {
        input_tokens,
        output_tokens,
        total_tokens: floor
            .total_tokens
            .max(input_tokens.saturating_add(output_tokens)),
        ..floor
    };
    Some(Reading {
        usage,
        estimated: true,
    })
}

/// An estimate from the sizes of a request and of the content that came back.
#[must_use]
pub fn estimate(plugin: &Plugin, request: &Request<'_>, output_bytes: u64) -> Reading {
    let estimates = &plugin.estimates;
    let input_tokens = estimates.input_tokens(request.model, request.bytes);
    let output_tokens = estimates.output_tokens(request.model, output_bytes);
    Reading {
        usage: Usage {
            input_tokens,
            output_tokens,
            total_tokens: input_tokens.saturating_add(output_tokens),
            ..Usage::default()
        },
        estimated: true,
    }
}

/// What an exchange comes to when it is over.
#[derive(Debug)]
pub struct Spent<'a> {
    /// What it used; `None` when it is nothing that costs.
    pub reading: Option<Reading>,
    /// What that costs in money.
    pub usd: Usd,
    /// What costs read of the request and, with its outcome, of the response; where costs are in force.
    attributes: Option<&'a mut Attributes>,
    /// The last cost that was computed, with the policy and the limit that it is of: a limit may have
    /// several rates.
    computed: Option<((usize, usize), u64)>,
}

impl<'a> Spent<'a> {
    /// What an exchange used, what that costs in money, and what costs read, where they are in force.
    #[must_use]
    pub fn new(reading: Option<Reading>, usd: Usd, attributes: Option<&'a mut Attributes>) -> Self {
        Self {
            reading,
            usd,
            attributes,
            computed: None,
        }
    }

    /// Makes it known to costs, with the provider's own usage object.
    pub fn tell(&mut self, raw: &[u8]) {
        if let Some(attributes) = &mut self.attributes {
            let response = attributes.outcome.take().unwrap_or_default().response;
            let mut outcome = Outcome::expected(Usage::default(), self.usd);
            outcome.estimated = false;
            if let Some(Reading { usage, estimated }) = self.reading {
                (outcome.usage, outcome.estimated) = (usage, estimated);
            }
            outcome.raw = raw.to_vec();
            outcome.response = response;
            attributes.outcome = Some(Box::new(outcome));
        }
    }

    /// The tokens.
    fn tokens(&self) -> u64 {
        self.reading.map_or(0, |reading| reading.usage.total_tokens)
    }

    /// What a cost makes of it. One that has no result costs the tokens: no fault makes an exchange
    /// free. Where nothing was used, only a cost that does not read usage is more than nothing.
    ///
    /// # Errors
    /// Why it has none, for the log.
    fn cost(&mut self, plugin: &Plugin, cost: &Expression) -> (u64, Option<EvaluationError>) {
        let tokens = self.tokens();
        let reads_usage = |used: &Attribute| matches!(used, Attribute::Usage(_));
        if self.reading.is_none() && cost.uses().iter().any(reads_usage) {
            return (0, None);
        }
        let Some(attributes) = &mut self.attributes else {
            return (tokens, None);
        };
        match evaluate::tokens(plugin, attributes, cost) {
            Ok(cost) => (cost, None),
            Err(EvaluationError::Missing) => {
                plugin.metrics.count(&*plugin.host, Count::MissingValues);
                (tokens, None)
            }
            Err(error) => {
                plugin.metrics.count(&*plugin.host, Count::EvaluationErrors);
                (tokens, Some(error))
            }
        }
    }
}

/// Adds what an exchange cost to every counter that it is charged to, and releases what it holds
/// there.
///
/// # Errors
/// [`StoreError`] when a counter could not be written; the others are.
pub fn settle(
    plugin: &Plugin,
    admission: &mut Admission,
    spent: &mut Spent<'_>,
) -> Result<(), StoreError> {
    if admission.charges.is_empty() {
        return Ok(());
    }
    let costs = admission.charges.iter();
    let costs = costs.map(|charge| cost(plugin, charge, spent)).collect();
    add(plugin, admission, costs)
}

/// Releases what is held for an exchange that does not go on.
///
/// # Errors
/// [`StoreError`] when a counter could not be written; the others are.
pub fn release(plugin: &Plugin, admission: &mut Admission) -> Result<(), StoreError> {
    let nothing = vec![0; admission.charges.len()];
    add(plugin, admission, nothing)
}

/// Adds a cost to each counter, and releases what is held there.
fn add(plugin: &Plugin, admission: &mut Admission, costs: Vec<u64>) -> Result<(), StoreError> {
    let now = plugin.host.now().unwrap_or_default();
    let now = Timestamp::new(now);
    let mut reservations: Vec<_> = admission.charges.iter().map(Charge::reservation).collect();
    for (position, reservation) in reservations.iter_mut().enumerate() {
        let ticket = admission.tickets.get(position).copied();
        reservation.ticket = ticket.unwrap_or_default();
        reservation.cost = costs.get(position).copied().unwrap_or_default();
    }
    let settled = plugin.storage.settle(&*plugin.host, now, &mut reservations);
    admission.standings = reservations.iter().map(|made| made.standing).collect();
    if let Some(service) = &plugin.service {
        for asked in admission.asked.drain(..) {
            let cost = costs.get(asked.charge).copied().unwrap_or_default();
            service.remote.settle(
                now,
                &asked.subject,
                asked.reservation,
                cost.saturating_sub(asked.added),
                &admission.trace,
            );
        }
    }
    admission.costs = costs;
    settled
}

/// What an exchange costs of what a counter counts.
fn cost(plugin: &Plugin, charge: &Charge, spent: &mut Spent<'_>) -> u64 {
    let Some(rate) = plugin.rates.get(charge.rate) else {
        return 0;
    };
    match rate.counts {
        Counts::Tokens(_) => {
            let Some((policy, limit)) = plugin.limit_of(rate) else {
                return 0;
            };
            let Some(cost) = &limit.cost else {
                return spent.tokens();
            };
            let of = (rate.policy, rate.limit);
            if let Some((_, cost)) = spent.computed.filter(|(computed, _)| *computed == of) {
                return cost;
            }
            let (cost, error) = spent.cost(plugin, cost);
            if let Some(error) = error {
                plugin.warn(&Fault::Evaluation {
                    policy: policy.name.clone(),
                    place: format!("limits.{}.cost", limit.name),
                    error,
                });
            }
            spent.computed = Some((of, cost));
            cost
        }
        Counts::Usd(_) => spent.usd.0,
        // What is still held of it has not been counted yet.
        Counts::Requests(_) => charge.hold,
        Counts::InFlight => 0,
    }
}

/// Tells access logs and other filters of the costs that the configuration exports.
pub fn export(plugin: &Plugin, spent: &mut Spent<'_>) {
    const HITS_ADDEND: &str = "envoy.ratelimit.hits_addend";
    /// The most that Envoy's rate limit filter adds.
    const MOST_HITS: u64 = 1_000_000_000;
    let configuration = &plugin.configuration;
    let exports = configuration
        .exports
        .iter()
        .zip(&plugin.exports)
        .enumerate();
    for (index, (export, key)) in exports {
        let (cost, error) = spent.cost(plugin, &export.cost);
        if let Some(error) = error {
            plugin.warn(&Fault::Evaluation {
                policy: String::new(),
                place: format!("export.{}", export.name),
                error,
            });
        }
        let mut number = itoa::Buffer::new();
        // What cannot be written is missing from the access log, where it is seen to be.
        let _ = plugin
            .host
            .set_filter_state(key, number.format(cost).as_bytes());
        if configuration.hits_addend == Some(index) {
            let hits = number.format(cost.min(MOST_HITS)).as_bytes();
            if let Err(error) = plugin.host.set_envoy_filter_state(HITS_ADDEND, hits) {
                log::error!("{HITS_ADDEND}: {error}");
            }
        }
    }
}

/// Tells of a counter that an exchange, which cost so much, has brought past its `alertAt`.
pub fn alert(plugin: &Plugin, charge: &Charge, standing: &Standing, cost: u64) {
    let Some(rate) = plugin.rates.get(charge.rate) else {
        return;
    };
    let past = rate.alert_past(standing.limit);
    if standing.used.saturating_sub(cost) >= past || standing.used < past {
        return;
    }
    let Some((policy, limit)) = plugin.limit_of(rate) else {
        return;
    };
    let host = &*plugin.host;
    plugin.metrics.alerted(host, rate.policy, rate.limit);
    let amount = |amount: u64| match rate.counts {
        Counts::Usd(_) => Usd(amount).to_string(),
        _ => amount.to_string(),
    };
    log::info!(
        "policy {}: limit {} of counter {:016x} {} up: {} of {} {}",
        policy.name,
        limit.name,
        charge.key >> 64,
        if standing.used < standing.limit {
            "nearly used"
        } else {
            "used"
        },
        amount(standing.used),
        amount(standing.limit),
        rate.counts.unit(),
    );
}

/// Tells of more requests at once than a limit has room for that allows them: the first time in a minute.
/// What is used of it has its alert when it is.
pub fn alert_of_crowd(plugin: &Plugin, denial: &Denial) {
    let Denial {
        charge,
        standing,
        now,
    } = denial;
    let Some(rate) = plugin.rates.get(charge.rate) else {
        return;
    };
    let Some((policy, limit)) = plugin.limit_of(rate) else {
        return;
    };
    let until = now.saturating_add(MINUTE);
    let mut announced = plugin.announced.borrow_mut();
    if rate.counts != Counts::InFlight || !announced.first(charge.rate, charge.key, *now, until) {
        return;
    }
    let host = &*plugin.host;
    plugin.metrics.alerted(host, rate.policy, rate.limit);
    log::info!(
        "policy {}: limit {} of counter {:016x} used up: more than {} {}",
        policy.name,
        limit.name,
        charge.key >> 64,
        standing.limit,
        rate.counts.unit(),
    );
}
