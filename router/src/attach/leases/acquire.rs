//! Addresses for arguments: any of a subnet, or this very one; acquired before anything is made with them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use mesh_allocator::call::{Acquire, ContainerLease};
use mesh_host::leases::lease_gc::LeasedAddress;
use mesh_host::network::scoped::ScopedAddress;
use mesh_host::table::AttachRefusal;
use mesh_ipam::{ANY_SUBNET, AddressPool, AddressRequest};
use mesh_networks::NetworkDefinition;
use mesh_proto::address::AddressArg;
use mesh_proto::network::NetworkId;

use crate::attach::AttachmentError;
use crate::attach::networks::NetworkAccess;
use crate::attach::operations::Operations;
use crate::ipam::{Allocator, plan_of};

/// Time that an address which is held elsewhere has to be given up.
const RELEASE_WAIT: Duration = Duration::from_millis(1_500);
const RELEASE_POLLS: u32 = 15;

/// Returns the holder of an address of a network elsewhere in the mesh, in words that complete "… is already used by …", as
/// `container web on 7a:…(host2)`; none when nobody has it. This router's own announcements are left out.
pub type AddressBook = Arc<dyn Fn(NetworkId, IpAddr) -> Option<String> + Send + Sync>;

/// A request for addresses of one container.
pub(crate) struct LeaseRequest {
    /// The owner of the leases.
    pub(crate) owner: String,
    /// Longest time until it is answered.
    pub(crate) patience: Duration,
    /// The pid of the command that asks; 0 if it is not known.
    pub(crate) caller: u32,
}

impl LeaseRequest {
    fn acquire(&self, network: NetworkId, request: AddressRequest, prefix: u8) -> Acquire {
        Acquire {
            network,
            owner: self.owner.clone(),
            request,
            prefix,
            patience: self.patience,
            caller: self.caller,
        }
    }
}

/// Addresses for arguments.
pub(crate) struct AcquiredAddresses {
    /// All of them, in order.
    pub(crate) addresses: Vec<IpNet>,
    /// Those that the owner did not have before.
    pub(crate) fresh: Vec<IpNet>,
}

/// The place where addresses come from: the allocator for the range that routers share and for the IPv4 subnets of
/// networks, the operator for all others.
pub(crate) struct LeaseSource {
    allocator: Allocator,
    networks: Arc<dyn NetworkAccess>,
    book: AddressBook,
    operations: Arc<Operations>,
}

impl LeaseSource {
    pub(crate) fn new(
        allocator: Allocator,
        networks: Arc<dyn NetworkAccess>,
        book: AddressBook,
        operations: Arc<Operations>,
    ) -> Self {
        Self {
            allocator,
            networks,
            book,
            operations,
        }
    }

    /// Returns the subnet of `net:default`.
    ///
    /// # Errors
    /// Nothing is allocated here.
    pub(crate) fn default_subnet(&self) -> Result<Ipv4Net, AttachmentError> {
        Ok(self.pool()?.default_subnet)
    }

    /// Returns the range that routers share; none when nothing is allocated here.
    pub(crate) fn range(&self) -> Option<Ipv4Net> {
        self.allocator.pool().ok().map(|pool| pool.range)
    }

    /// Returns whether anything is allocated here.
    pub(crate) fn is_on(&self) -> bool {
        self.allocator.pool().is_ok()
    }

    /// Returns whether an address is allocated; any other is the operator's business.
    pub(crate) fn covers(&self, network: NetworkId, address: IpAddr) -> bool {
        if network.is_default() {
            return self.allocator.covers(address);
        }
        let is_in_subnet = |definition: Arc<NetworkDefinition>| {
            let mut subnets = definition.subnets.iter();
            subnets.any(|subnet| subnet.net.contains(&address)) && !definition.is_swarms(address)
        };
        self.allocator.is_on()
            && address.is_ipv4()
            && self.networks.definition(&network).is_some_and(is_in_subnet)
    }

    /// Returns the holder of an address of a network elsewhere in the mesh, in words.
    pub(crate) fn elsewhere(&self, network: NetworkId, ip: IpAddr) -> Option<String> {
        (self.book)(network, ip)
    }

    /// Returns the leases of this host.
    pub(crate) async fn leases(&self) -> Vec<ContainerLease> {
        self.allocator.leases().await
    }

    /// Releases a lease, if this owner has it.
    pub(crate) async fn release(&self, (network, address): LeasedAddress, owner: &str) {
        self.allocator.release(network, address, owner).await;
    }

    fn pool(&self) -> Result<AddressPool, AttachmentError> {
        self.allocator.pool().map_err(|why| {
            AttachmentError::Allocation(format!("{why}; give an address like 10.2.1.1/24"))
        })
    }

    /// Acquires an address of a network for each argument; of a failure nothing is left.
    ///
    /// # Errors
    /// An address that is not free; nothing is allocated here; this host leaves the mesh.
    pub(crate) async fn acquire(
        &self,
        request: &LeaseRequest,
        network: NetworkId,
        args: &[AddressArg],
    ) -> Result<AcquiredAddresses, AttachmentError> {
        self.operations.refuse_if_retired()?;
        self.define(network).await;
        // Mistakes in any argument are told before anybody is asked for anything.
        let wants: Vec<(AddressRequest, u8)> = args
            .iter()
            .map(|arg| self.want(network, *arg))
            .collect::<Result<_, _>>()?;
        let held = self.leases().await;
        let held = held.iter().filter(|held| held.network == network);
        let had: BTreeSet<Ipv4Addr> = held.map(|held| held.addr).collect();
        let mut acquired = AcquiredAddresses {
            addresses: Vec::new(),
            fresh: Vec::new(),
        };
        for (arg, want) in args.iter().zip(wants) {
            match self.acquire_one(request, network, *arg, want).await {
                Ok(address) => {
                    let is_known = matches!(address, IpNet::V4(v4) if had.contains(&v4.addr()));
                    if !is_known && self.covers(network, address.addr()) {
                        acquired.fresh.push(address);
                    }
                    if !acquired.addresses.contains(&address) {
                        acquired.addresses.push(address);
                    }
                }
                Err(error) => {
                    self.give_back(&request.owner, network, &acquired.fresh)
                        .await;
                    return Err(error);
                }
            }
        }
        Ok(acquired)
    }

    async fn acquire_one(
        &self,
        request: &LeaseRequest,
        network: NetworkId,
        arg: AddressArg,
        (want, prefix): (AddressRequest, u8),
    ) -> Result<IpNet, AttachmentError> {
        if let AddressArg::Ip(ip) = arg {
            let scoped = ScopedAddress::new(network, ip);
            self.claim(scoped, request).await?;
            return Ok(ip);
        }
        let acquired = self
            .allocator
            .acquire(request.acquire(network, want, prefix));
        acquired
            .await
            .map_err(|why| AttachmentError::Allocation(self.named(network, why.text)))
    }

    /// Returns a text of the allocator with the name of the network, which it knows by its id alone.
    fn named(&self, network: NetworkId, text: String) -> String {
        match self.networks.definition(&network) {
            Some(definition) => text.replace(&network.to_string(), definition.name.as_str()),
            None => text,
        }
    }

    /// Tells the allocator the subnets of a network, so that what follows can be about it.
    async fn define(&self, network: NetworkId) {
        if let Some(definition) = self.networks.definition(&network) {
            self.allocator.define(plan_of(&definition), false).await;
        }
    }

    /// Returns what an argument asks of the allocator.
    fn want(
        &self,
        network: NetworkId,
        arg: AddressArg,
    ) -> Result<(AddressRequest, u8), AttachmentError> {
        let subnet = match arg {
            AddressArg::Ip(IpNet::V4(v4)) => {
                return Ok((AddressRequest::Address(v4.addr()), v4.prefix_len()));
            }
            // Not of the range, so nobody is asked.
            AddressArg::Ip(IpNet::V6(_)) => {
                return Ok((AddressRequest::Address(Ipv4Addr::UNSPECIFIED), 0));
            }
            AddressArg::Net(IpNet::V4(v4)) => v4,
            AddressArg::Net(net @ IpNet::V6(_)) => {
                return Err(AttachmentError::Allocation(format!(
                    "net:{net}: only IPv4 addresses are allocated; give an address like fd00::5/64"
                )));
            }
            AddressArg::Default if network.is_default() => self.default_subnet()?,
            AddressArg::Default => {
                self.refuse_if_all_are_swarms(network)?;
                ANY_SUBNET
            }
        };
        self.pool()?;
        Ok((AddressRequest::Subnet(subnet), subnet.prefix_len()))
    }

    fn refuse_if_all_are_swarms(&self, network: NetworkId) -> Result<(), AttachmentError> {
        let Some(definition) = self.networks.definition(&network) else {
            return Ok(());
        };
        let mut subnets = definition.subnets.iter();
        let is_some_ours = subnets.any(|subnet| definition.allocated_range(subnet).is_some());
        if is_some_ours || definition.swarm_network().is_none() {
            return Ok(());
        }
        Err(AttachmentError::Allocation(format!(
            "Docker's Swarm gives all addresses of the network {}; use docker service create or docker run --network, or \
             create the network with --ipam-driver mesh:swarm",
            definition.name
        )))
    }

    /// Claims an address of the range; any other is the operator's business.
    ///
    /// # Errors
    /// Somebody holds it; this host leaves the mesh.
    pub(crate) async fn claim(
        &self,
        scoped: ScopedAddress,
        request: &LeaseRequest,
    ) -> Result<(), AttachmentError> {
        let IpNet::V4(v4) = scoped.address else {
            return Ok(());
        };
        let ip = scoped.ip();
        if !self.covers(scoped.network, ip) {
            return Ok(());
        }
        self.operations.refuse_if_retired()?;
        self.define(scoped.network).await;
        let wanted = AddressRequest::Address(v4.addr());
        let acquire = request.acquire(scoped.network, wanted, v4.prefix_len());
        // A container that announces it has a name; the owner of its space may know an id only.
        let holder_there = self.elsewhere(scoped.network, ip);
        let claimed = self.allocator.acquire(acquire).await;
        match (claimed, holder_there) {
            (Ok(_), _) => Ok(()),
            (Err(why), Some(holder)) if why.is_in_use => {
                Err(AttachRefusal::InUse { ip, holder }.into())
            }
            (Err(why), _) => {
                let text = self.named(scoped.network, why.text);
                Err(AttachmentError::Allocation(text))
            }
        }
    }

    /// Frees addresses that were acquired for nothing.
    pub(crate) async fn give_back(&self, owner: &str, network: NetworkId, addresses: &[IpNet]) {
        for address in addresses {
            if let IpNet::V4(v4) = address {
                self.release((network, v4.addr()), owner).await;
            }
        }
    }

    /// Waits a moment for addresses that somebody elsewhere in the mesh holds: what was just given up there is news here
    /// only after the gossip's hold-down. An address that is still held then is refused by the check that follows.
    pub(crate) async fn await_release(&self, network: NetworkId, addresses: &[IpNet]) {
        let is_free = |address: &IpNet| self.elsewhere(network, address.addr()).is_none();
        for _ in 0..RELEASE_POLLS {
            if addresses.iter().all(is_free) {
                return;
            }
            tokio::time::sleep(RELEASE_WAIT / RELEASE_POLLS).await;
        }
    }
}
