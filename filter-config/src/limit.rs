//! The limits of a policy.

use crate::bounds;
use crate::budget::{self, Budget};
use crate::exceeded::{self, Alternative, Exceeded, Queue};
use crate::expression::{Expression, Role};
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::rate::{self, Rate};
use crate::window;

/// A limit: rates for each combination of values of its counters.
#[derive(Debug)]
pub struct Limit {
    /// The name, unique in its policy.
    pub name: String,
    /// The predicates that all have to hold for the limit to apply.
    pub when: Vec<Expression>,
    /// The expressions whose values together are the key that is counted under.
    pub counters: Vec<Expression>,
    /// What becomes of a request for which a counter has no value; where the limit does not say, the
    /// failure mode decides.
    pub when_missing: Option<WhenMissing>,
    /// What one exchange costs of `rates`; its total of tokens where it is not given.
    pub cost: Option<Expression>,
    /// The rates of what exchanges cost, no two with the same window. There is at least one of these, of
    /// `requests` or of `budgets`, or a `concurrency`.
    pub rates: Vec<Rate>,
    /// The rates of requests, no two with the same window.
    pub requests: Vec<Rate>,
    /// What exchanges may cost in money, no two with the same window.
    pub budgets: Vec<Budget>,
    /// The most requests in flight per key, within [`bounds::CONCURRENCY`].
    pub concurrency: Option<u64>,
    /// The part of a limit past which its use is told, in parts per million, within
    /// [`bounds::ALERT_AT`].
    pub alert_at: Option<u32>,
    /// Whether the limit counts and reports, and never refuses.
    pub shadow: bool,
    /// What becomes of a request for which there is no room; always [`Exceeded::Deny`] in shadow.
    pub on_exceeded: Exceeded,
    /// What a request holds until its usage is known; where the limit does not say, an estimate.
    pub reservation: Option<Reservation>,
}

/// What becomes of a request for which a counter of a limit has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenMissing {
    /// The limit does not apply to it.
    Skip,
    /// It is refused, as one whose policy cannot be evaluated, whatever the failure mode.
    Refuse,
}

/// What a request holds of a limit until its usage is known.
#[derive(Debug)]
pub struct Reservation {
    /// The number of tokens, an expression over the request; where it is not given, the estimate.
    pub amount: Option<Expression>,
    /// For how many nanoseconds it is held at most, within [`bounds::RESERVATION_TTL_NANOS`].
    pub ttl: Option<u64>,
}

// === impl Limit ===

impl Limit {
    /// Whether the limit can refuse a request, now or after a while.
    #[must_use]
    pub fn refuses(&self) -> bool {
        !self.shadow && self.on_exceeded != Exceeded::Allow
    }

    /// How requests wait for room, if they do.
    #[must_use]
    pub const fn queue(&self) -> Option<Queue> {
        match self.on_exceeded {
            Exceeded::Queue(queue) => Some(queue),
            _ => None,
        }
    }

    /// How requests can be changed for which there is no room.
    #[must_use]
    pub fn alternatives(&self) -> &[Alternative] {
        match &self.on_exceeded {
            Exceeded::Alternatives(alternatives) => alternatives,
            _ => &[],
        }
    }
}

pub(crate) const LIMIT: Schema = Schema {
    known: &[
        "rates",
        "when",
        "counters",
        "whenMissing",
        "cost",
        "requests",
        "budgets",
        "concurrency",
        "alertAt",
        "shadow",
        "onExceeded",
        "reservation",
    ],
    ignored: &[],
};

pub(crate) const RESERVATION: Schema = Schema {
    known: &["amount", "ttl"],
    ignored: &[],
};

pub(crate) const PREDICATE: Schema = Schema {
    known: &["predicate"],
    ignored: &[],
};

pub(crate) const COUNTER: Schema = Schema {
    known: &["expression"],
    ignored: &[],
};

/// Reads the limits of a policy, by their names.
pub(crate) fn read(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Limit>> {
    let entries = fields::entries(json, path, faults)?;
    if entries.is_empty() {
        faults.push(path, FaultKind::MustNotBeEmpty);
    }
    if !fields::at_most(entries.len(), "limits", bounds::LIMITS, path, faults) {
        return None;
    }
    let mut limits = Vec::with_capacity(entries.len());
    for (name, json) in entries {
        let path = path.field(name);
        if name.is_empty() {
            faults.push(&path, FaultKind::Malformed("a limit must have a name"));
        } else if fields::at_most(name.len(), "bytes", bounds::NAME_BYTES, &path, faults) {
            fields::is_name(name, &path, faults);
        }
        limits.extend(limit(name, json, &path, faults));
    }
    Some(limits)
}

fn limit(name: &str, json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Limit> {
    let fields = Fields::read(json, path, &LIMIT, faults)?;
    // Something else alone can be what is limited.
    let others = ["concurrency", "requests", "budgets"];
    let rates = if others.iter().any(|other| fields.get(other).is_some()) {
        fields.read_or("rates", path, faults, Vec::new, rate::read)
    } else {
        fields
            .require("rates", path, faults)
            .and_then(|json| rate::read(json, &path.field("rates"), faults))
    };
    let requests = fields.read_or("requests", path, faults, Vec::new, rate::read);
    let budgets = fields.read_or("budgets", path, faults, Vec::new, budget::read);
    let cost = fields.read_optional("cost", path, faults, |json, path, faults| {
        expression(json, Role::Cost, path, faults)
    });
    let when_missing = fields.read_optional("whenMissing", path, faults, when_missing);
    let when = fields.read_or("when", path, faults, Vec::new, when);
    let counters = fields.read_or("counters", path, faults, Vec::new, counters);
    let concurrency = fields.read_optional("concurrency", path, faults, |json, path, faults| {
        fields::whole(json, &bounds::CONCURRENCY, path, faults)
    });
    let alert_at = fields.read_optional("alertAt", path, faults, |json, path, faults| {
        fields::fraction(json, &bounds::ALERT_AT, path, faults)
    });
    let shadow = fields.read_or("shadow", path, faults, || false, fields::boolean);
    let default = Exceeded::default;
    let on_exceeded = fields.read_or("onExceeded", path, faults, default, exceeded::read);
    if shadow == Some(true)
        && on_exceeded
            .as_ref()
            .is_some_and(|action| *action != Exceeded::Deny)
    {
        faults.push(&path.field("onExceeded"), FaultKind::Excludes("shadow"));
    }
    let reservation = fields.read_optional("reservation", path, faults, reservation);
    Some(Limit {
        name: name.to_owned(),
        when: when?,
        counters: counters?,
        when_missing: when_missing?,
        cost: cost?,
        rates: rates?,
        requests: requests?,
        budgets: budgets?,
        concurrency: concurrency?,
        alert_at: alert_at?,
        shadow: shadow?,
        on_exceeded: on_exceeded?,
        reservation: reservation?,
    })
}

fn when_missing(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<WhenMissing> {
    let choices = [("skip", WhenMissing::Skip), ("refuse", WhenMissing::Refuse)];
    fields::choice(json, &choices, path, faults)
}

fn reservation(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Reservation> {
    let fields = Fields::read(json, path, &RESERVATION, faults)?;
    let amount = fields.read_optional("amount", path, faults, |json, path, faults| {
        expression(json, Role::Amount, path, faults)
    });
    let ttl = fields.read_optional("ttl", path, faults, ttl);
    Some(Reservation {
        amount: amount?,
        ttl: ttl?,
    })
}

/// Reads how long a reservation is held: a duration, also as Kuadrant has it, as the CEL expression
/// `duration("30s")`. Any other expression would be a duration per request, and is refused.
fn ttl(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<u64> {
    const EXPECTED: &str = "a duration from \"1s\" to \"24h\"";
    let within = &bounds::RESERVATION_TTL_NANOS;
    window::nanos(
        json,
        within,
        EXPECTED,
        |text| in_call(text).unwrap_or(text),
        path,
        faults,
    )
}

/// The text of the literal in `duration("30s")` or `duration('30s')`.
fn in_call(text: &str) -> Option<&str> {
    let literal = text
        .trim()
        .strip_prefix("duration(")?
        .strip_suffix(')')?
        .trim();
    ['"', '\''].into_iter().find_map(|quote| {
        let text = literal.strip_prefix(quote)?;
        text.strip_suffix(quote)
    })
}

/// Reads a `when`: the predicates of a policy or of a limit.
pub(crate) fn when(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Expression>> {
    let items = fields::list(json, "predicates", bounds::PREDICATES, path, faults)?;
    Some(expressions(
        items,
        "predicate",
        &PREDICATE,
        Role::Predicate,
        path,
        faults,
    ))
}

fn counters(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Expression>> {
    let items = fields::list(json, "counters", bounds::COUNTERS, path, faults)?;
    Some(expressions(
        items,
        "expression",
        &COUNTER,
        Role::Counter,
        path,
        faults,
    ))
}

/// Reads a list of objects that hold one expression each.
fn expressions(
    items: &[Json],
    field: &str,
    schema: &Schema,
    role: Role,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Vec<Expression> {
    let mut expressions = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let path = path.item(position);
        let json = Fields::read(item, &path, schema, faults)
            .and_then(|fields| fields.require(field, &path, faults));
        let path = path.field(field);
        expressions.extend(json.and_then(|json| expression(json, role, &path, faults)));
    }
    expressions
}

/// Reads an expression.
pub(crate) fn expression(
    json: &Json,
    role: Role,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<Expression> {
    let source = fields::text(json, bounds::EXPRESSION_BYTES, path, faults)?;
    match Expression::compile(source, role) {
        Ok(expression) => Some(expression),
        Err(errors) => {
            for error in errors {
                faults.push(path, error);
            }
            None
        }
    }
}
