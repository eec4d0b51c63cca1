//! Which rule of which route a request belongs to, by the precedence of the Gateway API.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

use crate::route::{Hostname, Route, RouteMatch, host};

/// The matches of all routes, in the order in which they are tried.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    matches: Vec<RouteMatch>,
    /// Those of each hostname that names a host.
    exact: HashMap<String, Vec<Candidate>>,
    /// Those of the others, the more specific first.
    wildcards: Vec<(Hostname, Vec<Candidate>)>,
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
        let mut all = Vec::new();
        let mut rule = 0_usize;
        for route in routes {
            for matches in route.rules.into_iter().map(|rule| rule.matches) {
                let found = matches.into_iter().map(|of| (of, rule));
                all.extend(
                    found.map(|(of, rule)| (of, rule, route.name.clone(), route.hostnames.clone())),
                );
                rule = rule.saturating_add(1);
            }
        }
        all.sort_by_cached_key(|(of, rule, route, _)| (of.generality(), route.clone(), *rule));
        let mut by_hostname: HashMap<Hostname, Vec<Candidate>> = HashMap::new();
        let mut routing = Self::default();
        for (found, rule, _, hostnames) in all {
            let of = routing.matches.len();
            routing.matches.push(found);
            for hostname in hostnames {
                by_hostname
                    .entry(hostname)
                    .or_default()
                    .push(Candidate { of, rule });
            }
        }
        for (hostname, candidates) in by_hostname {
            match hostname {
                Hostname::Exact(host) => {
                    routing.exact.insert(host, candidates);
                }
                other => routing.wildcards.push((other, candidates)),
            }
        }
        routing
            .wildcards
            .sort_by_key(|(hostname, _)| hostname.generality());
        routing
    }

    /// The number of the rule that a request belongs to, by its headers and pseudo-headers.
    pub(crate) fn rule<'h>(&self, header: impl Fn(&str) -> Option<Cow<'h, str>>) -> Option<usize> {
        let path = header(":path").unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let host = host(&header(":authority").unwrap_or_default());
        let below = self.wildcards.iter();
        let below = below.filter(|(hostname, _)| hostname.matches(&host));
        let groups = self.exact.get(&host).into_iter();
        groups
            .chain(below.map(|(_, candidates)| candidates))
            .flatten()
            .find(|candidate| {
                let found = self.matches.get(candidate.of);
                found.is_some_and(|found| found.matches(path, query, &header))
            })
            .map(|candidate| candidate.rule)
    }
}
