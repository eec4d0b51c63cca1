//! Whether a response is charged, by the method and the purpose of its request.

use filter_config::Methods;
use usage_meter::Meter;
use usage_meter::request::Purpose;

/// Whether the response to a request is charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Chargeable {
    /// Its usage is charged.
    #[default]
    Usage,
    /// Its usage is charged if it has generated text. Its path says that it has not, but a route may change
    /// the path.
    GeneratedText,
    /// Nothing is charged: its method generates nothing.
    Nothing,
}

// === impl Chargeable ===

impl Chargeable {
    /// Returns whether the response to a request with this method and purpose is charged.
    pub(super) fn of(methods: &Methods, method: &str, purpose: Purpose<'_>) -> Self {
        if !methods.are_charged(method.as_bytes()) {
            return Self::Nothing;
        }
        match purpose {
            Purpose::Generate => Self::Usage,
            // `usage.methods` has GET, which is not charged by default.
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
