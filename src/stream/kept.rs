//! What a request keeps beside its body, counted against the shares of the worker's memory.

use crate::ledger::ResponseHeaders;
use crate::memory::{Budget, Lease, Share};

/// What a request keeps while it waits, or until its costs are known.
#[derive(Debug)]
pub(super) struct Kept {
    /// The bytes of its headers, whether they are counted or not.
    pub(super) header_bytes: usize,
    headers: Lease,
    values: Lease,
    queue: Lease,
}

// === impl Kept ===

impl Default for Kept {
    fn default() -> Self {
        Self {
            header_bytes: 0,
            headers: Lease::of(Share::Headers),
            values: Lease::of(Share::Values),
            queue: Lease::of(Share::Queue),
        }
    }
}

impl Kept {
    /// Counts the headers, if there is room for them. Returns whether they are counted.
    pub(super) fn keep_headers(&mut self, budget: Budget) -> bool {
        self.headers.bytes() > 0 || self.headers.keep(self.header_bytes, budget)
    }

    /// Counts the headers that a rate limit service adds to the response of an admitted request, beside those of the
    /// request if they are still kept, if there is room for them. Returns whether they are counted.
    pub(super) fn keep_reply(&mut self, headers: &ResponseHeaders, budget: Budget) -> bool {
        self.headers.keep(reply_bytes(headers), budget)
    }

    /// Counts bytes of the values that are being read from the body.
    pub(super) fn add_values(&mut self, bytes: usize) {
        self.values.add(bytes);
    }

    /// Counts the values of the body as they are now.
    pub(super) fn set_values(&mut self, bytes: usize) {
        self.values.release();
        self.values.add(bytes);
    }

    /// Counts all that the request keeps as queued, if there is room for it in the queue. Returns whether it is
    /// counted.
    pub(super) fn enter_queue(&mut self, budget: Budget) -> bool {
        self.queue.bytes() > 0 || self.queue.keep(self.queued_bytes(), budget)
    }

    /// Returns the bytes of what the request keeps while it is queued.
    pub(super) const fn queued_bytes(&self) -> usize {
        self.header_bytes.saturating_add(self.values.bytes())
    }

    /// Counts nothing any more, but the headers and the values of the body if costs read them.
    pub(super) fn release(&mut self, keeps_headers: bool, keeps_values: bool) {
        self.queue.release();
        if !keeps_headers {
            self.headers.release();
        }
        if !keeps_values {
            self.values.release();
        }
    }
}

/// Returns the bytes of the headers that a rate limit service adds to a response.
pub(super) fn reply_bytes(headers: &ResponseHeaders) -> usize {
    headers.iter().fold(0_usize, |bytes, (name, value)| {
        let of_header = name.capacity().saturating_add(value.capacity());
        bytes.saturating_add(of_header)
    })
}
