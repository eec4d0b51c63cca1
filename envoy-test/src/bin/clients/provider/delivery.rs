//! The delivery of a body: its parts, compressed where the client accepts that, and where it stops.

use std::{future::pending, io, io::Write, vec};

use axum::{
    body::Body,
    http::{HeaderMap, header::ACCEPT_ENCODING},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::stream;

/// A body that is being sent.
pub(super) struct Delivery {
    parts: vec::IntoIter<Bytes>,
    encoder: Option<GzEncoder<Vec<u8>>>,
    hold_after: Option<usize>,
    sent: usize,
}

/// Returns the content coding that a request with these headers accepts.
pub(super) fn coding(headers: &HeaderMap) -> Option<&'static str> {
    let accepted = headers.get(ACCEPT_ENCODING)?.to_str().ok()?;
    accepted.contains("gzip").then_some("gzip")
}

// === impl Delivery ===

impl Delivery {
    /// Returns the delivery of these parts. With `hold_after`, nothing follows that many of them.
    pub(super) fn new(parts: Vec<Bytes>, encodes: bool, hold_after: Option<usize>) -> Self {
        Self {
            parts: parts.into_iter(),
            encoder: encodes.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
            hold_after,
            sent: 0,
        }
    }

    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut delivery| async {
            let part = delivery.send().await?;
            Some((part, delivery))
        }))
    }

    async fn send(&mut self) -> Option<io::Result<Bytes>> {
        // The server flushes its buffer meanwhile, so that each part is a separate write.
        tokio::task::yield_now().await;
        if self.hold_after == Some(self.sent) {
            pending::<()>().await;
        }
        self.sent += 1;
        match (self.parts.next(), &mut self.encoder) {
            (Some(part), None) => Some(Ok(part)),
            (Some(part), Some(encoder)) => Some(encode(encoder, &part)),
            (None, _) => {
                let end = self.encoder.take()?.finish();
                Some(end.map(Bytes::from))
            }
        }
    }
}

/// Returns what a decoder needs to decode all of a part.
fn encode(encoder: &mut GzEncoder<Vec<u8>>, part: &[u8]) -> io::Result<Bytes> {
    encoder.write_all(part)?;
    encoder.flush()?;
    Ok(std::mem::take(encoder.get_mut()).into())
}
