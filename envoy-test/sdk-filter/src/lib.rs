//! A small filter on the Proxy-Wasm SDK for Rust (`proxy-wasm`).
//!
//! It is the floor of `make bench`: what a filter costs that does nothing. And it shows in a real Envoy why tollgate
//! has an ABI layer of its own; the tests in `envoy-test/tests/e2e/sdk.rs` state what the SDK does in each case.
//!
//! The plugin configuration is the name of a [`Behaviour`] as a JSON string.

use std::time::Duration;

use log::info;
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType, LogLevel},
};

/// The cluster of the rate limit service that gRPC calls go to.
const CLUSTER: &str = "ratelimit";
const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";
const METHOD: &str = "ShouldRateLimit";
const TIMEOUT: Duration = Duration::from_secs(60);

/// What the filter does with each exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    /// `empty`: nothing.
    Empty,
    /// `read-header`: reads the request header `x-user-id` with the getter that returns a `String`.
    ReadHeader,
    /// `read-header-late`: reads it when the response headers arrive. Envoy then answers the call with `BadArgument`,
    /// a status that the SDK's getter does not expect.
    ReadHeaderLate,
    /// `call-while-open`: pauses the request until a gRPC call is answered.
    CallWhileOpen,
    /// `call-at-end`: makes a gRPC call in `on_log`; its reply arrives after the stream has been deleted.
    CallAtEnd,
    /// `drain-body`: takes each piece of the request body out of Envoy's buffer and restores the whole at the end,
    /// returning the only value other than `Continue` that the SDK has, `Pause`.
    DrainBody,
}

impl Behaviour {
    fn of(configuration: &[u8]) -> Option<Self> {
        Some(match configuration {
            br#""empty""# => Self::Empty,
            br#""read-header""# => Self::ReadHeader,
            br#""read-header-late""# => Self::ReadHeaderLate,
            br#""call-while-open""# => Self::CallWhileOpen,
            br#""call-at-end""# => Self::CallAtEnd,
            br#""drain-body""# => Self::DrainBody,
            _ => return None,
        })
    }
}

// In a private module, so that the function of the macro needs no documentation.
mod entry {
    use super::{Behaviour, LogLevel, Root};

    proxy_wasm::main! {{
        proxy_wasm::set_log_level(LogLevel::Info);
        proxy_wasm::set_root_context(|_| Box::new(Root { behaviour: Behaviour::Empty }));
    }}
}

struct Root {
    behaviour: Behaviour,
}

impl Context for Root {
    fn on_grpc_call_response(&mut self, _: u32, status: u32, _: usize) {
        info!("gRPC reply to the root context: status {status}");
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        let Some(behaviour) = Behaviour::of(&configuration) else {
            return false;
        };
        self.behaviour = behaviour;
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(match self.behaviour {
            // Without fields and overridden callbacks: nothing of the other behaviours is part of the floor.
            Behaviour::Empty => Box::new(Empty),
            behaviour => Box::new(Exchange {
                behaviour,
                body: Vec::new(),
            }),
        })
    }
}

struct Empty;

impl Context for Empty {}
impl HttpContext for Empty {}

struct Exchange {
    behaviour: Behaviour,
    body: Vec<u8>,
}

impl Exchange {
    fn call(&self) {
        if let Err(status) =
            self.dispatch_grpc_call(CLUSTER, SERVICE, METHOD, Vec::new(), None, TIMEOUT)
        {
            info!("gRPC call failed: {status:?}");
        }
    }

    fn read_header(&self) {
        let user = self.get_http_request_header("x-user-id");
        info!("x-user-id: {user:?}");
    }
}

impl Context for Exchange {
    fn on_grpc_call_response(&mut self, _: u32, status: u32, _: usize) {
        info!("gRPC reply to the stream: status {status}");
        self.resume_http_request();
    }
}

impl HttpContext for Exchange {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match self.behaviour {
            Behaviour::ReadHeader => self.read_header(),
            Behaviour::CallWhileOpen => {
                self.call();
                return Action::Pause;
            }
            _ => {}
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if self.behaviour != Behaviour::DrainBody {
            return Action::Continue;
        }
        self.body
            .extend(self.get_http_request_body(0, size).unwrap_or_default());
        if !end_of_stream {
            self.set_http_request_body(0, size, &[]);
            return Action::Pause;
        }
        self.set_http_request_body(0, size, &self.body);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if self.behaviour == Behaviour::ReadHeaderLate {
            self.read_header();
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        if self.behaviour == Behaviour::CallAtEnd {
            self.call();
        }
    }
}
