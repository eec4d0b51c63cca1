//! The flags of `tollgate render`.

#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf, str::FromStr};

use clap::{Parser, ValueEnum};

/// The flags of `tollgate render`.
#[derive(Clone, Debug, Parser)]
#[command(name = "render")]
pub struct Options {
    /// What the output is for
    #[arg(long, value_name = "FORM")]
    pub to: Form,

    /// A plugin configuration or `TokenRateLimitPolicy`s, in YAML or JSON, by themselves, in a list or in a resource of
    /// Istio, Envoy Gateway or Envoy; - for standard input
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// The module: the path of the file in Envoy's container, an image (`oci://registry/tollgate:0.1.0`), or a URL of
    /// the file (`https://...`). The form decides which it takes; Envoy's own takes a path, by default
    /// /etc/envoy/tollgate.wasm
    #[arg(long, value_name = "PATH|URL")]
    pub module: Option<Module>,

    /// The SHA-256 of the image or file, in hexadecimal, which is compared after the download
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<Sha256>,

    /// What writes the identity that the policy reads as `auth`. Required if it reads one
    #[arg(long, value_name = "SOURCE", help_heading = "Identity")]
    pub identity: Option<IdentitySource>,

    /// The issuer of the tokens (jwt)
    #[arg(long, value_name = "URL", help_heading = "Identity")]
    pub issuer: Option<String>,

    /// The keys of the issuer (jwt): a URL, or for Envoy a path of a file
    #[arg(long, value_name = "URL|PATH", help_heading = "Identity")]
    pub jwks: Option<Jwks>,

    /// The audiences of the tokens (jwt), several separated by commas. Without one, tokens of the issuer for others are
    /// valid too
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "Identity"
    )]
    pub audience: Vec<String>,

    /// The gRPC address of the authorization service (ext-authz, authorino). For Envoy Gateway the host is that of a
    /// service: name.namespace
    #[arg(long, value_name = "HOST:PORT", help_heading = "Identity")]
    pub authz_service: Option<Address>,

    /// The name in `extensionProviders` of Istio's mesh configuration (ext-authz, authorino)
    #[arg(long, value_name = "NAME", help_heading = "Identity")]
    pub authz_provider: Option<String>,

    /// The addresses of the proxy in front that sets the headers (headers), several separated by commas
    #[arg(
        long,
        value_name = "CIDR",
        value_delimiter = ',',
        help_heading = "Identity"
    )]
    pub trusted_proxy: Vec<Cidr>,

    /// The address of the rate limit service that `storage` names, if the cluster has to be defined
    #[arg(long, value_name = "HOST:PORT", help_heading = "Rate limit service")]
    pub rate_limit_service: Option<Address>,

    /// The cluster of the rate limit service, instead of that in `storage`
    #[arg(long, value_name = "NAME", help_heading = "Rate limit service")]
    pub rate_limit_cluster: Option<String>,

    /// The server or provider that requests are sent to: `http://HOST:PORT` or `https://HOST[:PORT]`
    #[arg(long, value_name = "URL", help_heading = "Envoy")]
    pub upstream: Option<Upstream>,

    /// The IP address that Envoy listens on
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:8080",
        value_parser = own,
        help_heading = "Envoy"
    )]
    pub listen: Address,

    /// The IP address of Envoy's admin interface, which has no authentication
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:9901",
        value_parser = own,
        help_heading = "Envoy"
    )]
    pub admin: Address,

    /// The name of the resources
    #[arg(
        long,
        value_name = "NAME",
        default_value = "tollgate",
        help_heading = "Kubernetes"
    )]
    pub name: Name,

    /// The namespace of the resources: that of the gateway. By default that of the policy
    #[arg(long, value_name = "NAME", help_heading = "Kubernetes")]
    pub namespace: Option<Name>,

    /// The Gateway (gateway.networking.k8s.io) that the resources are attached to. By default the one that the policy
    /// is attached to
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "selector",
        help_heading = "Kubernetes"
    )]
    pub gateway: Option<Name>,

    /// Labels of the gateway's pods, in place of a Gateway, several separated by commas (Istio)
    #[arg(
        long,
        value_name = "KEY=VALUE",
        value_delimiter = ',',
        help_heading = "Kubernetes"
    )]
    pub selector: Vec<Label>,

    /// The listener of the Gateway that is patched, if Envoy Gateway loads the module from a path
    #[arg(
        long,
        value_name = "NAME",
        default_value = "http",
        help_heading = "Kubernetes"
    )]
    pub listener: Name,

    /// The secret with the credentials of the image's registry
    #[arg(long, value_name = "NAME", help_heading = "Kubernetes")]
    pub pull_secret: Option<Name>,
}

/// What the output is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Envoy: a complete configuration
    Envoy,
    /// Istio: a `WasmPlugin`
    IstioWasmplugin,
    /// Istio 1.30 or later: a `TrafficExtension`
    IstioTrafficextension,
    /// Istio: an `EnvoyFilter`, which also sets what the other two cannot
    IstioEnvoyfilter,
    /// Envoy Gateway: an `EnvoyExtensionPolicy`, or with the path of a module an `EnvoyPatchPolicy`
    EnvoyGateway,
}

/// What writes the identity of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IdentitySource {
    /// Tokens, verified by Envoy's `jwt_authn`, Istio's `RequestAuthentication` or Envoy Gateway's `SecurityPolicy`
    #[value(alias("jwt-authn"), alias("jwt_authn"))]
    Jwt,
    /// Authorino, by Envoy's `ext_authz`
    Authorino,
    /// Another authorization service, by Envoy's `ext_authz`
    #[value(alias("ext_authz"))]
    ExtAuthz,
    /// Headers that a proxy in front sets
    Headers,
    /// Nothing in the output: another filter does, or the policy reads no identity
    None,
}

/// Where the module is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Module {
    /// A file in Envoy's container.
    Path(String),
    /// An image in a registry, without the scheme.
    Image(String),
    /// A file at a URL.
    Url(String),
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Jwks {
    /// A file in Envoy's container.
    Path(String),
    /// A URL, with the server of its host.
    Url(String, Upstream),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A server that speaks HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Where it listens.
    pub address: Address,
    /// Whether by TLS.
    pub is_tls: bool,
}

/// A range of IP addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The first address.
    pub address: std::net::IpAddr,
    /// The length of the prefix that they have in common.
    pub prefix: u8,
}

/// A name of a Kubernetes resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub String);

/// A label and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The label.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sha256(pub String);

/// The value of a flag that is malformed. Displays as what is expected.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("expected {0}")]
pub struct Malformed(&'static str);

/// A port that does not exist.
const PORT: Malformed = Malformed("a port of at most 65535");

// === impl Form ===

impl fmt::Display for Form {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        formatter.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

// === impl IdentitySource ===

impl fmt::Display for IdentitySource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        formatter.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

// === impl Module ===

impl FromStr for Module {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Malformed(
            "an absolute path, an image such as \"oci://registry.example.com/tollgate:0.1.0\", or a URL of http or https",
        );
        let is_word = !text
            .chars()
            .any(|character| character.is_whitespace() || character.is_control());
        match text.split_once("://") {
            _ if !is_word => Err(EXPECTED),
            Some(("oci", image)) if image.contains('/') => Ok(Self::Image(image.to_owned())),
            Some(("http" | "https", rest)) if !rest.is_empty() => Ok(Self::Url(text.to_owned())),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::Path(path.to_owned())),
            None if text.starts_with('/') => Ok(Self::Path(text.to_owned())),
            _ => Err(EXPECTED),
        }
    }
}

// === impl Jwks ===

impl FromStr for Jwks {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Malformed("a URL of http or https, or an absolute path");
        if text.starts_with('/') {
            return Ok(Self::Path(text.to_owned()));
        }
        let server = text.split('/').take(3).collect::<Vec<_>>().join("/");
        let server = server.parse().map_err(|_| EXPECTED)?;
        Ok(Self::Url(text.to_owned(), server))
    }
}

// === impl Address ===

impl FromStr for Address {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        address(
            text,
            Malformed("a host and a port, such as \"limitador:8081\" or \"[::1]:8081\""),
        )
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(formatter, "[{}]:{}", self.host, self.port);
        }
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

/// Returns a host and a port.
fn address(text: &str, expected: Malformed) -> Result<Address, Malformed> {
    let (host, port) = text.rsplit_once(':').ok_or(expected)?;
    let host = self::host(host).ok_or(expected)?;
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) => Ok(Address { host, port }),
        Err(_) if is_number => Err(PORT),
        Err(_) => Err(expected),
    }
}

/// Returns an address that Envoy itself has: Envoy does not resolve its name.
fn own(text: &str) -> Result<Address, Malformed> {
    const EXPECTED: Malformed = Malformed(
        "an IP address and a port, such as \"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::]:8080\"",
    );
    let address = address(text, EXPECTED)?;
    match address.host.parse::<std::net::IpAddr>() {
        Ok(_) => Ok(address),
        Err(_) => Err(EXPECTED),
    }
}

/// Returns a host without the brackets of an IPv6 address.
fn host(text: &str) -> Option<String> {
    if let Some(address) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let address: std::net::Ipv6Addr = address.parse().ok()?;
        return Some(address.to_string());
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (!text.is_empty() && text.bytes().all(is_name)).then(|| text.to_owned())
}

// === impl Upstream ===

impl FromStr for Upstream {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Malformed(
            "the scheme, host and port of a server, such as \"http://vllm:8000\" or \"https://api.openai.com\"",
        );
        let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
        let (is_tls, port) = match scheme {
            "http" => (false, 80),
            "https" => (true, 443),
            _ => return Err(EXPECTED),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('/') {
            return Err(Malformed(
                "a server without a path, such as \"http://vllm:8000\": requests keep the path that the client sends",
            ));
        }
        let address = match host(rest) {
            Some(host) => Address { host, port },
            None => address(rest, EXPECTED)?,
        };
        Ok(Self { address, is_tls })
    }
}

// === impl Cidr ===

impl FromStr for Cidr {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Malformed("an IP address or a range, such as \"10.1.0.0/16\"");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: std::net::IpAddr = address.parse().map_err(|_| EXPECTED)?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| EXPECTED)?,
            None => max,
        };
        if prefix > max {
            return Err(EXPECTED);
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

// === impl Name ===

impl FromStr for Name {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| is_word(byte) || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() > 253 || !text.split('.').all(is_label) {
            return Err(Malformed(
                "a name of lower-case letters, digits, \"-\" and \".\"",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

// === impl Label ===

impl FromStr for Label {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed =
            Malformed("a label and its value, such as \"istio=ingressgateway\"");
        let is_word = |text: &str| {
            let is_known = |byte: u8| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/')
            };
            text.bytes().all(is_known)
        };
        let (key, value) = text.split_once('=').ok_or(EXPECTED)?;
        if key.is_empty() || value.len() > 63 || !is_word(key) || !is_word(value) {
            return Err(EXPECTED);
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

// === impl Sha256 ===

impl FromStr for Sha256 {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if digits.len() != 64 || !digits.bytes().all(is_digit) {
            return Err(Malformed("64 hexadecimal digits in lower case"));
        }
        Ok(Self(digits.to_owned()))
    }
}
