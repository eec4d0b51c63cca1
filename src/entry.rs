//! The entry points of the module: the callbacks of Proxy-Wasm (ABI 0.2.1), dispatched to [`Plugin`]
//! and [`Stream`].
//!
//! The filter has its own dispatcher because it has to handle the reply to a gRPC call whatever has
//! become of the stream that made it: if the stream is gone, what the reply grants is released, and a
//! settlement belongs to no stream at all.

use crate::host::abi::{self, Abi};
use crate::host::{Buffer, Host, logger};
use crate::memory;
use crate::plugin::Plugin;
use crate::stream::{Next, Stream};
use crate::telemetry::release_gauges;
use limits::service::{CallId, CheckReply, MAX_REPLY_BYTES};
use limits::{Nanos, Timestamp};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use usage_meter::DecoderMemory;

/// How long a configuration that is no longer in force may drain: send the settlements that are left.
const DRAIN_TIMEOUT: Nanos = Nanos::from_secs(30);

/// The contexts of this VM, by the identifiers that Envoy has given them.
#[derive(Default)]
struct Contexts {
    // Boxed, so that the module has the code of one map, and nothing large is moved within it.
    roots: BTreeMap<u32, Box<Root>>,
    streams: BTreeMap<u32, Box<Stream>>,
    decoder_memory: DecoderMemory,
}

/// The plugin's root context: a configuration. One that is invalid never comes into force, because
/// Envoy keeps the context with the last good one.
#[derive(Default)]
struct Root {
    plugin: Option<Rc<Plugin>>,
    /// When draining ends at the latest, once Envoy wants the context to end.
    drain_deadline: Option<Timestamp>,
}

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

/// Runs a callback. Envoy calls none while another runs; if it did, the second would be skipped.
fn with<T: Default>(callback: impl FnOnce(&mut Contexts) -> T) -> T {
    abi::begin_callback();
    CONTEXTS.with(|contexts| match contexts.try_borrow_mut() {
        Ok(mut contexts) => callback(&mut contexts),
        Err(_) => T::default(),
    })
}

/// Runs a callback of a stream. A stream that is not known continues as if there were no filter.
fn stream(context: u32, callback: impl FnOnce(&mut Stream) -> Next) -> u32 {
    with(|contexts| {
        let stream = contexts.streams.get_mut(&context);
        let next = stream.map(|stream| callback(stream));
        match next {
            None | Some(Next::Continue) => 0,
            Some(Next::Pause) => 1,
            Some(Next::Watermark) => 2,
        }
    })
}

// === impl Root ===

impl Root {
    fn configure(&mut self, size: usize, decoder_memory: &DecoderMemory) -> bool {
        let configured = Abi
            .buffer(Buffer::PluginConfiguration, 0, size)
            .map_err(|error| error.to_string())
            .and_then(|json| {
                Plugin::configure_with(Rc::new(Abi), decoder_memory, &json)
                    .map_err(|error| error.to_string())
            });
        match configured {
            Ok(plugin) => {
                self.plugin = Some(Rc::new(plugin));
                true
            }
            Err(error) => {
                log::error!("configuration_invalid\n{error}");
                false
            }
        }
    }

    /// Begins to drain, as Envoy wants the context to end. Returns whether nothing is left to drain.
    fn done(&mut self, successor: Option<&Plugin>) -> bool {
        let Some(plugin) = &self.plugin else {
            return true;
        };
        let done = match successor {
            Some(successor) => {
                plugin.hand_over(successor);
                plugin.is_drained()
            }
            None => plugin.drain(),
        };
        if !done {
            let now = Abi.now().unwrap_or_default();
            self.drain_deadline = Some(now.saturating_add(DRAIN_TIMEOUT));
        }
        done
    }

    /// Ends the configuration of a context that Envoy wants to end, if it is drained or out of time. Returns whether
    /// it has ended.
    fn end_drained(&mut self, successor: Option<&Plugin>) -> bool {
        let (Some(deadline), Some(plugin)) = (self.drain_deadline, &self.plugin) else {
            return true;
        };
        if let Some(successor) = successor {
            plugin.hand_over(successor);
        }
        let is_late = Abi.now().is_ok_and(|now| now > deadline);
        let ends = plugin.is_drained() || is_late;
        if ends {
            plugin.end(successor);
            self.plugin = None;
        }
        ends
    }
}

// === impl Contexts ===

impl Contexts {
    /// Returns the plugin that can send what a root context has queued: that of the newest with the same
    /// rate limit service that is to stay.
    fn successor(&self, root: u32) -> Option<Rc<Plugin>> {
        let plugin = self.roots.get(&root)?.plugin.as_ref()?;
        let others = self.roots.iter().rev();
        let others = others.filter(|(id, it)| **id != root && it.drain_deadline.is_none());
        let mut plugins = others.filter_map(|(_, it)| it.plugin.as_ref());
        plugins.find(|it| it.is_of_same_service(plugin)).cloned()
    }

    /// Gives streams this reply to a check, and others that are ready.
    fn deliver_replies(&mut self, plugin: &Plugin, reply: Option<CheckReply>) {
        plugin.deliver_replies(reply, |reply| {
            let stream = self.streams.get_mut(&reply.stream);
            match stream {
                Some(stream) if Abi.set_effective_context(reply.stream).is_ok() => {
                    stream.on_check_reply(reply);
                    None
                }
                _ => Some(reply),
            }
        });
    }

    /// Ends a root context that Envoy wants to end, once nothing is left to drain.
    fn end_drained(&mut self, id: u32) {
        let root = self.roots.get(&id);
        if root.is_none_or(|root| root.drain_deadline.is_none()) {
            return;
        }
        let successor = self.successor(id);
        let root = self.roots.get_mut(&id);
        if root.is_some_and(|root| root.end_drained(successor.as_deref())) {
            self.remove_root(id);
            abi::done();
        }
    }

    /// Begins to end a root context. Returns whether nothing is left to drain.
    fn root_done(&mut self, id: u32) -> bool {
        let successor = self.successor(id);
        let root = self.roots.get_mut(&id);
        let is_done = root.is_none_or(|root| root.done(successor.as_deref()));
        if is_done {
            self.remove_root(id);
        }
        is_done
    }

    fn remove_root(&mut self, id: u32) {
        if self.roots.remove(&id).is_some() && self.roots.is_empty() {
            // The VM ends with its last configuration.
            release_gauges(&Abi);
        }
    }

    /// Ends an exchange, once.
    fn end_stream(&mut self, id: u32) {
        if let Some(mut stream) = self.streams.remove(&id) {
            stream.on_log();
        }
    }
}

/// Takes the reply to a gRPC call.
fn reply(root: u32, token: u32, reply: Result<&[u8], u32>) {
    with(|contexts| {
        let plugin = contexts.roots.get(&root).and_then(|it| it.plugin.clone());
        let Some(plugin) = plugin else {
            return;
        };
        let reply = plugin.on_reply(CallId(token), reply);
        contexts.deliver_replies(&plugin, reply);
        contexts.end_drained(root);
    });
}

// === the ABI ===

unsafe extern "C" {
    fn __wasm_call_ctors();
}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: the linker makes this function, and Envoy calls `_initialize` once, before all else.
    unsafe { __wasm_call_ctors() };
    logger::install();
    // A trap ends every exchange of the worker: its reason is logged.
    std::panic::set_hook(Box::new(|panic| {
        log::error!("panic msg={:?}", panic.to_string());
        release_gauges(&Abi);
    }));
    memory::set_failure_hook(|| release_gauges(&Abi));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Allocates memory for a value that Envoy returns: a boxed slice, which the module owns. Without memory it is
/// null, and the call to Envoy fails.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    memory::allocate_slice(size)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, root: u32) {
    with(|contexts| {
        if root == 0 {
            contexts.roots.insert(context, Box::default());
            return;
        }
        let root = contexts.roots.get(&root);
        if let Some(plugin) = root.and_then(|root| root.plugin.as_ref()) {
            let stream = Box::new(plugin.stream(context));
            contexts.streams.insert(context, stream);
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
    with(|contexts| {
        let Contexts {
            roots,
            decoder_memory,
            ..
        } = contexts;
        let root = roots.get_mut(&root);
        root.is_some_and(|root| root.configure(size, decoder_memory))
            .into()
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    with(|contexts| {
        let plugin = contexts.roots.get(&root).and_then(|it| it.plugin.clone());
        if let Some(plugin) = plugin {
            plugin.on_tick();
            contexts.deliver_replies(&plugin, None);
            plugin.poll_queue(|context| {
                let stream = contexts.streams.get_mut(&context)?;
                Abi.set_effective_context(context).ok()?;
                Some(stream.poll_queue())
            });
            // What follows concerns the root again, which is there as its tick is.
            let _ = Abi.set_effective_context(root);
        }
        contexts.end_drained(root);
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _count: usize, end_of_stream: u32) -> u32 {
    stream(context, |stream| {
        stream.on_request_headers(end_of_stream != 0)
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, size: usize, end_of_stream: u32) -> u32 {
    stream(context, |stream| {
        stream.on_request_body(size, end_of_stream != 0)
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(context: u32, _count: usize) -> u32 {
    stream(context, Stream::on_request_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context: u32, _count: usize, end_of_stream: u32) -> u32 {
    stream(context, |stream| {
        stream.on_response_headers(end_of_stream != 0)
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(context: u32, size: usize, end_of_stream: u32) -> u32 {
    stream(context, |stream| {
        stream.on_response_body(size, end_of_stream != 0)
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(context: u32, _count: usize) -> u32 {
    stream(context, Stream::on_response_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_grpc_receive(root: u32, token: u32, size: usize) {
    // One byte more than is read shows that it is too large.
    let size = size.min(MAX_REPLY_BYTES.saturating_add(1));
    let message = Abi.buffer(Buffer::GrpcReply, 0, size);
    // A message that cannot be read is treated as empty.
    reply(root, token, Ok(&message.unwrap_or_default()));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_grpc_close(root: u32, token: u32, status: u32) {
    reply(root, token, Err(status));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(context: u32) {
    with(|contexts| contexts.end_stream(context));
}

// There is no `proxy_on_delete`: it would be one more callback for each exchange, and follows this one.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(context: u32) -> u32 {
    with(|contexts| {
        contexts.end_stream(context);
        contexts.root_done(context).into()
    })
}
