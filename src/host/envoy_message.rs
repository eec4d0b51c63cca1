//! Messages of Envoy's API that calls to the host carry.

#[cfg(test)]
mod tests;

use super::FilterState;
use limits::service::MAX_REPLY_BYTES;
use prost::Message;

/// `envoy.config.core.v3.GrpcService`: the upstream of a gRPC call.
#[derive(Clone, PartialEq, Message)]
struct GrpcService {
    #[prost(message, optional, tag = "1")]
    envoy_grpc: Option<EnvoyGrpc>,
}

/// `envoy.config.core.v3.GrpcService.EnvoyGrpc`.
#[derive(Clone, PartialEq, Message)]
struct EnvoyGrpc {
    #[prost(string, tag = "1")]
    cluster_name: String,
    /// The `:authority` of calls; that of an empty one is the name of the cluster.
    #[prost(string, tag = "2")]
    authority: String,
    /// A `google.protobuf.UInt32Value`. Envoy ends a call with `RESOURCE_EXHAUSTED` as soon as a message of the
    /// reply announces more; without it, Envoy gathers a message of any size.
    #[prost(message, optional, tag = "4")]
    max_receive_message_length: Option<u32>,
}

/// `envoy.source.extensions.common.wasm.SetEnvoyFilterStateArguments`. Its life span, which is not
/// set here, defaults to that of the filter chain.
#[derive(Clone, PartialEq, Message)]
struct SetEnvoyFilterStateArguments {
    #[prost(string, tag = "1")]
    path: String,
    /// A string in Envoy's definition, which is read without a check for UTF-8 (proto3 strings and
    /// bytes have one encoding).
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `envoy.source.extensions.common.wasm.DeclarePropertyArguments`: filter state and its form.
#[derive(Clone, PartialEq, Message)]
struct DeclarePropertyArguments {
    #[prost(string, tag = "1")]
    name: String,
    /// A `WasmType`, by default bytes.
    #[prost(int32, tag = "3")]
    value_type: i32,
    /// The URL of a protocol buffer's type.
    #[prost(string, tag = "4")]
    schema: String,
    #[prost(enumeration = "LifeSpan", tag = "5")]
    span: i32,
}

/// The `WasmType` of protocol buffers.
const PROTOBUF: i32 = 3;

/// `envoy.source.extensions.common.wasm.LifeSpan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
enum LifeSpan {
    FilterChain = 0,
    DownstreamRequest = 1,
}

/// Returns the `GrpcService` that names an Envoy cluster, whose replies have at most [`MAX_REPLY_BYTES`].
///
/// Envoy first tries to parse the upstream of a call as this message and only then takes it for the
/// name of a cluster, and aborts when a bare name (`empty`, `user4`) happens to parse.
///
/// Istio's names (`outbound|8081||service.namespace.svc.cluster.local`) are no valid authorities, which
/// servers reject; the host at their end is one.
pub(super) fn grpc_service(cluster: &str) -> Vec<u8> {
    let service = GrpcService {
        envoy_grpc: Some(EnvoyGrpc {
            cluster_name: cluster.to_owned(),
            authority: istio_host(cluster).to_owned(),
            max_receive_message_length: u32::try_from(MAX_REPLY_BYTES).ok(),
        }),
    };
    service.encode_to_vec()
}

/// Returns the host that a cluster of Istio leads to; empty for other clusters.
fn istio_host(cluster: &str) -> &str {
    cluster.rsplit_once('|').map_or("", |(_, host)| host)
}

/// Returns the arguments of the foreign function `declare_property`.
pub(super) fn declaration(key: &str, form: FilterState) -> Vec<u8> {
    let name = key.to_owned();
    let arguments = match form {
        FilterState::OfRequest => DeclarePropertyArguments {
            name,
            span: LifeSpan::DownstreamRequest.into(),
            ..DeclarePropertyArguments::default()
        },
        FilterState::Record => DeclarePropertyArguments {
            name,
            value_type: PROTOBUF,
            schema: "type.googleapis.com/google.protobuf.Struct".to_owned(),
            ..DeclarePropertyArguments::default()
        },
    };
    arguments.encode_to_vec()
}

/// Returns the arguments of the foreign function `set_envoy_filter_state`.
pub(super) fn filter_state_arguments(key: &str, value: &[u8]) -> Vec<u8> {
    let arguments = SetEnvoyFilterStateArguments {
        path: key.to_owned(),
        value: value.to_vec(),
    };
    arguments.encode_to_vec()
}
