//! What of a response is charged, by what its request is for.

use filter_config::Methods;
use usage_meter::Meter;
use usage_meter::request::Purpose;

/// What of a response is charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Charging {
    /// Its usage.
    #[default]
    Usage,
    /// Its usage if it has generated text. Its path says that it has not, but a route may lead anywhere.
    GeneratedText,
    /// Nothing: its method generates nothing.
    Nothing,
}

// === impl Charging ===

impl Charging {
    /// Returns what is charged of the response to a request with this method and purpose.
    pub(super) fn of(methods: &Methods, method: &str, purpose: Purpose<'_>) -> Self {
        if !methods.are_charged(method.as_bytes()) {
            return Self::Nothing;
        }
        match purpose {
            Purpose::Generate => Self::Usage,
            // As configured: by default, a GET is charged nothing.
            Purpose::Fetch(_) if method == "GET" => Self::Usage,
            Purpose::Fetch(_) | Purpose::Manage => Self::GeneratedText,
        }
    }

    /// Returns whether a response is charged, by what was read of it.
    pub(super) fn includes(self, meter: &Meter) -> bool {
        match self {
            Self::Usage => true,
            Self::GeneratedText => meter.is_completion() && meter.output_bytes() > 0,
            Self::Nothing => false,
        }
    }
}
