//! Calls of the service: they are counted, and fail on command.

use std::{
    collections::HashMap,
    convert::Infallible,
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
use http_body_util::{BodyExt, Full, channel::Channel};
use tonic::{Code, Status};

/// A gRPC method of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Of Envoy's service: checks and adds.
    ShouldRateLimit,
    /// Of Kuadrant's service: checks.
    CheckRateLimit,
    /// Of Kuadrant's service: adds.
    Report,
    /// Of Kuadrant's service: checks and reserves.
    Reserve,
    /// Of Kuadrant's service: adds, and releases a reservation.
    Commit,
}

/// A failure of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The call is served after this delay; a call that the caller cancels before then has no effect.
    Delay(Duration),
    /// The call has no effect, and is answered with this status.
    Error(Code),
    /// The call has no effect, and is never answered.
    Hang,
    /// The call has no effect, and its response cannot be decoded.
    WrongBytes,
    /// The call has no effect, and its response is a message that does not end.
    Endless,
}

/// The calls of a service, and their failures. Clones refer to the same service.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    state: Arc<Mutex<CallsState>>,
}

#[derive(Debug, Default)]
struct CallsState {
    faults: HashMap<Method, Fault>,
    under_way: HashMap<Method, u64>,
    most_under_way: HashMap<Method, u64>,
    /// The bytes of messages that do not end.
    endless_bytes: u64,
    counts: HashMap<Method, u64>,
    headers: HashMap<Method, HeaderMap>,
}

// === impl Method ===

impl Method {
    /// All methods.
    pub const ALL: [Self; 5] = [
        Self::ShouldRateLimit,
        Self::CheckRateLimit,
        Self::Report,
        Self::Reserve,
        Self::Commit,
    ];

    /// Returns the path of its calls.
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
    /// Makes calls of a method fail in this way from now on.
    pub fn fail(&self, method: Method, fault: Fault) {
        self.state().faults.insert(method, fault);
    }

    /// Makes calls of all methods fail in this way from now on.
    #[expect(clippy::needless_pass_by_value, reason = "as `fail` takes it")]
    pub fn fail_all(&self, fault: Fault) {
        for method in Method::ALL {
            self.fail(method, fault.clone());
        }
    }

    /// Serves calls from now on. A call that hangs already does not end.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Returns the number of calls of a method, including those that failed.
    #[must_use]
    pub fn count(&self, method: Method) -> u64 {
        self.state().counts.get(&method).copied().unwrap_or(0)
    }

    /// Returns the metadata of the last call of a method.
    #[must_use]
    pub fn last_headers(&self, method: Method) -> Option<HeaderMap> {
        self.state().headers.get(&method).cloned()
    }

    /// Returns the maximum number of calls of a method that were under way at the same time.
    #[must_use]
    pub fn most_under_way(&self, method: Method) -> u64 {
        let state = self.state();
        state.most_under_way.get(&method).copied().unwrap_or(0)
    }

    /// Returns how many bytes were sent of messages that do not end.
    #[must_use]
    pub fn endless_bytes(&self) -> u64 {
        self.state().endless_bytes
    }

    fn state(&self) -> MutexGuard<'_, CallsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a call, and returns its failure if it is to fail.
    fn record(&self, method: Method, headers: &HeaderMap) -> Option<Fault> {
        let mut state = self.state();
        *state.counts.entry(method).or_default() += 1;
        let under_way = state.under_way.entry(method).or_default();
        *under_way += 1;
        let under_way = *under_way;
        let most = state.most_under_way.entry(method).or_default();
        *most = under_way.max(*most);
        state.headers.insert(method, headers.clone());
        state.faults.get(&method).cloned()
    }
}

/// A call under way, until it is dropped: answered, or cancelled by the caller.
struct UnderWay(Calls, Method);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(calls) = self.0.state().under_way.get_mut(&self.1) {
            *calls = calls.saturating_sub(1);
        }
    }
}

/// Passes a call to the service, or fails it.
pub(crate) async fn handle(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    let method = Method::of(request.uri().path());
    let fault = method.and_then(|method| calls.record(method, request.headers()));
    let _under_way = method.map(|method| UnderWay(calls.clone(), method));
    match fault {
        None => next.run(request).await,
        Some(Fault::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            next.run(request).await
        }
        Some(Fault::Error(code)) => Status::new(code, "failed on command").into_http(),
        Some(Fault::Hang) => pending().await,
        Some(Fault::WrongBytes) => wrong_bytes(),
        Some(Fault::Endless) => endless(calls),
    }
}

/// A message that announces a gigabyte, and is sent as fast as the peer reads until it closes the stream.
fn endless(calls: Calls) -> Response {
    const PREFIX: &[u8] = &[0, 0x40, 0, 0, 0];
    const PART: &[u8] = &[0; 65_536];
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move {
        let mut part = Bytes::from_static(PREFIX);
        while sender.send_data(part).await.is_ok() {
            part = Bytes::from_static(PART);
            calls.state().endless_bytes += 65_536;
        }
    });
    let mut response = Response::new(Body::new(body));
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// A complete gRPC message that is not a protobuf message: the length of its field exceeds the message.
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
