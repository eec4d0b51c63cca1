//! The messages and the service of `proto/kuadrant/service/ratelimit/v1/ratelimit.proto`.

#![allow(
    missing_docs,
    reason = "generated; the documentation is in the .proto file"
)]
#![allow(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    reason = "generated"
)]

tonic::include_proto!("kuadrant.service.ratelimit.v1");
