//! `rates` and `requests`: how much there may be in a window of time.

use crate::bounds;
use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::expression::{Expression, Role};
use crate::fields::{Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::reader::{self, unexpected};
use crate::values;
use crate::warning::WarningKind;
use crate::window::Window;
use std::time::Duration;

/// A number of tokens or requests in a window of time.
#[derive(Debug)]
pub struct Rate {
    /// The limit: the most of them in a window. Zero admits no request.
    pub limit: RateLimit,
    /// The window.
    pub window: RateWindow,
    /// When windows begin and end.
    pub algorithm: Algorithm,
}

/// The limit of a rate.
#[derive(Debug)]
pub enum RateLimit {
    /// The same for all requests.
    Fixed(u64),
    /// The value of an expression over the request, within bounds.
    Computed {
        /// The expression.
        expression: Box<Expression>,
        /// The lower bound, which replaces smaller values.
        min: u64,
        /// The upper bound, which replaces larger values.
        max: u64,
    },
}

/// The window of a rate.
#[derive(Debug)]
pub enum RateWindow {
    /// The same for all requests.
    Fixed(Window),
    /// The value of an expression over the request: a duration, its text, or a number of seconds.
    Computed {
        /// The expression.
        expression: Box<Expression>,
        /// The lower bound, which replaces shorter windows. The upper bound is [`bounds::WINDOW_NANOS`].
        min: Duration,
    },
}

/// When the windows of a rate begin and end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// A window begins with the first request that is counted in it.
    #[default]
    Fixed,
    /// Windows are periods of the UTC calendar. The length has to be [that of one](Window::follows_calendar).
    Calendar,
    /// The window ends now. Its count is approximated from two fixed windows: all of the current one, and the part of
    /// the previous one that the window still covers.
    Sliding,
    /// A leaky bucket: usage drains evenly, by one limit per window.
    Bucket,
}

pub(crate) const RATE: Schema = Schema {
    known: &["limit", "window", "algorithm", "min", "max", "minWindow"],
    ignored: &[],
};

/// The default of `minWindow`.
const DEFAULT_MIN_WINDOW: Duration = Duration::from_secs(1);

// === impl Rate ===

impl Rate {
    /// Returns the lower limit of two rates with one window, if they differ in nothing else.
    fn lower_limit(&self, other: &Self) -> Option<u64> {
        match (&self.limit, &other.limit) {
            (RateLimit::Fixed(one), RateLimit::Fixed(other_limit))
                if self.algorithm == other.algorithm =>
            {
                Some(*one.min(other_limit))
            }
            _ => None,
        }
    }

    /// Returns the expressions that are evaluated per request.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let limit = match &self.limit {
            RateLimit::Fixed(_) => None,
            RateLimit::Computed { expression, .. } => Some(&**expression),
        };
        let window = match &self.window {
            RateWindow::Fixed(_) => None,
            RateWindow::Computed { expression, .. } => Some(&**expression),
        };
        limit.into_iter().chain(window)
    }
}

// === impl RateWindow ===

impl RateWindow {
    /// Returns the window as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Fixed(window) => window.as_str(),
            Self::Computed { expression, .. } => expression.source(),
        }
    }

    /// Returns whether another window of the same limit is a duplicate.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(one), Self::Fixed(other)) => one.as_nanos() == other.as_nanos(),
            _ => self.as_str() == other.as_str(),
        }
    }
}

/// Reads the rates of a limit.
pub(crate) fn read(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Vec<Rate>, Invalid> {
    let items = reader::list(json, "rates", bounds::RATES, path, errors)?;
    let mut rates: Vec<(usize, Rate)> = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let item_path = path.item(position);
        let Ok(rate) = rate(item, &item_path, errors) else {
            continue;
        };
        let same = |(_, known): &&mut (usize, Rate)| known.window.is_same(&rate.window);
        if let Some((first, known)) = rates.iter_mut().find(same) {
            if let Some(lower) = known.lower_limit(&rate) {
                // Kuadrant accepts both. They have one counter, at which only the lower limit matters.
                known.limit = RateLimit::Fixed(lower);
                let window = rate.window.as_str().to_owned();
                errors.warn(&item_path, WarningKind::SecondOfWindow(window));
                continue;
            }
            let kind = ErrorKind::Duplicate {
                what: format!("window {:?}", rate.window.as_str()),
                first: path.item(*first).to_string(),
            };
            errors.push(&item_path.field("window"), kind);
        }
        rates.push((position, rate));
    }
    Ok(rates.into_iter().map(|(_, rate)| rate).collect())
}

fn rate(json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<Rate, Invalid> {
    let fields = Fields::read(json, path, &RATE, errors)?;
    let limit = limit(fields, path, errors);
    let window = window(fields, path, errors);
    let algorithm = fields.read_or("algorithm", path, errors, Algorithm::default, algorithm);
    match (algorithm, &window) {
        (Ok(algorithm), Ok(RateWindow::Fixed(window))) => {
            check_calendar(algorithm, window, path, errors);
        }
        (Ok(Algorithm::Calendar), Ok(RateWindow::Computed { .. })) => {
            errors.push(&path.field("window"), ErrorKind::NotInCalendar);
        }
        // Their state is in parts of a window, and would change its meaning with the length of the window.
        (Ok(Algorithm::Sliding | Algorithm::Bucket), Ok(RateWindow::Computed { .. })) => {
            errors.push(&path.field("window"), ErrorKind::ComputedWindow);
        }
        _ => {}
    }
    Ok(Rate {
        limit: limit?,
        window: window?,
        algorithm: algorithm?,
    })
}

/// Checks that the calendar has periods of the window's length, if the algorithm needs that.
pub(crate) fn check_calendar(
    algorithm: Algorithm,
    window: &Window,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) {
    if algorithm == Algorithm::Calendar && !window.follows_calendar() {
        errors.push(&path.field("window"), ErrorKind::NotInCalendar);
    }
}

/// Reads `algorithm`.
pub(crate) fn algorithm(
    json: &Json,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<Algorithm, Invalid> {
    let choices = [
        ("fixed", Algorithm::Fixed),
        ("calendar", Algorithm::Calendar),
        ("sliding", Algorithm::Sliding),
        ("bucket", Algorithm::Bucket),
    ];
    reader::choice(json, &choices, path, errors)
}

/// Reads `limit`, which is a number or an expression, with its bounds.
fn limit(
    fields: Fields<'_>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<RateLimit, Invalid> {
    let json = fields.require("limit", path, errors, |json, _, _| Ok(json))?;
    if !matches!(json, Json::String(_)) || json.number().is_some() {
        for bound in ["min", "max"] {
            if fields.get(bound).is_some() {
                errors.push(&path.field(bound), ErrorKind::OnlyComputed("limit"));
            }
        }
        return fixed(json, &path.field("limit"), errors).map(RateLimit::Fixed);
    }
    if let Some(number) = number_with_unit(json) {
        let expected = format!(
            "a whole number such as {number}, or an expression such as \"auth.identity.limit\""
        );
        return Err(unexpected(json, expected, &path.field("limit"), errors));
    }
    let expression = values::expression(json, Role::Limit, &path.field("limit"), errors);
    let min = fields.read_optional("min", path, errors, whole);
    let max = fields.read_optional("max", path, errors, |json, path, errors| match json {
        Json::String(text) if text == "none" => Ok(*bounds::LIMIT.end()),
        Json::String(_) if json.number().is_none() => {
            Err(unexpected(json, "a whole number or \"none\"", path, errors))
        }
        _ => whole(json, path, errors),
    });
    let (expression, min, max) = (expression?, min?, max?);
    if max.is_none() && expression.is_client_controlled() {
        return Err(errors.push(&path.field("max"), ErrorKind::UnboundedLimit));
    }
    let (min, max) = (min.unwrap_or(0), max.unwrap_or(*bounds::LIMIT.end()));
    if min > max {
        return Err(errors.push(&path.field("min"), ErrorKind::AboveMax));
    }
    Ok(RateLimit::Computed {
        expression: Box::new(expression),
        min,
        max,
    })
}

/// Reads a limit that is a number. As in Kuadrant, a negative one is 0; one that is too large for a double is one that
/// nothing reaches.
fn fixed(json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<u64, Invalid> {
    match json.number() {
        Some(Json::Number(number)) if number.fract() == 0.0 => Ok(if number < 0.0 {
            *bounds::LIMIT.start()
        } else {
            *bounds::LIMIT.end()
        }),
        Some(Json::Whole(whole)) => Ok(whole.min(*bounds::LIMIT.end())),
        _ => whole(json, path, errors),
    }
}

fn whole(json: &Json, path: &Path<'_>, errors: &mut ValidationErrors) -> Result<u64, Invalid> {
    reader::whole(json, &bounds::LIMIT, path, errors)
}

/// Reads `window`, which is a duration or an expression, with its bound.
fn window(
    fields: Fields<'_>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) -> Result<RateWindow, Invalid> {
    let json = fields.require("window", path, errors, |json, _, _| Ok(json))?;
    let min = fields.read_optional("minWindow", path, errors, values::window);
    let path_of = |name| path.field(name);
    if !values::is_expression(json) {
        if fields.get("minWindow").is_some() {
            errors.push(&path_of("minWindow"), ErrorKind::OnlyComputed("window"));
        }
        return values::window(json, &path_of("window"), errors).map(RateWindow::Fixed);
    }
    let expression = values::expression(json, Role::Window, &path_of("window"), errors)?;
    let min = min?;
    if min.is_none() && expression.is_client_controlled() {
        return Err(errors.push(&path_of("minWindow"), ErrorKind::UnboundedWindow));
    }
    let min = min.map_or(DEFAULT_MIN_WINDOW, |window| {
        Duration::from_nanos(window.as_nanos())
    });
    let expression = Box::new(expression);
    Ok(RateWindow::Computed { expression, min })
}

/// Returns the number that a limit spells with a unit or with separators, such as `100k` and `1,000`, which CEL does not
/// have; an example where the unit is unknown. `100u` is one of CEL's numbers.
fn number_with_unit(json: &Json) -> Option<u64> {
    const EXAMPLE: u64 = 100_000;
    let Json::String(text) = json else {
        return None;
    };
    let is_separator = |char: &char| matches!(char, '_' | ',' | ' ' | '\'');
    let unit = text.trim_start_matches(|char: char| {
        char.is_ascii_digit() || char == '.' || is_separator(&char)
    });
    let number: String = text
        .strip_suffix(unit)?
        .chars()
        .filter(|char| !is_separator(char))
        .collect();
    let is_known = unit.is_empty() || !matches!(unit, "u" | "U");
    let is_unit = unit.chars().all(|char| char.is_ascii_alphabetic());
    if number.is_empty() || !is_known || !is_unit {
        return None;
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    let zeros: usize = match unit {
        "" => 0,
        "k" | "K" => 3,
        "m" | "M" => 6,
        "b" | "B" | "g" | "G" => 9,
        _ => return Some(EXAMPLE),
    };
    let value = (fraction.len() <= zeros)
        .then(|| format!("{whole}{fraction:0<zeros$}").parse().ok())
        .flatten();
    Some(value.unwrap_or(EXAMPLE))
}
