//! The module's entry points: Proxy-Wasm's callbacks (ABI 0.2.1), handed on to [`Plugin`] and
//! [`Stream`].
//!
//! The filter has a dispatcher of its own because a reply to a gRPC call must find its way whatever
//! has become of the stream that made it: that of a stream that is gone gives back what the reply
//! grants, and a settlement belongs to no stream at all.

use crate::host::abi::{self, Abi};
use crate::host::{Buffer, Host, logger};
use crate::plugin::Plugin;
use crate::stream::{Next, Stream};
use limits::service::{CallId, MAX_REPLY_BYTES};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// For how long a configuration that is no longer in force tries to tell what is left to tell, in
/// nanoseconds.
const LEAVING: u64 = 30_000_000_000;

/// What Envoy knows of this VM.
#[derive(Default)]
struct Contexts {
    roots: BTreeMap<u32, Root>,
    streams: BTreeMap<u32, Stream>,
}

/// The plugin's root context: the configuration in force. A configuration that is refused never
/// comes to be in force, because Envoy then keeps the context that has the last good one.
#[derive(Default)]
struct Root {
    plugin: Option<Rc<Plugin>>,
    /// Until when it may go on, once Envoy wants it to end.
    leaves_at: Option<u64>,
}

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

/// Runs a callback. Envoy calls none while another runs; if it did, that one would not be.
fn with<T: Default>(callback: impl FnOnce(&mut Contexts) -> T) -> T {
    CONTEXTS.with(|contexts| match contexts.try_borrow_mut() {
        Ok(mut contexts) => callback(&mut contexts),
        Err(_) => T::default(),
    })
}

/// Runs a callback of a stream. One that is not known goes on as if there were no filter.
fn stream(context: u32, callback: impl FnOnce(&mut Stream) -> Next) -> u32 {
    with(|contexts| {
        let next = contexts.streams.get_mut(&context).map(callback);
        match next {
            None | Some(Next::Continue) => 0,
            Some(Next::Pause) => 1,
            Some(Next::Stall) => 2,
        }
    })
}

// === impl Root ===

impl Root {
    fn configure(&mut self, size: usize) -> bool {
        let configured = Abi
            .buffer(Buffer::PluginConfiguration, 0, size)
            .map_err(|error| error.to_string())
            .and_then(|json| {
                Plugin::configure(Rc::new(Abi), &json).map_err(|error| error.to_string())
            });
        match configured {
            Ok(plugin) => {
                self.plugin = Some(Rc::new(plugin));
                true
            }
            Err(error) => {
                log::error!("configuration refused\n{error}");
                false
            }
        }
    }

    /// Envoy wants the context to end. Returns whether it may, at once.
    fn done(&mut self) -> bool {
        let done = self.plugin.as_ref().is_none_or(|plugin| plugin.on_done());
        if !done {
            let now = Abi.now().unwrap_or_default();
            self.leaves_at = Some(now.saturating_add(LEAVING));
        }
        done
    }

    /// Ends the context that Envoy wanted to end, if there is nothing left to wait for.
    fn leave(&mut self) {
        let Some(leaves_at) = self.leaves_at else {
            return;
        };
        let drained = self
            .plugin
            .as_ref()
            .is_none_or(|plugin| plugin.is_drained());
        let late = Abi.now().is_ok_and(|now| now > leaves_at);
        if drained || late {
            self.leaves_at = None;
            abi::done();
        }
    }
}

/// A reply to a call has come.
fn reply(root: u32, token: u32, reply: Result<&[u8], u32>) {
    with(|contexts| {
        let Some(root) = contexts.roots.get_mut(&root) else {
            return;
        };
        let Some(plugin) = root.plugin.clone() else {
            return;
        };
        if let Some(answered) = plugin.on_reply(CallId(token), reply) {
            let stream = contexts.streams.get_mut(&answered.stream);
            match stream {
                Some(stream) if Abi.set_effective_context(answered.stream).is_ok() => {
                    stream.on_answer(answered);
                }
                _ => plugin.give_back(answered),
            }
        }
        root.leave();
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
    // A trap ends every exchange of its worker; it should at least say why.
    std::panic::set_hook(Box::new(|panic| {
        log::error!("{panic}");
    }));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Memory for what Envoy returns: a boxed slice, whose owner the module is.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let bytes: Box<[std::mem::MaybeUninit<u8>]> = Box::new_uninit_slice(size);
    Box::into_raw(bytes).cast()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, root: u32) {
    with(|contexts| {
        if root == 0 {
            contexts.roots.insert(context, Root::default());
        } else if let Some(Root {
            plugin: Some(plugin),
            ..
        }) = contexts.roots.get(&root)
        {
            let stream = Stream::new(Rc::clone(plugin), context);
            contexts.streams.insert(context, stream);
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
    with(|contexts| {
        let root = contexts.roots.get_mut(&root);
        root.is_some_and(|root| root.configure(size)).into()
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    with(|contexts| {
        let Contexts { roots, streams } = contexts;
        let Some(Root { plugin, .. }) = roots.get(&root) else {
            return;
        };
        if let Some(plugin) = plugin {
            plugin.on_tick();
            plugin.look_again(|context| {
                let stream = streams.get_mut(&context)?;
                Abi.set_effective_context(context).ok()?;
                Some(stream.on_turn())
            });
            // What follows concerns the root again, which is there as its tick is.
            let _ = Abi.set_effective_context(root);
        }
        if let Some(root) = roots.get_mut(&root) {
            root.leave();
        }
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
    // A message that cannot be had is none.
    reply(root, token, Ok(&message.unwrap_or_default()));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_grpc_close(root: u32, token: u32, status: u32) {
    reply(root, token, Err(status));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(context: u32) {
    stream(context, |stream| {
        stream.on_log();
        Next::Continue
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(context: u32) -> u32 {
    with(|contexts| {
        let root = contexts.roots.get_mut(&context);
        root.is_none_or(Root::done).into()
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    with(|contexts| {
        contexts.streams.remove(&context);
        contexts.roots.remove(&context);
    });
}
