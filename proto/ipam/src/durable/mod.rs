//! The durable half of a router's addresses: the state, and the gate that keeps effects back until the state is on disk.
//!
//! Parts change the state by [`DurableState::record`] and speak to the outside by [`DurableState::emit`]. Both go through
//! one [`SyncGate`], so an effect leaves after all that was recorded before it is synced, whichever part it is of.

mod claims;
mod entry;
mod fault;
mod free;
mod gate;
mod journal;
mod leases;
mod state;

use std::net::Ipv4Addr;

pub(crate) use claims::SliceClaim;
#[cfg(test)]
pub(crate) use claims::next;
pub(crate) use entry::JournalEntry;
pub(crate) use fault::Fault;
pub(crate) use gate::{Durable, Released};
pub use journal::JournalError;
pub(crate) use journal::{header, replay, snapshot};
pub(crate) use leases::{LocalLease, RemoteLease};
pub(crate) use state::AddressState;

use super::effect::IpamEffect;
use super::slices::{SliceRun, Slicing};
use super::wire::IpamMessage;
use claims::USED;
use gate::SyncGate;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::MAX_IPAM_OUTPUTS;

/// The state of a router's addresses behind its gate.
#[derive(Debug)]
pub(crate) struct DurableState {
    state: AddressState,
    gate: SyncGate<IpamEffect>,
    /// The gateway of the subnet, which is given out only if it is asked for by itself.
    reserved: Option<Ipv4Addr>,
    #[cfg(test)]
    fault: Option<Fault>,
}

impl DurableState {
    /// Takes up the journal `entries` (none: a new router).
    ///
    /// # Errors
    /// [`JournalError`], when the journal is of another router, range or version, or damaged.
    pub(crate) fn open<'a>(
        me: PeerId,
        slicing: Slicing,
        entries: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, JournalError> {
        let mut entries = entries.into_iter().peekable();
        let is_new = entries.peek().is_none();
        let mut durable = Self {
            state: replay(me, slicing, entries)?,
            gate: SyncGate::new(),
            reserved: None,
            #[cfg(test)]
            fault: None,
        };
        if is_new {
            durable.gate.record(header(&durable.state));
        }
        Ok(durable)
    }

    /// Returns the state.
    pub(crate) fn state(&self) -> &AddressState {
        &self.state
    }

    /// Keeps an address back unless it is asked for by itself.
    pub(crate) fn reserve(&mut self, addr: Option<Ipv4Addr>) {
        self.reserved = addr;
    }

    /// Returns the address that is kept back.
    pub(crate) fn reserved(&self) -> Option<Ipv4Addr> {
        self.reserved
    }

    /// Changes the state, and has the change written.
    pub(crate) fn record(&mut self, entry: &JournalEntry) {
        self.state.apply(entry);
        self.gate.record(entry.encode());
    }

    /// Leases an address to a container of this router.
    pub(crate) fn lease(&mut self, addr: Ipv4Addr, lease: LocalLease) {
        self.mark_used(addr);
        self.record(&JournalEntry::Lease {
            addr,
            prefix: lease.prefix,
            explicit: lease.explicit,
            container: lease.container,
        });
    }

    /// Leases an address of this router's slices to another router.
    pub(crate) fn lease_out(&mut self, addr: Ipv4Addr, lease: RemoteLease) {
        self.mark_used(addr);
        self.exclude(addr, lease);
    }

    /// Excludes an address that another router leases already.
    pub(crate) fn exclude(&mut self, addr: Ipv4Addr, lease: RemoteLease) {
        let RemoteLease { to, epoch, number } = lease;
        self.record(&JournalEntry::RemoteLease {
            addr,
            to,
            epoch,
            number,
        });
    }

    /// Says, before the first address of a slice is given out, that the slice is used.
    fn mark_used(&mut self, addr: Ipv4Addr) {
        let Some(first) = self.state.slicing().slice_of(addr) else {
            return;
        };
        let claims = self.state.claims();
        if let (Some(from), Some(claim)) = (claims.granter(first), claims.get(first))
            && claim.ver & USED == 0
        {
            let (count, ver) = (1, claim.ver | USED);
            let run = SliceRun { first, count, ver };
            self.record(&JournalEntry::Own { from, run });
        }
    }

    /// Has an effect carried out once all that was recorded before it is on disk.
    pub(crate) fn emit(&mut self, effect: IpamEffect) {
        self.gate.hold_back(effect);
    }

    /// Sends a message to another router, likewise. It is dropped if too many wait; every message may be lost.
    pub(crate) fn send(&mut self, to: PeerId, message: &IpamMessage) {
        let bytes = message.encode();
        if self.gate.waiting() < MAX_IPAM_OUTPUTS {
            self.emit(IpamEffect::Send { to, bytes });
        }
    }

    /// Notes that all entries up to `position` are on disk.
    pub(crate) fn note_synced(&mut self, position: u64) {
        self.gate.note_synced(position);
    }

    /// Returns the number of the newest entry.
    pub(crate) fn position(&self) -> u64 {
        self.gate.position()
    }

    /// Returns a short journal that says the same as all entries so far.
    pub(crate) fn snapshot(&self) -> Vec<Vec<u8>> {
        snapshot(&self.state)
    }

    /// Returns the next thing that may leave this router.
    pub(crate) fn poll(&mut self) -> Option<Released<IpamEffect>> {
        if self.has_fault(Fault::NoSync) {
            self.gate.note_synced(u64::MAX);
        }
        self.gate.poll()
    }

    /// Returns whether addresses of a slice may be given out here.
    pub(crate) fn may_use(&self, slice: u16) -> bool {
        let claims = self.state.claims();
        claims.is_usable(slice) || (self.has_fault(Fault::NoAgreement) && claims.is_mine(slice))
    }

    /// Returns whether a test planted this mistake.
    pub(crate) fn has_fault(&self, fault: Fault) -> bool {
        #[cfg(test)]
        return self.fault == Some(fault);
        #[cfg(not(test))]
        {
            let _ = fault;
            false
        }
    }

    #[cfg(test)]
    pub(crate) fn plant(&mut self, fault: Option<Fault>) {
        self.fault = fault;
    }
}
