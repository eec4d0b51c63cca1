//! A mock provider: OpenAI's chat and text completions, as JSON and as server-sent events.
//!
//! By default a completion has five tokens fewer than the request allows, and a prompt two tokens more than it has
//! words. [`instructions`] lists the request headers that change this, and [`Llm::script`] sets a response byte by byte.

mod completion;
mod delivery;
mod in_flight;
pub mod instructions;

use std::{
    collections::HashMap,
    future::pending,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path as UrlPath, State},
    http::{
        HeaderMap, Method, Request, Response, StatusCode,
        header::{CONNECTION, CONTENT_TYPE, ETAG, HOST, LOCATION, UPGRADE},
    },
    routing::{any, get, post},
    serve::ListenerExt,
};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Barrier, task::JoinHandle};

pub use self::completion::MODEL;
use self::{
    completion::{Api, Completion},
    delivery::Delivery,
    in_flight::{Gauge, InFlight},
    instructions::Instructions,
};
use crate::wait::{self, TimedOut};

/// A running mock. It ends when this is dropped.
#[derive(Debug)]
pub struct Llm {
    address: SocketAddr,
    provider: Arc<Provider>,
    task: JoinHandle<()>,
}

/// A request as the provider received it.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    /// Its method.
    pub method: Method,
    /// Its path with the query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// A response that a test sets byte by byte.
#[derive(Debug, Clone)]
pub struct Script {
    /// The status.
    pub status: u16,
    /// The headers. There is no other `content-length`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

#[derive(Debug, Default)]
struct Provider {
    requests: AtomicU64,
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
    parts_sent: Arc<AtomicU64>,
    in_flight: Arc<Gauge>,
    last_request: Mutex<Option<ReceivedRequest>>,
    scripts: Mutex<HashMap<String, Script>>,
    barriers: Mutex<HashMap<usize, Arc<Barrier>>>,
}

impl Llm {
    /// Starts the mock on a free port, for HTTP/1.1 and HTTP/2 with prior knowledge.
    ///
    /// # Errors
    /// When no port is available.
    pub async fn start() -> io::Result<Self> {
        let provider = Arc::<Provider>::default();
        let routes = Router::new()
            .route("/v1/chat/completions", post(chat_completions))
            .route("/v1/completions", post(completions))
            .route("/v1/models", get(models))
            .route("/upgrade", get(upgrade))
            .route("/not-modified", get(not_modified))
            .route("/echo", any(echo))
            .route("/redirect/{hops}", any(redirect))
            .fallback(any(scripted))
            .with_state(Arc::clone(&provider));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // Otherwise a response in several writes waits for the peer's delayed acknowledgement.
            let listener = listener.tap_io(|connection| {
                if let Err(error) = connection.set_nodelay(true) {
                    eprintln!("mock provider: {error}");
                }
            });
            if let Err(error) = axum::serve(listener, routes).await {
                eprintln!("mock provider: {error}");
            }
        });
        Ok(Self {
            address,
            provider,
            task,
        })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of requests received completely, at any path.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.provider.requests.load(Ordering::SeqCst)
    }

    /// Returns the input tokens of all completions, including those that were not reported or delivered.
    #[must_use]
    pub fn input_tokens(&self) -> u64 {
        self.provider.input_tokens.load(Ordering::SeqCst)
    }

    /// Returns the output tokens of all completions, including those that were not reported or delivered.
    #[must_use]
    pub fn output_tokens(&self) -> u64 {
        self.provider.output_tokens.load(Ordering::SeqCst)
    }

    /// Returns the number of parts of bodies (an event, or a piece of a split body) that were sent.
    #[must_use]
    pub fn parts_sent(&self) -> u64 {
        self.provider.parts_sent.load(Ordering::SeqCst)
    }

    /// Returns the highest number of completions in flight: each from the arrival of its request until its usage is
    /// reported, or until its end.
    #[must_use]
    pub fn max_in_flight(&self) -> u64 {
        self.provider.in_flight.max()
    }

    /// Waits until `count` requests have arrived.
    ///
    /// # Errors
    /// When they have not in time.
    pub async fn wait_for_requests(&self, count: u64) -> Result<(), TimedOut> {
        wait::until(format!("{count} requests at the provider"), async || {
            (self.requests() >= count).then_some(())
        })
        .await
    }

    /// Returns the last request.
    #[must_use]
    pub fn last_request(&self) -> Option<ReceivedRequest> {
        lock(&self.provider.last_request).clone()
    }

    /// Sets the response to requests, of any path and method, whose header `x-mock-script` is this name.
    pub fn script(&self, name: impl Into<String>, script: Script) {
        lock(&self.provider.scripts).insert(name.into(), script);
    }
}

impl Drop for Llm {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Reply = Result<Response<Body>, StatusCode>;

impl Provider {
    /// Reads the whole request and records it.
    async fn receive(&self, request: Request<Body>) -> Result<ReceivedRequest, StatusCode> {
        let (head, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX)
            .await
            .map_err(|_| StatusCode::BAD_REQUEST)?;
        let received = ReceivedRequest {
            method: head.method,
            path: head
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            headers: head.headers,
            body,
        };
        *lock(&self.last_request) = Some(received.clone());
        self.requests.fetch_add(1, Ordering::SeqCst);
        Ok(received)
    }

    /// Returns the scripted response of this request, if it names one.
    fn scripted(&self, received: &ReceivedRequest) -> Option<Reply> {
        let name = received.headers.get("x-mock-script")?.to_str().ok()?;
        let script = lock(&self.scripts).get(name).cloned();
        let instructions = Instructions::of(&received.headers);
        Some(script.ok_or(StatusCode::NOT_FOUND).and_then(|script| {
            let mut response = Response::builder().status(script.status);
            for (name, value) in &script.headers {
                response = response.header(name, value);
            }
            let parts: Box<dyn Iterator<Item = Bytes> + Send> =
                if received.headers.contains_key("x-mock-script-events") {
                    Box::new(events(&script.body).into_iter())
                } else {
                    Box::new(std::iter::once(script.body))
                };
            self.deliver(&instructions, parts, response, None)
        }))
    }

    fn deliver(
        &self,
        instructions: &Instructions,
        parts: Box<dyn Iterator<Item = Bytes> + Send>,
        response: axum::http::response::Builder,
        in_flight: Option<InFlight>,
    ) -> Reply {
        let all_sent = Arc::clone(&self.parts_sent);
        let delivery = Delivery::new(instructions, parts, all_sent, in_flight);
        response
            .body(delivery.into_body())
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Returns the barrier of this number of requests.
    fn barrier(&self, requests: usize) -> Arc<Barrier> {
        let mut barriers = lock(&self.barriers);
        let barrier = barriers
            .entry(requests)
            .or_insert_with(|| Arc::new(Barrier::new(requests)));
        Arc::clone(barrier)
    }

    async fn complete(&self, api: Api, request: Request<Body>) -> Reply {
        let received = self.receive(request).await?;
        let in_flight = Gauge::enter(&self.in_flight);
        let instructions = Instructions::of(&received.headers);
        if instructions.silent {
            pending::<()>().await;
        }
        tokio::time::sleep(instructions.delay).await;
        if let Some(requests) = instructions.barrier {
            self.barrier(requests).wait().await;
        }
        if let Some(reply) = self.scripted(&received) {
            return reply;
        }
        let Ok(body) = serde_json::from_slice::<Value>(&received.body) else {
            return Ok(error(StatusCode::BAD_REQUEST, "the body is not JSON"));
        };
        if let Some(message) = instructions
            .rejection
            .filter(|_| !body["stream_options"].is_null())
        {
            return Ok(error(StatusCode::BAD_REQUEST, message));
        }
        if let Some(status) = instructions.status.filter(|status| !status.is_success()) {
            return Ok(error(status, "as instructed"));
        }
        let completion = Completion::of(api, &body, &instructions);
        self.input_tokens
            .fetch_add(completion.input_tokens(), Ordering::SeqCst);
        self.output_tokens
            .fetch_add(completion.output_tokens(), Ordering::SeqCst);
        let mut response =
            Response::builder().status(instructions.status.unwrap_or(StatusCode::OK));
        let content_type = completion.content_type();
        if !content_type.is_empty() {
            response = response.header(CONTENT_TYPE, content_type);
        }
        let parts = completion.into_parts();
        self.deliver(&instructions, parts, response, Some(in_flight))
    }
}

/// Returns an error in the format of OpenAI's API.
fn error(status: StatusCode, message: &str) -> Response<Body> {
    let error = json!({ "error": {
        "message": message, "type": "invalid_request_error", "param": null, "code": null,
    } });
    let mut response = Response::new(Body::from(error.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        "application/json".parse().expect("a header value"),
    );
    response
}

async fn chat_completions(State(provider): State<Arc<Provider>>, request: Request<Body>) -> Reply {
    provider.complete(Api::Chat, request).await
}

async fn completions(State(provider): State<Arc<Provider>>, request: Request<Body>) -> Reply {
    provider.complete(Api::Text, request).await
}

async fn models(State(provider): State<Arc<Provider>>, request: Request<Body>) -> Reply {
    let received = provider.receive(request).await?;
    if let Some(reply) = provider.scripted(&received) {
        return reply;
    }
    let models = json!({ "object": "list", "data": [
        { "id": MODEL, "object": "model", "created": completion::CREATED, "owned_by": "tollgate" },
    ] });
    Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .body(models.to_string().into())
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// Returns the body of the request with its content type.
async fn echo(State(provider): State<Arc<Provider>>, request: Request<Body>) -> Reply {
    let received = provider.receive(request).await?;
    let instructions = Instructions::of(&received.headers);
    let mut response = Response::builder().status(instructions.status.unwrap_or(StatusCode::OK));
    if let Some(content_type) = received.headers.get(CONTENT_TYPE) {
        response = response.header(CONTENT_TYPE, content_type);
    }
    provider.deliver(
        &instructions,
        Box::new(std::iter::once(received.body)),
        response,
        None,
    )
}

/// Splits a body after each blank line, or else after each line.
fn events(body: &Bytes) -> Vec<Bytes> {
    let has_blank_lines = body.windows(2).any(|pair| pair == b"\n\n");
    let mut events = Vec::new();
    let mut start = 0;
    for (index, _) in body.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        let is_blank = index > 0 && body.get(index - 1) == Some(&b'\n');
        if is_blank || !has_blank_lines {
            events.push(body.slice(start..=index));
            start = index + 1;
        }
    }
    events.push(body.slice(start..));
    events.retain(|event| !event.is_empty());
    events
}

async fn scripted(State(provider): State<Arc<Provider>>, request: Request<Body>) -> Reply {
    let received = provider.receive(request).await?;
    provider
        .scripted(&received)
        .unwrap_or_else(|| Ok(error(StatusCode::NOT_FOUND, "no such path")))
}

async fn not_modified(State(provider): State<Arc<Provider>>, request: Request<Body>) -> Reply {
    provider.receive(request).await?;
    Response::builder()
        .status(StatusCode::NOT_MODIFIED)
        .header(ETAG, "\"1\"")
        .body(Body::empty())
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// Redirects so many times, and then to chat completions.
async fn redirect(
    State(provider): State<Arc<Provider>>,
    UrlPath(hops): UrlPath<u64>,
    request: Request<Body>,
) -> Reply {
    let received = provider.receive(request).await?;
    let host = received.headers.get(HOST).and_then(|it| it.to_str().ok());
    let host = host.unwrap_or("llm");
    let path = match hops.checked_sub(1) {
        None | Some(0) => "v1/chat/completions".to_owned(),
        Some(left) => format!("redirect/{left}"),
    };
    Response::builder()
        .status(StatusCode::TEMPORARY_REDIRECT)
        .header(LOCATION, format!("http://{host}/{path}"))
        .body(Body::empty())
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// Switches to another protocol, in which every byte is echoed.
async fn upgrade(State(provider): State<Arc<Provider>>, request: Request<Body>) -> Reply {
    provider.requests.fetch_add(1, Ordering::SeqCst);
    let protocol = request
        .headers()
        .get(UPGRADE)
        .cloned()
        .ok_or(StatusCode::UPGRADE_REQUIRED)?;
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
            // An error means that the client has disconnected.
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, protocol)
        .body(Body::empty())
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
