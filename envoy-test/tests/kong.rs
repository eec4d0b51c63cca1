//! Kong's use case "consumer token budgets", as `examples/kong` has it.

mod examples;

#[tokio::test]
async fn consumers_have_budgets_by_their_tiers() -> examples::Outcome {
    examples::play("kong").await
}
