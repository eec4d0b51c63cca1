//! Local replies, and quota headers of admitted responses.

use super::error::{Error, ErrorKind};
use super::format::{self, ErrorFormat};
use super::headers::ReplyHeaders;
use super::labels::QuotaLabels;
use super::quota::{Quota, most_constrained};
use super::wait::Wait;
use super::{anthropic, body, budget, draft03, ietf, named, openai, upstream};
use crate::host::{HeaderMap, Headers, Host, LocalReply};
use crate::ledger::{Admission, Rejection};
use crate::policies::{Policies, Unit};
use filter_config::{AccessRule, LimitReply, QuotaHeaders, UpstreamHeaders};
use limits::{Nanos, Timestamp};
use std::rc::Rc;
use usage_meter::request::Endpoint;

/// gRPC's `RESOURCE_EXHAUSTED`.
const RESOURCE_EXHAUSTED: i32 = 8;

/// gRPC's `INVALID_ARGUMENT`.
const INVALID_ARGUMENT: i32 = 3;

/// gRPC's `PERMISSION_DENIED`.
const PERMISSION_DENIED: i32 = 7;

/// gRPC's `UNAUTHENTICATED`.
const UNAUTHENTICATED: i32 = 16;

/// gRPC's `INTERNAL`.
const INTERNAL: i32 = 13;

/// gRPC's `UNAVAILABLE`.
const UNAVAILABLE: i32 = 14;

/// When a client may try again after a rejection for want of memory: it is not known when exchanges end.
const OVERLOAD_RETRY_AFTER: Nanos = Nanos::SECOND;

/// The content type of an error.
const JSON: &str = "application/json";

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
        let Some(mut quota) = Quota::new(&self.policies, &self.labels, charge, *now) else {
            return false;
        };
        let replies = &self.policies.configuration().replies;
        let own = quota.limit.reply.as_ref();
        let wait = Wait::new(quota.reset(), service_headers, replies.max_retry_after);
        let is_prohibition = quota.admits_nothing() || quota.never_fits();
        let wait = if is_prohibition {
            wait.without_end()
        } else {
            wait
        };
        // Whatever says when the limit is reset agrees with what says when to retry.
        quota.standing.resets_at = now.saturating_add(wait.length());
        let message = body::message(&quota, wait.seconds());
        let error = Error {
            kind: body::kind(&quota),
            code: own.and_then(|own| own.code.as_deref()),
            message: &message,
            status: own.and_then(|own| own.status).unwrap_or(replies.status),
            retry: wait.requested(),
        };
        let format = ErrorFormat::of(replies.error, endpoint, &*self.host);
        let content_type = replies.content_type.as_deref();
        let mut headers = ReplyHeaders::new(content_type.unwrap_or(JSON));
        let body = body::of_template(&quota, replies, wait.seconds());
        if body.is_none() {
            headers.extend(error.header(format));
        }
        headers.write_retry(wait.requested(), format);
        let style = replies.headers.as_ref().unwrap_or(&QuotaHeaders::Draft03);
        let style = format::style(style, endpoint);
        write_quotas(
            style,
            vec![quota],
            (!is_prohibition).then_some(wait.seconds()),
            &mut |name, value| {
                headers.set(name, value);
            },
        );
        for (name, value) in service_headers {
            headers.set(name, value);
        }
        if wait.requested().is_none() {
            headers.remove_retry_after();
        }
        let body = body.unwrap_or_else(|| error.body(format));
        let status = (error.status, RESOURCE_EXHAUSTED);
        self.send(status, "tollgate_denied", headers, &body, own)
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

    /// Rejects a request because it has no identity that a limit counts by. Returns whether Envoy took the reply.
    ///
    /// `claim` is what the limit reads of the identity, if it is known.
    pub(crate) fn reject_unauthenticated(
        &self,
        endpoint: Option<&Endpoint>,
        claim: Option<&str>,
    ) -> bool {
        let claim = claim.map_or_else(String::new, |claim| format!(": {claim} has no value"));
        let message = format!(
            "The request has no identity that its rate limit counts by{claim}. Authenticate and try again."
        );
        let status = (401, UNAUTHENTICATED);
        let details = "tollgate_unauthenticated";
        self.error(
            endpoint,
            ErrorKind::Unauthenticated,
            &message,
            status,
            details,
        )
    }

    /// Rejects a request because its body is malformed. Returns whether Envoy took the reply.
    pub(crate) fn reject_invalid(&self, endpoint: Option<&Endpoint>) -> bool {
        let message = "The body of the request is not valid JSON.";
        let status = (400, INVALID_ARGUMENT);
        let details = "tollgate_invalid_request";
        self.error(endpoint, ErrorKind::Invalid, message, status, details)
    }

    /// Rejects a request because its output cannot be bounded, as a hard limit requires. Returns whether Envoy took the
    /// reply.
    pub(crate) fn reject_uncapped(&self, endpoint: Option<&Endpoint>, reason: &str) -> bool {
        let message = format!(
            "The tokens of this request cannot be bounded, as its rate limit requires: {reason}."
        );
        let status = (400, INVALID_ARGUMENT);
        let details = "tollgate_uncapped";
        self.error(endpoint, ErrorKind::Uncapped, &message, status, details)
    }

    /// Rejects a request because a rule of access does not allow its model. Returns whether Envoy took the reply.
    pub(crate) fn forbid(
        &self,
        endpoint: Option<&Endpoint>,
        rule: &AccessRule,
        model: Option<&str>,
    ) -> bool {
        let message = match model {
            // The body names others, or is not read as the same by every server.
            Some(model) if rule.allows(model) => format!(
                "The request has to name the model \"{model}\" alone: its body is not whole, names a model several \
                 times or in unusual letters, or names other models that are not allowed."
            ),
            Some(model) => format!("The model \"{model}\" is not allowed for this request."),
            None => "The request has to name a model that is allowed for it.".to_owned(),
        };
        let error = Error {
            kind: ErrorKind::Forbidden,
            code: Some(&rule.code),
            message: &message,
            status: rule.status,
            retry: None,
        };
        self.send_error(&error, endpoint, PERMISSION_DENIED, "tollgate_forbidden")
    }

    /// Rejects a request because its model has no price. Returns whether Envoy took the reply.
    pub(crate) fn reject_unpriced(&self, endpoint: Option<&Endpoint>, model: &str) -> bool {
        let model = match model {
            "" => "The model".to_owned(),
            model => format!("The model \"{model}\""),
        };
        let message =
            format!("{model} has no price, and this budget admits only models that have one.");
        let status = (403, PERMISSION_DENIED);
        let details = "tollgate_unpriced";
        self.error(endpoint, ErrorKind::Unpriced, &message, status, details)
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
        status: (u16, i32),
        details: &str,
    ) -> bool {
        let error = Error {
            kind,
            code: None,
            message,
            status: status.0,
            retry: (kind == ErrorKind::Overloaded).then_some(OVERLOAD_RETRY_AFTER),
        };
        self.send_error(&error, endpoint, status.1, details)
    }

    fn send_error(
        &self,
        error: &Error<'_>,
        endpoint: Option<&Endpoint>,
        grpc_status: i32,
        details: &str,
    ) -> bool {
        let setting = self.policies.configuration().replies.error;
        let format = ErrorFormat::of(setting, endpoint, &*self.host);
        let mut headers = ReplyHeaders::new(JSON);
        headers.extend(error.header(format));
        if error.kind == ErrorKind::Unauthenticated {
            // A 401 has to name a scheme (RFC 9110, section 15.5.2).
            headers.set("www-authenticate", b"Bearer");
        }
        if let Some(retry) = error.retry {
            headers.write_retry(Some(retry), format);
        }
        let status = (error.status, grpc_status);
        self.send(status, details, headers, &error.body(format), None)
    }

    /// Answers a request to the usage endpoint. Returns whether Envoy took the reply.
    pub(crate) fn answer(
        &self,
        status: u16,
        content_type: &str,
        allow: Option<&str>,
        body: &str,
    ) -> bool {
        let mut headers = ReplyHeaders::new(content_type);
        headers.set("cache-control", b"no-store");
        headers.set("x-content-type-options", b"nosniff");
        if let Some(allow) = allow {
            headers.set("allow", allow.as_bytes());
        }
        let grpc_status = if status < 300 { 0 } else { INTERNAL };
        self.send((status, grpc_status), "tollgate_usage", headers, body, None)
    }

    /// Sends a reply with the headers that all of them have.
    fn send(
        &self,
        (status, grpc_status): (u16, i32),
        details: &str,
        mut headers: ReplyHeaders,
        body: &str,
        own: Option<&LimitReply>,
    ) -> bool {
        let extra = &self.policies.configuration().replies.extra;
        let own = own.map_or(&[][..], |own| own.headers.as_slice());
        for (name, value) in extra.iter().chain(own) {
            headers.set(name, value.as_bytes());
        }
        let headers: Vec<(&str, &[u8])> = headers.iter().collect();
        let reply = LocalReply {
            status,
            details,
            headers: &headers,
            body: body.as_bytes(),
            grpc_status,
        };
        self.host.reply(&reply).is_ok()
    }

    /// Keeps, removes or renames the quota headers of the upstream, before [`Responder::annotate`]. Returns whether others may be
    /// written.
    pub(crate) fn apply_upstream_headers(
        &self,
        admission: &Admission,
        headers: &Headers,
        status: u16,
    ) -> bool {
        if admission.charges.is_empty() && admission.response_headers.is_empty() {
            // No limit applies; the exchange is only metered.
            return false;
        }
        let replies = &self.policies.configuration().replies;
        let has_style = !matches!(replies.headers, None | Some(QuotaHeaders::None));
        let writes = has_style && self.reports(admission) || !admission.response_headers.is_empty();
        let handling = replies.upstream_headers.unwrap_or(if writes {
            UpstreamHeaders::Replace
        } else {
            UpstreamHeaders::Keep
        });
        if !writes && handling == UpstreamHeaders::Keep {
            return false;
        }
        upstream::apply(&*self.host, headers, status, handling) && writes
    }

    /// Adds to the response of an admitted request: the names of limits past their `alertAt` and, if
    /// `has_quotas`, quota headers where the configuration requires them, and the headers of a rate limit
    /// service.
    pub(crate) fn annotate(
        &self,
        admission: &Admission,
        endpoint: Option<&Endpoint>,
        has_quotas: bool,
    ) {
        let quotas = self.quotas(admission);
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
        if !has_quotas {
            return;
        }
        match &self.policies.configuration().replies.headers {
            None | Some(QuotaHeaders::None) => {}
            Some(style) => {
                let now = self.host.now().unwrap_or_default();
                let quotas = quotas.map(|quota| Quota { now, ..quota }).collect();
                write_quotas(format::style(style, endpoint), quotas, None, &mut add);
            }
        }
        for (name, value) in &admission.response_headers {
            add(name, value);
        }
    }

    /// Returns whether there is a quota that the response of an admitted request can report.
    fn reports(&self, admission: &Admission) -> bool {
        let mut charges = admission.charges.iter();
        charges.any(|charge| !self.policies.is_shadow(charge.rate))
    }

    /// Returns the quotas of an admitted request that its response can report.
    fn quotas<'a>(&'a self, admission: &'a Admission) -> impl Iterator<Item = Quota<'a>> + Clone {
        let charges = admission.charges.iter();
        charges
            .filter_map(|charge| Quota::new(&self.policies, &self.labels, charge, Timestamp::EPOCH))
            .filter(|quota| !quota.limit.shadow)
            .map(|mut quota| {
                if quota.rate.unit == Unit::InFlight {
                    // The request itself is in flight.
                    let reserved = &mut quota.standing.reserved;
                    *reserved = reserved.saturating_add(1);
                }
                quota
            })
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
        // The style of the API is chosen before.
        QuotaHeaders::None | QuotaHeaders::Auto => {}
        QuotaHeaders::Draft03 => {
            if let Some(quota) = most_constrained(quotas.into_iter()) {
                draft03::write(&quota, add);
            }
        }
        QuotaHeaders::Ietf => ietf::write(&quotas, add),
        QuotaHeaders::OpenAi => openai::write(&quotas, add),
        QuotaHeaders::Anthropic => anthropic::write(&quotas, add),
        QuotaHeaders::Named(_) => named::write(&quotas, retry_after, add),
    }
}
