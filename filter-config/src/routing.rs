//! Which rule of which route a request belongs to, by the precedence of the Gateway API.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::route::{Hostname, Route, RouteMatch, host};

/// The matches of all routes, in the order in which they are tried.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    matches: Vec<RouteMatch>,
    /// Those of each hostname, the more specific hostname first.
    hostnames: Vec<(Hostname, Vec<Candidate>)>,
}

/// A match, and the rule that a request belongs to which matches.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// Index in [`Routing::matches`].
    of: usize,
    /// Number of the rule: those of the first route, then those of the next, and so on.
    rule: usize,
}

// === impl Routing ===

impl Routing {
    /// The order of the matches of routes: the host decides first, then what
    /// [`RouteMatch::generality`] says, then the names of the routes, then the order of rules and of
    /// their matches.
    pub(crate) fn new(routes: Vec<Route>) -> Self {
        let mut routing = Self::default();
        // What sorts a candidate, and it, for each hostname.
        let mut all = Vec::new();
        let mut rule = 0_usize;
        for route in routes {
            for found in route.rules.into_iter().map(|rule| rule.matches) {
                for found in found {
                    let of = routing.matches.len();
                    for hostname in &route.hostnames {
                        let key = (found.generality(), route.name.clone(), of);
                        all.push((
                            hostname.generality(),
                            key,
                            hostname.clone(),
                            Candidate { of, rule },
                        ));
                    }
                    routing.matches.push(found);
                }
                rule = rule.saturating_add(1);
            }
        }
        all.sort_unstable_by(|(hosts, key, ..), (others, other, ..)| {
            (hosts, key).cmp(&(others, other))
        });
        for (_, _, hostname, candidate) in all {
            match routing
                .hostnames
                .iter_mut()
                .find(|(known, _)| *known == hostname)
            {
                Some((_, candidates)) => candidates.push(candidate),
                None => routing.hostnames.push((hostname, vec![candidate])),
            }
        }
        routing
    }

    /// The number of the rule that a request belongs to, by its headers and pseudo-headers.
    pub(crate) fn rule<'h>(&self, header: impl Fn(&str) -> Option<Cow<'h, str>>) -> Option<usize> {
        let path = header(":path").unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let host = host(&header(":authority").unwrap_or_default());
        let hostnames = self.hostnames.iter();
        hostnames
            .filter(|(hostname, _)| hostname.matches(&host))
            .flat_map(|(_, candidates)| candidates)
            .find(|candidate| {
                let found = self.matches.get(candidate.of);
                found.is_some_and(|found| found.matches(path, query, &header))
            })
            .map(|candidate| candidate.rule)
    }
}
