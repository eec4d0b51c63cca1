//! Resolves the policies that apply to one request, as Kuadrant does.
//!
//! Policies apply in this order: that of the `Gateway`, of its listener, of the `HTTPRoute`, of its rule. The
//! `defaults` or `overrides` of each decide what remains of it and of the more specific ones after it.

#[cfg(test)]
mod tests;

use crate::error::{ErrorKind, Invalid, ValidationErrors};
use crate::path::Path;
use crate::policy::{Policy, Precedence, Strategy};
use crate::route::Route;
use crate::suggestion;

/// Limits that are enforced together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EffectivePolicy {
    /// The index of the policy whose `when` has to be true for any of the limits to apply, if there is a `when`.
    pub when: Option<usize>,
    /// The limits.
    pub limits: Vec<LimitIndex>,
}

/// The position of a limit in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitIndex {
    /// Index of the policy in the configuration.
    pub policy: usize,
    /// Index of the limit in the policy.
    pub limit: usize,
}

/// The effective policies of a configuration.
#[derive(Debug, Default)]
pub(crate) struct Effective {
    /// Those of each rule of each route, by its number.
    pub(crate) rules: Vec<Vec<EffectivePolicy>>,
    /// Those of all other requests.
    pub(crate) otherwise: Vec<EffectivePolicy>,
}

// === impl EffectivePolicy ===

impl EffectivePolicy {
    /// Returns one policy without others.
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

    /// Adds the limits of `other` whose names these limits do not have, and its `when` if there is none here.
    fn merge(mut self, other: Self, policies: &[Policy]) -> Self {
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
    /// Returns every policy, independent of the others, for every request.
    pub(crate) fn all(policies: &[Policy]) -> Self {
        let indices = 0..policies.len();
        Self {
            rules: Vec::new(),
            otherwise: indices
                .map(|index| EffectivePolicy::of(policies, index))
                .collect(),
        }
    }

    /// Resolves the policies for each rule of the routes, and for all other requests.
    pub(crate) fn resolve(
        policies: &[Policy],
        routes: &[Route],
        path: &Path<'_>,
        errors: &mut ValidationErrors,
    ) -> Result<Self, Invalid> {
        let before = errors.count();
        check(policies, routes, path, errors);
        if errors.count() > before {
            return Err(Invalid);
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
                let mut applicable = gateway.clone();
                applicable.extend(indices(policies, |policy| {
                    of_route(policy) && policy.target.section_name.is_none()
                }));
                applicable.extend(indices(policies, |policy| {
                    of_route(policy)
                        && policy.target.section_name.is_some()
                        && policy.target.section_name == rule.name
                }));
                rules.push(compose(policies, &applicable));
            }
        }
        Ok(Self {
            rules,
            otherwise: compose(policies, &gateway),
        })
    }
}

/// Resolves applicable policies, the least specific first, to one or, without any, to none.
fn compose(policies: &[Policy], applicable: &[usize]) -> Vec<EffectivePolicy> {
    let mut less_specific = applicable.iter().rev().copied();
    let Some(most_specific) = less_specific.next() else {
        return Vec::new();
    };
    let mut effective = EffectivePolicy::of(policies, most_specific);
    for index in less_specific {
        let Some(policy) = policies.get(index) else {
            continue;
        };
        let this = || EffectivePolicy::of(policies, index);
        effective = match (policy.precedence, policy.strategy) {
            (Precedence::Defaults, Strategy::Atomic) => effective,
            (Precedence::Defaults, Strategy::Merge) => effective.merge(this(), policies),
            (Precedence::Overrides, Strategy::Atomic) => this(),
            (Precedence::Overrides, Strategy::Merge) => this().merge(effective, policies),
        };
    }
    vec![effective]
}

fn indices(policies: &[Policy], which: impl Fn(&Policy) -> bool) -> Vec<usize> {
    let found = policies.iter().enumerate();
    let found = found.filter(|(_, policy)| which(policy));
    found.map(|(index, _)| index).collect()
}

/// Returns the kind and the `namespace/name` of a policy's target, which is in the policy's own namespace.
fn target(policy: &Policy) -> (&str, String) {
    let namespace = policy.name.split('/').next().unwrap_or_default();
    let name = format!("{namespace}/{}", policy.target.name);
    (&policy.target.kind, name)
}

/// Checks that the policies can be ordered: that the routes and rules they are attached to exist, that there is one
/// gateway with one listener, and one policy per target.
fn check(policies: &[Policy], routes: &[Route], path: &Path<'_>, errors: &mut ValidationErrors) {
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
            let kind = ErrorKind::Duplicate {
                what: "policy for this target".to_owned(),
                first: path.item(first).to_string(),
            };
            errors.push(&at, kind);
            continue;
        }
        if kind == "Gateway" {
            let first = gateway.get_or_insert((index, name.clone()));
            check_same(first.0, &first.1, &name, &at.field("name"), path, errors);
            if let Some(section) = section {
                let first = listener.get_or_insert((index, section));
                let at = at.field("sectionName");
                check_same(first.0, first.1, section, &at, path, errors);
            }
            continue;
        }
        let Some(route) = routes.iter().find(|route| route.name == name) else {
            let known = routes.iter().map(|route| route.name.as_str());
            let suggestion = suggestion::did_you_mean(&name, known);
            errors.push(
                &at.field("name"),
                ErrorKind::UnknownRoute { name, suggestion },
            );
            continue;
        };
        if let Some(section) = section
            && route
                .rules
                .iter()
                .all(|rule| rule.name.as_ref() != Some(section))
        {
            let kind = ErrorKind::UnknownRule {
                route: name,
                name: section.clone(),
            };
            errors.push(&at.field("sectionName"), kind);
        }
    }
}

/// Checks that a name is that of the first policy.
fn check_same(
    first: usize,
    expected: &str,
    found: &str,
    at: &Path<'_>,
    path: &Path<'_>,
    errors: &mut ValidationErrors,
) {
    if expected != found {
        let kind = ErrorKind::Unexpected {
            found: format!("{found:?}"),
            expected: format!("{expected:?} as in {}", path.item(first)),
        };
        errors.push(at, kind);
    }
}
