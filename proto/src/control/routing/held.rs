//! Addresses that containers elsewhere in the mesh have, for the allocation of further ones.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::ids::PeerId;
use crate::topology::bodies::Attached;
use crate::topology::record::SignedRecord;

/// Containers of a router within reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The router.
    pub peer: PeerId,
    /// Its own records of its identity and of its containers; none when it is out of reach, or has no containers.
    pub said: Option<(SignedRecord, SignedRecord)>,
}

/// The addresses that other routers announce: what [`crate::control::Output::Held`] told, put together.
#[derive(Debug, Default)]
pub struct HeldAddresses(BTreeMap<PeerId, (SignedRecord, SignedRecord)>);

impl HeldAddresses {
    /// Sets what a router announces now.
    pub fn set(&mut self, holder: Holder) {
        let said = holder.said.filter(|(_, said)| !said.attached().is_empty());
        match said {
            Some(said) => self.0.insert(holder.peer, said),
            None => self.0.remove(&holder.peer),
        };
    }

    /// Returns all of them.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.all().map(|(_, attached)| attached.addr.addr())
    }

    /// Returns the holder of an address, in words like `container web on 7a:…(host2)`.
    pub fn words(&self, address: IpAddr) -> Option<String> {
        let mut all = self.all();
        let (router, attached) = all.find(|(_, attached)| attached.addr.addr() == address)?;
        let container = &attached.container;
        let router = router.as_identity()?;
        Some(format!("container {container} on {router}"))
    }

    /// Returns each container with the identity of its router.
    fn all(&self) -> impl Iterator<Item = (&SignedRecord, &Attached)> {
        let routers = self.0.values();
        routers.flat_map(|(router, said)| said.attached().iter().map(move |a| (router, a)))
    }
}
