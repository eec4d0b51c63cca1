//! The methods of rate limit services.

/// The service of Envoy's protocol.
const ENVOY: &str = "envoy.service.ratelimit.v3.RateLimitService";

/// The service of limitador's protocol.
const KUADRANT: &str = "kuadrant.service.ratelimit.v1.RateLimitService";

/// A method of a rate limit service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Reserve,
    Commit,
    Check,
    Report,
    ShouldRateLimit,
}

// === impl Method ===

impl Method {
    /// Returns the full name of the service that has it.
    pub(super) const fn service(self) -> &'static str {
        match self {
            Self::ShouldRateLimit => ENVOY,
            Self::Reserve | Self::Commit | Self::Check | Self::Report => KUADRANT,
        }
    }

    /// Returns its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Reserve => "Reserve",
            Self::Commit => "Commit",
            Self::Check => "CheckRateLimit",
            Self::Report => "Report",
            Self::ShouldRateLimit => "ShouldRateLimit",
        }
    }
}
