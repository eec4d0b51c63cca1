//! Attributes: what expressions can read of an exchange, in one table of variables.

/// An attribute that an expression reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Attribute {
    /// A property of Envoy.
    Property(&'static Property),
    /// `auth`, from the first configured source that has a value, at this path: names joined with dots, empty for
    /// `auth` itself. An expression that uses a path also uses the paths above it.
    Auth(String),
    /// `filter_state`, at this key.
    FilterState(String),
    /// A field of `llm`, which describes the request to the model.
    Llm(LlmField),
    /// The value at this JSON pointer in the request's body, read by `requestBodyJSON`; the pointer is empty if the
    /// expression reads all of the body, or computes a pointer. The variable is [`REQUEST_BODY`](crate::REQUEST_BODY).
    RequestBody(String),
    /// A field of `usage`, the usage of an exchange. Only costs can read it.
    Usage(UsageField),
    /// A field of `response`. Only costs can read it.
    Response(ResponseField),
}

/// A variable that is a property of Envoy.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Property {
    /// The name in CEL, with its root: `request.headers`.
    pub name: &'static str,
    /// The path of the property in Envoy, segment by segment.
    pub path: &'static [&'static str],
    /// The type, which determines Envoy's encoding.
    pub kind: Kind,
}

/// The type of a variable, in CEL and in Envoy's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `string`: the bytes themselves.
    String,
    /// `int`: 64 bits, little-endian.
    Int,
    /// `bool`: one byte.
    Bool,
    /// `google.protobuf.Timestamp`: nanoseconds since 1970 as 64 bits, little-endian.
    Timestamp,
    /// `map(string, string)`: the request's headers, with names in lower case and repeated headers joined with `,`.
    Headers,
    /// `map` with the field `filter_metadata`, which has the namespaces: a protobuf `envoy.config.core.v3.Metadata`.
    Metadata,
}

/// A field of `llm`, read from the path, the headers and the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LlmField {
    /// The provider whose dialect the request has, such as `openai`.
    Provider,
    /// The API, such as `chat`.
    Api,
    /// The name of the model.
    Model,
    /// Whether the request asks for a stream.
    Stream,
    /// The bound that the request sets for output tokens.
    MaxOutputTokens,
    /// An estimate of the request's input tokens, from the size of its text.
    EstimatedInputTokens,
}

/// A field of `usage`: the usage of an exchange, normalized across providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageField {
    /// Input tokens, including those read from and written to a cache.
    InputTokens,
    /// Output tokens, including reasoning.
    OutputTokens,
    /// All tokens.
    TotalTokens,
    /// Input tokens read from a cache.
    CachedTokens,
    /// Input tokens written to a cache.
    CacheCreationTokens,
    /// Output tokens of reasoning.
    ReasoningTokens,
    /// The price in US dollars, by the configured prices of models.
    Usd,
    /// Whether the usage was estimated rather than reported.
    Estimated,
    /// The provider's usage object, empty if there is none.
    Raw,
}

/// A field of `response`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResponseField {
    /// The status.
    Code,
    /// The headers, in the form of those of the request.
    Headers,
}

const fn property(name: &'static str, path: &'static [&'static str], kind: Kind) -> Property {
    Property { name, path, kind }
}

/// The variable of the downstream peer's address without its port.
pub const REMOTE_ADDRESS: &str = "source.remote_address";

/// All properties that an expression can read, ordered by root.
pub(crate) static PROPERTIES: [Property; 50] = [
    property("request.method", &["request", "method"], Kind::String),
    property("request.scheme", &["request", "scheme"], Kind::String),
    property("request.host", &["request", "host"], Kind::String),
    property("request.path", &["request", "path"], Kind::String),
    property("request.url_path", &["request", "url_path"], Kind::String),
    property("request.query", &["request", "query"], Kind::String),
    property("request.headers", &["request", "headers"], Kind::Headers),
    property("request.time", &["request", "time"], Kind::Timestamp),
    property("request.id", &["request", "id"], Kind::String),
    property("request.protocol", &["request", "protocol"], Kind::String),
    property("request.size", &["request", "size"], Kind::Int),
    property("request.useragent", &["request", "useragent"], Kind::String),
    property("request.referer", &["request", "referer"], Kind::String),
    property("source.address", &["source", "address"], Kind::String),
    property(REMOTE_ADDRESS, &["source", "address"], Kind::String),
    property("source.port", &["source", "port"], Kind::Int),
    property(
        "destination.address",
        &["destination", "address"],
        Kind::String,
    ),
    property("destination.port", &["destination", "port"], Kind::Int),
    property("connection.id", &["connection_id"], Kind::Int),
    property("connection.mtls", &["connection", "mtls"], Kind::Bool),
    property(
        "connection.requested_server_name",
        &["connection", "requested_server_name"],
        Kind::String,
    ),
    property(
        "connection.tls_version",
        &["connection", "tls_version"],
        Kind::String,
    ),
    property(
        "connection.subject_local_certificate",
        &["connection", "subject_local_certificate"],
        Kind::String,
    ),
    property(
        "connection.subject_peer_certificate",
        &["connection", "subject_peer_certificate"],
        Kind::String,
    ),
    property(
        "connection.uri_san_local_certificate",
        &["connection", "uri_san_local_certificate"],
        Kind::String,
    ),
    property(
        "connection.uri_san_peer_certificate",
        &["connection", "uri_san_peer_certificate"],
        Kind::String,
    ),
    property(
        "connection.dns_san_local_certificate",
        &["connection", "dns_san_local_certificate"],
        Kind::String,
    ),
    property(
        "connection.dns_san_peer_certificate",
        &["connection", "dns_san_peer_certificate"],
        Kind::String,
    ),
    property(
        "connection.sha256_peer_certificate_digest",
        &["connection", "sha256_peer_certificate_digest"],
        Kind::String,
    ),
    property(
        "connection.termination_details",
        &["connection", "termination_details"],
        Kind::String,
    ),
    property("xds.cluster_name", &["xds", "cluster_name"], Kind::String),
    property(
        "xds.cluster_metadata",
        &["xds", "cluster_metadata"],
        Kind::Metadata,
    ),
    property("xds.route_name", &["xds", "route_name"], Kind::String),
    property(
        "xds.route_metadata",
        &["xds", "route_metadata"],
        Kind::Metadata,
    ),
    property(
        "xds.virtual_host_name",
        &["xds", "virtual_host_name"],
        Kind::String,
    ),
    property(
        "xds.virtual_host_metadata",
        &["xds", "virtual_host_metadata"],
        Kind::Metadata,
    ),
    property(
        "xds.upstream_host_metadata",
        &["xds", "upstream_host_metadata"],
        Kind::Metadata,
    ),
    property(
        "xds.filter_chain_name",
        &["xds", "filter_chain_name"],
        Kind::String,
    ),
    property(
        "xds.listener_direction",
        &["xds", "listener_direction"],
        Kind::Int,
    ),
    property(
        "xds.listener_metadata",
        &["xds", "listener_metadata"],
        Kind::Metadata,
    ),
    property("xds.node.id", &["xds", "node", "id"], Kind::String),
    property(
        "xds.node.cluster",
        &["xds", "node", "cluster"],
        Kind::String,
    ),
    property(
        "xds.node.locality.region",
        &["xds", "node", "locality", "region"],
        Kind::String,
    ),
    property(
        "xds.node.locality.zone",
        &["xds", "node", "locality", "zone"],
        Kind::String,
    ),
    property(
        "xds.node.locality.sub_zone",
        &["xds", "node", "locality", "sub_zone"],
        Kind::String,
    ),
    property(
        "xds.node.user_agent_name",
        &["xds", "node", "user_agent_name"],
        Kind::String,
    ),
    property(
        "xds.node.user_agent_version",
        &["xds", "node", "user_agent_version"],
        Kind::String,
    ),
    property("route.name", &["xds", "route_name"], Kind::String),
    property("route.metadata", &["xds", "route_metadata"], Kind::Metadata),
    property("metadata", &["metadata"], Kind::Metadata),
];

/// All fields of `llm` with their names in CEL and their types.
pub static LLM_FIELDS: [(&str, LlmField, Kind); 6] = [
    ("llm.provider", LlmField::Provider, Kind::String),
    ("llm.api", LlmField::Api, Kind::String),
    ("llm.model", LlmField::Model, Kind::String),
    ("llm.stream", LlmField::Stream, Kind::Bool),
    (
        "llm.max_output_tokens",
        LlmField::MaxOutputTokens,
        Kind::Int,
    ),
    (
        "llm.estimated_input_tokens",
        LlmField::EstimatedInputTokens,
        Kind::Int,
    ),
];

/// All fields of `usage` with their names and types in CEL.
pub static USAGE_FIELDS: [(&str, UsageField, &str); 9] = [
    ("usage.input_tokens", UsageField::InputTokens, "int"),
    ("usage.output_tokens", UsageField::OutputTokens, "int"),
    ("usage.total_tokens", UsageField::TotalTokens, "int"),
    ("usage.cached_tokens", UsageField::CachedTokens, "int"),
    (
        "usage.cache_creation_tokens",
        UsageField::CacheCreationTokens,
        "int",
    ),
    ("usage.reasoning_tokens", UsageField::ReasoningTokens, "int"),
    ("usage.usd", UsageField::Usd, "double"),
    ("usage.estimated", UsageField::Estimated, "bool"),
    ("usage.raw", UsageField::Raw, "map"),
];

/// All fields of `response` with their names and types in CEL.
pub static RESPONSE_FIELDS: [(&str, ResponseField, &str); 2] = [
    ("response.code", ResponseField::Code, "int"),
    (
        "response.headers",
        ResponseField::Headers,
        "map(string, string)",
    ),
];

/// The names that other gateways have for variables of costs, with the variables. Only costs can use them.
pub(crate) static COST_ALIASES: [(&str, &str); 11] = [
    ("input_tokens", "usage.input_tokens"),
    ("output_tokens", "usage.output_tokens"),
    ("total_tokens", "usage.total_tokens"),
    ("cached_input_tokens", "usage.cached_tokens"),
    ("cache_creation_input_tokens", "usage.cache_creation_tokens"),
    ("reasoning_tokens", "usage.reasoning_tokens"),
    ("prompt_tokens", "usage.input_tokens"),
    ("completion_tokens", "usage.output_tokens"),
    ("model", "llm.model"),
    ("backend", "xds.cluster_name"),
    ("route_name", "xds.route_name"),
];

/// The root of filter state.
pub(super) const FILTER_STATE: &str = "filter_state";

/// The root of `auth`.
pub(super) const AUTH: &str = "auth";

/// The field of a [`Kind::Metadata`].
pub(super) const FILTER_METADATA: &str = "filter_metadata";

/// Returns the property of this name.
pub(super) fn find(name: &str) -> Option<&'static Property> {
    PROPERTIES.iter().find(|property| property.name == name)
}

/// Returns the field of `llm` of this name.
pub(super) fn find_llm(name: &str) -> Option<LlmField> {
    LLM_FIELDS
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(_, field, _)| *field)
}

/// Returns the field of `usage` of this name.
pub(super) fn find_usage(name: &str) -> Option<UsageField> {
    USAGE_FIELDS
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(_, field, _)| *field)
}

/// Returns the field of `response` of this name.
pub(super) fn find_response(name: &str) -> Option<ResponseField> {
    RESPONSE_FIELDS
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(_, field, _)| *field)
}

/// Returns the variable that a cost reads by this name of another gateway.
#[must_use]
pub fn aliased(name: &str) -> Option<&'static str> {
    COST_ALIASES
        .iter()
        .find(|(alias, _)| *alias == name)
        .map(|(_, variable)| *variable)
}

/// Returns the names that can follow `prefix`, which is a root or a prefix of names; none if it is neither.
pub(super) fn fields_of(prefix: &str) -> impl Iterator<Item = &'static str> {
    names().filter_map(move |name| {
        let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
        rest.split('.').next()
    })
}

/// Returns the roots of all variables, including repeated ones.
pub(super) fn roots() -> impl Iterator<Item = &'static str> {
    names()
        .filter_map(|name| name.split('.').next())
        .chain([AUTH, FILTER_STATE])
}

fn names() -> impl Iterator<Item = &'static str> {
    let properties = PROPERTIES.iter().map(|property| property.name);
    properties
        .chain(LLM_FIELDS.iter().map(|(name, ..)| *name))
        .chain(USAGE_FIELDS.iter().map(|(name, ..)| *name))
        .chain(RESPONSE_FIELDS.iter().map(|(name, ..)| *name))
}

// === impl Attribute ===

impl Attribute {
    /// Returns whether the attribute is only known once the request's body is.
    pub(super) fn needs_body(&self) -> bool {
        match self {
            Attribute::RequestBody(_) => true,
            Attribute::Llm(field) => !matches!(field, LlmField::Provider | LlmField::Api),
            _ => false,
        }
    }
}
