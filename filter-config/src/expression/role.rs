//! The roles of expressions in a policy.

/// The role of an expression, which determines what it may use and what it has to yield.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// A predicate of a `when`.
    Predicate,
    /// A counter of a limit.
    Counter,
    /// The amount of a reservation.
    Amount,
    /// The limit of a rate.
    Limit,
    /// The window of a rate.
    Window,
    /// The lifetime of a reservation.
    Ttl,
    /// The cost of an exchange, evaluated after the response.
    Cost,
}

// === impl Role ===

impl Role {
    /// Returns whether the expression yields a number, so that its arithmetic mixes numbers of all types.
    pub(crate) const fn is_number(self) -> bool {
        matches!(self, Self::Amount | Self::Limit | Self::Cost)
    }

    /// Returns whether missing values read as null. In all other roles, they are errors: a counter of the caller null
    /// would be one that callers share.
    pub(crate) const fn reads_null(self) -> bool {
        matches!(self, Self::Predicate)
    }

    /// Returns the name of the role in messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Predicate => "predicate",
            Self::Counter => "counter",
            Self::Amount => "reservation",
            Self::Limit => "limit",
            Self::Window => "window",
            Self::Ttl => "lifetime",
            Self::Cost => "cost",
        }
    }
}
