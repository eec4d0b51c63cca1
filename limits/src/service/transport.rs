//! What makes the calls to a service.

use crate::time::Nanos;

/// Starts calls to a service. Their replies are passed to
/// [`ServiceClient::on_reply`](super::ServiceClient::on_reply).
pub trait Transport {
    /// Starts a unary gRPC call. Returns what identifies it until its reply arrives.
    ///
    /// # Errors
    /// [`TransportError`] if the call cannot be made, for example because the cluster is unknown.
    fn call_grpc(&self, call: &GrpcCall<'_>) -> Result<CallId, TransportError>;
}

/// The identity of a call that is under way. A [`Transport`] gives none whose two lowest bits are set, as Envoy
/// does: they are those of checks that wait for the reply to another call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(pub u32);

/// A unary gRPC call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcCall<'a> {
    /// The cluster that the call goes to.
    pub cluster: &'a str,
    /// The full name of the service, `package.Service`.
    pub service: &'a str,
    /// The name of the method.
    pub method: &'a str,
    /// Metadata sent with the call.
    pub metadata: &'a [(&'a str, &'a [u8])],
    /// The serialized request message.
    pub message: &'a [u8],
    /// The time after which the call fails.
    pub timeout: Nanos,
}

/// Why a call could not be made, in the host's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TransportError(pub String);

/// Headers of a request that are sent with the calls about it.
pub type Metadata = Vec<(&'static str, Vec<u8>)>;
