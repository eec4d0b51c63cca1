//! Finds the rule that a request belongs to, by the precedence of the Gateway API.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::bounds;
use crate::route::{Hostname, Route, RouteFuel, RouteMatch, UnknownRoute, host};

/// The matches of all routes, with the candidates of each hostname in order of precedence.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    matches: Vec<RouteMatch>,
    /// The candidates of single hosts.
    hosts: BTreeMap<String, Vec<Candidate>>,
    /// The candidates of all hosts below a domain, by the domain with a dot before it.
    domains: BTreeMap<String, Vec<Candidate>>,
    /// The candidates of every host.
    every_host: Vec<Candidate>,
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
    /// Orders the matches of each hostname: by [`RouteMatch::generality`], then by the names of the routes, then by the
    /// order of rules and of their matches.
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
                        all.push((key, hostname.clone(), Candidate { of, rule }));
                    }
                    routing.matches.push(found);
                }
                rule = rule.saturating_add(1);
            }
        }
        all.sort_unstable_by(|(key, ..), (other, ..)| key.cmp(other));
        for (_, hostname, candidate) in all {
            let candidates = match hostname {
                Hostname::Exact(host) => routing.hosts.entry(host).or_default(),
                Hostname::Below(domain) => routing.domains.entry(domain).or_default(),
                Hostname::Any => &mut routing.every_host,
            };
            candidates.push(candidate);
        }
        routing
    }

    /// Returns the candidates of a host, those of the more specific hostname first.
    fn candidates(&self, host: &str) -> impl Iterator<Item = &Candidate> {
        // The star of a wildcard stands for at least one label.
        let dots = host.match_indices('.').map(|(dot, _)| dot);
        let domains = dots.filter_map(move |dot| host.get(dot..).filter(|_| dot > 0));
        let domains = domains
            .filter(|domain| domain.len() <= bounds::NAME_BYTES)
            .filter_map(|domain| self.domains.get(domain));
        let of_host = self.hosts.get(host).into_iter().chain(domains);
        of_host.flatten().chain(&self.every_host)
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
        let mut fuel = RouteFuel::default();
        for candidate in self.candidates(&host) {
            if let Some(found) = self.matches.get(candidate.of)
                && found.matches(path, query, &header, &mut fuel)?
            {
                return Ok(Some(candidate.rule));
            }
        }
        Ok(None)
    }
}
