//! Macros that iterate over lists and maps. Variables are references: no element is copied.

use cel::common::traits::Iterable;
use cel::common::types::{CelBool, CelList};
use cel::common::value::{CowVal, Val};

use super::{Evaluated, Machine, Scope, absent, boolean, truth, unexpected, unsupported};
use crate::expression::program::{Loop, LoopKind, Node};

// === impl Machine ===

impl<'v> Machine<'_, 'v> {
    #[inline(never)]
    pub(super) fn iterate<'e>(
        self,
        of: &'e Loop,
        scope: Option<&'e Scope<'e, 'v>>,
    ) -> Evaluated<'e, 'v>
    where
        'v: 'e,
    {
        let range = self.evaluate(&of.range, scope)?;
        if self.is_missing(range.as_ref()) {
            return Ok(absent::of_loop(&of.kind));
        }
        self.pay_for_names(range.as_ref())?;
        let Some(range) = range.as_iterable() else {
            return Err(unexpected(range.as_ref(), "iterable"));
        };
        match &of.kind {
            LoopKind::All(predicate) => self.fold(range, predicate, scope, false),
            LoopKind::Exists(predicate) => self.fold(range, predicate, scope, true),
            LoopKind::ExistsOne(predicate) => self.exists_one(range, predicate, scope),
            LoopKind::Map { filter, value } => self.collect(range, filter.as_ref(), value, scope),
        }
    }

    /// Returns whether a predicate is `decisive` for an element. An error counts only if no element decides.
    fn fold<'e>(
        self,
        range: &(dyn Iterable + 'v),
        predicate: &'e Node,
        around: Option<&Scope<'_, 'v>>,
        decisive: bool,
    ) -> Evaluated<'e, 'v> {
        let operator = if decisive { "_||_" } else { "_&&_" };
        let mut pending = None;
        let mut elements = range.iter();
        while let Some(variable) = elements.next() {
            // What comes after exhaustion is no error of an element.
            self.fuel.step(1)?;
            let scope = Scope { variable, around };
            match self.evaluate(predicate, Some(&scope)) {
                Ok(value) => match value.downcast_ref::<CelBool>() {
                    Some(found) if *found.inner() == decisive => return Ok(boolean(decisive)),
                    Some(_) => {}
                    None => pending = Some(unsupported(operator, [&super::TRUE, value.as_ref()])),
                },
                Err(error) => pending = Some(error),
            }
        }
        pending.map_or_else(|| Ok(boolean(!decisive)), Err)
    }

    fn exists_one<'e>(
        self,
        range: &(dyn Iterable + 'v),
        predicate: &'e Node,
        around: Option<&Scope<'_, 'v>>,
    ) -> Evaluated<'e, 'v> {
        let mut found = 0_u64;
        let mut elements = range.iter();
        while let Some(variable) = elements.next() {
            self.fuel.step(1)?;
            let scope = Scope { variable, around };
            if truth(&self.evaluate(predicate, Some(&scope))?)? {
                found = found.saturating_add(1);
            }
        }
        Ok(boolean(found == 1))
    }

    fn collect<'e>(
        self,
        range: &(dyn Iterable + 'v),
        filter: Option<&Node>,
        value: &Node,
        around: Option<&Scope<'_, 'v>>,
    ) -> Evaluated<'e, 'v> {
        let mut list: Vec<Box<dyn Val + 'v>> = Vec::new();
        let mut elements = range.iter();
        while let Some(variable) = elements.next() {
            self.fuel.step(1)?;
            let scope = Scope { variable, around };
            let scope = Some(&scope);
            if let Some(filter) = filter
                && !truth(&self.evaluate(filter, scope)?)?
            {
                continue;
            }
            let value = self.evaluate(value, scope)?;
            self.fuel.produce(1, 0)?;
            list.push(self.owned(value)?);
        }
        Ok(CowVal::owned(CelList::from(list)))
    }
}
