//! The process that runs on a host.

use mesh_proto::time::Instant;

use super::hostile::Hostile;
use super::process::Process;
use super::router::SimRouter;

/// A router, or a malicious member.
pub(crate) enum Occupant {
    Router(Box<SimRouter>),
    Hostile(Box<Hostile>),
}

impl Occupant {
    pub(crate) fn process(&mut self) -> &mut dyn Process {
        match self {
            Self::Router(router) => &mut **router,
            Self::Hostile(hostile) => &mut **hostile,
        }
    }

    pub(crate) fn next_deadline(&self) -> Instant {
        match self {
            Self::Router(router) => router.next_deadline(),
            Self::Hostile(hostile) => hostile.next_deadline(),
        }
    }

    pub(crate) fn router(&self) -> Option<&SimRouter> {
        match self {
            Self::Router(router) => Some(router),
            Self::Hostile(_) => None,
        }
    }

    pub(crate) fn router_mut(&mut self) -> Option<&mut SimRouter> {
        match self {
            Self::Router(router) => Some(router),
            Self::Hostile(_) => None,
        }
    }

    /// False for a hostile member without a link.
    pub(crate) fn is_linked(&self) -> bool {
        match self {
            Self::Router(_) => true,
            Self::Hostile(hostile) => hostile.is_linked(),
        }
    }
}
