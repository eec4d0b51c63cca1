//! Envoy AI Gateway's demonstration of usage-based rate limiting, as `examples/envoy-ai-gateway` has it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

mod examples;

/// How long a play may take.
const PLAY: Duration = Duration::from_secs(120);
const HOUR: u64 = 3600;

/// Waits where the hour, and with it the windows, might end while something is played.
async fn hour_with_time() -> examples::Outcome {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let left = Duration::from_secs(HOUR - now.as_secs() % HOUR);
    if left < PLAY {
        tokio::time::sleep(left).await;
    }
    Ok(())
}

#[tokio::test]
async fn users_have_tokens_of_each_model() -> examples::Outcome {
    hour_with_time().await?;
    examples::play("envoy-ai-gateway").await
}

#[tokio::test]
async fn envoys_rate_limit_filter_enforces_what_is_metered() -> examples::Outcome {
    hour_with_time().await?;
    examples::play("envoy-ai-gateway/metering").await
}
