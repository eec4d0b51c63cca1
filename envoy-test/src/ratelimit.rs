//! A rate limit service for Envoy's own `ratelimit` filter, on the limitador library, in memory.

use std::{io, net::SocketAddr, sync::Arc};

use envoy_types::pb::envoy::service::ratelimit::v3::{
    RateLimitRequest, RateLimitResponse,
    rate_limit_response::Code,
    rate_limit_service_server::{RateLimitService, RateLimitServiceServer},
};
use limitador::{
    RateLimiter,
    limit::{Context, Limit},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// Most counters that are kept.
const COUNTERS: u64 = 65_536;

/// A running rate limit service; ended when dropped.
#[derive(Debug)]
pub struct RateLimit {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// What goes wrong with the service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No port can be had.
    #[error("rate limit service: {0}")]
    Io(#[from] io::Error),
    /// The descriptor key makes no expression.
    #[error("rate limit service: not a descriptor key: {0}")]
    Key(String),
}

impl RateLimit {
    /// Starts a service with one limit: in `domain`, for each value of the descriptor entry `key`, at most
    /// `limit` hits in `seconds`.
    ///
    /// # Errors
    /// When no port can be had, or `key` cannot stand in an expression.
    pub async fn start(domain: &str, key: &str, limit: u64, seconds: u64) -> Result<Self, Error> {
        let variable = format!("descriptors[0][{key:?}]");
        let variable = variable
            .as_str()
            .try_into()
            .map_err(|_| Error::Key(key.to_owned()))?;
        let limiter = RateLimiter::new(COUNTERS);
        limiter.add_limit(Limit::new(domain, limit, seconds, vec![], vec![variable]));
        let service = RateLimitServiceServer::new(Service {
            limiter: Arc::new(limiter),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let server = Server::builder().add_service(service);
            if let Err(error) = server
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
            {
                eprintln!("rate limit service: {error}");
            }
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RateLimit {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Service {
    limiter: Arc<RateLimiter>,
}

#[tonic::async_trait]
impl RateLimitService for Service {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let request = request.into_inner();
        let descriptors = request.descriptors.into_iter().map(|descriptor| {
            let entries = descriptor.entries.into_iter();
            entries.map(|entry| (entry.key, entry.value)).collect()
        });
        let mut context = Context::default();
        context.list_binding("descriptors".to_owned(), descriptors.collect());
        let checked = self
            .limiter
            .check_rate_limited_and_update(
                &request.domain.into(),
                &context,
                // A request without a number is one hit.
                u64::from(request.hits_addend.max(1)),
            )
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let code = if checked.limited {
            Code::OverLimit
        } else {
            Code::Ok
        };
        Ok(Response::new(RateLimitResponse {
            overall_code: code.into(),
            ..RateLimitResponse::default()
        }))
    }
}
