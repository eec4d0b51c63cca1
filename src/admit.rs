//! Admission: which limits apply to a request, and whether they have room for it.

mod applicable;
mod asking;
mod computed;
pub(crate) mod evaluate;
mod fault;
mod hold;
pub mod queue;
#[cfg(test)]
mod tests;

use crate::attributes::Attributes;
use crate::plugin::{Charge, Count, Counts, Plugin};
use crate::settle;
use filter_config::{Exceeded, Expression, FailureMode, Limit};
use limits::service::Metadata;
use limits::{Nanos, Reservation, Standing, StoreError, Ticket, Timestamp, Verdict};

pub use applicable::{Applicable, applicable};
use applicable::{Values, or_open};
pub use asking::{Asked, Asking, Told};
pub use fault::{EvaluationError, Fault};
pub use hold::Expected;

/// How long a hold lives that nobody releases: the longest exchange allowed, in nanoseconds.
pub const HOLD_TTL: u64 = 600_000_000_000;

/// What an exchange that was admitted is charged to.
#[derive(Debug, Default)]
pub struct Admission {
    /// The counters.
    pub charges: Vec<Charge>,
    /// What is held at each of them.
    pub tickets: Vec<Ticket>,
    /// How each of them stood.
    pub standings: Vec<Standing>,
    /// What was added to each of them, when the exchange was settled.
    pub costs: Vec<u64>,
    /// A counter that would have refused, were its limit not in shadow.
    pub shadow_denied: Option<Charge>,
    /// Whether a limit was left out because it could not be evaluated.
    pub failed_open: bool,
    /// The same counters at a rate limit service, if there is one.
    pub asked: Vec<Asked>,
    /// What goes on with calls to the service.
    pub trace: Metadata,
    /// What the service wants the caller to be told.
    pub told: Told,
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The counter that refused.
    pub charge: Charge,
    /// How it stands.
    pub standing: Standing,
    /// The time of the refusal, nanoseconds since the epoch.
    pub now: u64,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It may go on. With no charges, no limit applies to it.
    Admitted(Admission),
    /// A limit refuses it, and a rate limit service wants this to be told.
    Denied(Denial, Told),
    /// It waits for a rate limit service.
    Asking(Box<Asking>),
}

/// The values that a limit counts a caller by, for the log: at most so much of each as tells
/// callers apart, and nothing of one that an expression takes from where credentials are.
pub fn caller(plugin: &Plugin, attributes: &mut Attributes, limit: &Limit) -> String {
    const SECRETS: [&str; 7] = [
        "authorization",
        "cookie",
        "key",
        "token",
        "secret",
        "password",
        "credential",
    ];
    const MOST: usize = 64;
    let mut caller = String::new();
    for counter in &limit.counters {
        let source = counter.source().to_ascii_lowercase();
        let value = if SECRETS.iter().any(|secret| source.contains(secret)) {
            "[withheld]".to_owned()
        } else {
            let value = evaluate::text(plugin, attributes, counter);
            let value = value.unwrap_or_else(|error| error.to_string());
            value
                .chars()
                .take(MOST)
                .flat_map(char::escape_debug)
                .collect()
        };
        if !caller.is_empty() {
            caller.push_str(", ");
        }
        caller.push_str(counter.source());
        caller.push_str(" = ");
        caller.push_str(&value);
    }
    caller
}

/// What the first look at a request finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Nothing against it.
    Nothing,
    /// One of its counters is used up, by the count of this Envoy: it is for a rate limit service to
    /// say whether that is so.
    Doubt,
    /// It is refused, as nothing is left at one of its counters.
    Denied(Denial),
}

/// The first look at a request whose body is still to come: whether it is refused already, because
/// nothing is left at one of its counters.
///
/// # Errors
/// [`Fault`], where the failure mode is to deny.
pub fn first_look(plugin: &Plugin, applicable: &Applicable) -> Result<First, Fault> {
    if applicable.charges.is_empty() {
        return Ok(First::Nothing);
    }
    // Others may have room for it when it has been changed, or has waited.
    let refuses_at_once = |charge: &&Charge| *plugin.on_exceeded(charge) == Exceeded::Deny;
    let charges = applicable.charges.iter().filter(refuses_at_once);
    let mut admission = Admission {
        charges: charges.copied().collect(),
        ..Admission::default()
    };
    let now = plugin.host.now()?;
    let denial = or_failure_mode(plugin, claim(plugin, now, &mut admission))?.flatten();
    Ok(match denial {
        None => First::Nothing,
        Some(Denial {
            charge, standing, ..
        }) if plugin.service.is_some() && asking::is_counted(plugin, &charge) => {
            // What is held here is not all held there: it may be that of requests that are asking.
            if standing.used >= charge.limit {
                First::Doubt
            } else {
                First::Nothing
            }
        }
        Some(denial) => First::Denied(denial),
    })
}

/// The last look at a request: decides on it by all that will be known of it, and holds what it is
/// expected to use; or asks a rate limit service, if there is one and the stream `waits`, by its
/// context, for the answer. Who comes to a counter at which others wait has to wait behind them.
///
/// # Errors
/// [`Fault`], where the failure mode is to deny; where it is to allow, the limit at fault is left
/// out.
pub fn last_look(
    plugin: &Plugin,
    attributes: &mut Attributes,
    applicable: Applicable,
    expected: &Expected<'_>,
    waits: Option<u32>,
) -> Result<Outcome, Fault> {
    let mut admission = Admission {
        failed_open: applicable.failed_open,
        ..Admission::default()
    };
    if applicable.is_empty() {
        return Ok(Outcome::Admitted(admission));
    }
    for charge in applicable.charges {
        let failed_open = &mut admission.failed_open;
        if let Some(charge) = hold::hold(plugin, attributes, charge, expected, failed_open)? {
            admission.charges.push(charge);
        }
    }
    if let Some(denial) = behind_others(plugin, &admission.charges, waits)? {
        return Ok(Outcome::Denied(denial, Told::new()));
    }
    if let Some(service) = &plugin.service {
        let mut shadowed = Vec::with_capacity(applicable.shadowed.len());
        for charge in applicable.shadowed {
            let failed_open = &mut admission.failed_open;
            let charge = hold::hold(plugin, attributes, charge, expected, failed_open)?;
            shadowed.extend(charge);
        }
        let values = &applicable.values;
        return asking::look(
            plugin, service, attributes, admission, shadowed, values, waits,
        );
    }
    let now = plugin.host.now()?;
    match or_failure_mode(plugin, claim(plugin, now, &mut admission))? {
        Some(None) => {}
        Some(Some(denial)) => return Ok(Outcome::Denied(denial, Told::new())),
        None => admission.failed_open = true,
    }
    for charge in applicable.shadowed {
        let failed_open = &mut admission.failed_open;
        if let Some(charge) = hold::hold(plugin, attributes, charge, expected, failed_open)? {
            claim_in_shadow(plugin, now, charge, &mut admission);
        }
    }
    count_request(plugin, now, &mut admission);
    Ok(Outcome::Admitted(admission))
}

/// What this Envoy has seen used of a counter that a rate limit service has; `None` where this Envoy's own
/// count is the one that matters, or cannot be read.
#[must_use]
pub fn used_at_service(plugin: &Plugin, charge: &Charge) -> Option<u64> {
    let service = plugin.service.as_ref()?;
    if service.remote.is_circuit_open() || !asking::is_counted(plugin, charge) {
        return None;
    }
    let now = plugin.host.now().ok()?;
    let mut look = Admission {
        charges: vec![Charge { hold: 0, ..*charge }],
        ..Admission::default()
    };
    claim(plugin, now, &mut look).ok()?;
    look.standings.first().map(|standing| standing.used)
}

/// The refusal of a request that comes to a counter at which others wait.
fn behind_others(
    plugin: &Plugin,
    charges: &[Charge],
    waits: Option<u32>,
) -> Result<Option<Denial>, Fault> {
    let queue = plugin.queue.borrow();
    if queue.is_empty() {
        return Ok(None);
    }
    let now = plugin.host.now()?;
    Ok(charges.iter().find_map(|&charge| {
        let standing = queue.before(charge.counter(), waits)?;
        Some(Denial {
            charge,
            standing,
            now,
        })
    }))
}

/// What the storage answers; `None` where it fails and the failure mode is to allow.
fn or_failure_mode<T>(plugin: &Plugin, answer: Result<T, StoreError>) -> Result<Option<T>, Fault> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) => {
            plugin.metrics.count(&*plugin.host, Count::StorageErrors);
            match plugin.configuration.failure_mode {
                FailureMode::Deny => Err(error.into()),
                FailureMode::Allow => Ok(None),
            }
        }
    }
}

/// What a limit says is to be held.
fn amount(limit: &Limit) -> Option<&Expression> {
    limit.reservation.as_ref()?.amount.as_ref()
}

/// Asks the storage for room at all counters of an admission at once.
fn claim(
    plugin: &Plugin,
    now: u64,
    admission: &mut Admission,
) -> Result<Option<Denial>, StoreError> {
    claim_as(plugin, now, admission, Charge::reservation)
}

/// Asks the storage for room at all counters of an admission at once, each with the reservation that `reservation` makes.
fn claim_as(
    plugin: &Plugin,
    now: u64,
    admission: &mut Admission,
    reservation: impl Fn(&Charge) -> Reservation,
) -> Result<Option<Denial>, StoreError> {
    if admission.charges.is_empty() {
        return Ok(None);
    }
    let mut reservations: Vec<_> = admission.charges.iter().map(reservation).collect();
    let ttl = lifetime(plugin, &admission.charges);
    let verdict = plugin.storage.reserve(
        &*plugin.host,
        Timestamp::new(now),
        &mut reservations,
        Nanos::new(ttl),
    );
    admission.tickets = reservations.iter().map(|made| made.ticket).collect();
    admission.standings = reservations.iter().map(|made| made.standing).collect();
    let Verdict::Rejected { index, standing } = verdict? else {
        return Ok(None);
    };
    Ok(admission.charges.get(index).map(|&charge| Denial {
        charge,
        standing,
        now,
    }))
}

/// Adds a counter to an admission whose limit counts and does not refuse. Where there is no room,
/// nothing is held.
fn claim_in_shadow(plugin: &Plugin, now: u64, mut charge: Charge, admission: &mut Admission) {
    let mut alone = Admission {
        charges: vec![charge],
        ..Admission::default()
    };
    match claim(plugin, now, &mut alone) {
        Ok(None) => {}
        Ok(Some(denial)) => {
            if is_shadow(plugin, &charge) {
                admission.shadow_denied = Some(charge);
            } else {
                settle::alert_of_crowd(plugin, &denial);
            }
            charge.hold = 0;
        }
        Err(_) => {
            plugin.metrics.count(&*plugin.host, Count::StorageErrors);
            charge.hold = 0;
        }
    }
    admission.charges.push(charge);
    let ticket = alone.tickets.first().copied();
    admission.tickets.push(ticket.unwrap_or_default());
    let standing = alone.standings.first().copied();
    admission.standings.push(standing.unwrap_or_default());
}

/// Whether the limit of a charge is in shadow.
fn is_shadow(plugin: &Plugin, charge: &Charge) -> bool {
    let rate = plugin.rates.get(charge.rate);
    let limit = rate.and_then(|rate| plugin.limit_of(rate));
    limit.is_none_or(|(_, limit)| limit.shadow)
}

/// Counts a request that was let go where requests are counted: now, not when it ends, or a stream
/// would be counted as long as it lasts. Where that fails, it is counted with the rest in the end.
fn count_request(plugin: &Plugin, now: u64, admission: &mut Admission) {
    let counts_requests = |charge: &Charge| {
        let rate = plugin.rates.get(charge.rate);
        rate.is_some_and(|rate| matches!(rate.counts, Counts::Requests(_)))
    };
    if !admission.charges.iter().any(counts_requests) {
        return;
    }
    let positions = admission.charges.iter().enumerate();
    let positions: Vec<usize> = positions
        .filter(|(_, charge)| counts_requests(charge))
        .map(|(position, _)| position)
        .collect();
    let of = |position: &usize| admission.charges.get(*position).copied();
    let charges: Vec<Charge> = positions.iter().filter_map(of).collect();
    let of = |position: &usize| admission.tickets.get(*position).copied();
    let tickets: Vec<Ticket> = positions
        .iter()
        .map(|at| of(at).unwrap_or_default())
        .collect();
    let mut reservations: Vec<_> = charges.iter().map(Charge::reservation).collect();
    for (reservation, ticket) in reservations.iter_mut().zip(tickets) {
        reservation.ticket = ticket;
        reservation.cost = 1;
    }
    let host = &*plugin.host;
    let counted = plugin
        .storage
        .settle(host, Timestamp::new(now), &mut reservations);
    if counted.is_err() {
        plugin.metrics.count(host, Count::StorageErrors);
        return;
    }
    for ((position, charge), counted) in positions.into_iter().zip(&charges).zip(&reservations) {
        if let Some(charge) = admission.charges.get_mut(position) {
            charge.hold = 0;
        }
        settle::alert(plugin, charge, &counted.standing, 1);
    }
}

/// How long holds live that nobody releases: as long as the longest of the reservations, in
/// nanoseconds.
fn lifetime(plugin: &Plugin, charges: &[Charge]) -> u64 {
    let ttl = |charge: &Charge| {
        let rate = plugin.rates.get(charge.rate)?;
        let (_, limit) = plugin.limit_of(rate)?;
        limit.reservation.as_ref()?.ttl
    };
    let longest = charges.iter().map(|charge| ttl(charge).unwrap_or(HOLD_TTL));
    longest.max().unwrap_or(HOLD_TTL)
}
