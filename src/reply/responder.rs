//! Local replies, and quota headers of admitted responses.

use super::error::{self, ErrorKind};
use super::labels::QuotaLabels;
use super::quota::{Quota, most_constrained};
use super::units::seconds;
use super::{body, budget, draft03, ietf, named, openai};
use crate::host::{HeaderMap, Host, LocalReply, is_header_value};
use crate::ledger::{Admission, Rejection};
use crate::policies::{Policies, Unit};
use filter_config::QuotaHeaders;
use limits::{Nanos, Timestamp};
use std::rc::Rc;
use usage_meter::request::Endpoint;

/// gRPC's `RESOURCE_EXHAUSTED`.
const RESOURCE_EXHAUSTED: i32 = 8;

/// gRPC's `INVALID_ARGUMENT`.
const INVALID_ARGUMENT: i32 = 3;

/// gRPC's `PERMISSION_DENIED`.
const PERMISSION_DENIED: i32 = 7;

/// gRPC's `INTERNAL`.
const INTERNAL: i32 = 13;

/// gRPC's `UNAVAILABLE`.
const UNAVAILABLE: i32 = 14;

/// When a client may try again after a rejection for want of memory, in seconds: it is not known when exchanges end.
const OVERLOAD_RETRY_AFTER: &[u8] = b"1";

/// The response header that names the limits whose use is past their `alertAt`.
const ALERT: &str = "x-ratelimit-alert";

/// The author of local replies and quota headers.
pub(crate) struct Responder {
    host: Rc<dyn Host>,
    policies: Rc<Policies>,
    /// The labels of each rate, in the order of the rates.
    labels: Vec<QuotaLabels>,
}

// === impl Responder ===

impl Responder {
    /// Prepares what the responses about each rate have in common.
    #[must_use]
    pub(crate) fn new(host: Rc<dyn Host>, policies: Rc<Policies>) -> Self {
        Self {
            labels: QuotaLabels::of(policies.configuration(), policies.rates()),
            host,
            policies,
        }
    }

    /// Rejects a request because of a limit. Headers of a rate limit service replace ours of the same
    /// name. Returns whether Envoy took the reply.
    #[cold]
    pub(crate) fn reject(
        &self,
        rejection: &Rejection,
        endpoint: Option<&Endpoint>,
        service_headers: &[(String, Vec<u8>)],
    ) -> bool {
        let Rejection { charge, now } = rejection;
        let Some(quota) = Quota::new(&self.policies, &self.labels, charge, *now) else {
            return false;
        };
        let replies = &self.policies.configuration().replies;
        // It is not known when requests in flight end: a second is as good as any other time.
        let wait = match quota.reset() {
            Nanos::ZERO => Nanos::SECOND,
            reset => reset,
        };
        let retry_after = seconds(wait);
        let content_type = replies.content_type.as_deref();
        let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
        let mut add = |name: &str, value: &[u8]| headers.push((name.to_owned(), value.to_vec()));
        add(
            "content-type",
            content_type.unwrap_or("application/json").as_bytes(),
        );
        let mut number = itoa::Buffer::new();
        add("retry-after", number.format(retry_after).as_bytes());
        let milliseconds = wait.as_u64().div_ceil(Nanos::MILLISECOND.as_u64());
        add("retry-after-ms", number.format(milliseconds).as_bytes());
        let style = replies.headers.as_ref().unwrap_or(&QuotaHeaders::Draft03);
        write_quotas(style, vec![quota], Some(retry_after), &mut add);
        let is_ours = |name: &str| service_headers.iter().all(|(service, _)| service != name);
        let headers: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .filter(|(name, value)| is_header_value(value) && is_ours(name))
            .chain(
                service_headers
                    .iter()
                    .map(|(name, value)| (&**name, &**value)),
            )
            .collect();
        let body = body::rejection(&quota, replies, endpoint, retry_after);
        let reply = LocalReply {
            status: replies.status,
            details: "tollgate_denied",
            headers: &headers,
            body: body.as_bytes(),
            grpc_status: RESOURCE_EXHAUSTED,
        };
        self.host.reply(&reply).is_ok()
    }

    /// Rejects a request because its policy could not be evaluated. Returns whether Envoy took the
    /// reply.
    pub(crate) fn fail(&self, endpoint: Option<&Endpoint>) -> bool {
        let message = "The token rate limit of this request could not be determined.";
        let status = (500, INTERNAL);
        self.error(
            endpoint,
            ErrorKind::Failed,
            message,
            status,
            "tollgate_failed",
        )
    }

    /// Rejects a request because its body is malformed. Returns whether Envoy took the reply.
    pub(crate) fn reject_invalid(&self, endpoint: Option<&Endpoint>) -> bool {
        let message = "The body of the request is not valid JSON.";
        let status = (400, INVALID_ARGUMENT);
        let details = "tollgate_invalid_request";
        self.error(endpoint, ErrorKind::Invalid, message, status, details)
    }

    /// Rejects a request because its model has no price. Returns whether Envoy took the reply.
    pub(crate) fn reject_unpriced(&self, endpoint: Option<&Endpoint>) -> bool {
        let message = "The model has no price, and this budget admits only models that have one.";
        let status = (403, PERMISSION_DENIED);
        let details = "tollgate_unpriced";
        self.error(endpoint, ErrorKind::Unpriced, message, status, details)
    }

    /// Rejects a request because the worker has no memory left for it. Returns whether Envoy took the reply.
    pub(crate) fn reject_overload(&self, endpoint: Option<&Endpoint>) -> bool {
        let message = "The gateway is overloaded. Please retry shortly.";
        let status = (503, UNAVAILABLE);
        let details = "tollgate_overloaded";
        self.error(endpoint, ErrorKind::Overloaded, message, status, details)
    }

    /// Answers with an error, its status of HTTP and that of gRPC.
    #[cold]
    fn error(
        &self,
        endpoint: Option<&Endpoint>,
        kind: ErrorKind,
        message: &str,
        (status, grpc_status): (u16, i32),
        details: &str,
    ) -> bool {
        const CONTENT_TYPE: (&str, &[u8]) = ("content-type", b"application/json");
        let headers: &[_] = match kind {
            ErrorKind::Overloaded => &[CONTENT_TYPE, ("retry-after", OVERLOAD_RETRY_AFTER)],
            _ => &[CONTENT_TYPE],
        };
        let shape = self.policies.configuration().replies.error;
        let body = error::body(shape, endpoint, kind, message, status);
        let reply = LocalReply {
            status,
            details,
            headers,
            body: body.as_bytes(),
            grpc_status,
        };
        self.host.reply(&reply).is_ok()
    }

    /// Adds to the response of an admitted request: the names of limits past their `alertAt`, quota
    /// headers where the configuration requires them, and the headers of a rate limit service.
    pub(crate) fn annotate(&self, admission: &Admission) {
        let charges = admission.charges.iter();
        let quotas = charges
            .filter_map(|charge| Quota::new(&self.policies, &self.labels, charge, Timestamp::EPOCH))
            .filter(|quota| !quota.limit.shadow);
        let mut add = |name: &str, value: &[u8]| {
            // The response is worth more than a header about it.
            let _ = self.host.set_header(HeaderMap::Response, name, value);
        };
        let is_past = |quota: &Quota<'_>| {
            quota.standing.used >= quota.rate.alert_threshold(quota.standing.limit)
        };
        let alerts = quotas.clone().filter(is_past);
        let alerts: Vec<&str> = alerts.map(|quota| quota.labels.name.as_str()).collect();
        if !alerts.is_empty() {
            add(ALERT, alerts.join(", ").as_bytes());
        }
        match &self.policies.configuration().replies.headers {
            None | Some(QuotaHeaders::None) => {}
            Some(style) => {
                let now = self.host.now().unwrap_or_default();
                let quotas = quotas.map(|quota| Quota { now, ..quota }).collect();
                write_quotas(style, quotas, None, &mut add);
            }
        }
        for (name, value) in &admission.response_headers {
            add(name, value);
        }
    }
}

/// Writes quota headers. With `retry_after`, the seconds after which a retry may succeed, they are
/// those of a rejection.
fn write_quotas(
    style: &QuotaHeaders,
    mut quotas: Vec<Quota<'_>>,
    retry_after: Option<u64>,
    add: &mut dyn FnMut(&str, &[u8]),
) {
    if retry_after.is_none() && !matches!(style, QuotaHeaders::Ietf) {
        // The other styles cannot express requests in flight.
        quotas.retain(|quota| quota.rate.unit != Unit::InFlight);
    }
    if *style != QuotaHeaders::None {
        // Budgets have headers of their own.
        let is_usd = |quota: &Quota<'_>| matches!(quota.rate.unit, Unit::Usd(_));
        let budgets = quotas.iter().copied().filter(is_usd);
        if let Some(quota) = most_constrained(budgets) {
            budget::write(&quota, add);
        }
        quotas.retain(|quota| !is_usd(quota));
    }
    match style {
        QuotaHeaders::None => {}
        QuotaHeaders::Draft03 => {
            if let Some(quota) = most_constrained(quotas.into_iter()) {
                draft03::write(&quota, add);
            }
        }
        QuotaHeaders::Ietf => ietf::write(&quotas, add),
        QuotaHeaders::OpenAi => openai::write(&quotas, add),
        QuotaHeaders::Named(_) => named::write(&quotas, retry_after, add),
    }
}
