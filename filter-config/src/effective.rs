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
use crate::warning::WarningKind;
use std::collections::{BTreeMap, BTreeSet};

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

/// The resource, or the section of one, that a policy is attached to. It is in the policy's own namespace.
#[derive(Clone, Copy)]
struct Target<'p> {
    kind: &'p str,
    namespace: &'p str,
    name: &'p str,
    section: Option<&'p str>,
}

/// The effective policies of a configuration.
#[derive(Debug, Default)]
pub(crate) struct Effective {
    /// The lists that requests have, each once.
    pub(crate) lists: Vec<Vec<EffectivePolicy>>,
    /// The position of the list of each rule of each route, by its number.
    rules: Vec<usize>,
    /// The position of the list of all other requests.
    otherwise: usize,
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

    /// Returns the policy without the limits that enforce nothing; `None` if there are no others.
    fn enforced(mut self, policies: &[Policy]) -> Option<Self> {
        self.limits.retain(|index| {
            let policy = policies.get(index.policy);
            let limit = policy.and_then(|policy| policy.limits.get(index.limit));
            limit.is_some_and(|limit| !limit.counts_nothing())
        });
        (!self.limits.is_empty()).then_some(self)
    }

    /// Adds the limits of `other` whose names these limits do not have, and its `when` if there is none here.
    fn merge(mut self, other: Self, policies: &[Policy]) -> Self {
        let name = |index: &LimitIndex| {
            let limit = policies.get(index.policy)?.limits.get(index.limit)?;
            Some(limit.name.as_str())
        };
        let known: BTreeSet<&str> = self.limits.iter().filter_map(name).collect();
        let added = other.limits.into_iter();
        self.limits
            .extend(added.filter(|index| name(index).is_some_and(|name| !known.contains(name))));
        Self {
            when: self.when.or(other.when),
            limits: self.limits,
        }
    }
}

impl Effective {
    /// Returns the position of the list of requests of a rule, or of all other requests.
    pub(crate) fn position(&self, rule: Option<usize>) -> usize {
        *rule
            .and_then(|rule| self.rules.get(rule))
            .unwrap_or(&self.otherwise)
    }

    /// Returns every policy, independent of the others, for every request.
    pub(crate) fn all(policies: &[Policy]) -> Self {
        let indices = 0..policies.len();
        let all =
            indices.filter_map(|index| EffectivePolicy::of(policies, index).enforced(policies));
        Self {
            lists: vec![all.collect()],
            ..Self::default()
        }
    }

    /// Resolves the policies for each rule of the routes, and for all other requests. No two have the same target.
    pub(crate) fn resolve(
        policies: &[Policy],
        routes: &[Route],
        errors: &mut ValidationErrors,
    ) -> Result<Self, Invalid> {
        let before = errors.count();
        check(policies, routes, errors);
        if errors.count() > before {
            return Err(Invalid);
        }
        let keys: Vec<String> = policies
            .iter()
            .map(|policy| Target::of(policy).key())
            .collect();
        let mut targets: BTreeMap<&str, usize> = BTreeMap::new();
        // Collected, they would be sorted first, by 7 kB of code.
        targets.extend(keys.iter().map(String::as_str).zip(0..));
        let of_gateway = |has_section: bool| {
            indices(policies, |policy| {
                let target = Target::of(policy);
                target.kind == "Gateway" && target.section.is_some() == has_section
            })
        };
        let gateway = [of_gateway(false), of_gateway(true)].concat();
        // Most rules have the policies of others.
        let mut lists = vec![compose(policies, &gateway)];
        let mut positions = BTreeMap::from([(gateway.clone(), 0)]);
        let mut rules = Vec::new();
        for route in routes {
            let (namespace, name) = route.name.split_once('/').unwrap_or_default();
            let of = |section| {
                let target = Target {
                    kind: "HTTPRoute",
                    namespace,
                    name,
                    section,
                };
                targets.get(target.key().as_str()).copied()
            };
            let of_route = of(None);
            for rule in &route.rules {
                let of_rule = rule.name.as_deref().and_then(|section| of(Some(section)));
                let mut applicable = gateway.clone();
                applicable.extend(of_route);
                applicable.extend(of_rule);
                let next = lists.len();
                let position = *positions
                    .entry(applicable)
                    .or_insert_with_key(|applicable| {
                        lists.push(compose(policies, applicable));
                        next
                    });
                rules.push(position);
            }
        }
        Ok(Self {
            lists,
            rules,
            otherwise: 0,
        })
    }
}

// === impl Target ===

impl<'p> Target<'p> {
    fn of(policy: &'p Policy) -> Self {
        Self {
            kind: &policy.target.kind,
            namespace: policy.name.split('/').next().unwrap_or_default(),
            name: &policy.target.name,
            section: policy.target.section_name.as_deref(),
        }
    }

    /// Returns a text that no other target has, as no name has a slash.
    fn key(self) -> String {
        let resource = self.resource();
        match self.section {
            Some(section) => format!("{}/{resource}/{section}", self.kind),
            None => format!("{}/{resource}", self.kind),
        }
    }

    /// Returns the `namespace/name` of the resource.
    fn resource(self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Leaves out every policy whose target an older one has. As in the Gateway API, of policies that are equally old the
/// first by `namespace/name` counts as the older; what Kubernetes has not created yet is the newest.
pub(crate) fn leave_out_newer(policies: &mut Vec<Policy>, errors: &mut ValidationErrors) {
    let age = |policy: &Policy| {
        let created = policy.created.clone();
        (created.is_none(), created, policy.name.clone())
    };
    let keys: Vec<String> = policies
        .iter()
        .map(|policy| Target::of(policy).key())
        .collect();
    let mut oldest: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, (policy, key)) in policies.iter().zip(&keys).enumerate() {
        let first = oldest.entry(key).or_insert(index);
        if policies
            .get(*first)
            .is_some_and(|first| age(policy) < age(first))
        {
            *first = index;
        }
    }
    let is_left_out = |policy: &Policy| {
        let first = *oldest.get(Target::of(policy).key().as_str())?;
        let first = policies.get(first)?;
        (first.name != policy.name).then_some(first)
    };
    let left_out: Vec<bool> = policies
        .iter()
        .map(|policy| {
            let Some(first) = is_left_out(policy) else {
                return false;
            };
            let kind = WarningKind::SecondOfTarget {
                first: format!("{:?} at {}", first.name, first.path),
                why: if first.created == policy.created {
                    "first by name"
                } else {
                    "older"
                },
            };
            errors.warn(&Path::At(&policy.path), kind);
            true
        })
        .collect();
    let mut left_out = left_out.into_iter();
    policies.retain(|_| left_out.next() != Some(true));
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
    effective.enforced(policies).into_iter().collect()
}

fn indices(policies: &[Policy], which: impl Fn(&Policy) -> bool) -> Vec<usize> {
    let found = policies.iter().enumerate();
    let found = found.filter(|(_, policy)| which(policy));
    found.map(|(index, _)| index).collect()
}

/// Checks that the policies can be ordered: that the routes and rules they are attached to exist, and that there is one
/// gateway with one listener.
fn check(policies: &[Policy], routes: &[Route], errors: &mut ValidationErrors) {
    let names = routes.iter().map(|route| route.name.as_str());
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    by_name.extend(names.zip(0..));
    let mut gateway: Option<(&Policy, String)> = None;
    let mut listener: Option<(&Policy, &str)> = None;
    for policy in policies {
        let item = Path::At(&policy.path);
        let spec = item.field("spec");
        let at = spec.field("targetRef");
        let target = Target::of(policy);
        let name = target.resource();
        if target.kind == "Gateway" {
            let first = gateway.get_or_insert_with(|| (policy, name.clone()));
            check_same(first.0, &first.1, &name, &at.field("name"), errors);
            if let Some(section) = target.section {
                let first = listener.get_or_insert((policy, section));
                check_same(first.0, first.1, section, &at.field("sectionName"), errors);
            }
            continue;
        }
        let route = by_name.get(name.as_str());
        let Some(route) = route.and_then(|index| routes.get(*index)) else {
            let suggestion = suggestion::did_you_mean(&name, by_name.keys().copied());
            errors.push(
                &at.field("name"),
                ErrorKind::UnknownRoute { name, suggestion },
            );
            continue;
        };
        if let Some(section) = target.section
            && !route
                .rules
                .iter()
                .any(|rule| rule.name.as_deref() == Some(section))
        {
            let kind = ErrorKind::UnknownRule {
                route: name,
                name: section.to_owned(),
            };
            errors.push(&at.field("sectionName"), kind);
        }
    }
}

/// Checks that a name is that of the first policy.
fn check_same(
    first: &Policy,
    expected: &str,
    found: &str,
    at: &Path<'_>,
    errors: &mut ValidationErrors,
) {
    if expected != found {
        let kind = ErrorKind::Unexpected {
            found: format!("{found:?}"),
            expected: format!("{expected:?} as in {}", first.path),
        };
        errors.push(at, kind);
    }
}
