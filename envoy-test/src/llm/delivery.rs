//! The delivery of a body: its parts, their delays, and where it stops.

use std::{
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

use super::{
    in_flight::InFlight,
    instructions::{Instructions, Split},
};

/// The first bytes of a usage report.
const REPORT: &[u8] = b"\"usage\":{";

/// A body that is being sent.
pub(super) struct Delivery {
    parts: Box<dyn Iterator<Item = Bytes> + Send>,
    /// The rest of a part that is being split.
    rest: Bytes,
    split: Option<Split>,
    delay: Duration,
    abort_after: Option<u64>,
    hold_after: Option<u64>,
    sent: u64,
    all_sent: Arc<AtomicU64>,
    in_flight: Option<InFlight>,
}

impl Delivery {
    /// Returns the delivery of `parts` as instructed, which are counted in `all_sent`. The request is in flight until
    /// its usage report is sent, or until the end.
    pub(super) fn new(
        instructions: &Instructions,
        parts: Box<dyn Iterator<Item = Bytes> + Send>,
        all_sent: Arc<AtomicU64>,
        in_flight: Option<InFlight>,
    ) -> Self {
        Self {
            parts,
            rest: Bytes::new(),
            split: instructions.split.clone(),
            delay: instructions.part_delay,
            abort_after: instructions.abort_after,
            hold_after: instructions.hold_after,
            sent: 0,
            all_sent,
            in_flight,
        }
    }

    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut delivery| async {
            let part = delivery.send().await?;
            Some((part, delivery))
        }))
    }

    async fn send(&mut self) -> Option<io::Result<Bytes>> {
        if self.sent > 0 {
            // The server flushes its buffer meanwhile, so that each part is a separate write.
            tokio::task::yield_now().await;
            // A sleep of zero takes a millisecond.
            if !self.delay.is_zero() {
                tokio::time::sleep(self.delay).await;
            }
        }
        if self.hold_after == Some(self.sent) {
            pending::<()>().await;
        }
        if self.abort_after == Some(self.sent) {
            return Some(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let part = self.next()?;
        self.sent += 1;
        if part.windows(REPORT.len()).any(|bytes| bytes == REPORT) {
            self.in_flight = None;
        }
        self.all_sent.fetch_add(1, Ordering::SeqCst);
        Some(Ok(part))
    }

    fn next(&mut self) -> Option<Bytes> {
        let Some(split) = &mut self.split else {
            return self.parts.next();
        };
        let length = split.length();
        while self.rest.len() < length {
            let Some(part) = self.parts.next() else { break };
            self.rest = [&self.rest[..], &part[..]].concat().into();
        }
        let length = length.min(self.rest.len());
        (length > 0).then(|| self.rest.split_to(length))
    }
}
