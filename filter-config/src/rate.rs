//! The rates of a limit.

use std::str::FromStr as _;

use crate::bounds;
use crate::fault::{FaultKind, Faults};
use crate::fields::{self, Fields, Schema};
use crate::json::Json;
use crate::path::Path;
use crate::window::Window;

/// A number of tokens in a window of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens in a window. Zero admits nobody.
    pub limit: u64,
    /// The window.
    pub window: Window,
    /// When windows begin, and how they follow each other.
    pub algorithm: Algorithm,
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
    known: &["limit", "window", "algorithm"],
    ignored: &[],
    planned: &[],
};

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
        let same = |(_, known): &&(usize, Rate)| known.window.as_nanos() == rate.window.as_nanos();
        if let Some((first, _)) = rates.iter().find(same) {
            let kind = FaultKind::Repeated {
                value: format!("the window {}", rate.window),
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
    let limit = fields
        .require("limit", path, faults)
        .and_then(|json| tokens(json, &path.field("limit"), faults));
    let window = fields
        .require("window", path, faults)
        .and_then(|json| window(json, &path.field("window"), faults));
    let algorithm = fields.read_or("algorithm", path, faults, Algorithm::default, algorithm);
    if algorithm == Some(Algorithm::Calendar)
        && window
            .as_ref()
            .is_some_and(|window| !window.follows_calendar())
    {
        faults.push(&path.field("window"), FaultKind::NotInCalendar);
    }
    Some(Rate {
        limit: limit?,
        window: window?,
        algorithm: algorithm?,
    })
}

fn algorithm(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Algorithm> {
    let choices = [
        ("fixed", Algorithm::Fixed),
        ("calendar", Algorithm::Calendar),
        ("sliding", Algorithm::Sliding),
        ("bucket", Algorithm::Bucket),
    ];
    fields::choice(json, &choices, &[], path, faults)
}

fn tokens(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<u64> {
    if matches!(json, Json::String(_)) {
        // The model has room for an expression here.
        faults.push(path, FaultKind::NotSupported);
        return None;
    }
    fields::whole(json, &bounds::LIMIT, path, faults)
}

fn window(json: &Json, path: &Path<'_>, faults: &mut Faults) -> Option<Window> {
    let Json::String(text) = json else {
        fields::expected(json, "a duration such as \"1m\"", path, faults);
        return None;
    };
    Window::from_str(text)
        .map_err(|error| faults.push(path, error))
        .ok()
}
