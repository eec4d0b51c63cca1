//! Istio's authentication and authorization.

use crate::render::filters;
use crate::render::kubernetes::{resource, target};
use crate::render::options::{Cidr, Jwks};
use crate::render::plan::{ExtAuthz, Identity, Jwt, Plan};
use crate::render::yaml::{List, Map};

const VERSION: &str = "security.istio.io/v1";

/// Returns the documents.
pub(super) fn documents(plan: &Plan) -> Vec<(String, Map)> {
    match &plan.identity {
        Identity::Jwt(jwt) => vec![request_authentication(plan, jwt), requires_token(plan, jwt)],
        Identity::ExtAuthz(service) => vec![custom(plan, service)],
        Identity::Headers { headers, proxies } => vec![trusted_headers(plan, headers, proxies)],
        Identity::None => Vec::new(),
    }
}

fn request_authentication(plan: &Plan, jwt: &Jwt) -> (String, Map) {
    let keys = match &jwt.jwks {
        Jwks::Url(url, _) | Jwks::Path(url) => url,
    };
    let rule = Map::default()
        .field("issuer", &jwt.issuer)
        .extend(filters::audiences(jwt))
        .field("jwksUri", keys);
    let spec =
        target(plan, "selector", "matchLabels").field("jwtRules", List::default().item(rule));
    let comment = "Verifies tokens and writes their claims to the key `payload` of envoy.filters.http.jwt_authn, which `auth` \
                   of the policy reads.";
    (
        comment.to_owned(),
        resource(plan, VERSION, "RequestAuthentication", "", spec),
    )
}

fn requires_token(plan: &Plan, jwt: &Jwt) -> (String, Map) {
    let principals = List::default().item(format!("{}/*", jwt.issuer));
    let source = Map::default().field(
        "source",
        Map::default().field("requestPrincipals", principals),
    );
    let rule = Map::default().field("from", List::default().item(source));
    let spec = target(plan, "selector", "matchLabels")
        .field("action", "ALLOW")
        .field("rules", List::default().item(rule));
    let comment = "A RequestAuthentication alone admits requests without a token.";
    (
        comment.to_owned(),
        resource(plan, VERSION, "AuthorizationPolicy", "", spec),
    )
}

fn custom(plan: &Plan, service: &ExtAuthz) -> (String, Map) {
    let spec = target(plan, "selector", "matchLabels")
        .field("action", "CUSTOM")
        .field("provider", Map::default().field("name", &service.name))
        .note("All requests.")
        .field("rules", List::default().item(Map::default()));
    let comment = format!(
        "Calls the authorization service. What it returns as dynamic metadata is `auth`. Istio's mesh configuration has its address:\n  \
         extensionProviders:\n  - name: {}\n    envoyExtAuthzGrpc: {{ service: NAME.NAMESPACE.svc.cluster.local, port: PORT, \
         timeout: 1s }}",
        service.name
    );
    (
        comment,
        resource(plan, VERSION, "AuthorizationPolicy", "", spec),
    )
}

fn trusted_headers(plan: &Plan, headers: &[String], proxies: &[Cidr]) -> (String, Map) {
    let rules = headers.iter().map(|header| {
        let ranges = List::default().items(proxies.iter().map(Cidr::to_string));
        let source = Map::default().field("source", Map::default().field("notIpBlocks", ranges));
        let condition = Map::default()
            .field("key", format!("request.headers[{header}]"))
            .field("values", List::default().item("*"));
        Map::default()
            .field("from", List::default().item(source))
            .field("when", List::default().item(condition))
    });
    let spec = target(plan, "selector", "matchLabels")
        .field("action", "DENY")
        .field("rules", List::default().items(rules));
    let comment = "The policy reads the identity from headers that a proxy in front sets. From all other addresses they are \
                   answered with a 403: a client could claim any identity. The proxy has to remove them from what its own \
                   clients send.";
    (
        comment.to_owned(),
        resource(plan, VERSION, "AuthorizationPolicy", "", spec),
    )
}
