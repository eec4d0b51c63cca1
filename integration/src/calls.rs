//! What becomes of calls: they are counted, and fail on command.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header::CONTENT_TYPE},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tonic::{Code, Status};

/// A method of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Envoy's: check and add.
    ShouldRateLimit,
    /// Kuadrant's: check.
    CheckRateLimit,
    /// Kuadrant's: add.
    Report,
    /// Kuadrant's: hold.
    Reserve,
    /// Kuadrant's: add, and release what was held.
    Commit,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is answered as ever, after this long; one that the caller gives up until then has no effect.
    Delay(Duration),
    /// It has no effect, and is answered with this status.
    Error(Code),
    /// It has no effect, and is never answered.
    Hang,
    /// It has no effect, and is answered with a message that is none.
    WrongBytes,
}

/// The calls of a service, and what goes wrong with them. Clones are of the same service.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    state: Arc<Mutex<CallsState>>,
}

#[derive(Debug, Default)]
struct CallsState {
    faults: HashMap<Method, Fault>,
    counts: HashMap<Method, u64>,
    headers: HashMap<Method, HeaderMap>,
}

// === impl Method ===

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ShouldRateLimit,
        Self::CheckRateLimit,
        Self::Report,
        Self::Reserve,
        Self::Commit,
    ];

    /// The path of its calls.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::ShouldRateLimit => "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
            Self::CheckRateLimit => {
                "/kuadrant.service.ratelimit.v1.RateLimitService/CheckRateLimit"
            }
            Self::Report => "/kuadrant.service.ratelimit.v1.RateLimitService/Report",
            Self::Reserve => "/kuadrant.service.ratelimit.v1.RateLimitService/Reserve",
            Self::Commit => "/kuadrant.service.ratelimit.v1.RateLimitService/Commit",
        }
    }

    fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.path() == path)
    }
}

// === impl Calls ===

impl Calls {
    /// From now on calls of this method fail so.
    pub fn fail(&self, method: Method, fault: Fault) {
        self.state().faults.insert(method, fault);
    }

    /// From now on all calls fail so.
    #[expect(clippy::needless_pass_by_value, reason = "as `fail` takes it")]
    pub fn fail_all(&self, fault: Fault) {
        for method in Method::ALL {
            self.fail(method, fault.clone());
        }
    }

    /// From now on no call fails. One that hangs goes on hanging.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// How many calls of this method have come, whatever became of them.
    #[must_use]
    pub fn count(&self, method: Method) -> u64 {
        self.state().counts.get(&method).copied().unwrap_or(0)
    }

    /// The metadata of the last call of this method.
    #[must_use]
    pub fn last_headers(&self, method: Method) -> Option<HeaderMap> {
        self.state().headers.get(&method).cloned()
    }

    fn state(&self) -> MutexGuard<'_, CallsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a call, and says what is to go wrong with it.
    fn received(&self, method: Method, headers: &HeaderMap) -> Option<Fault> {
        let mut state = self.state();
        *state.counts.entry(method).or_default() += 1;
        state.headers.insert(method, headers.clone());
        state.faults.get(&method).cloned()
    }
}

/// Stands before the service, and lets a call through unless it is to fail.
pub(crate) async fn handle(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    let fault = Method::of(request.uri().path())
        .and_then(|method| calls.received(method, request.headers()));
    match fault {
        None => next.run(request).await,
        Some(Fault::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            next.run(request).await
        }
        Some(Fault::Error(code)) => Status::new(code, "as it was told").into_http(),
        Some(Fault::Hang) => pending().await,
        Some(Fault::WrongBytes) => wrong_bytes(),
    }
}

/// A whole gRPC message in which there is no protobuf message: a field with a length beyond the end.
fn wrong_bytes() -> Response {
    const MESSAGE: &[u8] = &[0, 0, 0, 0, 4, 0x0a, 0xff, 0xff, 0x7f];
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body =
        Full::new(Bytes::from_static(MESSAGE)).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
