//! Waiting for a condition, up to a deadline.

use std::time::Duration;

use tokio::time::Instant;

/// How long a condition may take to become true.
///
/// It elapses only when something is broken, and machines that run tests are busy: hence so long.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The longest pause between two evaluations of a condition.
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// A condition did not become true within [`DEADLINE`].
#[derive(Debug, thiserror::Error)]
#[error("timed out after {} s waiting for {awaited}", DEADLINE.as_secs())]
pub struct TimedOut {
    /// The condition.
    pub awaited: String,
}

/// Evaluates `condition` repeatedly, with growing pauses, until it yields a value.
///
/// # Errors
/// [`TimedOut`], which names `awaited`, when it has yielded none within [`DEADLINE`].
pub async fn until<T>(
    awaited: impl Into<String>,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> Result<T, TimedOut> {
    let end = Instant::now() + DEADLINE;
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
        pause = (pause * 2).min(MAX_PAUSE);
    }
}
