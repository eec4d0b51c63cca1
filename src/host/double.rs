//! A double of Envoy for tests: it records every call, and can be made to fail any of them.
//!
//! Several filters can share one, as the workers of an Envoy share its memory.

use super::metric_batch::MetricBatch;
use super::{
    Buffer, CallId, Direction, FilterState, GrpcCall, HeaderMap, Headers, Host, HostError,
    LocalReply, MetricId, MetricKind, Result, SharedData, SharedDataError, Transport,
    TransportError,
};
use limits::{Nanos, Timestamp};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

/// A kind of call to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::enum_variant_names,
    reason = "the names are those of the methods of `Host`"
)]
pub enum Call {
    Headers(HeaderMap),
    SetHeader(HeaderMap),
    RemoveHeader(HeaderMap),
    Property,
    SetFilterState,
    SetEnvoyFilterState,
    DeclareFilterState,
    Buffer(Buffer),
    ReplaceBuffer(Buffer),
    PrependToBuffer(Buffer),
    SharedData,
    SetSharedData,
    Now,
    Resume(Direction),
    Reply,
    SetEffectiveContext,
    CallGrpc,
    DefineMetric,
    WriteMetric,
    SetTickPeriod,
}

/// A reply that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentReply {
    /// HTTP status.
    pub status: u16,
    /// Response code details.
    pub details: String,
    /// Headers, with values as text.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
    /// gRPC status.
    pub grpc_status: i32,
}

impl SentReply {
    /// Returns the value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A gRPC call that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentCall {
    /// The cluster.
    pub cluster: String,
    /// The service.
    pub service: String,
    /// The method.
    pub method: String,
    /// The metadata.
    pub metadata: Pairs,
    /// The message.
    pub message: Vec<u8>,
    /// Milliseconds until it fails.
    pub timeout_ms: u64,
}

/// Names and values of headers, in order.
pub(crate) type Pairs = Vec<(String, Vec<u8>)>;

/// A value of shared data, and the number of its last write.
pub(crate) type Written = (Vec<u8>, u32);

/// A double of Envoy, whose state is open to the test.
#[derive(Debug, Default)]
pub struct Double {
    /// Header maps; reading one that is absent fails with `HostError::BadArgument`.
    pub headers: RefCell<HashMap<HeaderMap, Pairs>>,
    /// Properties by their path.
    pub properties: RefCell<HashMap<Vec<String>, Vec<u8>>>,
    /// Filter state that was set.
    pub filter_state: RefCell<BTreeMap<String, String>>,
    /// The filter state that was declared, by its key.
    pub declared: RefCell<BTreeMap<String, FilterState>>,
    /// Records in filter state, serialized.
    pub records: RefCell<BTreeMap<String, Vec<u8>>>,
    /// Filter state that was set for Envoy's own filters.
    pub envoy_filter_state: RefCell<BTreeMap<String, String>>,
    /// Buffers; reading one that is absent fails with `HostError::BadArgument`.
    pub buffers: RefCell<HashMap<Buffer, Vec<u8>>>,
    /// Shared data with the number of the last write.
    pub shared: RefCell<HashMap<Vec<u8>, Written>>,
    /// The clock, in nanoseconds.
    pub clock: Cell<u64>,
    /// Directions that were resumed, in order.
    pub resumed: RefCell<Vec<Direction>>,
    /// Replies that were sent.
    pub replies: RefCell<Vec<SentReply>>,
    /// gRPC calls that were made; the identifier of each is its position, from 1 on.
    pub grpc: RefCell<Vec<SentCall>>,
    /// Metrics by name, as far as they were flushed.
    pub metrics: RefCell<Vec<(String, i64)>>,
    /// Every call, in order.
    pub calls: RefCell<Vec<Call>>,
    failures: RefCell<HashMap<Call, (u32, HostError)>>,
    writes: Cell<u32>,
    /// The position of each metric.
    metric_positions: RefCell<HashMap<String, usize>>,
    batch: MetricBatch,
}

// === impl Double ===

impl Double {
    /// Makes the next `times` calls of a kind fail with an error.
    pub fn fail(&self, call: Call, times: u32, error: HostError) {
        self.failures.borrow_mut().insert(call, (times, error));
    }

    /// Makes all calls succeed again.
    pub fn recover(&self) {
        self.failures.borrow_mut().clear();
    }

    /// Returns the number of calls of a kind.
    #[must_use]
    pub fn count(&self, call: Call) -> usize {
        self.calls.borrow().iter().filter(|c| **c == call).count()
    }

    /// Sets the headers of a map.
    pub fn set_headers(&self, map: HeaderMap, headers: &[(&str, &str)]) {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect();
        self.headers.borrow_mut().insert(map, headers);
    }

    /// Sets the value of a property.
    pub fn set_property(&self, path: &[&str], value: &[u8]) {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        self.properties.borrow_mut().insert(path, value.to_vec());
    }

    /// Sets the bytes of a buffer.
    pub fn set_buffer(&self, buffer: Buffer, bytes: &[u8]) {
        self.buffers.borrow_mut().insert(buffer, bytes.to_vec());
    }

    /// Returns the value of a metric, which is flushed; 0 when it was never defined.
    #[must_use]
    pub fn metric(&self, name: &str) -> i64 {
        self.flush_metrics();
        let position = self.metric_positions.borrow().get(name).copied();
        let metrics = self.metrics.borrow();
        let metric = position.and_then(|position| metrics.get(position));
        metric.map_or(0, |(_, value)| *value)
    }

    fn called(&self, call: Call) -> Result<()> {
        self.calls.borrow_mut().push(call);
        match self.failures.borrow_mut().get_mut(&call) {
            Some((times, error)) if *times > 0 => {
                *times = times.saturating_sub(1);
                Err(*error)
            }
            _ => Ok(()),
        }
    }
}

impl SharedData for Double {
    fn shared_data(
        &self,
        key: &[u8],
    ) -> std::result::Result<Option<(Vec<u8>, u32)>, SharedDataError> {
        self.called(Call::SharedData)?;
        Ok(self.shared.borrow().get(key).cloned())
    }

    fn set_shared_data(
        &self,
        key: &[u8],
        value: &[u8],
        expected: u32,
    ) -> std::result::Result<(), SharedDataError> {
        self.called(Call::SetSharedData)?;
        let mut shared = self.shared.borrow_mut();
        if let Some((_, written)) = shared.get(key)
            && expected != 0
            && expected != *written
        {
            return Err(SharedDataError::CasMismatch);
        }
        self.writes.set(self.writes.get().saturating_add(1));
        shared.insert(key.to_vec(), (value.to_vec(), self.writes.get()));
        Ok(())
    }
}

impl Transport for Double {
    fn call_grpc(&self, call: &GrpcCall<'_>) -> std::result::Result<CallId, TransportError> {
        self.called(Call::CallGrpc)?;
        let mut grpc = self.grpc.borrow_mut();
        grpc.push(SentCall {
            cluster: call.cluster.to_owned(),
            service: call.service.to_owned(),
            method: call.method.to_owned(),
            metadata: call
                .metadata
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
                .collect(),
            message: call.message.to_vec(),
            timeout_ms: call.timeout.as_millis(),
        });
        let token = u32::try_from(grpc.len()).map_err(|_| HostError::InternalFailure)?;
        Ok(CallId(token))
    }
}

impl Host for Double {
    fn headers(&self, map: HeaderMap) -> Result<Headers> {
        self.called(Call::Headers(map))?;
        let headers = self.headers.borrow();
        let pairs = headers.get(&map).ok_or(HostError::BadArgument)?;
        Ok(Headers::from_pairs(
            pairs
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice())),
        ))
    }

    fn set_header(&self, map: HeaderMap, name: &str, value: &[u8]) -> Result<()> {
        self.called(Call::SetHeader(map))?;
        let mut headers = self.headers.borrow_mut();
        let pairs = headers.get_mut(&map).ok_or(HostError::BadArgument)?;
        pairs.retain(|(key, _)| key != name);
        pairs.push((name.to_owned(), value.to_vec()));
        Ok(())
    }

    fn remove_header(&self, map: HeaderMap, name: &str) -> Result<()> {
        self.called(Call::RemoveHeader(map))?;
        let mut headers = self.headers.borrow_mut();
        let pairs = headers.get_mut(&map).ok_or(HostError::BadArgument)?;
        pairs.retain(|(key, _)| key != name);
        Ok(())
    }

    fn property(&self, path: &[&str]) -> Result<Option<Vec<u8>>> {
        self.called(Call::Property)?;
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        Ok(self.properties.borrow().get(&path).cloned())
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) -> Result<()> {
        self.called(Call::SetFilterState)?;
        match self.declared.borrow().get(key) {
            // It can be read as a property.
            Some(FilterState::OfRequest) => self.set_property(&[key], value),
            Some(FilterState::Record) => {
                let mut records = self.records.borrow_mut();
                records.insert(key.to_owned(), value.to_vec());
                return Ok(());
            }
            None => {}
        }
        let value = String::from_utf8_lossy(value).into_owned();
        self.filter_state.borrow_mut().insert(key.to_owned(), value);
        Ok(())
    }

    fn declare_filter_state(&self, key: &str, form: FilterState) -> Result<()> {
        self.called(Call::DeclareFilterState)?;
        self.declared.borrow_mut().insert(key.to_owned(), form);
        Ok(())
    }

    fn set_envoy_filter_state(&self, key: &str, value: &[u8]) -> Result<()> {
        self.called(Call::SetEnvoyFilterState)?;
        let value = String::from_utf8_lossy(value).into_owned();
        let mut state = self.envoy_filter_state.borrow_mut();
        state.insert(key.to_owned(), value);
        Ok(())
    }

    fn buffer(&self, buffer: Buffer, start: usize, max: usize) -> Result<Vec<u8>> {
        self.called(Call::Buffer(buffer))?;
        let buffers = self.buffers.borrow();
        let bytes = buffers.get(&buffer).ok_or(HostError::BadArgument)?;
        let rest = bytes.get(start..).unwrap_or_default();
        Ok(rest.get(..max).unwrap_or(rest).to_vec())
    }

    fn replace_buffer(&self, buffer: Buffer, bytes: &[u8]) -> Result<()> {
        self.called(Call::ReplaceBuffer(buffer))?;
        self.buffers.borrow_mut().insert(buffer, bytes.to_vec());
        Ok(())
    }

    fn prepend_to_buffer(&self, buffer: Buffer, bytes: &[u8]) -> Result<()> {
        self.called(Call::PrependToBuffer(buffer))?;
        let mut buffers = self.buffers.borrow_mut();
        buffers
            .entry(buffer)
            .or_default()
            .splice(0..0, bytes.iter().copied());
        Ok(())
    }

    fn now(&self) -> Result<Timestamp> {
        self.called(Call::Now)?;
        Ok(Timestamp::new(self.clock.get()))
    }

    fn resume(&self, direction: Direction) -> Result<()> {
        self.called(Call::Resume(direction))?;
        self.resumed.borrow_mut().push(direction);
        Ok(())
    }

    fn reply(&self, reply: &LocalReply<'_>) -> Result<()> {
        self.called(Call::Reply)?;
        self.replies.borrow_mut().push(SentReply {
            status: reply.status,
            details: reply.details.to_owned(),
            headers: reply
                .headers
                .iter()
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value).into_owned();
                    ((*name).to_owned(), value)
                })
                .collect(),
            body: String::from_utf8_lossy(reply.body).into_owned(),
            grpc_status: reply.grpc_status,
        });
        Ok(())
    }

    fn set_effective_context(&self, _context: u32) -> Result<()> {
        self.called(Call::SetEffectiveContext)
    }

    fn define_metric(&self, _kind: MetricKind, name: &str) -> Result<MetricId> {
        self.called(Call::DefineMetric)?;
        let known = self.metric_positions.borrow().get(name).copied();
        let position = known.unwrap_or_else(|| {
            let mut metrics = self.metrics.borrow_mut();
            let position = metrics.len();
            metrics.push((name.to_owned(), 0));
            let mut positions = self.metric_positions.borrow_mut();
            positions.insert(name.to_owned(), position);
            position
        });
        u32::try_from(position)
            .map(MetricId)
            .map_err(|_| HostError::InternalFailure)
    }

    fn add_to_metric(&self, metric: MetricId, amount: i64) {
        self.batch.add(metric, amount);
    }

    fn write_metric(&self, metric: MetricId, amount: i64) -> Result<()> {
        self.called(Call::WriteMetric)?;
        let mut metrics = self.metrics.borrow_mut();
        let index = usize::try_from(metric.0).map_err(|_| HostError::BadArgument)?;
        let (_, value) = metrics.get_mut(index).ok_or(HostError::NotFound)?;
        *value = value.saturating_add(amount);
        Ok(())
    }

    fn flush_metrics(&self) {
        let batch = &self.batch;
        batch.flush(|metric, amount| self.write_metric(metric, amount));
    }

    fn set_tick_period(&self, _period: Nanos) -> Result<()> {
        self.called(Call::SetTickPeriod)
    }
}
