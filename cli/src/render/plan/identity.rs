//! The source of the caller's identity.

use filter_config::{AuthSource, Configuration, Json, Source};

use crate::render::clusters;
use crate::render::misuse::Misuse;
use crate::render::options::{Address, Cidr, Form, IdentitySource, Jwks, Options};

/// The namespace of the metadata that `jwt_authn` writes.
const JWT_AUTHN: &str = "envoy.filters.http.jwt_authn";

/// What establishes the identity of callers.
#[derive(Debug)]
pub(in crate::render) enum Identity {
    Jwt(Jwt),
    ExtAuthz(ExtAuthz),
    /// Headers that a proxy in front sets.
    Headers {
        headers: Vec<String>,
        proxies: Vec<Cidr>,
    },
    None,
}

/// Tokens of an issuer.
#[derive(Debug)]
pub(in crate::render) struct Jwt {
    pub(in crate::render) issuer: String,
    pub(in crate::render) jwks: Jwks,
    /// The audiences of which a token has to have one; none if all are permitted.
    pub(in crate::render) audiences: Vec<String>,
    /// The key in the metadata that has the claims.
    pub(in crate::render) key: String,
}

/// An authorization service.
#[derive(Debug)]
pub(in crate::render) struct ExtAuthz {
    /// Its name: that of the cluster, or of the extension provider.
    pub(in crate::render) name: String,
    /// Where it listens. Istio's mesh configuration has that instead.
    pub(in crate::render) service: Option<Address>,
}

/// Returns the source of identities, and the value of `auth` that a configuration without one needs for it.
pub(super) fn resolve(
    options: &Options,
    source: &Source,
) -> Result<(Identity, Option<Json>), Misuse> {
    let configuration = &source.configuration;
    let kind = match options.identity {
        Some(kind) => kind,
        None if source.reads_auth() => {
            return Err(Misuse::new(
                "--identity is required: the policy reads `auth`, which is written by jwt, authorino, ext-authz or \
                 headers; none if another filter writes it",
            ));
        }
        None => IdentitySource::None,
    };
    flags(options, kind)?;
    match kind {
        IdentitySource::None => Ok((Identity::None, None)),
        IdentitySource::Jwt => jwt(options, source),
        IdentitySource::Authorino | IdentitySource::ExtAuthz => {
            let service = ext_authz(options, kind)?;
            Ok((Identity::ExtAuthz(service), None))
        }
        IdentitySource::Headers => {
            let headers = headers(configuration);
            if headers.is_empty() {
                return Err(Misuse::new(
                    "--identity headers: the configuration names no header in \"auth\", expected e.g. \
                     [ { header: { identity.userid: x-user-id } } ]",
                ));
            }
            if options.trusted_proxy.is_empty() {
                return Err(Misuse::new(
                    "--trusted-proxy is required: the addresses of the proxy that sets the headers of \"auth\"; other \
                     clients must not send them",
                ));
            }
            let proxies = options.trusted_proxy.clone();
            Ok((Identity::Headers { headers, proxies }, None))
        }
    }
}

/// Checks that no flag is given that is of another source.
fn flags(options: &Options, kind: IdentitySource) -> Result<(), Misuse> {
    let is_ext_authz = matches!(kind, IdentitySource::Authorino | IdentitySource::ExtAuthz);
    let given = [
        (
            "--issuer",
            options.issuer.is_some(),
            kind == IdentitySource::Jwt,
        ),
        (
            "--jwks",
            options.jwks.is_some(),
            kind == IdentitySource::Jwt,
        ),
        (
            "--audience",
            !options.audience.is_empty(),
            kind == IdentitySource::Jwt,
        ),
        (
            "--authz-service",
            options.authz_service.is_some(),
            is_ext_authz,
        ),
        (
            "--authz-provider",
            options.authz_provider.is_some(),
            is_ext_authz,
        ),
        (
            "--trusted-proxy",
            !options.trusted_proxy.is_empty(),
            kind == IdentitySource::Headers,
        ),
    ];
    for (flag, is_given, has_effect) in given {
        if is_given && !has_effect {
            return Err(Misuse::new(format!(
                "{flag} has no effect with --identity {kind}"
            )));
        }
    }
    Ok(())
}

fn jwt(options: &Options, source: &Source) -> Result<(Identity, Option<Json>), Misuse> {
    let missing = |flag: &str, what: &str| Misuse::new(format!("{flag} is required: {what}"));
    let issuer = options.issuer.clone().ok_or_else(|| {
        missing(
            "--issuer",
            "the issuer of the tokens, such as \"https://issuer.example.com\"",
        )
    })?;
    let jwks = options.jwks.clone().ok_or_else(|| {
        missing(
            "--jwks",
            "the keys of the issuer, such as \"https://issuer.example.com/jwks.json\"",
        )
    })?;
    if let (Jwks::Path(_), true) = (&jwks, options.to != Form::Envoy) {
        return Err(Misuse::new(
            "--jwks: only Envoy's own configuration takes a path, expected a URL",
        ));
    }
    let key = match options.to {
        Form::Envoy => written(&source.configuration)
            .unwrap_or("identity")
            .to_owned(),
        Form::EnvoyGateway => issuer.clone(),
        _ => "payload".to_owned(),
    };
    let auth = (options.to != Form::Envoy && !source.sets("auth")).then(|| auth(&key));
    if options.to != Form::Envoy && auth.is_none() && !reads(&source.configuration, &key) {
        return Err(Misuse::new(format!(
            "--identity jwt: {} writes the claims to the key {key:?} of {JWT_AUTHN:?}, which \"auth\" does not read; \
             remove \"auth\", or add {{ metadata: {JWT_AUTHN}, key: {key:?}, as: identity }}",
            match options.to {
                Form::EnvoyGateway => "Envoy Gateway",
                _ => "Istio",
            }
        )));
    }
    let jwt = Jwt {
        issuer,
        jwks,
        audiences: options.audience.clone(),
        key,
    };
    Ok((Identity::Jwt(jwt), auth))
}

/// Returns the value of `auth` that makes the claims at a key the value of `auth.identity`.
fn auth(key: &str) -> Json {
    let field = |name: &str, value: &str| (name.to_owned(), Json::String(value.to_owned()));
    Json::Array(vec![Json::Object(vec![
        field("metadata", JWT_AUTHN),
        field("key", key),
        field("as", "identity"),
    ])])
}

/// Returns the first key in the metadata of `jwt_authn` that the configuration reads.
fn written(configuration: &Configuration) -> Option<&str> {
    configuration.auth.iter().find_map(|source| match source {
        AuthSource::Metadata {
            namespace, keys, ..
        } if namespace == JWT_AUTHN => keys.first().map(String::as_str),
        _ => None,
    })
}

/// Returns whether the configuration reads what is at a key in the metadata of `jwt_authn`.
fn reads(configuration: &Configuration, key: &str) -> bool {
    configuration.auth.iter().any(|source| match source {
        AuthSource::Metadata {
            namespace, keys, ..
        } => namespace == JWT_AUTHN && keys.first().is_none_or(|first| first == key),
        _ => false,
    })
}

fn ext_authz(options: &Options, kind: IdentitySource) -> Result<ExtAuthz, Misuse> {
    let is_authorino = kind == IdentitySource::Authorino;
    let default = if is_authorino {
        clusters::AUTHORINO
    } else {
        clusters::EXT_AUTHZ
    };
    let service = options.authz_service.clone();
    match options.to {
        Form::Envoy | Form::EnvoyGateway if service.is_none() => Err(Misuse::new(format!(
            "--authz-service is required: the gRPC address of {}",
            if is_authorino {
                "Authorino, such as \"authorino-authorino-authorization.kuadrant-system:50051\""
            } else {
                "the authorization service, such as \"authz.auth:9000\""
            }
        ))),
        Form::EnvoyGateway
            if service
                .as_ref()
                .is_some_and(|service| !service.host.contains('.')) =>
        {
            Err(Misuse::new(
                "--authz-service: Envoy Gateway takes a service of Kubernetes, expected name.namespace:port",
            ))
        }
        Form::IstioWasmplugin | Form::IstioTrafficextension | Form::IstioEnvoyfilter
            if !is_authorino && options.authz_provider.is_none() =>
        {
            Err(Misuse::new(
                "--authz-provider is required: the name of the authorization service in `extensionProviders` of \
                 Istio's mesh configuration",
            ))
        }
        _ => Ok(ExtAuthz {
            name: options
                .authz_provider
                .clone()
                .unwrap_or_else(|| default.to_owned()),
            service,
        }),
    }
}

/// Returns the headers that `auth` is read from.
pub(super) fn headers(configuration: &Configuration) -> Vec<String> {
    let mut headers: Vec<String> = Vec::new();
    for source in &configuration.auth {
        if let AuthSource::Header(claims) = source {
            for (_, header) in claims {
                if !headers.contains(header) {
                    headers.push(header.clone());
                }
            }
        }
    }
    headers
}
