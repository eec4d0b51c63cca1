//! Waiting for a condition, with an end to the patience.

use std::time::Duration;

use tokio::time::Instant;

/// How long a condition may take to come true before a wait gives up.
///
/// Generous, because it only matters when something is broken, and machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The condition did not come true within [`PATIENCE`].
#[derive(Debug, thiserror::Error)]
#[error("waited {} s in vain for {awaited}", PATIENCE.as_secs())]
pub struct TimedOut {
    /// What was waited for.
    pub awaited: String,
}

/// Asks `condition` again and again, with growing pauses, until it yields a value.
///
/// # Errors
/// [`TimedOut`] when it has yielded nothing for [`PATIENCE`]; `awaited` names it in the message.
pub async fn until<T>(
    awaited: impl Into<String>,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> Result<T, TimedOut> {
    let end = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        if Instant::now() >= end {
            return Err(TimedOut {
                awaited: awaited.into(),
            });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
