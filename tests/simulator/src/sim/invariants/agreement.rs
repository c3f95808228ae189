//! I3: when quiet, all routers of a component hold the same records, and have routes to exactly the component's
//! members.

use std::collections::BTreeSet;

use super::{Check, Violation};
use crate::sim::network::HostId;

const NAME: &str = "I3 agreement";

/// View of one router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Belief {
    pub(crate) router: HostId,
    pub(crate) digest: [u8; 16],
    pub(crate) reachable: BTreeSet<HostId>,
}

/// Compares the views of a component's routers with each other and with the component.
pub(crate) fn check(component: &BTreeSet<HostId>, beliefs: &[Belief]) -> Check {
    for belief in beliefs {
        let Belief {
            router,
            digest,
            reachable,
        } = belief;
        if reachable != component {
            let detail =
                format!("router {router} reaches {reachable:?}, it should reach {component:?}");
            return Err(Violation::new(NAME, detail));
        }
        if *digest != beliefs[0].digest {
            let other = beliefs[0].router;
            let detail = format!("the digests of routers {other} and {router} differ");
            return Err(Violation::new(NAME, detail));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_must_believe_the_same_and_the_truth() {
        let component = BTreeSet::from([0, 1]);
        let belief = |router, digest, reachable: &[HostId]| Belief {
            router,
            digest: [digest; 16],
            reachable: reachable.iter().copied().collect(),
        };
        let good = belief(0, 1, &[0, 1]);
        assert!(check(&component, &[good.clone(), belief(1, 1, &[0, 1])]).is_ok());
        assert!(check(&component, &[good.clone(), belief(1, 2, &[0, 1])]).is_err());
        assert!(check(&component, &[good, belief(1, 1, &[1])]).is_err());
    }
}
