//! One space: the state machine of one subnet of one network.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::plan::SpaceId;
use crate::durable::{DurableState, JournalEntry, JournalError};
use crate::effect::RequestId;
use crate::leaving::removal::has_anything;
use crate::refusal::AddressRefusal;
use crate::slices::Slicing;
use crate::wire::IpamStatement;
use crate::{Ipam, IpamConfig};
use mesh_proto::ids::PeerId;
use mesh_proto::time::Instant;

/// One space, and the routers that take part in it.
#[derive(Debug)]
pub(super) struct AddressSpace {
    pub(super) ipam: Ipam,
    /// Routers whose present records have a statement about it.
    pub(super) stated: BTreeSet<PeerId>,
    /// The newest statement of this router that may be told.
    pub(super) statement: Option<Vec<u8>>,
    /// The network is known here, so the gateway is.
    pub(super) is_planned: bool,
}

/// Makes the state machine of a subnet that has the journal `entries` (none: a new one). Nobody takes the whole range:
/// as long as nothing else is known all of it is the founder's.
///
/// # Errors
/// [`JournalError`], when the journal is of another router, subnet or version, or damaged.
pub(crate) fn open<'a>(
    config: IpamConfig,
    founder: Option<PeerId>,
    entries: impl IntoIterator<Item = &'a [u8]>,
    now: Instant,
) -> Result<Ipam, JournalError> {
    let mut durable = DurableState::open(config.me, config.slicing, entries)?;
    if let Some(founder) = founder
        && durable.state().claims().is_blank()
    {
        found_by(&mut durable, founder);
    }
    Ok(Ipam::of(config, durable, now))
}

/// Notes that all is the founder's, as far as is known here.
fn found_by(durable: &mut DurableState, owner: PeerId) {
    let run = durable.state().slicing().all(1);
    durable.record(&JournalEntry::Claim { owner, run });
}

/// Takes the space for the router that has just created the network, so that no other can know of it.
pub(crate) fn found(ipam: &mut Ipam, now: Instant) {
    let registry = &mut ipam.registry;
    let claims = registry.state().claims();
    let (me, first) = (registry.me(), 1);
    let is_first = |s: u16| {
        let claim = claims.get(s);
        claim.is_some_and(|c| c.owner == me && c.ver == first) && !claims.owns(s)
    };
    if claims.slices().all(is_first) {
        let run = registry.slicing().all(first);
        registry.record(&JournalEntry::Own { from: None, run });
        ipam.advance(now);
    }
}

impl AddressSpace {
    /// Wraps a state machine that heard of no other router.
    pub(super) fn new(ipam: Ipam) -> Self {
        Self {
            ipam,
            stated: BTreeSet::new(),
            statement: None,
            is_planned: false,
        }
    }

    /// Takes note of what the definition of the network says.
    pub(super) fn plan(&mut self, founder: PeerId, gateway: Option<IpAddr>, now: Instant) {
        self.is_planned = true;
        let slicing = *self.ipam.slicing();
        let durable = self.ipam.registry.durable_mut();
        durable.reserve(gateway.and_then(|gateway| slicing.number(gateway)));
        // Of a journal that was cut short perhaps nothing but the beginning is left.
        if durable.state().claims().is_blank() {
            found_by(durable, founder);
            self.ipam.advance(now);
        }
    }

    /// Takes the statement of a router in its present record. A malformed one is counted, and counts as none.
    pub(super) fn handle_statement(
        &mut self,
        origin: PeerId,
        bytes: &[u8],
        reachable: bool,
        now: Instant,
    ) {
        let known = self.ipam.registry.peers().statement(&origin);
        let version = IpamStatement::peek_version(bytes);
        let is_known = version.is_some_and(|v| known.is_some_and(|known| v <= known.version));
        let is_first = self.stated.insert(origin);
        // Records come again for the sake of other spaces.
        if !is_first && is_known {
            self.ipam.set_reachable(origin, reachable, now);
        } else if self
            .ipam
            .handle_statement(origin, bytes, reachable, now)
            .is_err()
        {
            self.withdraw(origin, now);
        }
    }

    /// Takes note that a router does not state the space any more: it counts as out of reach.
    pub(super) fn withdraw(&mut self, origin: PeerId, now: Instant) {
        if self.stated.remove(&origin) {
            self.ipam.set_reachable(origin, false, now);
        }
    }

    /// Requests any address of a part of the subnet.
    pub(super) fn allocate(
        &mut self,
        id: RequestId,
        container: &str,
        part: IpNet,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), AddressRefusal> {
        let slicing = *self.ipam.slicing();
        let numbers = slicing.numbers(part);
        let numbers = numbers.ok_or(AddressRefusal::OutsideRange(part, slicing.subnet()))?;
        let opened = self.ipam.allocate(id, container, numbers, deadline, now);
        opened.map_err(|why| why.outward(&slicing))
    }

    /// Requests this very address.
    pub(super) fn claim(
        &mut self,
        id: RequestId,
        container: &str,
        address: IpAddr,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), AddressRefusal> {
        let slicing = *self.ipam.slicing();
        let number = slicing.number(address);
        let number = number.ok_or(AddressRefusal::NotAHost(address))?;
        let number = Ipv4Net::new(number, slicing.range().prefix_len());
        let number = number.map_err(|_| AddressRefusal::NotAHost(address))?;
        let claimed = self.ipam.claim(id, container, number, deadline, now);
        claimed.map_err(|why| why.outward(&slicing))
    }

    /// Returns whether containers of this router have addresses of it, or wait for some.
    pub(super) fn is_used(&self) -> bool {
        let leases = self.ipam.registry.state().leases();
        leases.has_local() || self.ipam.requester.is_waiting()
    }

    /// Returns whether a container was given an address of a part of the subnet.
    pub(super) fn has_given(&self, container: &str, part: IpNet) -> bool {
        let slicing = self.ipam.slicing();
        let leases = self.ipam.registry.state().leases();
        leases.of_container(container).any(|number| {
            let is_given = leases.local(&number).is_some_and(|lease| !lease.explicit);
            is_given && part.contains(&slicing.address(number))
        })
    }

    /// Returns whether a router owns, leases or contests anything here, or may yet.
    pub(super) fn involves(&self, peer: &PeerId) -> bool {
        has_anything(&self.ipam.registry, *peer)
    }
}

/// Returns the settings of a space.
pub(super) fn config(me: PeerId, epoch: u64, space: &SpaceId) -> Option<IpamConfig> {
    Some(IpamConfig {
        me,
        epoch,
        slicing: Slicing::of_subnet(space.subnet).ok()?,
        auto_reclaim: None,
    })
}
