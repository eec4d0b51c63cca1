//! The filters before and after tollgate: authentication, metadata, headers and buffers.

use crate::auth::{self, AuthSource};
use crate::carrier::{self, Carried, Carrier, Chain};
use crate::configuration::Configuration;
use crate::error::ValidationErrors;
use crate::expression::{self, Remark};
use crate::json::Json;
use crate::path::Path;
use crate::warning::{Notice, WarningCode};

use super::visit;

/// The prefix of the names of Envoy's HTTP filters, which are also the namespaces that they write.
const PREFIX: &str = "envoy.filters.http.";

/// Filters that authenticate.
const AUTHENTICATING: [&str; 5] = [
    "ext_authz",
    "jwt_authn",
    "basic_auth",
    "api_key_auth",
    "oauth2",
];

/// Filters that can write any metadata and any filter state.
const PROGRAMMABLE: [&str; 6] = [
    "lua",
    "ext_proc",
    "wasm",
    "golang",
    "dynamic_modules",
    "composite",
];

/// Checks what is around the plugin.
pub(super) fn check(
    carried: &Carried<'_>,
    configuration: &Configuration,
    errors: &mut ValidationErrors,
) {
    let is_misplaced = visit::reads_auth(configuration) && order(carried, errors);
    let Some(chain) = carried.chain else {
        return;
    };
    metadata(carried, chain, configuration, is_misplaced, errors);
    headers(carried, chain, configuration, errors);
    buffers(chain, configuration, &carried.plugin_path, errors);
}

/// Checks that tollgate comes after the filter that authenticates. Returns whether it does not.
fn order(carried: &Carried<'_>, errors: &mut ValidationErrors) -> bool {
    let (found, fix) = match carried.carrier {
        Carrier::Envoy => {
            let Some(chain) = carried.chain else {
                return false;
            };
            let after = chain.filters.iter().skip(chain.position.saturating_add(1));
            let after = after.filter(|filter| authenticates(filter)).find_map(name);
            match after {
                Some(after) if !before(chain).any(authenticates) => (
                    format!("comes before {after:?}, which authenticates, so `auth` has no value"),
                    format!("move it behind {after:?} in `http_filters`"),
                ),
                _ => return false,
            }
        }
        Carrier::EnvoyFilter => match carried.patch.and_then(misplacing) {
            Some(found) => (
                format!("is inserted with {found}, before the filters that authenticate"),
                "insert it before `envoy.filters.http.router`".to_owned(),
            ),
            None => return false,
        },
        Carrier::WasmPlugin | Carrier::TrafficExtension if carried.phase == Some("AUTHN") => (
            "has the phase AUTHN, before Istio's authentication".to_owned(),
            "set `phase: STATS`".to_owned(),
        ),
        _ => return false,
    };
    let notice = Notice::new(WarningCode::BeforeAuthentication, found, fix);
    errors.warn(&Path::At(&carried.plugin_path), notice);
    true
}

/// Returns how a patch places its filter before those that authenticate, if it does.
fn misplacing(patch: &Json) -> Option<String> {
    let operation = carrier::text(patch.field("patch")?, "operation")?;
    match operation {
        "INSERT_FIRST" => Some(operation.to_owned()),
        "INSERT_BEFORE" => {
            let mut place = patch.field("match")?;
            for field in ["listener", "filterChain", "filter", "subFilter"] {
                place = place.field(field)?;
            }
            let name = carrier::text(place, "name")?;
            let kind = name.strip_prefix(PREFIX)?;
            let is_known = AUTHENTICATING.contains(&kind);
            is_known.then(|| format!("{operation} {name}"))
        }
        _ => None,
    }
}

/// Checks that a filter writes the metadata that is read. A plugin that `is_misplaced` has a warning on `auth`.
fn metadata(
    carried: &Carried<'_>,
    chain: Chain<'_>,
    configuration: &Configuration,
    is_misplaced: bool,
    errors: &mut ValidationErrors,
) {
    if before(chain).any(is_programmable) {
        return;
    }
    let root = Path::At(&carried.path);
    let sources = &configuration.auth;
    if is_misplaced {
        // What `auth` is read from is written behind it.
    } else if *sources == auth::defaults() {
        let is_written = sources.iter().any(|source| match source {
            AuthSource::Metadata {
                namespace, keys, ..
            } => unwritten(chain, namespace, keys).is_none(),
            AuthSource::FilterState(key) => before(chain).any(|filter| contains(filter, key)),
            AuthSource::Header(_) => true,
        });
        if !is_written && visit::reads_auth(configuration) {
            let notice = Notice::new(
                WarningCode::UnwrittenMetadata,
                "reads `auth`, and no filter before it writes what `auth` is read from by default",
                "add `ext_authz` or `jwt_authn` with `payload_in_metadata`, or set \"auth\"",
            );
            errors.warn(&root, notice);
        }
    } else {
        let list = root.field("auth");
        for (position, source) in sources.iter().enumerate() {
            if let AuthSource::Metadata {
                namespace, keys, ..
            } = source
                && let Some(notice) = unwritten(chain, namespace, keys)
            {
                errors.warn(&list.item(position), notice);
            }
        }
    }
    visit::expressions(configuration, &mut |expression, role, path| {
        for remark in expression::remarks(expression.source(), role) {
            if let Remark::Namespace(namespace) = remark
                && let Some(notice) = unwritten(chain, &namespace, &[])
            {
                let path = format!("{}.{path}", carried.path);
                errors.warn(&Path::At(&path), notice);
            }
        }
    });
}

/// Returns the warning that no filter writes a namespace, or what is at a key of it.
fn unwritten(chain: Chain<'_>, namespace: &str, keys: &[String]) -> Option<Notice> {
    let kind = namespace.strip_prefix(PREFIX);
    if kind == Some("jwt_authn") {
        let mut written = Vec::new();
        let providers = before(chain).filter(|filter| self::kind(filter) == kind);
        providers.for_each(|filter| payloads(filter, &mut written));
        let key = keys.first();
        if written.is_empty() {
            return Some(Notice::new(
                WarningCode::UnwrittenMetadata,
                format!("no filter before tollgate writes the namespace {namespace:?}"),
                format!(
                    "add `payload_in_metadata: {}` to the providers of `jwt_authn`",
                    key.map_or("identity", String::as_str)
                ),
            ));
        }
        return key
            .filter(|key| !written.contains(&key.as_str()))
            .map(|key| {
                Notice::new(
                    WarningCode::UnwrittenMetadata,
                    format!(
                        "`jwt_authn` writes no key {key:?} but {:?}",
                        written.join(", ")
                    ),
                    "set \"key\" to the value of `payload_in_metadata`",
                )
            });
    }
    let is_written = before(chain).any(|filter| {
        (kind.is_some() && self::kind(filter) == kind)
            || name(filter) == Some(namespace)
            || contains(filter, namespace)
    });
    (!is_written).then(|| {
        Notice::new(
            WarningCode::UnwrittenMetadata,
            format!("no filter before tollgate writes the namespace {namespace:?}"),
            "add the filter that writes it before tollgate, or correct the name",
        )
    })
}

/// Adds the values of `payload_in_metadata`. It recurses as deep as documents nest, which the parser bounds.
fn payloads<'j>(json: &'j Json, found: &mut Vec<&'j str>) {
    match json {
        Json::Object(entries) => {
            found.extend(carrier::text(json, "payload_in_metadata"));
            for (_, value) in entries {
                payloads(value, found);
            }
        }
        Json::Array(items) => items.iter().for_each(|item| payloads(item, found)),
        _ => {}
    }
}

/// Checks that clients cannot send the headers that have the identity.
fn headers(
    carried: &Carried<'_>,
    chain: Chain<'_>,
    configuration: &Configuration,
    errors: &mut ValidationErrors,
) {
    let root = Path::At(&carried.path);
    let list = root.field("auth");
    for (position, source) in configuration.auth.iter().enumerate() {
        let AuthSource::Header(claims) = source else {
            continue;
        };
        let path = list.item(position);
        let path = path.field("header");
        for (claim, header) in claims {
            let is_internal = chain
                .manager
                .field("route_config")
                .and_then(|routes| routes.field("internal_only_headers"))
                .is_some_and(|headers| contains(headers, header));
            if is_internal || before(chain).any(|filter| contains(filter, header)) {
                continue;
            }
            let notice = Notice::new(
                WarningCode::UnstrippedHeader,
                format!(
                    "reads the header {header:?}, and no filter before tollgate removes it from what clients send"
                ),
                format!(
                    "remove it with `header_mutation` before the filter that sets it, or name it in \
                     `internal_only_headers`: `[ {header} ]`"
                ),
            );
            errors.warn(&path.field(&claim.join(".")), notice);
        }
    }
}

/// Checks that filters that buffer bodies take those that tollgate reads.
fn buffers(
    chain: Chain<'_>,
    configuration: &Configuration,
    path: &str,
    errors: &mut ValidationErrors,
) {
    let max_bytes = configuration.request_body.max_bytes as u64;
    for filter in chain.filters {
        let settings = filter.field("typed_config").unwrap_or(&Json::Null);
        let (buffer, field) = match kind(filter) {
            Some("buffer") => (Some(settings), "max_request_bytes"),
            Some("ext_authz") => {
                let body = settings.field("with_request_body").filter(|body| {
                    !matches!(body.field("allow_partial_message"), Some(Json::Bool(true)))
                });
                (body, "max_request_bytes")
            }
            _ => continue,
        };
        let Some(Json::Whole(bytes)) = buffer
            .and_then(|buffer| buffer.field(field))
            .and_then(Json::number)
        else {
            continue;
        };
        if bytes < max_bytes {
            let notice = Notice::new(
                WarningCode::SmallBuffer,
                format!(
                    "reads bodies of up to {max_bytes} bytes, and {:?} answers those of more than {bytes} with a 413",
                    name(filter).unwrap_or_default()
                ),
                format!("raise its `{field}`, or set \"requestBody.maxBytes\" to {bytes}"),
            );
            errors.warn(&Path::At(path), notice);
        }
    }
}

/// Returns the filters before the plugin.
fn before(chain: Chain<'_>) -> impl Iterator<Item = &Json> {
    chain.filters.iter().take(chain.position)
}

fn name(filter: &Json) -> Option<&str> {
    carrier::text(filter, "name")
}

/// Returns the kind of a filter by its type, or else by its name, such as `jwt_authn`.
fn kind(filter: &Json) -> Option<&str> {
    let of_type = filter
        .field("typed_config")
        .and_then(|config| carrier::text(config, "@type"))
        .and_then(|found| found.split_once("filters.http."))
        .and_then(|(_, rest)| rest.split_once(".v"))
        .map(|(kind, _)| kind);
    of_type.or_else(|| name(filter)?.strip_prefix(PREFIX))
}

fn authenticates(filter: &Json) -> bool {
    kind(filter).is_some_and(|kind| AUTHENTICATING.contains(&kind))
        || name(filter).is_some_and(|name| name.contains("kuadrant"))
}

fn is_programmable(filter: &Json) -> bool {
    kind(filter).is_some_and(|kind| PROGRAMMABLE.contains(&kind))
}

/// Returns whether a text within a value contains another. It recurses as deep as documents nest, which the parser
/// bounds.
fn contains(json: &Json, text: &str) -> bool {
    match json {
        Json::String(found) => found
            .to_ascii_lowercase()
            .contains(&text.to_ascii_lowercase()),
        Json::Array(items) => items.iter().any(|item| contains(item, text)),
        Json::Object(entries) => entries
            .iter()
            .any(|(name, value)| name.eq_ignore_ascii_case(text) || contains(value, text)),
        _ => false,
    }
}
