//! The host on Proxy-Wasm's ABI, version 0.2.1: calls from the module to Envoy. `entry` has the other
//! direction.
//!
//! An SDK is not used because its wrappers panic on a status that they do not expect and on bytes that
//! are not UTF-8, so that one header of a client ends the VM. Here every status is returned.

use super::metric_batch::MetricBatch;
use super::{
    Buffer, CallId, Direction, FilterState, GrpcCall, HeaderMap, Headers, Host, HostError,
    LocalReply, MetricId, MetricKind, Result, SharedData, SharedDataError, Transport,
    TransportError, envoy_message, headers,
};
use limits::{Nanos, Timestamp};
use std::cell::Cell;
use std::ptr;

thread_local! {
    /// What Envoy does not know yet of the metrics of all configurations.
    static METRICS: MetricBatch = const { MetricBatch::new() };
    /// The time of the callback that is running, once it was read.
    static NOW: Cell<Option<Timestamp>> = const { Cell::new(None) };
}

/// Envoy, through the ABI.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Abi;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(
        buffer: u32,
        start: usize,
        replaced: usize,
        data: *const u8,
        size: usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, size: usize) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        size: usize,
        cas: u32,
    ) -> u32;
    fn proxy_continue_stream(direction: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        results: *mut *mut u8,
        results_size: *mut usize,
    ) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_done() -> u32;
    fn proxy_grpc_call(
        service: *const u8,
        service_size: usize,
        service_name: *const u8,
        service_name_size: usize,
        method: *const u8,
        method_size: usize,
        metadata: *const u8,
        metadata_size: usize,
        message: *const u8,
        message_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, amount: i64) -> u32;
}

/// Begins a callback: its time is not known yet.
pub(crate) fn begin_callback() {
    NOW.set(None);
}

/// Ends the context whose callback is running, after its `on_done` returned false.
pub(crate) fn done() {
    // SAFETY: no pointers.
    // A context that cannot end now ends with the VM.
    let _ = unsafe { proxy_done() };
}

/// Writes a line to Envoy's log, at one of the ABI's levels.
pub(super) fn log(level: u32, message: &str) {
    // SAFETY: the pointer is to a live value of the size given.
    // A line that cannot be written has nowhere to be reported.
    let _ = unsafe { proxy_log(level, message.as_ptr(), message.len()) };
}

/// Returns the level below which Envoy drops lines.
pub(super) fn log_level() -> Result<u32> {
    let mut level = 0;
    // SAFETY: the pointer is to a live value.
    check(unsafe { proxy_get_log_level(&raw mut level) })?;
    Ok(level)
}

/// Returns the error that a status stands for, if it is not success.
fn check(status: u32) -> Result<()> {
    HostError::from_status(status).map_or(Ok(()), Err)
}

/// Returns bytes that Envoy allocated with the module's allocator, and that the module owns.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>> {
    let mut data: *mut u8 = ptr::null_mut();
    let mut size: usize = 0;
    check(call(&raw mut data, &raw mut size))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: Envoy got `data` from `proxy_on_memory_allocate(size)`, which hands out a boxed
    // slice of exactly that size, and wrote all of it.
    let slice = unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(data, size)) };
    Ok(slice.into_vec())
}

/// Calls a function that Envoy has beside the ABI, and drops what it returns.
fn call_foreign_function(name: &str, arguments: &[u8]) -> Result<()> {
    // SAFETY: all pointers are to live values of the sizes given.
    returned(|data, size| unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            arguments.as_ptr(),
            arguments.len(),
            data,
            size,
        )
    })
    .map(drop)
}

/// Returns the ABI's form of a property path: its parts, separated by zero bytes.
fn joined(path: &[&str]) -> Vec<u8> {
    path.join("\0").into_bytes()
}

// === impl Abi ===

impl SharedData for Abi {
    fn shared_data(
        &self,
        key: &[u8],
    ) -> std::result::Result<Option<(Vec<u8>, u32)>, SharedDataError> {
        let mut cas = 0;
        // SAFETY: all pointers are to live values of the sizes given.
        let value = returned(|data, size| unsafe {
            proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut cas)
        });
        match value {
            Ok(value) => Ok(Some((value, cas))),
            Err(HostError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn set_shared_data(
        &self,
        key: &[u8],
        value: &[u8],
        expected: u32,
    ) -> std::result::Result<(), SharedDataError> {
        // SAFETY: all pointers are to live values of the sizes given.
        check(unsafe {
            proxy_set_shared_data(
                key.as_ptr(),
                key.len(),
                value.as_ptr(),
                value.len(),
                expected,
            )
        })?;
        Ok(())
    }
}

impl Transport for Abi {
    fn call_grpc(&self, call: &GrpcCall<'_>) -> std::result::Result<CallId, TransportError> {
        // Envoy aborts on a service without a target.
        if call.cluster.is_empty() {
            return Err(HostError::BadArgument.into());
        }
        let upstream = envoy_message::grpc_service(call.cluster);
        let metadata = headers::serialize(call.metadata);
        let mut token = 0;
        let timeout_ms = u32::try_from(call.timeout.as_millis()).unwrap_or(u32::MAX);
        // SAFETY: all pointers are to live values of the sizes given.
        check(unsafe {
            proxy_grpc_call(
                upstream.as_ptr(),
                upstream.len(),
                call.service.as_ptr(),
                call.service.len(),
                call.method.as_ptr(),
                call.method.len(),
                metadata.as_ptr(),
                metadata.len(),
                call.message.as_ptr(),
                call.message.len(),
                timeout_ms,
                &raw mut token,
            )
        })?;
        Ok(CallId(token))
    }
}

impl Host for Abi {
    fn headers(&self, map: HeaderMap) -> Result<Headers> {
        // SAFETY: `returned` passes pointers to live values.
        let bytes =
            returned(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) })?;
        Ok(Headers::from_abi(bytes))
    }

    fn set_header(&self, map: HeaderMap, name: &str, value: &[u8]) -> Result<()> {
        // SAFETY: all pointers are to live values of the sizes given.
        check(unsafe {
            proxy_replace_header_map_value(
                map as u32,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        })
    }

    fn remove_header(&self, map: HeaderMap, name: &str) -> Result<()> {
        // SAFETY: the pointer is to a live value of the size given.
        check(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
    }

    fn property(&self, path: &[&str]) -> Result<Option<Vec<u8>>> {
        let path = joined(path);
        // SAFETY: all pointers are to live values of the sizes given.
        let value = returned(|data, size| unsafe {
            proxy_get_property(path.as_ptr(), path.len(), data, size)
        });
        match value {
            Ok(value) => Ok(Some(value)),
            Err(HostError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) -> Result<()> {
        // SAFETY: all pointers are to live values of the sizes given.
        check(unsafe { proxy_set_property(key.as_ptr(), key.len(), value.as_ptr(), value.len()) })
    }

    fn declare_filter_state(&self, key: &str, form: FilterState) -> Result<()> {
        call_foreign_function("declare_property", &envoy_message::declaration(key, form))
    }

    fn set_envoy_filter_state(&self, key: &str, value: &[u8]) -> Result<()> {
        let arguments = envoy_message::filter_state_arguments(key, value);
        call_foreign_function("set_envoy_filter_state", &arguments)
    }

    fn buffer(&self, buffer: Buffer, start: usize, max: usize) -> Result<Vec<u8>> {
        // SAFETY: `returned` passes pointers to live values.
        let bytes = returned(|data, size| unsafe {
            proxy_get_buffer_bytes(buffer as u32, start, max, data, size)
        });
        match bytes {
            // An empty buffer is `NotFound`.
            Err(HostError::NotFound) => Ok(Vec::new()),
            bytes => bytes,
        }
    }

    fn replace_buffer(&self, buffer: Buffer, bytes: &[u8]) -> Result<()> {
        // SAFETY: the pointer is to a live value of the size given.
        check(unsafe {
            proxy_set_buffer_bytes(buffer as u32, 0, usize::MAX, bytes.as_ptr(), bytes.len())
        })
    }

    fn prepend_to_buffer(&self, buffer: Buffer, bytes: &[u8]) -> Result<()> {
        // SAFETY: the pointer is to a live value of the size given.
        check(unsafe { proxy_set_buffer_bytes(buffer as u32, 0, 0, bytes.as_ptr(), bytes.len()) })
    }

    fn now(&self) -> Result<Timestamp> {
        if let Some(now) = NOW.get() {
            return Ok(now);
        }
        let mut time = 0;
        // SAFETY: the pointer is to a live value.
        check(unsafe { proxy_get_current_time_nanoseconds(&raw mut time) })?;
        let now = Timestamp::new(time);
        NOW.set(Some(now));
        Ok(now)
    }

    fn resume(&self, direction: Direction) -> Result<()> {
        // SAFETY: no pointers.
        check(unsafe { proxy_continue_stream(direction as u32) })
    }

    fn reply(&self, reply: &LocalReply<'_>) -> Result<()> {
        let headers = headers::serialize(reply.headers);
        // SAFETY: all pointers are to live values of the sizes given.
        check(unsafe {
            proxy_send_local_response(
                u32::from(reply.status),
                reply.details.as_ptr(),
                reply.details.len(),
                reply.body.as_ptr(),
                reply.body.len(),
                headers.as_ptr(),
                headers.len(),
                reply.grpc_status,
            )
        })
    }

    fn set_effective_context(&self, context: u32) -> Result<()> {
        // SAFETY: no pointers.
        check(unsafe { proxy_set_effective_context(context) })
    }

    fn define_metric(&self, kind: MetricKind, name: &str) -> Result<MetricId> {
        let mut id = 0;
        // SAFETY: all pointers are to live values of the sizes given.
        check(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) })?;
        let id = MetricId(id);
        if kind == MetricKind::Gauge {
            // Its entry exists from now on, so that no allocation fails while it is changed.
            self.add_to_metric(id, 0);
        }
        Ok(id)
    }

    fn add_to_metric(&self, metric: MetricId, amount: i64) {
        METRICS.with(|metrics| metrics.add(metric, amount));
    }

    fn write_metric(&self, metric: MetricId, amount: i64) -> Result<()> {
        // SAFETY: no pointers.
        check(unsafe { proxy_increment_metric(metric.0, amount) })
    }

    fn flush_metrics(&self) {
        METRICS.with(|metrics| metrics.flush(|metric, amount| self.write_metric(metric, amount)));
    }

    fn set_tick_period(&self, period: Nanos) -> Result<()> {
        let milliseconds = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
        // SAFETY: no pointers.
        check(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
    }
}
