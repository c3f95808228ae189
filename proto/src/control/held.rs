//! Who holds which address elsewhere in the mesh, for whoever wants to give one out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::ids::PeerId;
use crate::topology::bodies::Attached;

/// What the containers of a router within reach are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The router.
    pub peer: PeerId,
    /// It in words: `7a:…(host2)`.
    pub name: String,
    /// Its containers; none when it is out of reach.
    pub containers: Vec<Attached>,
}

/// The addresses that other routers announce: what [`super::Output::Held`] told, put together.
#[derive(Debug, Default)]
pub struct HeldAddresses(BTreeMap<PeerId, Holder>);

impl HeldAddresses {
    /// This is what a router announces now.
    pub fn set(&mut self, holder: Holder) {
        if holder.containers.is_empty() {
            self.0.remove(&holder.peer);
        } else {
            self.0.insert(holder.peer, holder);
        }
    }

    /// All of them.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.all().map(|(_, attached)| attached.addr.addr())
    }

    /// Who has an address, in words like `container web on 7a:…(host2)`.
    pub fn words(&self, address: IpAddr) -> Option<String> {
        let mut all = self.all();
        let (holder, attached) = all.find(|(_, attached)| attached.addr.addr() == address)?;
        let container = &attached.container;
        Some(format!("container {container} on {}", holder.name))
    }

    fn all(&self) -> impl Iterator<Item = (&Holder, &Attached)> {
        let holders = self.0.values();
        holders.flat_map(|holder| holder.containers.iter().map(move |a| (holder, a)))
    }
}
