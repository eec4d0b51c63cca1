//! Compiled policies: every limit of the configuration, ready to be evaluated for a request.
//!
//! [`Policies`] answers which rates a limit has, what a limit does when it is exceeded, and how the
//! values of a counter are hashed. It is immutable: exchanges that began under one configuration end
//! under it.

mod caller;
mod counter_text;
pub(crate) mod evaluate;
mod identity;
mod index;
mod key;
mod limit_list;
mod needs;
pub(crate) mod price;
pub(crate) mod rates;

use crate::host::{Headers, Host};
use filter_config::{
    Alternative, Configuration, Exceeded, Expression, Limit, LimitIndex, Policy, UnknownRoute,
};
use limits::SharedDataError;
use std::ops::Range;
use std::rc::Rc;

pub(crate) use counter_text::{tracked_text, tracked_values};
pub(crate) use evaluate::{EvaluationError, Evaluator};
pub(crate) use identity::CallerId;
pub(crate) use index::Selection;
pub(crate) use key::KeyHasher;
pub(crate) use limit_list::{LimitEntry, LimitList};
pub(crate) use needs::Needs;
pub(crate) use rates::{Rate, RateIndex, Unit};

/// The policies in force, compiled.
pub(crate) struct Policies {
    configuration: Configuration,
    /// Every rate of every limit of every policy, in the order of the configuration.
    rates: Vec<Rate>,
    /// The rates of each limit, by policy and limit.
    rates_of_limits: Vec<Vec<Range<usize>>>,
    /// The limits of each list of effective policies.
    limit_lists: Vec<LimitList>,
    needs: Needs,
    evaluator: Evaluator,
    /// The key of the counter hash, the same in all workers of the VM.
    secret: [u8; 16],
}

/// A limit with its policy and its rates.
#[derive(Clone)]
pub(crate) struct LimitRef<'a> {
    /// The policy.
    pub(crate) policy: &'a Policy,
    /// The limit.
    pub(crate) limit: &'a Limit,
    /// The positions of its rates.
    rates: Range<usize>,
}

// === impl Policies ===

impl Policies {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// [`SharedDataError`] when the secret of the counter hash can be neither read nor written.
    pub(crate) fn compile(
        host: &Rc<dyn Host>,
        configuration: Configuration,
    ) -> Result<Self, SharedDataError> {
        Ok(Self {
            rates: rates::of_configuration(&configuration),
            rates_of_limits: rates::of_limits(&configuration),
            limit_lists: configuration
                .effective_lists()
                .iter()
                .map(|policies| LimitList::of(&configuration, policies))
                .collect(),
            needs: Needs::of(&configuration),
            evaluator: Evaluator::new(
                Rc::clone(host),
                configuration.auth.clone(),
                configuration.expressions,
            ),
            secret: key::secret(&**host)?,
            configuration,
        })
    }

    /// Returns the configuration that was compiled.
    #[must_use]
    pub(crate) const fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// What expressions and limits need of a request.
    #[must_use]
    pub(crate) const fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Evaluates expressions.
    #[must_use]
    pub(crate) const fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// Returns the limits of the effective policies of a request.
    ///
    /// # Errors
    /// [`UnknownRoute`] when its route could not be found.
    pub(crate) fn limit_list(&self, headers: &Headers) -> Result<Option<&LimitList>, UnknownRoute> {
        let list = self
            .configuration
            .effective_position(|name| headers.text(name))?;
        Ok(self.limit_lists.get(list))
    }

    /// All rates, in the order of the configuration.
    #[must_use]
    pub(crate) fn rates(&self) -> &[Rate] {
        &self.rates
    }

    /// Returns a rate.
    #[must_use]
    pub(crate) fn rate(&self, index: RateIndex) -> Option<&Rate> {
        self.rates.get(index.position())
    }

    /// Returns a limit.
    #[must_use]
    pub(crate) fn limit(&self, index: LimitIndex) -> Option<LimitRef<'_>> {
        let policy = self.configuration.policies.get(index.policy)?;
        let limit = policy.limits.get(index.limit)?;
        let rates = self.rates_of_limits.get(index.policy)?.get(index.limit)?;
        Some(LimitRef {
            policy,
            limit,
            rates: rates.clone(),
        })
    }

    /// Returns a rate with its policy and its limit.
    #[must_use]
    pub(crate) fn rate_of(&self, index: RateIndex) -> Option<(&Rate, &Policy, &Limit)> {
        let rate = self.rate(index)?;
        let LimitRef { policy, limit, .. } = self.limit(rate.limit)?;
        Some((rate, policy, limit))
    }

    /// Returns whether every exchange costs the same at both rates.
    #[must_use]
    pub(crate) fn have_equal_cost(&self, one: &Rate, other: &Rate) -> bool {
        let cost = |rate: &Rate| {
            let LimitRef { limit, .. } = self.limit(rate.limit)?;
            limit.cost.as_ref().map(Expression::source)
        };
        match (one.unit, other.unit) {
            (Unit::Tokens(_), Unit::Tokens(_)) => cost(one) == cost(other),
            (Unit::Requests(_), Unit::Requests(_)) | (Unit::Usd(_), Unit::Usd(_)) => true,
            _ => false,
        }
    }

    /// What happens to a request that exceeds the limit of a rate.
    #[must_use]
    pub(crate) fn on_exceeded(&self, rate: RateIndex) -> &Exceeded {
        let limit = self.rate_of(rate);
        limit.map_or(&Exceeded::Deny, |(_, _, limit)| &limit.on_exceeded)
    }

    /// Returns the fallbacks of the limit of a rate: how a request that exceeds it can be changed.
    #[must_use]
    pub(crate) fn alternatives(&self, rate: RateIndex) -> &[Alternative] {
        match self.on_exceeded(rate) {
            Exceeded::Alternatives(alternatives) => alternatives,
            _ => &[],
        }
    }

    /// Returns whether the limit of a rate is a dry run.
    #[must_use]
    pub(crate) fn is_shadow(&self, rate: RateIndex) -> bool {
        self.rate_of(rate).is_none_or(|(_, _, limit)| limit.shadow)
    }

    /// Returns a hasher for the values of a counter. Its secret is the same in all workers and unknown
    /// outside: no caller can choose values that hash to the counter of another.
    #[must_use]
    pub(crate) fn hasher(&self) -> KeyHasher {
        KeyHasher::new(&self.secret)
    }

    /// Returns the key of the counters of a limit that counts by no values.
    #[must_use]
    pub(crate) fn key_without_values(&self, policy: &Policy, limit: &Limit) -> u128 {
        key::without_values(&self.secret, policy, limit)
    }
}

// === impl LimitRef ===

impl LimitRef<'_> {
    /// Returns the limit's rates.
    pub(crate) fn rates(&self) -> impl Iterator<Item = RateIndex> + use<> {
        self.rates.clone().map(RateIndex::new)
    }
}
