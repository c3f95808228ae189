//! Callers that wait for an answer of the state machine.

use std::collections::BTreeMap;

use mesh_ipam::RequestId;
use mesh_proto::api::ipam::Left;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;

use crate::call::CallId;

/// A caller that waits for an address.
#[derive(Debug)]
pub(crate) struct PendingAcquire {
    pub(crate) network: NetworkId,
    /// The process that asked; 0 if it is not known.
    pub(crate) caller: u32,
    pub(crate) owner: String,
}

/// A caller that waits for the range to have an owner.
#[derive(Debug)]
pub(crate) struct PendingPrime {
    pub(crate) call: CallId,
    pub(crate) since: Instant,
    pub(crate) until: Instant,
}

/// A caller that waits for the space to be handed over.
#[derive(Debug)]
pub(crate) struct PendingLeave {
    pub(crate) call: CallId,
    pub(crate) others: usize,
    /// Slices that nobody took, once that is known.
    pub(crate) orphaned: Option<usize>,
    pub(crate) until: Instant,
}

/// All callers that wait. A request of the state machine has the number of its call.
#[derive(Debug, Default)]
pub(crate) struct PendingCalls {
    acquires: BTreeMap<RequestId, PendingAcquire>,
    primes: Vec<PendingPrime>,
    leave: Option<PendingLeave>,
}

/// Returns the request of the state machine for a call.
pub(crate) fn request_of(call: CallId) -> RequestId {
    RequestId(call.0)
}

impl PendingCalls {
    /// Returns true if nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.acquires.is_empty() && self.primes.is_empty() && self.leave.is_none()
    }

    /// Keeps a caller until its request is answered.
    pub(crate) fn add(&mut self, id: RequestId, acquire: PendingAcquire) {
        self.acquires.insert(id, acquire);
    }

    /// Returns the caller whose request is answered.
    pub(crate) fn take(&mut self, id: RequestId) -> Option<PendingAcquire> {
        self.acquires.remove(&id)
    }

    /// Returns all callers that wait for an address.
    pub(crate) fn acquires(&self) -> &BTreeMap<RequestId, PendingAcquire> {
        &self.acquires
    }

    /// Keeps a caller until the range has an owner.
    pub(crate) fn add_prime(&mut self, prime: PendingPrime) {
        self.primes.push(prime);
    }

    /// Returns all callers that wait for the range to have an owner, and forgets them.
    pub(crate) fn take_primes(&mut self) -> Vec<PendingPrime> {
        core::mem::take(&mut self.primes)
    }

    /// Keeps the caller that waits for the space to be handed over.
    pub(crate) fn set_leave(&mut self, leave: PendingLeave) {
        self.leave = Some(leave);
    }

    /// Returns true if a caller waits for the space to be handed over.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leave.is_some()
    }

    /// Notes that the space is handed over but for so many slices.
    pub(crate) fn note_left(&mut self, orphaned: usize) {
        if let Some(leave) = &mut self.leave {
            leave.orphaned = Some(orphaned);
        }
    }

    /// Returns the answer of the caller that waits for the space to be handed over, if it is and `is_told`, or if its time is
    /// over.
    pub(crate) fn finish_leave(&mut self, is_told: bool, now: Instant) -> Option<(CallId, Left)> {
        let is_over =
            |leave: &mut PendingLeave| leave.orphaned.is_some() && is_told || now >= leave.until;
        let leave = self.leave.take_if(is_over)?;
        let left = Left {
            orphaned: leave.orphaned.unwrap_or_default(),
            others: leave.others,
        };
        Some((leave.call, left))
    }
}
