//! `limits`: the limits of a policy.

use crate::bounds;
use crate::budget::{self, Budget};
use crate::cap::{self, Cap};
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::expression::{Expression, Role};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::on_exceeded::{self, Alternative, Exceeded, Queue};
use crate::path::Path;
use crate::rate::{self, Rate};
use crate::reader::{self, unexpected};
use crate::replies::{self, LimitReply};
use crate::values;
use crate::warning::WarningKind;
use crate::window::Window;
use std::str::FromStr as _;
use std::time::Duration;

/// A limit: rates per combination of values of its counters.
#[derive(Debug)]
pub struct Limit {
    /// The name, unique in its policy.
    pub name: String,
    /// The predicates that all have to be true for the limit to apply.
    pub when: Vec<Expression>,
    /// The expressions whose values together are the key of the counter.
    pub counters: Vec<Expression>,
    /// The handling of a request for which a counter expression has no value. By default the failure mode decides.
    pub when_missing: Option<WhenMissing>,
    /// The cost of one exchange against `rates`, by default its total of tokens.
    pub cost: Option<Expression>,
    /// The rates of cost, with distinct windows.
    pub rates: Vec<Rate>,
    /// The rates of requests, with distinct windows.
    pub requests: Vec<Rate>,
    /// The rates of money, with distinct windows.
    pub budgets: Vec<Budget>,
    /// The concurrency limit: the most requests in flight per key, within [`bounds::CONCURRENCY`].
    pub concurrency: Option<u64>,
    /// The share of the limit whose use is reported, in parts per million, within [`bounds::ALERT_AT`].
    pub alert_at: Option<u32>,
    /// Whether the limit is a dry run: it counts and reports, and never rejects.
    pub shadow: bool,
    /// The handling of a request that exceeds the limit; always [`Exceeded::Deny`] in a dry run.
    pub on_exceeded: Exceeded,
    /// Whether the limit is hard, and how output is then bounded. Such a limit has rates, and no budgets, no cost of its
    /// own and no amount to reserve; requests that exceed it are rejected.
    pub cap: Option<Cap>,
    /// The reply to requests that the limit rejects, where it is not that of all.
    pub reply: Option<LimitReply>,
    /// What a request reserves until its usage is known, by default an estimate.
    pub reservation: Option<Reservation>,
}

/// The handling of a request for which a counter expression has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenMissing {
    /// The limit does not apply to the request.
    Skip,
    /// The request is rejected as if its policy could not be evaluated, whatever the failure mode.
    Reject,
}

/// What a request reserves of a limit until its usage is known.
#[derive(Debug)]
pub struct Reservation {
    /// The number of tokens, an expression over the request; by default an estimate.
    pub amount: Option<Expression>,
    /// The time until the reservation expires.
    pub ttl: Option<ReservationTtl>,
    /// The most tokens that one request reserves, within [`bounds::RESERVATION_MAX`].
    pub max: Option<u64>,
}

/// The time until a reservation expires.
#[derive(Debug)]
pub enum ReservationTtl {
    /// The same for all requests, within [`bounds::RESERVATION_TTL`].
    Fixed(Duration),
    /// The value of an expression over the request: a duration, its text, or a number of seconds. It is clamped to
    /// [`bounds::RESERVATION_TTL`].
    Computed(Box<Expression>),
}

// === impl Limit ===

impl Limit {
    /// Returns whether the limit has nothing to enforce: no rates, no budgets and no concurrency. Merged with other
    /// policies, it still takes the place of limits of its name.
    #[must_use]
    pub fn counts_nothing(&self) -> bool {
        self.rates.is_empty()
            && self.requests.is_empty()
            && self.budgets.is_empty()
            && self.concurrency.is_none()
    }

    /// Returns whether the limit can reject a request, at once or after it was queued.
    #[must_use]
    pub fn enforces(&self) -> bool {
        !self.shadow && self.on_exceeded != Exceeded::Allow
    }

    /// Returns the queue of requests that exceed the limit, if they are queued.
    #[must_use]
    pub const fn queue(&self) -> Option<Queue> {
        match self.on_exceeded {
            Exceeded::Queue(queue) => Some(queue),
            _ => None,
        }
    }

    /// Returns the fallbacks of requests that exceed the limit.
    #[must_use]
    pub fn alternatives(&self) -> &[Alternative] {
        match &self.on_exceeded {
            Exceeded::Alternatives(alternatives) => alternatives,
            _ => &[],
        }
    }
}

// === impl Reservation ===

impl Reservation {
    /// Returns the expressions that are evaluated per request.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let ttl = match &self.ttl {
            Some(ReservationTtl::Computed(expression)) => Some(&**expression),
            _ => None,
        };
        self.amount.iter().chain(ttl)
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
        "cap",
        "capMin",
        "capMax",
        "capParts",
        "reply",
    ],
    ignored: &[],
};

pub(crate) const RESERVATION: Schema = Schema {
    known: &["amount", "ttl", "max"],
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
pub(crate) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<Limit>, Invalid> {
    let entries = reader::entries(json, path, errors)?;
    reader::at_most(entries.len(), "limits", bounds::LIMITS, path, errors)?;
    // As for a field, null is none.
    let given = entries
        .iter()
        .filter(|(_, json)| !matches!(json, Json::Null));
    let mut limits = Vec::with_capacity(entries.len());
    let mut is_empty = true;
    for (name, json) in given {
        is_empty = false;
        let path = path.field(name);
        if name.is_empty() {
            errors.push(
                &path,
                ErrorKind::Malformed("found an empty name, expected the name of the limit"),
            );
        } else if reader::at_most(name.len(), "bytes", bounds::NAME_BYTES, &path, errors).is_ok() {
            // The error of the name is enough; the limit is read for its own.
            let _ = reader::check_printable(name, &path, errors);
        }
        limits.extend(limit(name, json, &path, errors));
    }
    if is_empty {
        errors.push(path, ErrorKind::Empty);
    }
    Ok(limits)
}

fn limit(
    name: &str,
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Limit, Invalid> {
    let fields = Fields::read(json, path, &LIMIT, errors)?;
    let rates = fields.read_or("rates", path, errors, Vec::new, rate::read);
    let requests = fields.read_or("requests", path, errors, Vec::new, rate::read);
    let budgets = fields.read_or("budgets", path, errors, Vec::new, budget::read);
    let cost = fields.read_optional("cost", path, errors, |json, path, errors| {
        values::expression(json, Role::Cost, path, errors)
    });
    let when_missing = fields.read_optional("whenMissing", path, errors, when_missing);
    let when = fields.read_or("when", path, errors, Vec::new, when);
    let counters = fields.read_or("counters", path, errors, Vec::new, counters);
    let concurrency = fields.read_optional("concurrency", path, errors, |json, path, errors| {
        reader::whole(json, &bounds::CONCURRENCY, path, errors)
    });
    let alert_at = fields.read_optional("alertAt", path, errors, |json, path, errors| {
        reader::fraction(json, &bounds::ALERT_AT, path, errors)
    });
    let shadow = fields.read_or("shadow", path, errors, || false, reader::boolean);
    let default = Exceeded::default;
    let on_exceeded = fields.read_or("onExceeded", path, errors, default, on_exceeded::read);
    if let (Ok(true), Ok(on_exceeded)) = (shadow, &on_exceeded)
        && *on_exceeded != Exceeded::Deny
    {
        errors.push(&path.field("onExceeded"), ErrorKind::Conflict("shadow"));
    }
    let reservation = fields.read_optional("reservation", path, errors, reservation);
    let cap = cap::read(fields, path, errors);
    let reply = fields.read_optional("reply", path, errors, replies::of_limit);
    let limit = Limit {
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
        cap: cap?,
        reply: reply?,
        reservation: reservation?,
    };
    check_cap(&limit, path, errors);
    if limit.counts_nothing() {
        errors.warn(path, WarningKind::CountsNothing);
    }
    Ok(limit)
}

/// Checks that a hard limit is on tokens, and rejects what exceeds it.
fn check_cap(limit: &Limit, path: &Path<'_>, errors: &mut ValidationErrors) {
    if limit.cap.is_none() {
        return;
    }
    if limit.rates.is_empty() {
        errors.push(&path.field("rates"), ErrorKind::MissingField);
    }
    let amount = limit.reservation.as_ref();
    let has_amount = amount.is_some_and(|it| it.amount.is_some() || it.max.is_some());
    for (field, is_given) in [
        ("cost", limit.cost.is_some()),
        ("budgets", !limit.budgets.is_empty()),
        ("shadow", limit.shadow),
        ("onExceeded", limit.on_exceeded != Exceeded::Deny),
        ("reservation", has_amount),
    ] {
        if is_given {
            errors.push(&path.field(field), ErrorKind::Conflict("cap"));
        }
    }
}

fn when_missing(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<WhenMissing, Invalid> {
    let choices = [("skip", WhenMissing::Skip), ("reject", WhenMissing::Reject)];
    reader::choice_or_alias(
        json,
        &choices,
        ("refuse", WhenMissing::Reject),
        path,
        errors,
    )
}

fn reservation(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Reservation, Invalid> {
    let fields = Fields::read(json, path, &RESERVATION, errors)?;
    let amount = fields.read_optional("amount", path, errors, amount);
    let ttl = fields.read_optional("ttl", path, errors, ttl);
    let max = fields.read_optional("max", path, errors, |json, path, errors| {
        reader::whole(json, &bounds::RESERVATION_MAX, path, errors)
    });
    Ok(Reservation {
        amount: amount?,
        ttl: ttl?,
        max: max?,
    })
}

/// Reads the amount of a reservation: an expression, or a whole number, which is one too.
fn amount(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Expression, Invalid> {
    match (json.number(), json) {
        (Some(Json::Whole(number)), _) => {
            let number = Json::String(number.to_string());
            values::expression(&number, Role::Amount, path, errors)
        }
        // A text that is no number is an expression.
        (None, Json::String(_)) => values::expression(json, Role::Amount, path, errors),
        _ => {
            let expected = "a whole number or an expression such as \"llm.max_output_tokens\"";
            Err(unexpected(json, expected, path, errors))
        }
    }
}

/// Reads the lifetime of a reservation: a duration, also in Kuadrant's notation, the CEL expression `duration("30s")`,
/// or any other expression.
fn ttl(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<ReservationTtl, Invalid> {
    const EXPECTED: &str = "a duration from \"1s\" to \"24h\", or an expression that yields one";
    let within = &bounds::RESERVATION_TTL;
    let literal = match json {
        Json::String(text) => in_call(text),
        _ => None,
    };
    if let Some(Ok(literal)) = literal.map(Window::from_str) {
        // As of any other expression, the value is clamped.
        let duration = Duration::from_nanos(literal.as_nanos());
        let duration = duration.clamp(*within.start(), *within.end());
        return Ok(ReservationTtl::Fixed(duration));
    }
    if values::is_expression(json) && literal.is_none() {
        let expression = values::expression(json, Role::Ttl, path, errors);
        return expression.map(|expression| ReservationTtl::Computed(Box::new(expression)));
    }
    values::duration(
        json,
        within,
        EXPECTED,
        |text| in_call(text).unwrap_or(text),
        path,
        errors,
    )
    .map(ReservationTtl::Fixed)
}

/// Returns the text of the literal in `duration("30s")` or `duration('30s')`.
fn in_call(text: &str) -> Option<&str> {
    let literal = text
        .trim()
        .strip_prefix("duration(")?
        .strip_suffix(')')?
        .trim();
    ['"', '\''].into_iter().find_map(|quote| {
        let text = literal.strip_prefix(quote)?.strip_suffix(quote)?;
        (!text.contains(quote)).then_some(text)
    })
}

/// Reads `when`, the predicates of a policy or of a limit.
pub(crate) fn when(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<Expression>, Invalid> {
    let items = reader::list(json, "predicates", bounds::PREDICATES, path, errors)?;
    Ok(expressions(
        items,
        "predicate",
        &PREDICATE,
        Role::Predicate,
        path,
        errors,
    ))
}

fn counters(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<Expression>, Invalid> {
    let items = reader::list(json, "counters", bounds::COUNTERS, path, errors)?;
    Ok(expressions(
        items,
        "expression",
        &COUNTER,
        Role::Counter,
        path,
        errors,
    ))
}

/// Reads a list of objects with one expression each, in `field`.
fn expressions(
    items: &[Json],
    field: &str,
    schema: &Schema,
    role: Role,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Vec<Expression> {
    let mut expressions = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let path = path.item(position);
        let Ok(fields) = Fields::read(item, &path, schema, errors) else {
            continue;
        };
        expressions.extend(fields.require(field, &path, errors, |json, path, errors| {
            values::expression(json, role, path, errors)
        }));
    }
    expressions
}
