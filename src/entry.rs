//! The module's entry point: Proxy-Wasm's callbacks, handed on to [`Plugin`] and [`Stream`].

use crate::host::abi::Abi;
use crate::host::{Buffer, Host, LogLevel};
use crate::plugin::Plugin;
use crate::stream::{Next, Stream};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};
use std::rc::Rc;

proxy_wasm::main! {{
    // A trap ends every exchange of its worker; it should at least say why.
    std::panic::set_hook(Box::new(|panic| {
        Abi.log(LogLevel::Error, &format!("tollgate: {panic}"));
    }));
    proxy_wasm::set_root_context(|_| Box::new(Root(None)));
}}

/// The plugin's root context: the configuration in force. A configuration that is refused never
/// comes to be in force, because Envoy then keeps the context that has the last good one.
struct Root(Option<Rc<Plugin>>);

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let configured = Abi
            .buffer(Buffer::PluginConfiguration, 0, size)
            .map_err(|error| error.to_string())
            .and_then(|json| {
                Plugin::configure(Rc::new(Abi), &json).map_err(|error| error.to_string())
            });
        match configured {
            Ok(plugin) => {
                self.0 = Some(Rc::new(plugin));
                true
            }
            Err(error) => {
                let message = format!("tollgate: configuration refused\n{error}");
                Abi.log(LogLevel::Error, &message);
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context: u32) -> Option<Box<dyn HttpContext>> {
        Some(match &self.0 {
            Some(plugin) => Box::new(Exchange(Stream::new(Rc::clone(plugin)))),
            None => Box::new(Unconfigured),
        })
    }
}

/// An exchange that comes before any configuration. Envoy opens the listener only afterwards.
struct Unconfigured;

impl Context for Unconfigured {}

impl HttpContext for Unconfigured {}

/// An exchange.
struct Exchange(Stream);

impl Context for Exchange {}

impl HttpContext for Exchange {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        action(self.0.on_request_headers(end_of_stream))
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        action(self.0.on_request_body(size, end_of_stream))
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        action(self.0.on_request_trailers())
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        action(self.0.on_response_headers(end_of_stream))
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        action(self.0.on_response_body(size, end_of_stream))
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        action(self.0.on_response_trailers())
    }

    fn on_log(&mut self) {
        self.0.on_log();
    }
}

fn action(next: Next) -> Action {
    match next {
        Next::Continue => Action::Continue,
        Next::Pause => Action::Pause,
    }
}
