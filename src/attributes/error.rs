//! Why an attribute cannot be resolved.

use super::body::MalformedBody;
use crate::host::HostError;

/// Why an attribute cannot be resolved. Its absence is no error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttributeError {
    /// Envoy failed to return a property.
    #[error("property {0}: {1}")]
    Property(&'static str, HostError),
    /// Envoy returned a property in an encoding that it should not have.
    #[error("property {0}: {1} bytes are not {2}")]
    Encoding(&'static str, usize, &'static str),
    /// The client has sent a body that is malformed.
    #[error(transparent)]
    Body(#[from] MalformedBody),
}
