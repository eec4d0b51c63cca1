//! Finds the rule that a request belongs to, by the precedence of the Gateway API.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::route::{Hostname, Route, RouteFuel, RouteMatch, UnknownRoute, host};

/// The matches of all routes, in order of precedence.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    matches: Vec<RouteMatch>,
    /// The candidates of each hostname, the more specific hostname first.
    hostnames: Vec<(Hostname, Vec<Candidate>)>,
}

/// A match and its rule.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// Index in [`Routing::matches`].
    of: usize,
    /// The number of the rule, counted over the rules of all routes in order.
    rule: usize,
}

// === impl Routing ===

impl Routing {
    /// Orders the matches of routes: by hostname, then by [`RouteMatch::generality`], then by the names of the routes,
    /// then by the order of rules and of their matches.
    pub(crate) fn new(routes: Vec<Route>) -> Self {
        let mut routing = Self::default();
        // The candidates of each hostname, with their sort keys.
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

    /// Returns the number of the rule that a request belongs to, by its headers and pseudo-headers.
    ///
    /// # Errors
    ///
    /// [`UnknownRoute`] if a value is too long for the regular expressions.
    pub(crate) fn rule<'h>(
        &self,
        header: impl Fn(&str) -> Option<Cow<'h, str>>,
    ) -> Result<Option<usize>, UnknownRoute> {
        let path = header(":path").unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let host = host(&header(":authority").unwrap_or_default());
        let hostnames = self.hostnames.iter();
        let candidates = hostnames
            .filter(|(hostname, _)| hostname.matches(&host))
            .flat_map(|(_, candidates)| candidates);
        let mut fuel = RouteFuel::default();
        for candidate in candidates {
            if let Some(found) = self.matches.get(candidate.of)
                && found.matches(path, query, &header, &mut fuel)?
            {
                return Ok(Some(candidate.rule));
            }
        }
        Ok(None)
    }
}
