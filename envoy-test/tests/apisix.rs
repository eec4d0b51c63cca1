//! APISIX's documentation of the plugin `ai-rate-limiting`, as `examples/apisix` has it.

mod examples;

#[tokio::test]
async fn tokens_are_limited_by_their_kind_and_by_rules() -> examples::Outcome {
    examples::play("apisix").await
}
