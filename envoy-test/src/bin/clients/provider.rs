//! A mock of all providers, each in its own format, by the path that is called.
//!
//! Every response has the same text, or a call of the first tool of the request. Its usage depends on the request
//! alone, so that it is the same with and without tollgate, and is kept by the request's `x-test-id`. A stream whose
//! request has the header `x-mock-hold` stops in the middle, until the client disconnects.

mod anthropic;
mod bedrock;
mod cohere;
mod delivery;
mod event_stream;
mod gemini;
mod ollama;
mod openai;
mod reply;
mod responses;
mod signature;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{Request, Response, StatusCode},
    serve::ListenerExt,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

pub(crate) use self::reply::Tokens;
use self::reply::{Call, Reply};

/// A running mock. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Provider {
    address: SocketAddr,
    served: Arc<Served>,
    task: JoinHandle<()>,
}

/// The usage of the responses, by the `x-test-id` of their requests.
type Served = Mutex<HashMap<String, Tokens>>;

// === impl Provider ===

impl Provider {
    /// Starts the mock on a free port.
    pub(crate) async fn start() -> io::Result<Self> {
        let served = Arc::<Served>::default();
        let routes = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&served));
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
            served,
            task,
        })
    }

    /// Returns its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the usage of the last response to a request with this `x-test-id`.
    pub(crate) fn usage(&self, test_id: &str) -> Option<Tokens> {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.get(test_id).copied()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State(served): State<Arc<Served>>,
    request: Request<Body>,
) -> Result<Response<Body>, StatusCode> {
    let (head, body) = request.into_parts();
    let bytes = to_bytes(body, usize::MAX)
        .await
        .map_err(|_| StatusCode::BAD_REQUEST)?;
    if let Some(rejection) = bedrock::verify(&head, &bytes) {
        return rejection.into_response(&head.headers);
    }
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let call = Call::new(head.uri.path(), &body);
    let reply = reply_to(&call);
    let test_id = head.headers.get("x-test-id");
    if let Some(test_id) = test_id.and_then(|id| id.to_str().ok()) {
        let mut served = served.lock().unwrap_or_else(PoisonError::into_inner);
        served.insert(test_id.to_owned(), reply.tokens);
    }
    reply.into_response(&head.headers)
}

/// Returns the reply of the API that is called.
fn reply_to(call: &Call<'_>) -> Reply {
    let path = call.path;
    let is = |suffix: &str| path.ends_with(suffix);
    if is("/count_tokens") {
        anthropic::count(call)
    } else if is("/v1/messages") {
        anthropic::messages(call)
    } else if is("/responses") {
        responses::responses(call)
    } else if is("/chat/completions") {
        openai::chat(call)
    } else if is("/completions") {
        openai::completions(call)
    } else if is("/v1/embeddings") {
        openai::embeddings(call)
    } else if path.contains("/models/") && path.contains(':') {
        gemini::method(call)
    } else if is("/v2/chat") {
        cohere::chat(call)
    } else if is("/v2/embed") {
        cohere::embed(call)
    } else if is("/api/chat") || is("/api/generate") {
        ollama::generate(call)
    } else if is("/api/embed") {
        ollama::embed(call)
    } else if path.starts_with("/model/") {
        bedrock::operation(call)
    } else {
        Reply::error(StatusCode::NOT_FOUND, "the mock has no such path")
    }
}
