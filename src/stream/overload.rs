//! What an exchange does without when the worker's memory runs out, and the rejection at its end.

use super::machine::{Next, Stream};
use super::state::{Phase, State};
use crate::admit::Applicable;
use crate::attributes::{Attributes, Body};
use crate::memory::Need;
use crate::telemetry::Decision;
use usage_meter::request::Endpoint;

// === impl Stream ===

impl Stream {
    /// Returns whether so many bytes may be allocated for a need; if not, that is counted and logged.
    pub(super) fn has_memory(&self, need: Need, bytes: usize) -> bool {
        let budget = self.parts.memory;
        let has_room = budget.has_room(need, bytes);
        if !has_room {
            self.parts.telemetry.memory_exhausted(need, budget);
        }
        has_room
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
        let applicable = if applicable.depends_on_body {
            self.applicable(&mut attributes)
        } else {
            Ok(applicable)
        };
        let length = self.request.content_length;
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

    /// Rejects the request because the worker has no memory for it. Its headers are not read for that.
    #[cold]
    pub(super) fn overload(&mut self) -> Next {
        self.state = State::Done;
        self.outcome.decision = Some(Decision::Overloaded);
        let path = self.parts.host.property(&["request", "path"]);
        // Without a path, the error has the shape of no provider in particular.
        let path = path.ok().flatten().unwrap_or_default();
        let endpoint = Endpoint::of_path(&String::from_utf8_lossy(&path));
        self.parts.responder.reject_overload(endpoint.as_ref());
        Next::Pause
    }
}
