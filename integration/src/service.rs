//! The gRPC methods, as limitador answers them.

use std::{sync::Arc, time::Duration};

use envoy_types::pb::envoy::{
    config::core::v3::HeaderValue,
    extensions::common::ratelimit::v3::RateLimitDescriptor,
    service::ratelimit::v3::{
        RateLimitRequest, RateLimitResponse, rate_limit_response::Code,
        rate_limit_service_server::RateLimitService as EnvoyRateLimitService,
    },
};
use limitador::{
    CheckResult,
    errors::LimitadorError,
    limit::{Context, Namespace},
    reservation::ReservationId,
};
use tonic::{Request, Response, Status};

use crate::{
    counters::Counters,
    protocol::{
        CommitRequest, CommitResponse, ReserveRequest, ReserveResponse,
        rate_limit_service_server::RateLimitService as KuadrantRateLimitService,
    },
};

/// Both services.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) counters: Arc<Counters>,
    /// Whether answers of `ShouldRateLimit` have quota headers for the response.
    pub(crate) quota_headers: bool,
    /// Whether `Reserve` and `Commit` are implemented, which older versions lack.
    pub(crate) reservations: bool,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl EnvoyRateLimitService for Service {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Answer<RateLimitResponse> {
        let request = request.into_inner();
        let hits = hits(&request);
        let Some((namespace, context)) = scope(request.domain, request.descriptors) else {
            return Ok(answer(Code::Unknown));
        };
        let mut checked = self
            .counters
            .check_and_add(&namespace, &context, hits)
            .await
            .map_err(unavailable)?;
        let mut answer = answer(code(checked.limited));
        if self.quota_headers {
            answer.get_mut().response_headers_to_add = quota_headers(&mut checked);
        }
        Ok(answer)
    }
}

#[tonic::async_trait]
impl KuadrantRateLimitService for Service {
    async fn check_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Answer<RateLimitResponse> {
        let request = request.into_inner();
        let Some((namespace, context)) = scope(request.domain, request.descriptors) else {
            return Ok(answer(Code::Unknown));
        };
        let checked = self
            .counters
            .check(&namespace, &context, 1)
            .await
            .map_err(unavailable)?;
        Ok(answer(code(checked.limited)))
    }

    async fn report(&self, request: Request<RateLimitRequest>) -> Answer<RateLimitResponse> {
        let request = request.into_inner();
        let hits = hits(&request);
        let Some((namespace, context)) = scope(request.domain, request.descriptors) else {
            return Ok(answer(Code::Unknown));
        };
        self.counters
            .add(&namespace, &context, hits)
            .await
            .map_err(unavailable)?;
        Ok(answer(Code::Ok))
    }

    async fn reserve(&self, request: Request<ReserveRequest>) -> Answer<ReserveResponse> {
        if !self.reservations {
            return Err(Status::unimplemented(""));
        }
        let request = request.into_inner();
        let Some((namespace, context)) = scope(request.domain, request.descriptors) else {
            return Ok(Response::new(ReserveResponse::default()));
        };
        // A negative duration is ignored.
        let ttl = request.ttl.and_then(|ttl| Duration::try_from(ttl).ok());
        let reserved = self
            .counters
            .reserve(&namespace, &context, request.amount, ttl)
            .await
            .map_err(unavailable)?;
        Ok(Response::new(ReserveResponse {
            code: code(reserved.limited).into(),
            reservation_id: reserved
                .reservation_id
                .map_or_else(String::new, |id| id.to_string()),
        }))
    }

    async fn commit(&self, request: Request<CommitRequest>) -> Answer<CommitResponse> {
        if !self.reservations {
            return Err(Status::unimplemented(""));
        }
        let request = request.into_inner();
        let Some((namespace, context)) = scope(request.domain, request.descriptors) else {
            return Ok(Response::new(CommitResponse::default()));
        };
        let reservation = Some(request.reservation_id)
            .filter(|id| !id.is_empty())
            .map(ReservationId::from);
        self.counters
            .commit(
                &namespace,
                &context,
                reservation.as_ref(),
                request.actual_amount,
            )
            .await
            .map_err(unavailable)?;
        Ok(Response::new(CommitResponse::default()))
    }
}

/// The hits of a request: one if it has no number.
fn hits(request: &RateLimitRequest) -> u64 {
    u64::from(request.hits_addend.max(1))
}

/// The namespace of a request, and the variables of the expressions in its limits: `descriptors`, a list of maps. `None`
/// without a domain.
fn scope(
    domain: String,
    descriptors: Vec<RateLimitDescriptor>,
) -> Option<(Namespace, Context<'static>)> {
    if domain.is_empty() {
        return None;
    }
    let descriptors = descriptors.into_iter().map(|descriptor| {
        let entries = descriptor.entries.into_iter();
        entries.map(|entry| (entry.key, entry.value)).collect()
    });
    let mut context = Context::default();
    context.list_binding("descriptors".to_owned(), descriptors.collect());
    Some((domain.into(), context))
}

fn code(limited: bool) -> Code {
    if limited { Code::OverLimit } else { Code::Ok }
}

fn answer(code: Code) -> Response<RateLimitResponse> {
    Response::new(RateLimitResponse {
        overall_code: code.into(),
        ..RateLimitResponse::default()
    })
}

/// The headers of draft 3 of the IETF's `RateLimit` headers, for the limit with the least remaining.
fn quota_headers(checked: &mut CheckResult) -> Vec<HeaderValue> {
    let headers = checked.response_header().into_iter();
    let mut headers: Vec<_> = headers
        .map(|(key, value)| HeaderValue {
            key,
            value,
            ..HeaderValue::default()
        })
        .collect();
    headers.sort_by(|one, other| one.key.cmp(&other.key));
    headers
}

#[expect(clippy::needless_pass_by_value, reason = "a function for `map_err`")]
fn unavailable(error: LimitadorError) -> Status {
    // Errors of Redis are logged where they occur, as the library's error has no place for their cause.
    if !matches!(error, LimitadorError::StorageError(_)) {
        eprintln!("limitador: {error}");
    }
    Status::unavailable("Service unavailable")
}
