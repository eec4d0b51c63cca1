//! What expressions can read of the host: the one table of variables.

/// A thing of the host that an expression reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Attribute {
    /// A property of Envoy, one of [`PROPERTIES`].
    Property(&'static Property),
    /// `auth`, from the first of the configured sources that has a value, at this path: names
    /// joined with dots, empty for `auth` itself. An expression that uses a path uses those above it
    /// as well.
    Auth(String),
    /// `filter_state`, at this key.
    FilterState(String),
    /// A field of `llm`: what a request asks of which model.
    Llm(LlmField),
    /// The request's body as JSON, read by `requestBodyJSON`. The variable is
    /// [`REQUEST_BODY`](crate::REQUEST_BODY).
    RequestBody,
}

/// A variable that is a property of Envoy.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Property {
    /// The name in CEL, with its root: `request.headers`.
    pub name: &'static str,
    /// The path of the property in Envoy, segment by segment.
    pub path: &'static [&'static str],
    /// What it is, and so how Envoy encodes it.
    pub kind: Kind,
}

/// What a property is, in CEL and in Envoy's encoding.
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
    /// `map(string, string)`: the request's headers, names in lower case, those given more than
    /// once joined with `,`.
    Headers,
    /// `map` with the one field `filter_metadata`, by namespace: a protobuf
    /// `envoy.config.core.v3.Metadata`.
    Metadata,
}

/// A field of `llm`: what the path, the headers and the body of a request say of the model that it
/// asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LlmField {
    /// Whose dialect the request speaks, such as `openai`.
    Provider,
    /// What is asked for, such as `chat`.
    Api,
    /// The model's name.
    Model,
    /// Whether the response is to be a stream.
    Stream,
    /// The most tokens that the request allows its response.
    MaxOutputTokens,
    /// The tokens of the request's own text, as far as its size tells.
    EstimatedInputTokens,
}

const fn property(name: &'static str, path: &'static [&'static str], kind: Kind) -> Property {
    Property { name, path, kind }
}

/// Every property that an expression can read, ordered by root.
pub static PROPERTIES: [Property; 49] = [
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

/// Every field of `llm` with its name in CEL and what it is, as for [`PROPERTIES`].
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

/// The root under which filter state is.
pub(super) const FILTER_STATE: &str = "filter_state";

/// The root that is `auth`.
pub(super) const AUTH: &str = "auth";

/// The one field of a [`Kind::Metadata`].
pub(super) const FILTER_METADATA: &str = "filter_metadata";

/// The property of this name.
pub(super) fn find(name: &str) -> Option<&'static Property> {
    PROPERTIES.iter().find(|property| property.name == name)
}

/// The field of `llm` of this name.
pub(super) fn find_llm(name: &str) -> Option<LlmField> {
    LLM_FIELDS
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(_, field, _)| *field)
}

/// The names that can follow `prefix`, which is a root or a beginning of names; none if it is neither.
pub(super) fn fields_of(prefix: &str) -> impl Iterator<Item = &'static str> {
    names().filter_map(move |name| {
        let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
        rest.split('.').next()
    })
}

/// The variables that stand alone or begin a name, repeated ones included.
pub(super) fn roots() -> impl Iterator<Item = &'static str> {
    names()
        .filter_map(|name| name.split('.').next())
        .chain([AUTH, FILTER_STATE])
}

fn names() -> impl Iterator<Item = &'static str> {
    let properties = PROPERTIES.iter().map(|property| property.name);
    properties.chain(LLM_FIELDS.iter().map(|(name, ..)| *name))
}

// === impl Attribute ===

impl Attribute {
    /// Whether it is known only when the request's body is there.
    pub(super) fn needs_body(&self) -> bool {
        match self {
            Attribute::RequestBody => true,
            Attribute::Llm(field) => !matches!(field, LlmField::Provider | LlmField::Api),
            Attribute::Property(_) | Attribute::Auth(_) | Attribute::FilterState(_) => false,
        }
    }
}
