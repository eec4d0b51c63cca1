//! Clients: well-behaved ones, ones that disconnect early, and ones that send arbitrary bytes.

use std::{fmt::Display, net::SocketAddr, time::Duration};

use reqwest::{Client, RequestBuilder, Response, Version};
use serde_json::{Value, json};
use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::llm::MODEL;

/// The HTTP version of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

impl Protocol {
    /// Both versions.
    pub const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    /// Returns the version as responses show it.
    #[must_use]
    pub fn version(self) -> Version {
        match self {
            Self::Http1 => Version::HTTP_11,
            Self::Http2 => Version::HTTP_2,
        }
    }
}

/// How long a client waits for the end of a response.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Returns a client with its own connections.
///
/// # Panics
/// When the system cannot create a client.
#[must_use]
pub fn client(protocol: Protocol) -> Client {
    let builder = Client::builder().no_proxy().timeout(TIMEOUT);
    let builder = match protocol {
        Protocol::Http1 => builder.http1_only(),
        Protocol::Http2 => builder.http2_prior_knowledge(),
    };
    builder.build().expect("a client without TLS")
}

/// A request for a chat completion. By default it is the one of Kuadrant's tutorial.
#[derive(Debug, Clone)]
pub struct Chat {
    body: Value,
    headers: Vec<(String, String)>,
}

impl Default for Chat {
    fn default() -> Self {
        Self::new("What is Kubernetes?", 100)
    }
}

impl Chat {
    /// Returns a request with this question and this `max_tokens`.
    #[must_use]
    pub fn new(question: &str, max_tokens: u64) -> Self {
        Self {
            body: json!({
                "model": MODEL,
                "messages": [{ "role": "user", "content": question }],
                "max_tokens": max_tokens,
                "stream": false,
                "usage": true,
            }),
            headers: Vec::new(),
        }
    }

    /// Sets a field of the body.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body[name] = value.into();
        self
    }

    /// Requests a stream, with or without a usage report.
    #[must_use]
    pub fn stream(self, include_usage: bool) -> Self {
        let chat = self.field("stream", true);
        if include_usage {
            chat.field("stream_options", json!({ "include_usage": true }))
        } else {
            chat
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds an API key in the form of Kuadrant's tutorial.
    #[must_use]
    pub fn api_key(self, key: &str) -> Self {
        self.header("authorization", format!("APIKEY {key}"))
    }

    /// Returns the body.
    #[must_use]
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// Returns the request to a gateway at `address`.
    pub fn request(&self, client: &Client, address: SocketAddr) -> RequestBuilder {
        let request = client
            .post(format!("http://{address}/v1/chat/completions"))
            .json(&self.body);
        let headers = self.headers.iter();
        headers.fold(request, |request, (name, value)| {
            request.header(name, value)
        })
    }

    /// Sends the request and returns when the response headers have arrived.
    ///
    /// # Errors
    /// When there is no response.
    pub async fn send(&self, client: &Client, address: SocketAddr) -> reqwest::Result<Response> {
        self.request(client, address).send().await
    }
}

/// Sends bytes as they are and returns all bytes received until the peer closes the connection.
///
/// In HTTP/1.1 they should contain `Connection: close`.
///
/// # Errors
/// When the connection fails.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(bytes).await?;
    let mut response = Vec::new();
    connection.read_to_end(&mut response).await?;
    Ok(response)
}

/// Sends bytes as they are, and disconnects when `enough` accepts what was received or the peer closes.
///
/// Returns what was received.
///
/// # Errors
/// When the connection fails.
pub async fn hang_up(
    address: SocketAddr,
    bytes: &[u8],
    enough: impl Fn(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(bytes).await?;
    let mut response = Vec::new();
    while !enough(&response) {
        if connection.read_buf(&mut response).await? == 0 {
            break;
        }
    }
    Ok(response)
}
