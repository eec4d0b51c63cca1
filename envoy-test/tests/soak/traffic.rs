//! The clients.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use envoy_test::{
    client::{Protocol, client},
    metered::{CALLER, Metered},
};
use fastrand::Rng;
use reqwest::{Client, RequestBuilder};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    Outcome,
    journal::{Ending, Exchange, Journal},
    kind::{self, BACKGROUND_TOKENS, Kind, MAX_BACKGROUND},
};

/// The number of clients.
const CLIENTS: u64 = 10;

/// The most tokens of an exchange.
pub(crate) const MAX_TOKENS: u64 = 250;

/// The exchanges of a client on one connection: a connection keeps the configuration that it was opened with.
const EXCHANGES_ON_CONNECTION: u64 = 16;

/// How late a client leaves at most, in milliseconds.
const MAX_STAY_MILLISECONDS: u64 = 80;

/// How often a background response is fetched until it has arrived.
const MAX_POLLS: u64 = 20;

/// The clients, until they are stopped.
#[derive(Debug)]
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

/// A client.
struct Sender {
    address: SocketAddr,
    journal: Journal,
    rng: Rng,
    background: Arc<AtomicU64>,
}

// === impl Traffic ===

impl Traffic {
    /// Starts the clients of a gateway.
    pub(crate) fn start(metered: &Metered, journal: &Journal) -> io::Result<Self> {
        kind::script(&metered.llm)?;
        let stop = Arc::<AtomicBool>::default();
        let background = Arc::<AtomicU64>::default();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let sender = Sender {
                address: metered.envoy.address(),
                journal: journal.clone(),
                rng: Rng::with_seed(number),
                background: Arc::clone(&background),
            };
            clients.spawn(sender.run(number, Arc::clone(&stop)));
        }
        Ok(Self { stop, clients })
    }

    /// Waits until all exchanges have ended.
    pub(crate) async fn end(mut self) -> Outcome {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(client) = self.clients.join_next().await {
            client?;
        }
        Ok(())
    }
}

// === impl Sender ===

impl Sender {
    async fn run(mut self, number: u64, stop: Arc<AtomicBool>) {
        let mut connection = client(Protocol::Http1);
        let mut sent = 0_u64;
        while !stop.load(Ordering::SeqCst) {
            if sent.is_multiple_of(EXCHANGES_ON_CONNECTION) {
                let is_http2 = self.rng.bool();
                connection = client(if is_http2 {
                    Protocol::Http2
                } else {
                    Protocol::Http1
                });
            }
            let kind = Kind::ALL[self.rng.usize(..Kind::ALL.len())];
            let id = format!("{number} {sent}");
            sent += 1;
            if kind == Kind::Background {
                self.background(&connection, id).await;
            } else {
                self.exchange(&connection, kind, id).await;
            }
        }
    }

    async fn exchange(&mut self, connection: &Client, kind: Kind, id: String) {
        let (chat, tokens) = kind.chat(&mut self.rng);
        let chat = chat.header(CALLER, kind.caller()).header("x-test-id", &id);
        let request = chat.request(connection, self.address);
        let leaves = self.rng.u8(..4) == 0;
        let stay = leaves.then(|| Duration::from_millis(self.rng.u64(..MAX_STAY_MILLISECONDS)));
        let ending = receive(request, stay).await;
        self.journal.add(
            id,
            Exchange {
                kind,
                tokens,
                ending,
            },
        );
    }

    /// Submits a background response and fetches it.
    async fn background(&mut self, connection: &Client, id: String) {
        let number = self.background.fetch_add(1, Ordering::SeqCst);
        if number >= MAX_BACKGROUND {
            return;
        }
        let url = |path: &str| format!("http://{}{path}", self.address);
        let kind = Kind::Background;
        let body = json!({ "model": "m", "input": "Rivers", "max_output_tokens": 200, "background": true });
        let submit = connection
            .post(url("/v1/responses"))
            .header(CALLER, kind.caller())
            .header("x-mock-script", format!("queued {number}"))
            .header("x-test-id", &id)
            .json(&body);
        let submitted = receive(submit, None).await;
        let mut fetched = Ending::Cut;
        for poll in 0..MAX_POLLS {
            let poll = connection
                .get(url(&format!("/v1/responses/resp_{number}")))
                .header(CALLER, "poller")
                .header("x-mock-script", format!("completed {number}"))
                .header("x-test-id", format!("{id} poll {poll}"));
            fetched = receive(poll, None).await;
            if fetched == Ending::Response(200) {
                break;
            }
        }
        let is_charged = [submitted, fetched] == [Ending::Response(200); 2];
        let tokens = if is_charged { BACKGROUND_TOKENS } else { 0 };
        self.journal.add(
            id,
            Exchange {
                kind,
                tokens,
                ending: submitted,
            },
        );
    }
}

/// Sends a request and receives the response, unless the client leaves before its end.
async fn receive(request: RequestBuilder, stay: Option<Duration>) -> Ending {
    let response = async {
        let response = request.send().await?;
        let status = response.status().as_u16();
        response.bytes().await?;
        Ok::<_, reqwest::Error>(status)
    };
    let response = match stay {
        Some(stay) => match tokio::time::timeout(stay, response).await {
            Ok(response) => response,
            Err(_) => return Ending::Left,
        },
        None => response.await,
    };
    response.map_or(Ending::Cut, Ending::Response)
}
