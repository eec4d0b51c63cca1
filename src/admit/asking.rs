//! Admission where a rate limit service has the counters.
//!
//! This Envoy keeps its own count of everything beside the service, as it would without one: what its
//! requests hold, and what they have used. The service has the last word on what is used, this Envoy
//! on how many of its own requests go at once where the service cannot hold anything; and while the
//! service is away, there is a count to go by.

use super::{Admission, Denial, Fault, Outcome, Values, claim_in_shadow, is_shadow};
use crate::attributes::Attributes;
use crate::host::{Headers, is_header_value};
use crate::plugin::{Charge, Count, Counts, MINUTE, Plugin, Rate, Service};
use crate::settle;
use crate::storage::remote::message::{Reply, Status};
use crate::storage::remote::subject::{Limit, Subject};
use crate::storage::remote::{Answer, Answered, Question, Trace};
use crate::storage::{Standing, StorageError};
use filter_config::{Protocol, RemoteFailureMode};
use std::rc::Rc;

/// Headers of a request that go on with the calls about it.
const TRACED: [&str; 9] = [
    "x-request-id",
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
];

/// Bytes of the longest value that goes on.
const TRACED_BYTES: usize = 1024;

/// Headers of the service that are passed on to a caller, at most.
const TOLD_HEADERS: usize = 16;

/// Bytes of the longest name and value of such a header.
const TOLD_BYTES: usize = 512;

/// Counters at the service that an exchange is charged to.
#[derive(Debug)]
pub struct Asked {
    /// The counters.
    pub subject: Rc<Subject>,
    /// What the service holds for the exchange.
    pub reservation: Option<String>,
    /// The position among the charges of one of these counters: all of them cost the same.
    pub charge: usize,
    /// What the question itself has added.
    pub added: u64,
}

/// What a service wants callers to be told: names in lower case, values that a header can have.
pub type Told = Vec<(String, Vec<u8>)>;

/// An exchange that waits for a service.
#[derive(Debug)]
pub struct Asking {
    admission: Admission,
    pending: Vec<Pending>,
    context: u32,
}

/// A question of an exchange.
#[derive(Debug)]
struct Pending {
    question: Question,
    /// The positions of the counters among the charges.
    charges: Vec<usize>,
    /// The policies and limits of the descriptors, where each has one of its own.
    limits: Vec<(usize, usize)>,
    /// Whether the limits only count and report.
    shadow: bool,
    /// What the call is known by while it is under way.
    token: Option<u32>,
    answer: Option<Answer>,
}

/// Counters that one question is about.
#[derive(Debug)]
struct Group<'a> {
    domain: &'a str,
    /// One of the rates.
    rate: &'a Rate,
    /// What is charged to it.
    first: &'a Charge,
    shadow: bool,
    /// The positions of the counters among the charges.
    charges: Vec<usize>,
    /// Their policies and limits, each once.
    limits: Vec<(usize, usize)>,
}

/// How this Envoy's own count decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// As it does without a service.
    Alone,
    /// It refuses nobody who is alone, and others as far as they do not fit beside each other.
    Beside,
    /// It refuses nobody.
    Never,
}

/// Decides on a request whose charges are in `admission`, each with what it is to hold; or asks the
/// service. Where the stream cannot wait for an answer, this Envoy's own count decides.
pub(super) fn look(
    plugin: &Plugin,
    service: &Service,
    attributes: &Attributes,
    mut admission: Admission,
    shadowed: Vec<Charge>,
    values: &[Values],
    waits: Option<u32>,
) -> Result<Outcome, Fault> {
    let remote = &service.remote;
    let now = plugin.host.now()?;
    let counted = |charge: &Charge| is_counted(plugin, charge);
    let is_away = remote.is_away() && admission.charges.iter().any(counted);
    let mode = remote.settings().failure_mode;
    let rule = match mode {
        RemoteFailureMode::Deny if is_away => return Err(StorageError::Away.into()),
        RemoteFailureMode::Allow if is_away => Rule::Never,
        RemoteFailureMode::Local if is_away => Rule::Alone,
        _ if waits.is_none() => Rule::Alone,
        _ if remote.reserves(now) => Rule::Never,
        _ => Rule::Beside,
    };
    match super::or_failure_mode(plugin, hold(plugin, now, rule, &mut admission))? {
        Some(None) => {}
        Some(Some(denial)) => return Ok(Outcome::Denied(denial, Told::new())),
        // The service still knows what it has counted.
        None => admission.failed_open = true,
    }
    let firm = admission.charges.len();
    for charge in shadowed {
        claim_in_shadow(plugin, now, charge, &mut admission);
    }
    admission.failed_open |= is_away && rule == Rule::Never;
    let groups = groups(plugin, service, &admission, firm, values);
    let context = match waits {
        Some(context) if !groups.is_empty() && !remote.is_away() => context,
        _ => {
            admission.asked = groups.into_iter().map(Pending::unasked).collect();
            count_request(plugin, service, now, &mut admission);
            return Ok(Outcome::Admitted(admission));
        }
    };
    admission.trace = trace(attributes.headers());
    let mut asking = Asking {
        admission,
        pending: groups,
        context,
    };
    for index in 0..asking.pending.len() {
        asking.ask(plugin, service, now, index);
    }
    asking.conclude(plugin, service, now)
}

/// Whether a charge is for what the service counts. Requests in flight are this Envoy's own.
pub(super) fn is_counted(plugin: &Plugin, charge: &Charge) -> bool {
    let rate = plugin.rates.get(charge.rate);
    rate.is_some_and(|rate| rate.counts != Counts::InFlight)
}

/// Counts a request that is let go where requests are counted, at the service and here.
fn count_request(plugin: &Plugin, service: &Service, now: u64, admission: &mut Admission) {
    let Admission {
        charges,
        asked,
        trace,
        ..
    } = admission;
    let counts_requests = |asked: &Asked| {
        let rate = charges.get(asked.charge);
        let rate = rate.and_then(|charge| plugin.rates.get(charge.rate));
        rate.is_some_and(|rate| matches!(rate.counts, Counts::Requests(_)))
    };
    for asked in asked.extract_if(.., |asked| counts_requests(asked)) {
        let cost = 1_u64.saturating_sub(asked.added);
        service.remote.settle(
            &*plugin.host,
            now,
            &asked.subject,
            asked.reservation,
            cost,
            trace,
        );
    }
    super::count_request(plugin, now, admission);
}

/// Takes room in this Envoy's own count.
fn hold(
    plugin: &Plugin,
    now: u64,
    rule: Rule,
    admission: &mut Admission,
) -> Result<Option<Denial>, StorageError> {
    if rule == Rule::Never {
        return claim(plugin, now, true, admission);
    }
    match claim(plugin, now, false, admission)? {
        Some(denial)
            if rule == Rule::Beside
                && is_counted(plugin, &denial.charge)
                && denial.standing.held == 0 =>
        {
            claim(plugin, now, true, admission)
        }
        denial => Ok(denial),
    }
}

/// Asks this Envoy's storage for room; where it is `boundless`, there is always room for what the
/// service counts.
fn claim(
    plugin: &Plugin,
    now: u64,
    boundless: bool,
    admission: &mut Admission,
) -> Result<Option<Denial>, StorageError> {
    if !boundless {
        return super::claim(plugin, now, admission);
    }
    let denial = super::claim_as(plugin, now, admission, |charge| {
        let mut claim = charge.claim();
        if is_counted(plugin, charge) {
            claim.limit = u64::MAX;
        }
        claim
    })?;
    for (standing, charge) in admission.standings.iter_mut().zip(&admission.charges) {
        standing.limit = charge.limit;
    }
    Ok(denial)
}

/// Whether there is room by this Envoy's own count, as it stood when a request came.
fn fits(charge: &Charge, standing: &Standing) -> bool {
    let taken = standing.used.saturating_add(standing.held);
    let with_it = taken.saturating_add(charge.hold);
    taken < charge.limit && (standing.held == 0 || with_it <= charge.limit)
}

/// The questions about the counters of an exchange: one for all those of a domain that cost the same
/// and hold the same, and one for each limit in shadow, which are the charges from `firm` on.
fn groups(
    plugin: &Plugin,
    service: &Service,
    admission: &Admission,
    firm: usize,
    values: &[Values],
) -> Vec<Pending> {
    let Admission {
        charges, standings, ..
    } = admission;
    let holds = service.remote.settings().protocol == Protocol::Reserve;
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (position, charge) in charges.iter().enumerate() {
        let Some(rate) = plugin.rates.get(charge.rate) else {
            continue;
        };
        let Some(named) = service.named(rate.policy, rate.limit) else {
            continue;
        };
        if !is_counted(plugin, charge) {
            continue;
        }
        let shadow = position >= firm;
        let limit = (rate.policy, rate.limit);
        let known = groups.iter_mut().find(|group| {
            group.shadow == shadow
                && (!shadow || group.limits.contains(&limit))
                && group.domain == &*named.domain
                && (!holds || group.first.hold == charge.hold)
                && plugin.cost_the_same(group.rate, rate)
                // A service does not always tell which limit has no room.
                && plugin.on_exceeded(group.first) == plugin.on_exceeded(charge)
        });
        match known {
            Some(group) => {
                group.charges.push(position);
                if !group.limits.contains(&limit) {
                    group.limits.push(limit);
                }
            }
            None => groups.push(Group {
                domain: &named.domain,
                rate,
                first: charge,
                shadow,
                charges: vec![position],
                limits: vec![limit],
            }),
        }
    }
    let pending = groups.into_iter().filter_map(|group| {
        let subject = subject(service, group.rate.counts, &group.limits, values)?;
        let positions = group.charges;
        let of_group = positions
            .iter()
            .filter_map(|&position| charges.get(position));
        let hold = of_group.clone().map(|charge| charge.hold).max()?;
        // More than a limit is never granted; and where nothing is left, more than 1 is asked in vain.
        let most = of_group.map(|charge| charge.limit).min()?;
        let mut stand = positions
            .iter()
            .filter_map(|&position| Some((charges.get(position)?, standings.get(position)?)));
        let is_spent = stand
            .clone()
            .any(|(charge, standing)| standing.used >= charge.limit)
            && stand.all(|(_, standing)| standing.held == 0);
        let most = if is_spent { 1 } else { most };
        Some(Pending {
            question: Question {
                subject: Rc::new(subject),
                amount: hold.min(most).max(1),
                ttl: super::lifetime(plugin, charges),
            },
            shadow: group.shadow,
            charges: positions,
            limits: group.limits,
            token: None,
            answer: None,
        })
    });
    pending.collect()
}

fn subject(
    service: &Service,
    counts: Counts,
    limits: &[(usize, usize)],
    values: &[Values],
) -> Option<Subject> {
    let mut known = Vec::with_capacity(limits.len());
    let mut counters = Vec::with_capacity(limits.len());
    let mut hash = 0_u128;
    for &(policy, limit) in limits {
        let named = service.named(policy, limit)?;
        let values = values
            .iter()
            .find(|values| (values.index.policy, values.index.limit) == (policy, limit))?;
        let pairs = named.counters.iter().cloned();
        let pairs: Vec<_> = pairs.zip(values.texts.iter().cloned()).collect();
        let key = named.key(counts)?;
        hash = hash.rotate_left(1) ^ key.hash;
        known.push((named, key));
        counters.push(pairs);
    }
    let (first, _) = known.first()?;
    let domain = Rc::clone(&first.domain);
    let limits: Vec<Limit<'_>> = known
        .iter()
        .zip(&counters)
        .map(|((_, key), counters)| Limit {
            key: &key.text,
            counters,
        })
        .collect();
    Some(Subject::new(domain, &limits, hash, service.remote.layout()))
}

/// The headers of a request that go on with the calls about it.
fn trace(headers: &Headers) -> Trace {
    let mut trace = Trace::new();
    for name in TRACED {
        let value = headers.get(name).unwrap_or_default();
        // What gRPC admits as the value of metadata.
        let is_plain = value.iter().all(|byte| (b' '..=b'~').contains(byte));
        if !value.is_empty() && value.len() <= TRACED_BYTES && is_plain {
            trace.push((name, value.to_vec()));
        }
    }
    trace
}

// === impl Pending ===

impl Pending {
    /// The counters of a question that is not asked, or not answered.
    fn unasked(self) -> Asked {
        Asked {
            subject: self.question.subject,
            reservation: None,
            charge: self.charges.first().copied().unwrap_or_default(),
            added: 0,
        }
    }

    /// The counters of a question, with what was answered.
    fn asked(self, adds: bool) -> Asked {
        let reply = self.reply();
        let reservation = reply.and_then(|reply| reply.reservation.clone());
        // Whoever does not tell how descriptors stand does not know of questions that add nothing.
        let added = adds && reply.is_some_and(|reply| reply.statuses.is_empty());
        Asked {
            reservation,
            added: added.into(),
            ..self.unasked()
        }
    }

    fn is_open(&self) -> bool {
        self.token.is_some() && self.answer.is_none()
    }

    /// The reply, unless there is none.
    fn reply(&self) -> Option<&Reply> {
        match &self.answer {
            Some(Answer::Reply(reply)) => Some(reply),
            _ => None,
        }
    }

    /// How the descriptor stands that a reply says has no room, with its position among the limits
    /// where each has one; `None` where there is room.
    fn refused(&self) -> Option<(Option<usize>, Status)> {
        let reply = self.reply()?;
        // Of what is asked without a hit nothing being left is what it takes to be refused.
        let is_spent = |status: &Status| {
            status.is_over_limit || (status.limit.is_some() && status.remaining == 0)
        };
        let spent = reply.statuses.iter().position(is_spent);
        match spent {
            Some(position) => {
                let limit = match self.limits.len() {
                    1 => Some(0),
                    _ => position.checked_sub(1),
                };
                let status = reply.statuses.get(position).copied();
                Some((limit, status.unwrap_or_default()))
            }
            None if reply.is_over_limit => Some((None, Status::default())),
            None => None,
        }
    }
}

// === impl Asking ===

impl Asking {
    fn ask(&mut self, plugin: &Plugin, service: &Service, now: u64, index: usize) {
        let Some(pending) = self.pending.get_mut(index) else {
            return;
        };
        pending.token = service.remote.ask(
            &*plugin.host,
            now,
            self.context,
            &pending.question,
            &self.admission.trace,
        );
        pending.answer = pending.token.is_none().then_some(Answer::Failed);
    }

    /// An answer has come. Returns what becomes of the request, or the exchange if it waits on.
    ///
    /// # Errors
    /// [`Fault`], where there is no answer and the failure mode is to deny.
    pub fn answered(mut self, plugin: &Plugin, answered: Answered) -> Result<Outcome, Fault> {
        let Some(service) = &plugin.service else {
            return Ok(Outcome::Asking(Box::new(self)));
        };
        let now = plugin.host.now()?;
        let asked = |pending: &Pending| pending.is_open() && pending.token == Some(answered.token);
        let Some(index) = self.pending.iter().position(asked) else {
            service.remote.give_back(&*plugin.host, now, answered);
            return Ok(Outcome::Asking(Box::new(self)));
        };
        let standings = &self.admission.standings;
        if let Some(pending) = self.pending.get_mut(index) {
            pending.answer = Some(answered.answer);
            let reserves = service.remote.reserves(now);
            let alone = pending.charges.iter().all(|&charge| {
                let standing = standings.get(charge);
                standing.is_some_and(|standing| standing.held == 0)
            });
            if pending.answer == Some(Answer::AskAgain) {
                self.ask(plugin, service, now, index);
            } else if reserves
                && alone
                && pending.refused().is_some()
                && pending.question.amount > 1
            {
                // A lone request goes while anything is left, whatever it is expected to use.
                pending.question.amount = 1;
                self.ask(plugin, service, now, index);
            }
        }
        self.conclude(plugin, service, now)
    }

    /// Decides, if everything is answered.
    fn conclude(mut self, plugin: &Plugin, service: &Service, now: u64) -> Result<Outcome, Fault> {
        if self.pending.iter().any(Pending::is_open) {
            return Ok(Outcome::Asking(Box::new(self)));
        }
        let told = self.told();
        let firm = || self.pending.iter().filter(|pending| !pending.shadow);
        let refused = firm().find_map(|pending| Some((pending, pending.refused()?)));
        if let Some((pending, (limit, status))) = refused
            && let Some(denial) = self.denial(plugin, now, pending, limit, status)
        {
            self.abandon(plugin);
            return Ok(Outcome::Denied(denial, told));
        }
        let failed = firm().any(|pending| pending.reply().is_none());
        if failed {
            match service.remote.settings().failure_mode {
                RemoteFailureMode::Deny => {
                    self.abandon(plugin);
                    return Err(StorageError::Away.into());
                }
                RemoteFailureMode::Allow => self.admission.failed_open = true,
                RemoteFailureMode::Local => {
                    if let Some(denial) = self.local_denial(plugin, now) {
                        self.abandon(plugin);
                        return Ok(Outcome::Denied(denial, told));
                    }
                }
            }
        }
        let adds = service.remote.settings().protocol == Protocol::EnvoyRls;
        let Self {
            mut admission,
            pending,
            ..
        } = self;
        for pending in pending {
            if pending.shadow && pending.refused().is_some() {
                let charge = pending.charges.first();
                let charge = charge.and_then(|&charge| admission.charges.get(charge));
                let charge = charge.filter(|charge| is_shadow(plugin, charge));
                admission.shadow_denied = charge.copied().or(admission.shadow_denied);
            }
            admission.asked.push(pending.asked(adds));
        }
        admission.told = told;
        count_request(plugin, service, now, &mut admission);
        Ok(Outcome::Admitted(admission))
    }

    /// The exchange waits no longer, and is not to go on: nothing stays held for it. What the service
    /// still grants it is given back when it comes.
    pub fn abandon(&mut self, plugin: &Plugin) {
        for pending in self.pending.drain(..) {
            self.admission.asked.push(pending.asked(false));
        }
        if settle::release(plugin, &mut self.admission).is_err() {
            // What it holds expires.
            plugin.metrics.count(&*plugin.host, Count::StorageErrors);
        }
    }

    /// The exchange waits no longer, and goes on as if there were no answer.
    #[must_use]
    pub fn unanswered(self, plugin: &Plugin) -> Admission {
        let Self {
            mut admission,
            pending,
            ..
        } = self;
        admission.asked = pending.into_iter().map(Pending::unasked).collect();
        if let Some(service) = &plugin.service {
            let now = plugin.host.now().unwrap_or_default();
            count_request(plugin, service, now, &mut admission);
        }
        admission
    }

    /// The refusal of a service, as far as it tells: which limit, how much of it, until when. What it
    /// does not tell is what this Envoy knows.
    fn denial(
        &self,
        plugin: &Plugin,
        now: u64,
        pending: &Pending,
        limit: Option<usize>,
        status: Status,
    ) -> Option<Denial> {
        let limit = limit.and_then(|limit| pending.limits.get(limit));
        let positions = pending.charges.iter().filter(|&&position| {
            let charge = self.admission.charges.get(position);
            let rate = charge.and_then(|charge| plugin.rates.get(charge.rate));
            rate.is_some_and(|rate| limit.is_none_or(|limit| *limit == (rate.policy, rate.limit)))
        });
        let candidates = positions.filter_map(|&position| {
            let charge = self.admission.charges.get(position)?;
            Some((charge, self.admission.standings.get(position).copied()?))
        });
        // Of several it is likely the one that this Envoy has seen used up, else the shortest.
        let (charge, known) = candidates.min_by_key(|(charge, standing)| {
            let left = standing.used < charge.limit;
            (left, charge.counted.window().length)
        })?;
        let window = charge.counted.window().length;
        let resets_at = match status.resets_in {
            Some(resets_in) => now.saturating_add(resets_in),
            None if known.resets_at > now => known.resets_at,
            None => now.saturating_add(window.min(MINUTE)),
        };
        let most = status.limit.map_or(charge.limit, u64::from);
        Some(Denial {
            charge: *charge,
            standing: Standing {
                limit: most,
                used: most,
                held: known.held,
                resets_at,
            },
            now,
        })
    }

    /// The refusal by this Envoy's own count, where there is no answer.
    fn local_denial(&self, plugin: &Plugin, now: u64) -> Option<Denial> {
        let firm = self.pending.iter().filter(|pending| !pending.shadow);
        let positions = firm.flat_map(|pending| &pending.charges);
        let mut counted = positions.filter_map(|&position| {
            let charge = self.admission.charges.get(position)?;
            Some((charge, self.admission.standings.get(position)?))
        });
        let (charge, standing) = counted
            .find(|(charge, standing)| is_counted(plugin, charge) && !fits(charge, standing))?;
        Some(Denial {
            charge: *charge,
            standing: *standing,
            now,
        })
    }

    /// What the service wants the caller to be told, as far as it can be.
    fn told(&self) -> Told {
        let mut told = Told::new();
        let firm = self.pending.iter().filter(|pending| !pending.shadow);
        for (name, value) in firm
            .filter_map(Pending::reply)
            .flat_map(|reply| &reply.headers)
        {
            let Ok(name) = str::from_utf8(name) else {
                continue;
            };
            let name = name.to_ascii_lowercase();
            let is_quota = name.starts_with("x-ratelimit-")
                || name.starts_with("ratelimit")
                || name.starts_with("retry-after");
            let is_token =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if is_quota
                && name.bytes().all(is_token)
                && name.len() <= TOLD_BYTES
                && value.len() <= TOLD_BYTES
                && is_header_value(value)
                && told.len() < TOLD_HEADERS
            {
                told.retain(|(known, _)| *known != name);
                told.push((name, value.clone()));
            }
        }
        told
    }
}
