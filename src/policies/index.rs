//! An index of predicates: of many lists of predicates, it finds those that may be true for a request.
//!
//! A list is left out only if an evaluation of it would certainly be false, without an error. Evaluated instead is what
//! all lists of a group have in common: the predicates before the one with the indexed condition, and the value that the
//! condition compares.

#[cfg(test)]
mod tests;

use super::evaluate::{EvaluationError, Evaluator};
use crate::attributes::Attributes;
use filter_config::{Attribute, Compared, Condition, Expression};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The fewest lists of a group. An evaluation of fewer takes no longer.
const MIN_LISTS: usize = 4;

/// The most groups whose lists can be found that are left out.
const MAX_LEFT_OUT: usize = 3;

/// The predicates of a list that can have the indexed condition.
const MAX_PREDICATES: usize = 8;

/// An index of lists of predicates, by their positions.
#[derive(Debug, Default)]
pub(super) struct PredicateIndex {
    groups: Vec<Group>,
    /// The lists in no group, ascending.
    others: Vec<usize>,
    /// The number of all lists.
    all: usize,
}

/// The lists that may be true for a request.
#[derive(Debug, Default)]
pub(crate) struct Selection<'i> {
    /// Their positions, ascending.
    pub(crate) lists: Vec<usize>,
    /// Whether others depend on the request's body, which is pending.
    pub(crate) awaits_body: bool,
    /// The positions of lists that are false because a value is missing, each ascending.
    missing: Vec<&'i [usize]>,
    /// The first groups of which lists are left out.
    left_out: [Option<LeftOut<'i>>; MAX_LEFT_OUT],
    /// The number of all lists.
    all: usize,
}

/// Lists of which some or all are left out.
#[derive(Clone, Copy, Debug)]
struct LeftOut<'i> {
    /// Their positions, ascending.
    lists: &'i [usize],
    /// The position of the predicate by which they are.
    predicate: usize,
    is_missing: bool,
}

/// A list of predicates that is to be indexed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Predicates<'c> {
    pub(super) when: &'c [Expression],
    /// Whether it has to be evaluated even if the result is that it needs the body.
    pub(super) decides_more: bool,
}

/// Lists of predicates that differ in the texts of a condition, and after it.
#[derive(Debug)]
struct Group {
    /// The predicates of one of the lists, up to the one with the condition.
    predicates: Vec<Expression>,
    /// The position of the condition in the last of them.
    position: usize,
    /// The lists, ascending.
    lists: Vec<usize>,
    /// Those of them that have to be evaluated while the body is pending that the condition needs, ascending.
    pending: Vec<usize>,
    /// The texts of the conditions with their lists, sorted.
    texts: Vec<(Box<str>, usize)>,
}

/// What the lists of a group have in common: the predicates before the one with the condition, the form of the
/// condition, and the attributes that its predicate reads.
type Form<'c> = (Vec<&'c str>, String, &'c [Attribute]);

/// A condition by which a list can be indexed.
struct Candidate {
    /// The number of its form.
    form: usize,
    /// The position of its predicate.
    predicate: usize,
    condition: Condition,
}

// === impl PredicateIndex ===

impl PredicateIndex {
    /// Returns an index of lists, each by the condition that fewest other lists have.
    pub(super) fn of(lists: &[Predicates<'_>]) -> Self {
        let (candidates, members) = candidates(lists);
        // The lists with each text, for each form.
        let mut sharers: Vec<BTreeMap<&str, usize>> = Vec::new();
        sharers.resize_with(members.len(), BTreeMap::new);
        for candidate in candidates.iter().flatten() {
            let Some(sharers) = sharers.get_mut(candidate.form) else {
                continue;
            };
            for text in &candidate.condition.texts {
                let sharing = sharers.entry(text).or_default();
                *sharing = sharing.saturating_add(1);
            }
        }
        let members = |candidate: &Candidate| members.get(candidate.form).copied();
        let sharers = |candidate: &Candidate| {
            let texts = candidate.condition.texts.iter();
            let of_form = sharers.get(candidate.form);
            let sharing = texts.filter_map(|text| of_form?.get(text.as_str()));
            sharing.fold(0_usize, |sum, sharing| sum.saturating_add(*sharing))
        };
        let mut groups: BTreeMap<usize, Box<Group>> = BTreeMap::new();
        let mut others = Vec::new();
        for (list, (of_list, predicates)) in candidates.iter().zip(lists).enumerate() {
            let shared = of_list.iter();
            let shared = shared.filter(|candidate| members(candidate) >= Some(MIN_LISTS));
            let best = shared.min_by_key(|it| (sharers(it), Reverse(members(it))));
            match best {
                Some(best) => {
                    let group = groups.entry(best.form);
                    let group = group.or_insert_with(|| Box::new(Group::of(best, predicates.when)));
                    group.add(list, best, *predicates);
                }
                None => others.push(list),
            }
        }
        let mut groups: Vec<Group> = groups.into_values().map(|group| *group).collect();
        groups.iter_mut().for_each(Group::finish);
        others.shrink_to_fit();
        Self {
            groups,
            others,
            all: lists.len(),
        }
    }

    /// Finds the lists that may be true for a request.
    pub(super) fn select(
        &self,
        evaluator: &Evaluator,
        attributes: &mut Attributes,
    ) -> Selection<'_> {
        let mut selection = Selection {
            lists: self.others.clone(),
            all: self.all,
            ..Selection::default()
        };
        for group in &self.groups {
            group.select(evaluator, attributes, &mut selection);
        }
        if !self.groups.is_empty() {
            selection.lists.sort_unstable();
            // One value may have several texts of a condition.
            selection.lists.dedup();
        }
        selection
    }
}

// === impl Selection ===

impl<'i> Selection<'i> {
    /// Takes note of lists of which some or all are left out by a predicate.
    fn leave_out(&mut self, lists: &'i [usize], predicate: usize, is_missing: bool) {
        if let Some(free) = self.left_out.iter_mut().find(|group| group.is_none()) {
            *free = Some(LeftOut {
                lists,
                predicate,
                is_missing,
            });
        }
    }

    /// Returns the selection of all of a number of lists.
    #[cfg(test)]
    pub(super) fn all(lists: usize) -> Self {
        Self {
            lists: (0..lists).collect(),
            all: lists,
            ..Self::default()
        }
    }

    /// Returns lists that are left out, each with the position of a predicate that is false, and whether it is because a
    /// value is missing. Of many groups, only the first are known.
    pub(crate) fn left_out(&self) -> impl Iterator<Item = (usize, usize, bool)> + '_ {
        let groups = self.left_out.iter().flatten();
        groups.flat_map(|group| {
            let lists = group.lists.iter().copied();
            let lists = lists.filter(|list| self.lists.binary_search(list).is_err());
            lists.map(|list| (list, group.predicate, group.is_missing))
        })
    }

    /// Returns how many lists are left out.
    pub(crate) fn number_left_out(&self) -> usize {
        self.all.saturating_sub(self.lists.len())
    }

    /// Returns how many lists before a position are left out because a value is missing.
    pub(crate) fn missing_before(&self, position: usize) -> usize {
        let missing = self.missing.iter();
        let before = missing.map(|lists| lists.partition_point(|list| *list < position));
        before.fold(0, usize::saturating_add)
    }
}

// === impl Group ===

impl Group {
    fn of(candidate: &Candidate, when: &[Expression]) -> Self {
        let predicates = when.iter().take(candidate.predicate.saturating_add(1));
        Self {
            predicates: predicates.cloned().collect(),
            position: candidate.condition.position,
            lists: Vec::new(),
            pending: Vec::new(),
            texts: Vec::new(),
        }
    }

    /// Adds a list, after those at lower positions.
    fn add(&mut self, list: usize, candidate: &Candidate, predicates: Predicates<'_>) {
        self.lists.push(list);
        let after = candidate.predicate.saturating_add(1);
        let mut after = predicates.when.iter().skip(after);
        if predicates.decides_more || after.any(|predicate| !predicate.needs_body()) {
            self.pending.push(list);
        }
        let texts = candidate.condition.texts.iter();
        let texts = texts.map(|text| (text.as_str().into(), list));
        self.texts.extend(texts);
    }

    fn finish(&mut self) {
        self.texts.sort_unstable();
        self.texts.shrink_to_fit();
        self.lists.shrink_to_fit();
        self.pending.shrink_to_fit();
    }

    /// Adds the lists that may be true for a request to a selection.
    fn select<'i>(
        &'i self,
        evaluator: &Evaluator,
        attributes: &mut Attributes,
        selection: &mut Selection<'i>,
    ) {
        let Some((predicate, before)) = self.predicates.split_last() else {
            return;
        };
        for (index, predicate) in before.iter().enumerate() {
            if predicate.needs_body() && attributes.body.is_pending() {
                continue;
            }
            match evaluator.predicate(attributes, predicate) {
                Ok(true) => {}
                Ok(false) => return selection.leave_out(&self.lists, index, false),
                Err(EvaluationError::Missing) => {
                    selection.leave_out(&self.lists, index, true);
                    return selection.missing.push(&self.lists);
                }
                // Each list then fails by an evaluation of its own, and is reported.
                Err(_) => return selection.lists.extend(&self.lists),
            }
        }
        if predicate.needs_body() && attributes.body.is_pending() {
            selection.awaits_body |= self.pending.len() < self.lists.len();
            return selection.lists.extend(&self.pending);
        }
        match evaluator.compared(attributes, predicate, self.position) {
            Some(Compared::False) => selection.leave_out(&self.lists, before.len(), false),
            Some(Compared::Missing) => {
                selection.leave_out(&self.lists, before.len(), true);
                selection.missing.push(&self.lists);
            }
            Some(Compared::Texts(texts)) => {
                selection.leave_out(&self.lists, before.len(), false);
                for text in &texts {
                    selection.lists.extend(self.lists_with(text));
                }
            }
            None => selection.lists.extend(&self.lists),
        }
    }

    /// Returns the lists whose condition has a text.
    fn lists_with(&self, text: &str) -> impl Iterator<Item = usize> {
        let first = self.texts.partition_point(|(known, _)| **known < *text);
        let from = self.texts.iter().skip(first);
        from.take_while(move |(known, _)| **known == *text)
            .map(|(_, list)| *list)
    }
}

/// Returns the conditions by which each list can be indexed, and how many lists have each form.
fn candidates<'c>(lists: &[Predicates<'c>]) -> (Vec<Vec<Candidate>>, Vec<usize>) {
    let mut forms: BTreeMap<Form<'c>, usize> = BTreeMap::new();
    let mut members: Vec<usize> = Vec::new();
    let of_list = |list: &Predicates<'c>| {
        let mut candidates = Vec::new();
        let mut before = Vec::new();
        for (position, predicate) in list.when.iter().take(MAX_PREDICATES).enumerate() {
            for mut condition in predicate.conditions() {
                let form = std::mem::take(&mut condition.form);
                let next = members.len();
                let form = *forms
                    .entry((before.clone(), form, predicate.uses()))
                    .or_insert(next);
                if form == next {
                    members.push(0);
                }
                if let Some(members) = members.get_mut(form) {
                    *members = members.saturating_add(1);
                }
                candidates.push(Candidate {
                    form,
                    predicate: position,
                    condition,
                });
            }
            before.push(predicate.source());
        }
        candidates
    };
    (lists.iter().map(of_list).collect(), members)
}
