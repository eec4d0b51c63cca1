//! The bounds of a configuration. What exceeds them is rejected, so that nothing in the filter is unbounded.

use std::ops::RangeInclusive;
use std::time::Duration;

use usage_meter::{Pointer, UsagePaths, UsagePointer};

/// Bytes of the whole configuration.
pub const CONFIGURATION_BYTES: usize = 1 << 20;
/// Policies in `policies`.
pub const POLICIES: usize = 1024;
/// Routes in `routes`.
pub const ROUTES: usize = 1024;
/// Hostnames of one route, as in the Gateway API.
pub const ROUTE_HOSTNAMES: usize = 16;
/// Rules of one route, as in the Gateway API.
pub const ROUTE_RULES: usize = 16;
/// Matches of one rule, as in the Gateway API.
pub const ROUTE_MATCHES: usize = 64;
/// Matches of all routes together, each counted once per hostname of its route.
pub const ROUTING: usize = 16_384;
/// Headers or query parameters of one match, as in the Gateway API.
pub const ROUTE_NAMED: usize = 16;
/// Bytes of a path, a header or a query parameter of a match: the largest of the Gateway API's bounds.
pub const ROUTE_VALUE_BYTES: usize = 4096;
/// Limits of one policy.
pub const LIMITS: usize = 1024;
/// Limits of all policies together, each of which has metrics of its own.
pub const ALL_LIMITS: usize = 8192;
/// Rates of one limit: the counters of all of them are read and written together.
pub const RATES: usize = 64;
/// Counter expressions of one limit. Kuadrant has no bound.
pub const COUNTERS: usize = 1024;
/// Predicates in one `when`. Kuadrant has no bound.
pub const PREDICATES: usize = 1024;
/// Bytes of one CEL expression.
pub const EXPRESSION_BYTES: usize = 4096;
/// Bytes of a name: of a policy, a namespace, a limit, a metadata namespace, a filter state key.
pub const NAME_BYTES: usize = 253;
/// Bytes of the path of the usage endpoint.
pub const USAGE_PATH_BYTES: usize = 256;
/// Counters of each limit that `track.top` keeps.
pub const TRACKED_COUNTERS: RangeInclusive<u64> = 1..=1_000;
/// Bytes of the name of a header.
pub const HEADER_NAME_BYTES: usize = 128;
/// Sources in `auth`.
pub const AUTH_SOURCES: usize = 16;
/// Rules in `access`.
pub const ACCESS_RULES: usize = 256;
/// Models of one rule in `access`.
pub const ACCESS_MODELS: usize = 256;
/// Bytes of a code in the body of a rejection.
pub const REPLY_CODE_BYTES: usize = 64;
/// Headers in one `auth` source.
pub const AUTH_HEADERS: usize = 64;
/// Segments of a path below `auth`.
pub const AUTH_PATH_SEGMENTS: usize = 16;
/// `storage.maxCounters`.
pub const MAX_COUNTERS: RangeInclusive<u64> = 64..=16_777_216;
/// Bytes of `storage.cluster`: Istio's names (`outbound|8081|subset|service.namespace.svc.cluster.local`) have up to
/// 350.
pub const CLUSTER_BYTES: usize = 1024;
/// Bytes of `storage.domain`.
pub const DOMAIN_BYTES: usize = 253;
/// `storage.timeout`, in whole milliseconds.
pub const STORAGE_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(60);
/// `storage.flush`, in whole milliseconds. Usage that waits for a flush is not counted yet, so this is short.
pub const STORAGE_FLUSH: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(1);
/// `storage.lease.amount`, in tokens or whatever a limit counts: less than one settlement reports at most, as all of a
/// slice is committed by one.
pub const LEASE_AMOUNT: RangeInclusive<u64> = 1..=100_000_000_000;
/// `storage.lease.requests`.
pub const LEASE_REQUESTS: RangeInclusive<u64> = 1..=1_000_000;
/// `storage.lease.ttl`: a slice is reserved for twice as long, and limitador keeps no reservation for more than a minute.
pub const LEASE_TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);
/// `requestBody.maxBytes`: a body is held in one piece, and copied once, in a VM that has 1 GiB.
pub const REQUEST_BODY_BYTES: RangeInclusive<u64> = 1..=64 * 1024 * 1024;
/// `requestBody.workerBytes`: half of the memory that a VM has.
pub const REQUEST_BODIES_BYTES: RangeInclusive<u64> = 1..=512 * 1024 * 1024;
/// `memory.perWorker`: a VM has 1 GiB, and what its allocator cannot use because no piece is large enough, the
/// largest body and its copy come on top.
pub const WORKER_BYTES: RangeInclusive<u64> = 32 * 1024 * 1024..=768 * 1024 * 1024;
/// `expressions.steps`: from what a few operators on texts take to twenty times the default.
pub const EXPRESSION_STEPS: RangeInclusive<u64> = 1_000..=1_000_000;
/// `expressions.bytes`: at most a fraction of the memory that a VM has.
pub const EXPRESSION_PRODUCED_BYTES: RangeInclusive<u64> = 4 * 1024..=64 * 1024 * 1024;
/// `usage.backgroundTtl`: from a second to a day.
pub const BACKGROUND_TTL: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
/// Methods in `usage.methods`: without any, every response would be free.
pub const METHODS: RangeInclusive<usize> = 1..=16;
/// Bytes of the name of a method.
pub const METHOD_BYTES: usize = 32;
/// JSON pointers to one number in `usage.paths`.
pub const USAGE_PATHS: RangeInclusive<usize> = 1..=8;
/// JSON pointers in `dataExtraction.response.totalTokens`, as in Kuadrant's CRD.
pub const TOTAL_TOKENS: RangeInclusive<usize> = 1..=8;
/// Names in `dataExtraction.response`, as in Kuadrant's CRD.
pub const EXTRACTED_NUMBERS: usize = 16;
/// Bytes of a JSON pointer to a number of tokens, or of a sum of them.
pub const POINTER_BYTES: usize = 1024;
/// Keys and indexes of a JSON pointer to a number of tokens.
pub const POINTER_PARTS: usize = Pointer::MAX_PARTS;
/// JSON pointers in a sum.
pub const POINTER_TERMS: usize = UsagePointer::MAX_TERMS;
/// Distinct JSON pointers of all policies and `usage.paths`, which are all searched in one pass.
pub const POINTERS: usize = UsagePaths::MAX_POINTERS;
/// `replies.status`: a rejection is an error to the client.
pub const REPLY_STATUS: RangeInclusive<u64> = 400..=599;
/// Bytes of `replies.contentType`.
pub const REPLY_CONTENT_TYPE_BYTES: usize = 256;
/// Bytes of `replies.body`.
pub const REPLY_BODY_BYTES: usize = 65_536;
/// `replies.maxRetryAfter`: up to the longest window, so that every wait can be requested.
pub const MAX_RETRY_AFTER: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_nanos(WINDOW_NANOS);
/// Headers in `replies.extra`.
pub const REPLY_EXTRA_HEADERS: usize = 16;
/// `rates[].limit`: integers that every JSON writer represents exactly.
pub const LIMIT: RangeInclusive<u64> = 0..=9_007_199_254_740_991;
/// Models in `pricing`.
pub const PRICES: usize = 1024;
/// A price per million tokens, in billionths of a US dollar: at most a million dollars.
pub const PRICE_BILLIONTHS: RangeInclusive<u64> = 0..=1_000_000_000_000_000;
/// `budgets[].usd`, in billionths of a US dollar: at most a billion dollars.
pub const BUDGET_BILLIONTHS: RangeInclusive<u64> = 0..=1_000_000_000_000_000_000;
/// Costs in `export`.
pub const EXPORTS: usize = 16;
/// `concurrency`: requests in flight.
pub const CONCURRENCY: RangeInclusive<u64> = 1..=1_000_000;
/// `alertAt`, in parts per million of the limit: more than none and less than all of it.
pub const ALERT_AT: RangeInclusive<u32> = 1..=999_999;
/// `onExceeded.queue.depth`: requests queued at one counter.
pub const QUEUE_DEPTH: RangeInclusive<u64> = 1..=1024;
/// `onExceeded.queue.timeout`.
pub const QUEUE_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(600);
/// Alternatives of one limit.
pub const ALTERNATIVES: usize = 16;
/// Headers of one alternative.
pub const ALTERNATIVE_HEADERS: usize = 16;
/// Bytes of the value of a header.
pub const HEADER_VALUE_BYTES: usize = 1024;
/// `reservation.ttl`: from a second to a day.
pub const RESERVATION_TTL: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
/// `reservation.max`: a limit that can reserve anything.
pub const RESERVATION_MAX: RangeInclusive<u64> = 1..=*LIMIT.end();
/// `capMin`, `capMax` and `capParts`: more tokens than any model generates at once.
pub const CAP_TOKENS: RangeInclusive<u64> = 1..=10_000_000;
/// The longest window, a year of 366 days, in nanoseconds.
pub const WINDOW_NANOS: u64 = 366 * 24 * 3600 * 1_000_000_000;
/// Validation errors that one report keeps; further ones are counted.
pub const VALIDATION_ERRORS: usize = 64;
