//! What an exchange does without when the worker's memory runs out, and the rejection at its end.

use super::access::Access;
use super::kept::reply_bytes;
use super::machine::{Next, Stream};
use super::parts::Parts;
use super::state::{Phase, State};
use crate::admit::Applicable;
use crate::attributes::{Attributes, Body};
use crate::ledger::ResponseHeaders;
use crate::memory::{Need, Share};
use crate::telemetry::Decision;
use usage_meter::request::Endpoint;

// === impl Stream ===

impl Stream {
    /// Returns whether so many bytes may be allocated for a need; if not, that is counted and logged.
    pub(super) fn has_memory(&self, need: Need, bytes: usize) -> bool {
        let budget = self.parts.memory;
        let has_room = budget.has_room(need, bytes);
        if !has_room {
            let left = budget.room(need);
            let telemetry = &self.parts.telemetry;
            telemetry.memory_exhausted(need, bytes, left, budget);
        }
        has_room
    }

    /// Takes note that there was no memory for a part of the request, of so many bytes, with so many left.
    #[cold]
    pub(super) fn lack_memory(&mut self, need: Need, needed: usize, left: usize) {
        self.request.lacks_memory = true;
        let Parts {
            memory, telemetry, ..
        } = &*self.parts;
        telemetry.memory_exhausted(need, needed, left, *memory);
    }

    /// Returns whether the request can keep its headers; if not, that is counted and logged.
    pub(super) fn keeps_headers(&mut self) -> bool {
        let Parts {
            memory, telemetry, ..
        } = &*self.parts;
        let keeps = self.request.kept.keep_headers(*memory);
        if !keeps {
            let needed = self.request.kept.header_bytes;
            let left = Share::Headers.left(*memory);
            telemetry.memory_exhausted(Need::Decision, needed, left, *memory);
        }
        keeps
    }

    /// Returns whether an exchange can keep the headers that a rate limit service adds to its response; if not, that is
    /// counted and logged.
    pub(super) fn keeps_reply(&mut self, headers: &ResponseHeaders) -> bool {
        let Parts {
            memory, telemetry, ..
        } = &*self.parts;
        let keeps = headers.is_empty() || self.request.kept.keep_reply(headers, *memory);
        if !keeps {
            let left = Share::Headers.left(*memory);
            telemetry.memory_exhausted(Need::Decision, reply_bytes(headers), left, *memory);
        }
        keeps
    }

    /// Returns whether the queue has memory for the request; if not, that is counted and logged.
    pub(super) fn may_enter_queue(&mut self) -> bool {
        let Parts {
            memory, telemetry, ..
        } = &*self.parts;
        let may_enter = self.request.kept.enter_queue(*memory);
        if !may_enter {
            let needed = self.request.kept.queued_bytes();
            let left = Share::Queue.left(*memory);
            telemetry.memory_exhausted(Need::Decision, needed, left, *memory);
        }
        may_enter
    }

    /// Decides on a request at its headers, because there is no memory to read its body: what a policy reads of it is
    /// missing.
    #[cold]
    pub(super) fn decide_without_body(
        &mut self,
        mut attributes: Attributes,
        applicable: Applicable,
    ) -> Next {
        self.request.lacks_memory = true;
        attributes.body = Body::Opaque;
        match self.access(&mut attributes, None) {
            Ok(Access::Allowed) => {}
            Ok(_) => return self.overload(),
            Err(error) => return self.fail(&error),
        }
        let applicable = if applicable.depends_on_body {
            self.applicable(&mut attributes)
        } else {
            Ok(applicable)
        };
        let length = self.request.declared_bytes();
        match applicable {
            Ok(applicable) => self.decide(attributes, applicable, length, None, Phase::Headers),
            Err(error) => self.fail(&error),
        }
    }

    /// Passes on a part of a body for which there is no memory, after the pieces that are held, and no longer reads it. A
    /// request that is not decided on yet is decided on by what was read.
    #[cold]
    pub(super) fn stop_reading(&mut self, is_awaited: bool) -> Next {
        self.request.lacks_memory = true;
        if let Err(error) = self.release_held() {
            return self.fail_unchangeable(error);
        }
        let next = if is_awaited {
            self.decide_on_body(None, false, Phase::Body)
        } else {
            self.pass_on()
        };
        self.request.end_reading();
        next
    }

    /// Leaves to decoders what is there for them.
    pub(super) fn limit_decoders(&self) {
        let Parts {
            memory,
            decoder_memory,
            ..
        } = &*self.parts;
        decoder_memory.set_limit_bytes(memory.for_decoders(decoder_memory.used_bytes()));
    }

    /// Returns whether a part of a response is read, so many bytes of it. After a part that was not, none is: numbers
    /// would be read without some of their digits.
    pub(super) fn reads_response(&self, bytes: usize) -> bool {
        match &self.state {
            State::Metering(metering) if metering.is_unread => false,
            _ => self.has_memory(Need::Exchange, bytes),
        }
    }

    /// Passes on a part of a response without reading it. The exchange is charged at least what it was expected to use.
    #[cold]
    pub(super) fn stop_metering(&mut self, end_of_stream: bool) -> Next {
        if let State::Metering(metering) = &mut self.state {
            metering.is_unread = true;
        }
        if end_of_stream {
            self.end_metering();
        }
        Next::Continue
    }

    /// Rejects the request because the worker has no memory for it. Its headers are not read for that.
    #[cold]
    pub(super) fn overload(&mut self) -> Next {
        self.state = State::Done;
        self.request.kept.release(false, false);
        self.outcome.decision = Some(Decision::Overloaded);
        self.outcome
            .note_reason("the worker has no memory for the request");
        let path = self.parts.host.property(&["request", "path"]);
        // Without a path, the error has the format of no provider in particular.
        let path = path.ok().flatten().unwrap_or_default();
        let endpoint = Endpoint::of_path(&String::from_utf8_lossy(&path));
        self.parts.responder.reject_overload(endpoint.as_ref());
        Next::Pause
    }
}
