//! Leaving: this router hands its space over before it goes.

use crate::effect::IpamEffect;
use crate::registry::Registry;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::IPAM_LEAVE_WAIT;
use mesh_proto::time::Instant;

/// The way out of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// Nobody asked for it.
    Staying,
    /// The space is handed over, for so long at most.
    Leaving(Instant),
    /// All is handed over that could be.
    Left,
}

/// All space of this router, and the router that is to have it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Handover {
    pub(crate) to: PeerId,
    pub(crate) slices: Vec<u16>,
}

impl Departure {
    /// Returns whether this router allocates nothing any more.
    pub(crate) fn has_begun(self) -> bool {
        self != Self::Staying
    }

    /// Begins to leave. Returns the grants to other routers, if any is there.
    pub(crate) fn begin(&mut self, registry: &Registry, now: Instant) -> Option<Handover> {
        *self = Self::Leaving(now + IPAM_LEAVE_WAIT);
        registry.peers().members().next()?;
        let claims = registry.state().claims();
        Some(Handover {
            to: registry.successor_of(registry.me()),
            slices: claims.slices().filter(|s| claims.owns(*s)).collect(),
        })
    }

    /// Ends when all grants have arrived, or the time is over.
    pub(crate) fn advance(&mut self, registry: &mut Registry, now: Instant) {
        let Self::Leaving(until) = *self else { return };
        let claims = registry.state().claims();
        let grants = claims.grants().len();
        if grants == 0 || now >= until {
            let orphaned = claims.owned() + grants;
            *self = Self::Left;
            registry.emit(IpamEffect::Left { orphaned });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::Grants;
    use crate::output::IpamOutput;
    use crate::tests::parts::{LARGER, NOW, effects, meet, owner};

    #[test]
    fn a_router_alone_leaves_at_once_and_its_slices_are_orphaned() {
        let (mut registry, mut departure) = (owner(), Departure::Staying);
        departure.advance(&mut registry, NOW);
        assert!(!departure.has_begun() && effects(&mut registry).is_empty());
        assert_eq!(departure.begin(&registry, NOW), None);
        departure.advance(&mut registry, NOW);
        assert_eq!(effects(&mut registry), [IpamOutput::Left { orphaned: 16 }]);
        departure.advance(&mut registry, NOW);
        assert!(effects(&mut registry).is_empty(), "once");
    }

    #[test]
    fn a_handover_is_waited_for_but_not_for_ever() {
        let mut registry = owner();
        meet(&mut registry, LARGER, 1, Vec::new());
        let mut departure = Departure::Staying;
        let handover = departure.begin(&registry, NOW).unwrap();
        assert_eq!((handover.to, handover.slices.len()), (LARGER, 16));
        Grants::new(NOW).grant(&mut registry, LARGER, &handover.slices);
        departure.advance(&mut registry, NOW);
        assert!(effects(&mut registry).is_empty());
        let mut silent = departure;
        silent.advance(&mut registry, NOW + IPAM_LEAVE_WAIT);
        assert_eq!(effects(&mut registry), [IpamOutput::Left { orphaned: 16 }]);
        let own = registry.state().claims().runs(handover.slices);
        meet(&mut registry, LARGER, 2, own);
        departure.advance(&mut registry, NOW);
        assert_eq!(effects(&mut registry), [IpamOutput::Left { orphaned: 0 }]);
    }
}
