//! The rates of a limit.

use std::str::FromStr as _;

use crate::bounds;
use crate::expression::{Expression, Role};
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::limit;
use crate::path::Path;
use crate::window::Window;

/// A number of tokens or requests in a window of time.
#[derive(Debug)]
pub struct Rate {
    /// The most of them in a window. Zero admits nobody.
    pub limit: RateLimit,
    /// The window.
    pub window: RateWindow,
    /// When windows begin, and how they follow each other.
    pub algorithm: Algorithm,
}

/// The most that there may be in a window.
#[derive(Debug)]
pub enum RateLimit {
    /// The same for all requests.
    Fixed(u64),
    /// What an expression over the request yields, within bounds.
    Computed {
        /// The expression.
        expression: Box<Expression>,
        /// The least that it yields; what is less becomes this.
        min: u64,
        /// The most that it yields; what is more becomes this.
        max: u64,
    },
}

/// The window of a rate.
#[derive(Debug)]
pub enum RateWindow {
    /// The same for all requests.
    Fixed(Window),
    /// What an expression over the request yields: a duration, its text, or a number of seconds.
    Computed {
        /// The expression.
        expression: Box<Expression>,
        /// The shortest that it yields, in nanoseconds; what is shorter becomes this. The longest is
        /// [`bounds::WINDOW_NANOS`].
        min: u64,
    },
}

/// When the windows of a rate begin, and how they follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// A window begins with the first request that is counted in it.
    #[default]
    Fixed,
    /// Windows are those of the UTC calendar; only of a length that
    /// [follows it](Window::follows_calendar).
    Calendar,
    /// The window is always the time just past, as two windows in a row tell it: the current one, and
    /// the one before it by the part that still reaches into the window.
    Sliding,
    /// What is used flows off evenly, a limit's worth in a window.
    Bucket,
}

pub(crate) const RATE: Schema = Schema {
    known: &["limit", "window", "algorithm", "min", "max", "minWindow"],
    ignored: &[],
};

/// The shortest window that an expression yields where nothing shorter is asked for: a second.
const SHORTEST: u64 = 1_000_000_000;

// === impl Rate ===

impl Rate {
    /// The expressions that have to be evaluated for a request.
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
    /// The window as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Fixed(window) => window.as_str(),
            Self::Computed { expression, .. } => expression.source(),
        }
    }

    /// Whether another window of the same limit is the same.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(one), Self::Fixed(other)) => one.as_nanos() == other.as_nanos(),
            _ => self.as_str() == other.as_str(),
        }
    }
}

/// Reads the rates of a limit.
pub(crate) fn read(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<Rate>> {
    let items = fields::list(json, "rates", bounds::RATES, path, faults)?;
    if items.is_empty() {
        faults.push(path, FaultKind::MustNotBeEmpty);
    }
    let mut rates: Vec<(usize, Rate)> = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let item_path = path.item(position);
        let Some(rate) = rate(item, &item_path, faults) else {
            continue;
        };
        let same = |(_, known): &&(usize, Rate)| known.window.is(&rate.window);
        if let Some((first, _)) = rates.iter().find(same) {
            let kind = FaultKind::Repeated {
                value: format!("the window {}", rate.window.as_str()),
                first: path.item(*first).to_string(),
            };
            faults.push(&item_path.field("window"), kind);
        }
        rates.push((position, rate));
    }
    Some(rates.into_iter().map(|(_, rate)| rate).collect())
}

fn rate(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Rate> {
    let fields = Fields::read(json, path, &RATE, faults)?;
    let limit = limit(fields, path, faults);
    let window = window(fields, path, faults);
    let algorithm = fields.read_or("algorithm", path, faults, Algorithm::default, algorithm);
    match (algorithm, &window) {
        (Some(algorithm), Some(RateWindow::Fixed(window))) => {
            in_calendar(algorithm, window, path, faults);
        }
        (Some(Algorithm::Calendar), Some(RateWindow::Computed { .. })) => {
            faults.push(&path.field("window"), FaultKind::NotInCalendar);
        }
        // What they remember is in parts of a window, and would be worth another part of another.
        (Some(Algorithm::Sliding | Algorithm::Bucket), Some(RateWindow::Computed { .. })) => {
            faults.push(&path.field("window"), FaultKind::ComputedWindow);
        }
        _ => {}
    }
    Some(Rate {
        limit: limit?,
        window: window?,
        algorithm: algorithm?,
    })
}

/// A fault if the calendar has no such window, and should have.
pub(crate) fn in_calendar(
    algorithm: Algorithm,
    window: &Window,
    path: &Path<'_>,
    faults: &mut Faults,
) {
    if algorithm == Algorithm::Calendar && !window.follows_calendar() {
        faults.push(&path.field("window"), FaultKind::NotInCalendar);
    }
}

pub(crate) fn algorithm(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Algorithm> {
    let choices = [
        ("fixed", Algorithm::Fixed),
        ("calendar", Algorithm::Calendar),
        ("sliding", Algorithm::Sliding),
        ("bucket", Algorithm::Bucket),
    ];
    fields::choice(json, &choices, path, faults)
}

/// Reads the limit of a rate with its bounds: a number, or an expression that yields one.
fn limit(fields: Fields<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<RateLimit> {
    let json = fields.require("limit", path, faults)?;
    let Json::String(_) = json else {
        for bound in ["min", "max"] {
            if fields.get(bound).is_some() {
                faults.push(&path.field(bound), FaultKind::OnlyComputed("limit"));
            }
        }
        return fields::whole(json, &bounds::LIMIT, &path.field("limit"), faults)
            .map(RateLimit::Fixed);
    };
    let expression = limit::expression(json, Role::Limit, &path.field("limit"), faults);
    let min = fields.read_optional("min", path, faults, whole);
    let max = fields.read_optional("max", path, faults, |json, path, faults| match json {
        Json::String(text) if text == "none" => Some(*bounds::LIMIT.end()),
        Json::String(_) => {
            fields::expected(json, "a whole number or \"none\"", path, faults);
            None
        }
        _ => whole(json, path, faults),
    });
    let (expression, min, max) = (expression?, min?, max?);
    if max.is_none() && expression.is_callers() {
        faults.push(&path.field("max"), FaultKind::CallersLimit);
        return None;
    }
    let (min, max) = (min.unwrap_or(0), max.unwrap_or(*bounds::LIMIT.end()));
    if min > max {
        faults.push(&path.field("min"), FaultKind::AboveMax);
        return None;
    }
    Some(RateLimit::Computed {
        expression: Box::new(expression),
        min,
        max,
    })
}

fn whole(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<u64> {
    fields::whole(json, &bounds::LIMIT, path, faults)
}

/// Reads the window of a rate with its bound: a duration, or an expression that yields one.
fn window(fields: Fields<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<RateWindow> {
    let json = fields.require("window", path, faults)?;
    let min = fields.read_optional("minWindow", path, faults, duration);
    let path_of = |name| path.field(name);
    let Some(text) = expression_in(json) else {
        if fields.get("minWindow").is_some() {
            faults.push(&path_of("minWindow"), FaultKind::OnlyComputed("window"));
        }
        return duration(json, &path_of("window"), faults).map(RateWindow::Fixed);
    };
    let expression = limit::expression(text, Role::Window, &path_of("window"), faults)?;
    let min = min?;
    if min.is_none() && expression.is_callers() {
        faults.push(&path_of("minWindow"), FaultKind::CallersWindow);
        return None;
    }
    let min = min.map_or(SHORTEST, |window| window.as_nanos());
    let expression = Box::new(expression);
    Some(RateWindow::Computed { expression, min })
}

/// The text of a window that is no duration but an expression, as what it is made of shows: a mistake
/// in a duration is to be told as one.
fn expression_in(json: &Json) -> Option<&Json> {
    let Json::String(text) = json else {
        return None;
    };
    let names = text.as_bytes().windows(2);
    let selects = |pair: &[u8]| matches!(pair, [b'.', name] if name.is_ascii_alphabetic());
    let is_expression =
        text.contains(['(', '[', '{', '?', '"', '\'']) || names.into_iter().any(selects);
    is_expression.then_some(json)
}

/// Reads a window that is a duration.
pub(crate) fn duration(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Window> {
    let Json::String(text) = json else {
        fields::expected(json, "a duration such as \"1m\"", path, faults);
        return None;
    };
    Window::from_str(text)
        .map_err(|error| {
            let found = json.found();
            faults.push(path, FaultKind::Window { error, found });
        })
        .ok()
}
