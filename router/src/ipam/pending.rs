//! Callers that wait for an answer of the state machine.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use mesh_proto::api::ipam::Left;
use mesh_proto::ipam::RequestId;
use mesh_proto::time::Instant;
use tokio::sync::oneshot;

use super::NotGiven;

/// A caller that waits for an address.
#[derive(Debug)]
pub(super) struct PendingAcquire {
    /// The process that asked; 0 if it is not known.
    pub(super) caller: u32,
    pub(super) owner: String,
    pub(super) answer: oneshot::Sender<Result<Ipv4Net, NotGiven>>,
}

/// A caller that waits for the range to have an owner.
#[derive(Debug)]
pub(super) struct PendingPrime {
    pub(super) since: Instant,
    pub(super) until: Instant,
    pub(super) answer: oneshot::Sender<Result<(), String>>,
}

/// A caller that waits for the space to be handed over.
#[derive(Debug)]
pub(super) struct PendingLeave {
    pub(super) answer: oneshot::Sender<Left>,
    pub(super) others: usize,
    /// Slices that nobody took, once that is known.
    pub(super) orphaned: Option<usize>,
    pub(super) until: Instant,
}

/// All callers that wait.
#[derive(Debug, Default)]
pub(super) struct PendingCalls {
    acquires: BTreeMap<RequestId, PendingAcquire>,
    /// The number of requests so far.
    requests: u64,
    primes: Vec<PendingPrime>,
    leave: Option<PendingLeave>,
}

impl PendingCalls {
    /// Returns whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.acquires.is_empty() && self.primes.is_empty() && self.leave.is_none()
    }

    /// Returns a new number for a request.
    pub(super) fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// Keeps a caller until its request is answered.
    pub(super) fn add(&mut self, id: RequestId, acquire: PendingAcquire) {
        self.acquires.insert(id, acquire);
    }

    /// Returns the caller whose request is answered.
    pub(super) fn take(&mut self, id: RequestId) -> Option<PendingAcquire> {
        self.acquires.remove(&id)
    }

    /// Returns all callers that wait for an address.
    pub(super) fn acquires(&self) -> &BTreeMap<RequestId, PendingAcquire> {
        &self.acquires
    }

    /// Returns the requests of callers that hung up.
    pub(super) fn abandoned(&self) -> Vec<RequestId> {
        let acquires = self.acquires.iter();
        let abandoned = acquires.filter(|(_, acquire)| acquire.answer.is_closed());
        abandoned.map(|(id, _)| *id).collect()
    }

    /// Keeps a caller until the range has an owner.
    pub(super) fn add_prime(&mut self, prime: PendingPrime) {
        self.primes.push(prime);
    }

    /// Returns all callers that wait for the range to have an owner, and forgets them.
    pub(super) fn take_primes(&mut self) -> Vec<PendingPrime> {
        std::mem::take(&mut self.primes)
    }

    /// Keeps the caller that waits for the space to be handed over.
    pub(super) fn set_leave(&mut self, leave: PendingLeave) {
        self.leave = Some(leave);
    }

    /// Returns whether a caller waits for the space to be handed over.
    pub(super) fn is_leaving(&self) -> bool {
        self.leave.is_some()
    }

    /// Takes note that the space is handed over but for so many slices.
    pub(super) fn note_left(&mut self, orphaned: usize) {
        if let Some(leave) = &mut self.leave {
            leave.orphaned = Some(orphaned);
        }
    }

    /// Answers the caller that waits for the space to be handed over, if it is and `is_told`, or if its time is over.
    pub(super) fn finish_leave(&mut self, is_told: bool, now: Instant) {
        let is_over =
            |leave: &mut PendingLeave| leave.orphaned.is_some() && is_told || now >= leave.until;
        if let Some(leave) = self.leave.take_if(is_over) {
            let _ = leave.answer.send(Left {
                orphaned: leave.orphaned.unwrap_or_default(),
                others: leave.others,
            });
        }
    }
}
