//! Addresses that containers elsewhere in the mesh have, for the allocation of further ones.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::ids::PeerId;
use crate::network::NetworkId;
use crate::topology::bodies::Attached;
use crate::topology::record::SignedRecord;

/// Containers that another router announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteAttached {
    /// The router.
    pub peer: PeerId,
    /// Its identity record and its record of containers; `None` if it is out of reach, or has no containers.
    pub records: Option<(SignedRecord, SignedRecord)>,
}

/// Addresses that other routers announce, collected from [`crate::control::Output::RemoteAttached`].
#[derive(Debug, Default)]
pub struct RemoteAddresses(BTreeMap<PeerId, (SignedRecord, SignedRecord)>);

impl RemoteAddresses {
    /// Replaces the addresses of one router.
    pub fn set(&mut self, remote: RemoteAttached) {
        let records = remote
            .records
            .filter(|(_, containers)| !containers.attached().is_empty());
        match records {
            Some(records) => self.0.insert(remote.peer, records),
            None => self.0.remove(&remote.peer),
        };
    }

    /// Returns all addresses, each with its network.
    pub fn addresses(&self) -> impl Iterator<Item = (NetworkId, IpAddr)> + '_ {
        self.all().map(|(_, attached)| place(attached))
    }

    /// Returns the holder of an address in `network`, in words like `container web on 7a:…(host2)`.
    pub fn words(&self, network: NetworkId, address: IpAddr) -> Option<String> {
        let mut all = self.all();
        let (router, attached) = all.find(|(_, attached)| place(attached) == (network, address))?;
        let container = &attached.container;
        let router = router.as_identity()?;
        Some(format!("container {container} on {router}"))
    }

    /// Returns each container with the identity of its router.
    fn all(&self) -> impl Iterator<Item = (&SignedRecord, &Attached)> {
        let routers = self.0.values();
        routers
            .flat_map(|(router, containers)| containers.attached().iter().map(move |a| (router, a)))
    }
}

fn place(attached: &Attached) -> (NetworkId, IpAddr) {
    (attached.network, attached.addr.addr())
}
