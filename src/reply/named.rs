//! Quota headers with names that the configuration makes: every limit, each under its own names.

use super::quota::{Quota, push, seconds, unit, window, written};
use crate::plugin::Rate;
use filter_config::{HeaderNames, Limit, Placeholder, Policy, Template};

/// The names of the headers of one rate.
#[derive(Debug)]
pub(super) struct Names {
    limit: Option<String>,
    remaining: Option<String>,
    reset: Option<String>,
    retry_after: Option<String>,
}

/// Windows that have a name, by their seconds.
const PERIODS: [(u64, &str); 7] = [
    (1, "second"),
    (60, "minute"),
    (3_600, "hour"),
    (86_400, "day"),
    (604_800, "week"),
    (2_592_000, "month"),
    (31_536_000, "year"),
];

// === impl Names ===

impl Names {
    /// The names that templates give to a rate.
    #[cold]
    pub(super) fn new(names: &HeaderNames, rate: &Rate, policy: &Policy, limit: &Limit) -> Self {
        let render = |template: &Template| {
            template.render_name(|placeholder, name| {
                write(placeholder, rate, policy, limit, name);
            })
        };
        Self {
            limit: names.limit.as_ref().map(render),
            remaining: names.remaining.as_ref().map(render),
            reset: names.reset.as_ref().map(render),
            retry_after: names.retry_after.as_ref().map(render),
        }
    }
}

/// Tells of limits. Where several have one name, the one with the least left is told of. With
/// `retry_after`, also of the seconds after which the request can be tried again.
pub(super) fn tell(
    quotas: &[Quota<'_>],
    retry_after: Option<u64>,
    add: &mut dyn FnMut(&str, &[u8]),
) {
    let mut told: Vec<(&str, u64, u64)> = Vec::new();
    for quota in quotas {
        let Some(names) = &quota.prepared.names else {
            continue;
        };
        let standing = quota.standing;
        let left = standing.remaining();
        let values = [
            (&names.limit, Some(standing.limit)),
            (&names.remaining, Some(left)),
            (&names.reset, Some(seconds(quota.reset()))),
            (&names.retry_after, retry_after),
        ];
        for (name, value) in values {
            let (Some(name), Some(value)) = (name, value) else {
                continue;
            };
            match told.iter_mut().find(|(known, ..)| *known == name.as_str()) {
                Some(known) if left < known.2 => *known = (name, value, left),
                Some(_) => {}
                None => told.push((name, value, left)),
            }
        }
    }
    for (name, value, _) in told {
        add(name, itoa::Buffer::new().format(value).as_bytes());
    }
}

/// Writes what a placeholder stands for in the name of a header.
fn write(placeholder: Placeholder, rate: &Rate, policy: &Policy, limit: &Limit, name: &mut String) {
    let (namespace, policy) = policy.name.split_once('/').unwrap_or(("", &policy.name));
    match placeholder {
        Placeholder::Limit => name.push_str(&limit.name),
        Placeholder::Policy => name.push_str(policy),
        Placeholder::Namespace => name.push_str(namespace),
        Placeholder::Unit => name.push_str(unit(rate.counts)),
        Placeholder::Window => name.push_str(written(rate, limit).unwrap_or(unit(rate.counts))),
        Placeholder::Seconds => push(name, window(rate.counts, rate.counted).unwrap_or_default()),
        Placeholder::Period => {
            let length = window(rate.counts, rate.counted).unwrap_or_default();
            match PERIODS.iter().find(|(known, _)| *known == length) {
                Some((_, period)) => name.push_str(period),
                None => push(name, length),
            }
        }
        // Values, which no name has.
        _ => {}
    }
}
