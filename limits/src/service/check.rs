//! A check of a request at a service, and its reply.

use super::descriptors::DescriptorSet;
use super::message::Reply;
use super::transport::CallId;
use crate::time::Nanos;
use std::rc::Rc;

/// What a service is asked before a request continues.
#[derive(Clone, Debug)]
pub struct CheckRequest {
    /// The counters.
    pub descriptors: Rc<DescriptorSet>,
    /// What is to be reserved; only [`Protocol::Reserve`] reserves.
    pub amount: u64,
    /// How long the reservation lives if it is not settled.
    pub ttl: Nanos,
}

/// The reply to a check.
#[derive(Clone, Debug)]
pub struct CheckReply {
    /// The stream that was given to [`ServiceClient::check`].
    pub stream: u32,
    /// What [`ServiceClient::check`] returned.
    pub call: CallId,
    /// The counters.
    pub descriptors: Rc<DescriptorSet>,
    /// The result.
    pub result: CheckResult,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// The service has decided.
    Reply(Reply),
    /// The service does not implement the method. Another check uses another method.
    Retry,
    /// The service has not replied, or not with a decision.
    Failed,
}

/// Why a check was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckError {
    /// Too many calls are under way to a service that replies to others.
    Saturated,
    /// The call could not be made.
    Failed,
}
