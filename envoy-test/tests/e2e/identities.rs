//! Sources of the caller's identity, as products write them.

use envoy_test::{
    client::{Chat, Protocol, client},
    filters,
    metered::{Metered, configuration},
};
use serde_json::json;

use crate::support::TestResult;

/// A token of the subject alice, which examples/envoy has too.
pub(crate) const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImZvci10cnlpbmcifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlLmNvbSIsInN1YiI6ImFsaWNlIn0.tFBInhO57aHgB1ZrYLYiO4_W-g5intTC0xcvv1eGEQY";

/// Istio's `RequestAuthentication` and Envoy Gateway's `SecurityPolicy` are Envoy's filter with these keys.
#[tokio::test]
async fn claims_below_a_key_are_the_identity() -> TestResult {
    let namespace = "envoy.filters.http.jwt_authn";
    let issuer = "https://issuer.example.com";
    for (payload, auth, claim) in [
        (
            "identity",
            json!([{ "metadata": namespace }]),
            "auth.identity.sub",
        ),
        (
            "payload",
            json!([{ "metadata": namespace, "key": "payload", "as": "identity" }]),
            "auth.identity.sub",
        ),
        (
            issuer,
            json!([{ "metadata": namespace, "key": issuer }]),
            "auth.sub",
        ),
    ] {
        // The limit of 0 applies, and rejects, only where the claim is read.
        let mut configuration = configuration(json!({ "alice": {
            "rates": [{ "limit": 0, "window": "1h" }],
            "when": [{ "predicate": format!("{claim} == 'alice'") }],
        } }));
        configuration["auth"] = auth;
        let filter = filters::jwt_authn(payload);
        let metered = Metered::build(configuration, |builder| builder.filter(filter)).await?;
        let client = client(Protocol::Http1);
        let address = metered.envoy.address();
        let chat = Chat::default().header("authorization", format!("Bearer {TOKEN}"));
        let status = chat.send(&client, address).await?.status();
        assert_eq!(status, 429, "{payload}");
        let status = Chat::default().send(&client, address).await?.status();
        assert_eq!(status, 401, "{payload}, without a token");
    }
    Ok(())
}
