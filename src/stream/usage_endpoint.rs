//! The usage endpoint: the filter itself reports to a caller what it has used.
//!
//! A request to it reserves nothing and is charged nothing; no limit applies to it.

use super::machine::{Next, Stream};
use super::parts::Parts;
use super::query::Query;
use super::state::State;
use crate::admit;
use crate::attributes::{Attributes, Body};
use crate::host::Headers;
use crate::ledger::Charge;
use crate::reply::{self, Scope, UsageEntry, UsageFormat};
use std::rc::Rc;

/// The methods of callers.
const METHODS: &str = "GET, HEAD";

/// The parameters that make a request an administrative one.
const OF_ADMIN: [&str; 2] = ["policy", "limit"];

// === impl Stream ===

impl Stream {
    /// Returns whether a request is to the usage endpoint.
    pub(super) fn is_to_usage_endpoint(&self, headers: &Headers) -> bool {
        let endpoint = self.parts.policies.configuration().usage_endpoint.as_ref();
        endpoint.is_some_and(|endpoint| {
            let path = headers.get(":path").unwrap_or_default();
            let rest = path.strip_prefix(endpoint.path.as_bytes());
            rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'?')))
        })
    }

    /// Answers a request to the usage endpoint.
    pub(super) fn on_usage_endpoint(&mut self, headers: Headers, end_of_stream: bool) -> Next {
        self.state = State::Done;
        self.request.kept.release(false, false);
        let path = headers.text(":path").unwrap_or_default().into_owned();
        let (_, query) = path.split_once('?').unwrap_or((&path, ""));
        let query = match Query::read(query) {
            Ok(query) => query,
            Err(error) => return self.answer_error(400, &error.to_string()),
        };
        let method = headers.text(":method").unwrap_or_default().into_owned();
        let mut attributes = Attributes::new(headers);
        attributes.body = Body::Opaque;
        let is_admin = OF_ADMIN.iter().any(|name| query.has(name));
        match method.as_str() {
            "POST" | "DELETE" => self.administer(&method, &query, attributes, end_of_stream),
            "GET" | "HEAD" if query.has("top") => self.list_top(&query, attributes),
            "GET" | "HEAD" if is_admin => {
                self.administer(&method, &query, attributes, end_of_stream)
            }
            "GET" | "HEAD" => self.report_usage(&mut attributes),
            _ => {
                let body = error_body("the method is not allowed");
                let responder = &self.parts.responder;
                responder.answer(405, "application/json", Some(METHODS), &body);
                Next::Pause
            }
        }
    }

    /// Reports to the caller of a request what it has used.
    fn report_usage(&mut self, attributes: &mut Attributes) -> Next {
        let parts = Rc::clone(&self.parts);
        let Parts {
            policies,
            ledger,
            telemetry,
            responder,
            ..
        } = &*parts;
        let overview = match admit::overview(policies, telemetry, attributes) {
            Ok(overview) => overview,
            Err(error) => return self.fail(&error),
        };
        let charges = overview.entries.iter().filter_map(|entry| entry.charge);
        let mut charges: Vec<Charge> = charges.collect();
        if let Err(error) = ledger.read(&mut charges) {
            return self.fail(&error.into());
        }
        let mut counters = charges.iter().map(|charge| {
            let counter = &charge.counter;
            (counter.rate, counter.standing)
        });
        let entries = overview.entries.iter().map(|entry| UsageEntry {
            rate: entry.rate,
            counter: entry.charge.and_then(|_| counters.next()),
            depends_on: &entry.depends_on,
        });
        let entries: Vec<UsageEntry<'_>> = entries.collect();
        let now = ledger.now().unwrap_or_default();
        let accept = attributes.headers().text("accept").unwrap_or_default();
        let format = UsageFormat::of(&accept);
        let body = match format {
            UsageFormat::Text => reply::table(policies, &entries, now),
            UsageFormat::Json => {
                let scope = self.scope();
                let entries = reply::entries(policies, &entries, scope, now);
                list("limits", &entries, overview.is_cut_off)
            }
        };
        responder.answer(200, format.content_type(), None, &body);
        Next::Pause
    }

    /// Returns where counters are kept.
    pub(super) fn scope(&self) -> Scope {
        Scope {
            has_service: self.parts.ledger.is_remote(),
        }
    }

    /// Answers a request to the endpoint with an error.
    pub(super) fn answer_error(&mut self, status: u16, message: &str) -> Next {
        self.state = State::Done;
        let body = error_body(message);
        let responder = &self.parts.responder;
        responder.answer(status, "application/json", None, &body);
        Next::Pause
    }
}

/// Returns an answer with a list, a JSON array, that is cut off if there is more.
pub(super) fn list(name: &str, entries: &str, is_cut_off: bool) -> String {
    let cut_off = if is_cut_off {
        r#","truncated":true"#
    } else {
        ""
    };
    format!("{{\"{name}\":{entries}{cut_off}}}\n")
}

fn error_body(message: &str) -> String {
    let error = serde_json::json!({ "error": message });
    format!("{error}\n")
}
