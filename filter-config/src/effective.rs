//! What is left of several policies that concern one request, as Kuadrant resolves them.
//!
//! The policies that concern a request are in a row: that of the `Gateway`, of its listener, of the
//! `HTTPRoute`, of its rule. Each says with `defaults` or `overrides` what becomes of it and of those
//! after it, which are more specific.

#[cfg(test)]
mod tests;

use crate::fault::{FaultKind, Faults};
use crate::path::Path;
use crate::policy::{Policy, Precedence, Strategy};
use crate::route::Route;
use crate::suggestion;

/// Limits that are enforced together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EffectivePolicy {
    /// The policy, by its index, whose `when` has to hold for any of the limits to apply; none where
    /// there is no `when`.
    pub when: Option<usize>,
    /// The limits.
    pub limits: Vec<LimitIndex>,
}

/// Where a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitIndex {
    /// Index of the policy in the configuration.
    pub policy: usize,
    /// Index of the limit in the policy.
    pub limit: usize,
}

/// The policies in force.
#[derive(Debug, Default)]
pub(crate) struct Effective {
    /// For each rule of each route, by its number.
    pub(crate) rules: Vec<Vec<EffectivePolicy>>,
    /// For all other requests.
    pub(crate) otherwise: Vec<EffectivePolicy>,
}

// === impl EffectivePolicy ===

impl EffectivePolicy {
    /// A policy alone.
    fn of(policies: &[Policy], index: usize) -> Self {
        let policy = policies.get(index);
        let limits = policy.map_or(0, |policy| policy.limits.len());
        Self {
            when: policy
                .is_some_and(|policy| !policy.when.is_empty())
                .then_some(index),
            limits: (0..limits)
                .map(|limit| LimitIndex {
                    policy: index,
                    limit,
                })
                .collect(),
        }
    }

    /// These limits and those of `other` whose names are not among them; the `when` is one of the
    /// rules that are merged.
    fn and(mut self, other: Self, policies: &[Policy]) -> Self {
        let name = |index: &LimitIndex| {
            let limit = policies.get(index.policy)?.limits.get(index.limit)?;
            Some(limit.name.as_str())
        };
        let added = other.limits.into_iter();
        let added: Vec<LimitIndex> = added
            .filter(|index| self.limits.iter().all(|known| name(known) != name(index)))
            .collect();
        self.limits.extend(added);
        Self {
            when: self.when.or(other.when),
            limits: self.limits,
        }
    }
}

impl Effective {
    /// Every policy by itself, for every request.
    pub(crate) fn all(policies: &[Policy]) -> Self {
        let indices = 0..policies.len();
        Self {
            rules: Vec::new(),
            otherwise: indices
                .map(|index| EffectivePolicy::of(policies, index))
                .collect(),
        }
    }

    /// What is in force on the rules of routes, and elsewhere.
    pub(crate) fn resolve(
        policies: &[Policy],
        routes: &[Route],
        path: &Path<'_>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let before = faults.count();
        check(policies, routes, path, faults);
        if faults.count() > before {
            return None;
        }
        let of_gateway = |policy: &Policy, has_section: bool| {
            policy.target.kind == "Gateway" && policy.target.section_name.is_some() == has_section
        };
        let mut gateway: Vec<usize> = indices(policies, |policy| of_gateway(policy, false));
        gateway.extend(indices(policies, |policy| of_gateway(policy, true)));
        let mut rules = Vec::new();
        for route in routes {
            let of_route = |policy: &Policy| target(policy) == ("HTTPRoute", route.name.clone());
            for rule in &route.rules {
                let mut concerned = gateway.clone();
                concerned.extend(indices(policies, |policy| {
                    of_route(policy) && policy.target.section_name.is_none()
                }));
                concerned.extend(indices(policies, |policy| {
                    of_route(policy)
                        && policy.target.section_name.is_some()
                        && policy.target.section_name == rule.name
                }));
                rules.push(compose(policies, &concerned));
            }
        }
        Some(Self {
            rules,
            otherwise: compose(policies, &gateway),
        })
    }
}

/// What is left of policies in a row, the least specific first: none or one.
fn compose(policies: &[Policy], row: &[usize]) -> Vec<EffectivePolicy> {
    let mut row = row.iter().rev().copied();
    let Some(last) = row.next() else {
        return Vec::new();
    };
    let mut effective = EffectivePolicy::of(policies, last);
    for index in row {
        let Some(policy) = policies.get(index) else {
            continue;
        };
        let this = || EffectivePolicy::of(policies, index);
        effective = match (policy.precedence, policy.strategy) {
            (Precedence::Defaults, Strategy::Atomic) => effective,
            (Precedence::Defaults, Strategy::Merge) => effective.and(this(), policies),
            (Precedence::Overrides, Strategy::Atomic) => this(),
            (Precedence::Overrides, Strategy::Merge) => this().and(effective, policies),
        };
    }
    vec![effective]
}

fn indices(policies: &[Policy], which: impl Fn(&Policy) -> bool) -> Vec<usize> {
    let found = policies.iter().enumerate();
    let found = found.filter(|(_, policy)| which(policy));
    found.map(|(index, _)| index).collect()
}

/// The kind and the `namespace/name` of what a policy is attached to, which is in its own namespace.
fn target(policy: &Policy) -> (&str, String) {
    let namespace = policy.name.split('/').next().unwrap_or_default();
    let name = format!("{namespace}/{}", policy.target.name);
    (&policy.target.kind, name)
}

/// Checks that the policies can be put in rows: that the routes and rules that they are attached to
/// are there, that there is one gateway, one listener of it, and one policy for each target.
fn check(policies: &[Policy], routes: &[Route], path: &Path<'_>, faults: &mut Faults) {
    let mut gateway: Option<(usize, String)> = None;
    let mut listener: Option<(usize, &String)> = None;
    for (index, policy) in policies.iter().enumerate() {
        let item = path.item(index);
        let spec = item.field("spec");
        let at = spec.field("targetRef");
        let (kind, name) = target(policy);
        let section = policy.target.section_name.as_ref();
        let same = |other: &&Policy| {
            target(other) == (kind, name.clone()) && other.target.section_name.as_ref() == section
        };
        if let Some(first) = policies.iter().take(index).position(|other| same(&other)) {
            let kind = FaultKind::Repeated {
                value: "a policy for this target".to_owned(),
                first: path.item(first).to_string(),
            };
            faults.push(&at, kind);
            continue;
        }
        if kind == "Gateway" {
            let first = gateway.get_or_insert((index, name.clone()));
            another(first.0, &first.1, &name, &at.field("name"), path, faults);
            if let Some(section) = section {
                let first = listener.get_or_insert((index, section));
                let at = at.field("sectionName");
                another(first.0, first.1, section, &at, path, faults);
            }
            continue;
        }
        let Some(route) = routes.iter().find(|route| route.name == name) else {
            let known = routes.iter().map(|route| route.name.as_str());
            let suggestion = suggestion::closest(&name, known);
            faults.push(
                &at.field("name"),
                FaultKind::UnknownRoute { name, suggestion },
            );
            continue;
        };
        if let Some(section) = section
            && route
                .rules
                .iter()
                .all(|rule| rule.name.as_ref() != Some(section))
        {
            let kind = FaultKind::UnknownRule {
                route: name,
                name: section.clone(),
            };
            faults.push(&at.field("sectionName"), kind);
        }
    }
}

/// A fault if a name is not that of the first policy.
fn another(
    first: usize,
    expected: &str,
    found: &str,
    at: &Path<'_>,
    path: &Path<'_>,
    faults: &mut Faults,
) {
    if expected != found {
        let kind = FaultKind::Expected {
            expected: format!("{expected:?} as in {}", path.item(first)),
            found: format!("{found:?}"),
        };
        faults.push(at, kind);
    }
}
