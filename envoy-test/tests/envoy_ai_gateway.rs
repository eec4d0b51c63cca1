//! Envoy AI Gateway's demonstration of usage-based rate limiting, as `examples/envoy-ai-gateway` has it.

mod examples;

#[tokio::test]
async fn users_have_tokens_of_each_model() -> examples::Outcome {
    examples::play("envoy-ai-gateway").await
}

#[tokio::test]
async fn envoys_rate_limit_filter_enforces_what_is_metered() -> examples::Outcome {
    examples::play("envoy-ai-gateway/metering").await
}
