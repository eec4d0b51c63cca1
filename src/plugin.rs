//! What outlives a stream: the policies in force, their counters, and what is told of them.

mod announced;
mod metrics;
mod rates;
mod service;
mod service_metrics;
mod structure;
#[cfg(test)]
mod tests;

use crate::admit::Fault;
use crate::admit::queue::{Counter, Queue, Waited};
use crate::host::{CREATE, Host, HostError};
use crate::reply::Prepared;
use announced::Announced;
use filter_config::{
    Alternative, Attribute, Configuration, Exceeded, Expression, Faults, Limit, LimitIndex, Policy,
    Storage,
};
use limits::service::{CallId, CheckReply};
use limits::{LocalStore, Reservation, SharedDataError, Standing, Timestamp};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;
use std::rc::Rc;
use usage_meter::Estimates;
use usage_meter::{UsagePathError, UsagePaths};

pub use metrics::{Count, Decision, Metrics};
pub use rates::{Counts, Rate};
pub use service::{Named, Service};

/// A minute in nanoseconds.
pub const MINUTE: u64 = 60_000_000_000;

/// An hour in nanoseconds.
const HOUR: u64 = 3_600_000_000_000;

/// How often those who wait are looked at again, in milliseconds.
const TICK_MS: u32 = 10;

/// How many of those who wait are looked at in a tick, but for those who have waited long enough.
const TURNS: usize = 64;

/// Where the workers find the secret that counter keys are hashed with.
const SECRET: &[u8] = b"tollgate/1/secret";

/// The plugin as it is configured. Exchanges that began under one configuration end under it.
pub struct Plugin {
    /// Envoy.
    pub host: Rc<dyn Host>,
    /// What the plugin was configured with.
    pub configuration: Configuration,
    /// Every rate of every limit of every policy, in the order of the configuration.
    pub rates: Vec<Rate>,
    /// Which of them are those of each limit, by policy and limit.
    pub rates_of: Vec<Vec<Range<usize>>>,
    /// What callers are told of each of them, at the same index.
    pub prepared: Vec<Prepared>,
    /// The counters in shared data: all of them or, beside a service, what this Envoy knows of them.
    pub storage: LocalStore,
    /// The requests that wait for room, and how their counters stood.
    pub queue: RefCell<Queue<Standing>>,
    /// The rate limit service that has the counters, if there is one.
    pub service: Option<Service>,
    /// What is learnt of the models.
    pub estimates: Estimates,
    /// Where responses have their usage.
    pub usage_paths: UsagePaths,
    /// Whether a limit makes requests wait.
    pub queues: bool,
    /// Whether an expression reads the request's body as JSON.
    pub reads_body: bool,
    /// Whether an expression reads `llm`.
    pub reads_llm: bool,
    /// What is kept of a request until the exchange is over.
    pub kept: Kept,
    /// The filter state of each of the exported costs.
    pub exports: Vec<String>,
    /// What Envoy counts for us.
    pub metrics: Metrics,
    /// Who was told of already.
    pub announced: RefCell<Announced>,
    secret: [u8; 16],
}

/// What is kept of a request for the costs that are evaluated when the exchange is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing: there are no costs, of limits other than their tokens or exported.
    Nothing,
    /// What was taken of it, but for the body.
    WithoutBody,
    /// All that was taken of it.
    WithBody,
}

/// One counter that an exchange is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Index of the rate in [`Plugin::rates`].
    pub rate: usize,
    /// Hash of the values that the limit counts by.
    pub key: u128,
    /// The most that there may be of what the rate counts.
    pub limit: u64,
    /// How the counter is kept.
    pub counted: limits::Rate,
    /// What is held for the exchange until it is settled, in what the limit counts.
    pub hold: u64,
}

/// Why a plugin could not be configured.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// The configuration has faults.
    #[error("{0}")]
    Faults(Faults),
    /// The policies and `usage.paths` have more JSON pointers than can be looked for.
    #[error("dataExtraction.response.totalTokens, usage.paths: {0}")]
    UsagePaths(#[from] UsagePathError),
    /// Shared data could not be read or written.
    #[error("shared data: {0}")]
    SharedData(#[from] SharedDataError),
    /// Envoy failed.
    #[error("{0}: {1}")]
    Host(&'static str, HostError),
}

// === impl Plugin ===

impl Plugin {
    /// Reads a configuration, JSON or a serialised Struct, and makes everything ready for exchanges.
    ///
    /// # Errors
    /// [`ConfigureError`]; nothing of what was in force before is touched.
    pub fn configure(host: Rc<dyn Host>, bytes: &[u8]) -> Result<Self, ConfigureError> {
        let configuration =
            filter_config::parse(&structure::json(bytes)).map_err(ConfigureError::Faults)?;
        let failed = |what| move |error| ConfigureError::Host(what, error);
        let secret = secret(host.as_ref())?;
        let metrics = Metrics::define(host.as_ref(), &configuration).map_err(failed("metrics"))?;
        let service = Service::new(&host, &configuration).map_err(failed("metrics"))?;
        let max_counters = match &configuration.storage {
            Storage::Local { max_counters } => *max_counters,
            Storage::Remote(remote) => remote.max_counters,
        };
        if let Some(service) = &service {
            let tick = host.set_tick_period(service.tick_ms());
            tick.map_err(failed("tick"))?;
        }
        let rates = rates::of(&configuration);
        let queues = limits(&configuration).any(|limit| limit.queue().is_some());
        if queues {
            host.set_tick_period(TICK_MS).map_err(failed("tick"))?;
        }
        Ok(Self {
            rates_of: rates::of_limits(&configuration),
            prepared: Prepared::of(&configuration, &rates),
            rates,
            kept: kept(&configuration),
            exports: exports(&configuration),
            storage: LocalStore::new(max_counters),
            queue: RefCell::default(),
            queues,
            service,
            estimates: Estimates::default(),
            usage_paths: usage_paths(&configuration)?,
            reads_body: reads(&configuration, |used| *used == Attribute::RequestBody),
            reads_llm: reads(&configuration, |used| matches!(used, Attribute::Llm(_))),
            announced: RefCell::default(),
            metrics,
            secret,
            configuration,
            host,
        })
    }

    /// Time has passed: what waits to be told to the service is told.
    pub fn on_tick(&self) {
        if let Some(Service { remote, .. }) = &self.service {
            remote.on_tick(self.now());
        }
    }

    /// A reply of the service has come: its message, or the gRPC status of a failure. Returns the
    /// answer to a question, for the stream that asked it.
    pub fn on_reply(&self, call: CallId, reply: Result<&[u8], u32>) -> Option<CheckReply> {
        let service = self.service.as_ref()?;
        service.remote.on_reply(self.now(), call, reply)
    }

    /// The answer to a question whose stream is gone: nothing stays reserved for it.
    pub fn give_back(&self, answered: CheckReply) {
        if let Some(Service { remote, .. }) = &self.service {
            remote.release(self.now(), answered);
        }
    }

    /// The configuration is no longer in force: everything that waits is told now. Returns whether
    /// nothing is left to tell.
    pub fn on_done(&self) -> bool {
        let service = self.service.as_ref();
        service.is_none_or(|service| service.remote.drain(self.now()))
    }

    /// The time; the epoch where Envoy does not tell it.
    fn now(&self) -> Timestamp {
        Timestamp::new(self.host.now().unwrap_or_default())
    }

    /// Whether nothing is left to tell.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let service = self.service.as_ref();
        service.is_none_or(|service| service.remote.is_drained())
    }

    /// The policy and the limit of a rate.
    #[must_use]
    pub fn limit_of(&self, rate: &Rate) -> Option<(&Policy, &Limit)> {
        let policy = self.configuration.policies.get(rate.policy)?;
        Some((policy, policy.limits.get(rate.limit)?))
    }

    /// Whether what an exchange costs at two rates is the same, whatever the exchange.
    #[must_use]
    pub fn cost_the_same(&self, one: &Rate, other: &Rate) -> bool {
        let cost = |rate: &Rate| {
            let (_, limit) = self.limit_of(rate)?;
            limit.cost.as_ref().map(Expression::source)
        };
        match (one.counts, other.counts) {
            (Counts::Tokens(_), Counts::Tokens(_)) => cost(one) == cost(other),
            (Counts::Requests(_), Counts::Requests(_)) | (Counts::Usd(_), Counts::Usd(_)) => true,
            _ => false,
        }
    }

    /// A limit, its policy, and its rates as indices in [`Plugin::rates`].
    #[must_use]
    pub fn limit_at(&self, index: LimitIndex) -> Option<(&Policy, &Limit, Range<usize>)> {
        let policy = self.configuration.policies.get(index.policy)?;
        let limit = policy.limits.get(index.limit)?;
        let rates = self.rates_of.get(index.policy)?.get(index.limit)?;
        Some((policy, limit, rates.clone()))
    }

    /// Has `look` look again at requests that wait, by their contexts: at those first in line, and at
    /// those who have waited long enough. One that it does not know waits no longer.
    pub fn look_again(&self, mut look: impl FnMut(u32) -> Option<Waited>) {
        if self.queue.borrow().is_empty() {
            return;
        }
        let mut turn = |context: u32| {
            look(context).unwrap_or_else(|| {
                if self.queue.borrow_mut().forget(context) {
                    self.metrics.queued(&*self.host, false);
                }
                Waited::IsOver
            })
        };
        let mut turns = TURNS;
        loop {
            let firsts = self.queue.borrow_mut().firsts(turns);
            turns = turns.saturating_sub(firsts.len());
            // Where one has left its line, the next may go on.
            let mut moves = false;
            for context in firsts {
                moves |= turn(context) != Waited::StillWaits;
            }
            if !moves {
                break;
            }
        }
        let now = self.host.now().unwrap_or_default();
        let overdue = self.queue.borrow().overdue(now);
        for context in overdue {
            turn(context);
        }
    }

    /// What becomes of a request that the limit of a charge has no room for.
    #[must_use]
    pub fn on_exceeded(&self, charge: &Charge) -> &Exceeded {
        let rate = self.rates.get(charge.rate);
        let limit = rate.and_then(|rate| self.limit_of(rate));
        limit.map_or(&Exceeded::Deny, |(_, limit)| &limit.on_exceeded)
    }

    /// How a request can be changed that the limit of a charge has no room for.
    #[must_use]
    pub fn alternatives(&self, charge: &Charge) -> &[Alternative] {
        match self.on_exceeded(charge) {
            Exceeded::Alternatives(alternatives) => alternatives,
            _ => &[],
        }
    }

    /// Whether a limit changes requests. That takes their headers to be held.
    #[must_use]
    pub fn changes_requests(&self) -> bool {
        let changes = |limit: &Limit| !limit.alternatives().is_empty();
        self.configuration.hold_headers && limits(&self.configuration).any(changes)
    }

    /// Whether exchanges are metered to which no limit applies.
    #[must_use]
    pub fn exports_costs(&self) -> bool {
        !self.exports.is_empty()
    }

    /// Logs that there are more live counters than there is room for: a line an hour.
    pub fn warn_of_full_pages(&self) {
        let now = self.host.now().unwrap_or_default();
        let until = now.saturating_add(HOUR);
        if self.announced.borrow_mut().first(usize::MAX, 0, now, until) {
            log::warn!(
                "more counters are in use than storage.maxCounters has room for: callers whose \
                 counters were pushed out, and new ones, read too high until windows end",
            );
        }
    }

    /// Logs that a policy could not be evaluated: a line a minute for each place at fault, as a
    /// caller can bring about as many as he likes.
    pub fn warn(&self, fault: &Fault) {
        let now = self.host.now().unwrap_or_default();
        let mut place = self.hasher();
        place.value(fault.place().as_bytes());
        let first = self.announced.borrow_mut().first(
            usize::MAX,
            place.finish(),
            now,
            now.saturating_add(MINUTE),
        );
        if first {
            // A fault may quote what the request says.
            log::warn!("{}", fault.to_string().replace(char::is_control, " "));
        }
    }

    /// A hasher for the values that a limit counts by. Its secret is the same in all workers and
    /// known to nobody else: no caller can choose values that fall on another's counter.
    #[must_use]
    pub fn hasher(&self) -> KeyHasher {
        KeyHasher(SipHasher13::new_with_key(&self.secret))
    }
}

/// The limits of all policies.
fn limits(configuration: &Configuration) -> impl Iterator<Item = &Limit> {
    let policies = configuration.policies.iter();
    policies.flat_map(|policy| &policy.limits)
}

// === impl Charge ===

impl Charge {
    /// The counter, as those who wait for room at it have it.
    #[must_use]
    pub const fn counter(&self) -> Counter {
        (self.rate, self.key)
    }

    /// The part that the exchange has in the counter.
    #[must_use]
    pub const fn reservation(&self) -> Reservation {
        Reservation::new(self.counted, self.key, self.limit, self.hold)
    }
}

/// Hashes values, each apart from the next.
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher(SipHasher13);

impl KeyHasher {
    /// Adds a value.
    pub fn value(&mut self, value: &[u8]) {
        self.0.write_usize(value.len());
        self.0.write(value);
    }

    /// The hash of all values.
    #[must_use]
    pub fn finish(&self) -> u128 {
        self.0.finish128().as_u128()
    }
}

/// Whether an expression of a configuration reads an attribute of some kind.
fn reads(configuration: &Configuration, what: impl Fn(&Attribute) -> bool) -> bool {
    let of_policies = configuration.policies.iter().flat_map(|policy| {
        let limits = policy.limits.iter().flat_map(of_limit);
        policy.when.iter().chain(limits)
    });
    let of_exports = configuration.exports.iter().map(|export| &export.cost);
    of_policies
        .chain(of_exports)
        .any(|expression| expression.uses().iter().any(&what))
}

/// The expressions of a limit.
fn of_limit(limit: &Limit) -> impl Iterator<Item = &Expression> {
    let amount = limit.reservation.as_ref();
    let amount = amount.and_then(|reservation| reservation.amount.as_ref());
    let rates = limit.rates.iter().chain(&limit.requests);
    limit
        .when
        .iter()
        .chain(&limit.counters)
        .chain(amount)
        .chain(&limit.cost)
        .chain(rates.flat_map(filter_config::Rate::expressions))
}

/// What the costs of a configuration need to be kept.
fn kept(configuration: &Configuration) -> Kept {
    let exports = configuration.exports.iter().map(|export| &export.cost);
    let costs = limits(configuration)
        .filter_map(|limit| limit.cost.as_ref())
        .chain(exports);
    costs.fold(Kept::Nothing, |kept, cost| {
        if kept == Kept::WithBody || cost.uses().contains(&Attribute::RequestBody) {
            Kept::WithBody
        } else {
            Kept::WithoutBody
        }
    })
}

/// The filter state of each of the exported costs.
fn exports(configuration: &Configuration) -> Vec<String> {
    let exports = configuration.exports.iter();
    exports
        .map(|export| format!("tollgate.cost.{}", export.name))
        .collect()
}

/// Where the policies say that responses have their total, those of all of them: an exchange is
/// metered once.
fn usage_paths(configuration: &Configuration) -> Result<UsagePaths, UsagePathError> {
    let totals = configuration
        .policies
        .iter()
        .map(|policy| &policy.total_tokens);
    let mut pointers: Vec<&str> = Vec::new();
    for pointer in totals.chain([&configuration.usage.paths]).flatten() {
        if !pointers.contains(&pointer.as_str()) {
            pointers.push(pointer);
        }
    }
    if pointers.is_empty() {
        return Ok(UsagePaths::default());
    }
    UsagePaths::new(pointers)
}

/// The secret of this VM's counters: whichever worker comes first makes it.
fn secret(host: &dyn Host) -> Result<[u8; 16], SharedDataError> {
    let random = RandomState::new();
    let mut secret = [0; 16];
    for (half, number) in secret.chunks_mut(8).zip(0_u64..) {
        half.copy_from_slice(&random.hash_one(number).to_le_bytes());
    }
    match host.set_shared_data(SECRET, &secret, CREATE) {
        Ok(()) => return Ok(secret),
        Err(SharedDataError::CasMismatch) => {}
        Err(error) => return Err(error),
    }
    let known = host
        .shared_data(SECRET)?
        .and_then(|(known, _)| known.try_into().ok());
    known.ok_or_else(|| SharedDataError::Failed("the secret cannot be read".to_owned()))
}
