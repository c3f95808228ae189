//! Addresses for arguments: any of a subnet, or this very one; acquired before anything is made with them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use mesh_allocator::call::{Acquire, ContainerLease};
use mesh_host::leases::lease_gc::LeasedAddress;
use mesh_host::network::scoped::ScopedAddress;
use mesh_host::table::AttachRefusal;
use mesh_ipam::{ANY_SUBNET, ANY_SUBNET6, AddressPool, AddressQuery};
use mesh_networks::NetworkDefinition;
use mesh_proto::address::AddressArg;
use mesh_proto::network::{NetworkId, leased_part};

use super::acquired::AcquiredAddresses;
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
    fn acquire(&self, network: NetworkId, query: AddressQuery) -> Acquire {
        Acquire {
            network,
            owner: self.owner.clone(),
            query,
            patience: self.patience,
            caller: self.caller,
        }
    }
}

/// A query to the allocator for one argument, and what its answer means.
struct LeaseWish {
    query: AddressQuery,
    shown: ShownAddresses,
}

/// The addresses that a container gets with a lease.
#[derive(Clone, Copy)]
enum ShownAddresses {
    /// The one that was acquired.
    Itself,
    /// The IPv6 address that goes with it.
    Beside,
    /// Both, if there is one beside.
    Both,
}

/// The place where addresses come from: the allocator for the range that routers share and for the subnets of
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

    /// Returns the IPv6 address that goes with an IPv4 address of `default`.
    pub(crate) fn beside(&self, scoped: ScopedAddress) -> Option<IpNet> {
        let address = Some(scoped.address).filter(|_| scoped.network.is_default())?;
        self.allocator.beside(address)
    }

    /// Returns the lease of an address: in `default` that of the IPv4 address which it goes with, with the prefix length of
    /// the subnet; none for one that is not allocated, which is the operator's business.
    pub(crate) fn lease_of(&self, scoped: ScopedAddress) -> Option<(LeasedAddress, IpNet)> {
        let ScopedAddress { network, address } = scoped;
        let net = match network.is_default() && address.addr().is_ipv6() {
            true => self.allocator.leased_as(address.addr())?,
            false => Some(address).filter(|_| self.covers(network, address.addr()))?,
        };
        Some(((network, net.addr()), net))
    }

    /// Returns whether an address is allocated; any other is the operator's business.
    pub(crate) fn covers(&self, network: NetworkId, address: IpAddr) -> bool {
        if network.is_default() {
            return self.allocator.leased_as(address).is_some();
        }
        let is_in_subnet = |definition: Arc<NetworkDefinition>| {
            let mut subnets = definition.subnets.iter();
            subnets.any(|subnet| leased_part(subnet.net).contains(&address))
                && !definition.is_swarms(address)
        };
        self.allocator.is_on() && self.networks.definition(&network).is_some_and(is_in_subnet)
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
        let mut wishes = Vec::new();
        for arg in args {
            wishes.push(self.wishes(network, *arg)?);
        }
        let held = self.leases().await;
        let held = held.iter().filter(|held| held.network == network);
        let had: BTreeSet<IpAddr> = held.map(|held| held.addr).collect();
        let mut acquired = AcquiredAddresses::default();
        for wishes in wishes {
            let mut of_one = Vec::new();
            for LeaseWish { query, shown } in wishes {
                match self.acquire_one(request, network, query).await {
                    Ok(address) => {
                        let lease = self.lease_of(ScopedAddress::new(network, address));
                        if lease.is_some_and(|((_, leased), _)| !had.contains(&leased)) {
                            acquired.fresh.push(address);
                        }
                        of_one.extend(self.shown(address, shown));
                    }
                    Err(error) => {
                        self.give_back(&request.owner, network, &acquired.fresh)
                            .await;
                        return Err(error);
                    }
                }
            }
            acquired.add(&of_one);
        }
        Ok(acquired)
    }

    async fn acquire_one(
        &self,
        request: &LeaseRequest,
        network: NetworkId,
        query: AddressQuery,
    ) -> Result<IpNet, AttachmentError> {
        if let AddressQuery::Exactly(ip) = query {
            let scoped = ScopedAddress::new(network, ip);
            self.claim(scoped, request).await?;
            return Ok(ip);
        }
        let acquired = self.allocator.acquire(request.acquire(network, query));
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

    /// Returns the addresses that the container gets for one that was acquired.
    fn shown(&self, address: IpNet, shown: ShownAddresses) -> impl Iterator<Item = IpNet> + use<> {
        let beside = self.allocator.beside(address);
        let (first, second) = match (shown, beside) {
            (ShownAddresses::Both, beside) => (address, beside),
            (ShownAddresses::Beside, Some(beside)) => (beside, None),
            _ => (address, None),
        };
        core::iter::once(first).chain(second)
    }

    /// Returns what an argument asks of the allocator: an address of each family that the network has, if it names none.
    fn wishes(
        &self,
        network: NetworkId,
        arg: AddressArg,
    ) -> Result<Vec<LeaseWish>, AttachmentError> {
        let mut shown = ShownAddresses::Itself;
        let subnets = match arg {
            AddressArg::Ip(address) => {
                let query = AddressQuery::Exactly(address);
                return Ok(vec![LeaseWish { query, shown }]);
            }
            AddressArg::Net(net @ IpNet::V6(_)) if network.is_default() => {
                shown = ShownAddresses::Beside;
                vec![self.leased_for(net)?.into()]
            }
            AddressArg::Net(net) => {
                if net.prefix_len() == 0 {
                    self.refuse_if_all_are_swarms(network)?;
                }
                vec![net]
            }
            AddressArg::Default if network.is_default() => {
                shown = ShownAddresses::Both;
                vec![self.default_subnet()?.into()]
            }
            AddressArg::Default => {
                self.refuse_if_all_are_swarms(network)?;
                self.any_subnets(network)
            }
        };
        self.pool()?;
        let queries = subnets.into_iter().map(AddressQuery::AnyOf);
        Ok(queries.map(|query| LeaseWish { query, shown }).collect())
    }

    /// Returns the IPv4 subnet of which an address is leased for any IPv6 address of `default`.
    fn leased_for(&self, net: IpNet) -> Result<Ipv4Net, AttachmentError> {
        let pool = self.pool()?;
        match pool.range6 {
            Some(range6) if IpNet::V6(range6) == net => Ok(pool.default_subnet),
            Some(range6) => Err(AttachmentError::Allocation(format!(
                "net:{net}: IPv6 addresses are allocated of {range6} only; write net:{range6}, or give an address"
            ))),
            None => Err(AttachmentError::Allocation(format!(
                "net:{net}: only IPv4 addresses are allocated in the network default; give an address like fd00::5/64, or \
                 launch all routers with --ipalloc-range6 auto"
            ))),
        }
    }

    /// Returns any subnet of each family of which a network gives addresses; of IPv4 if it has none.
    fn any_subnets(&self, network: NetworkId) -> Vec<IpNet> {
        let definition = self.networks.definition(&network);
        let subnets = definition.iter().flat_map(|definition| &definition.subnets);
        let mut any: Vec<IpNet> = subnets
            .filter(|subnet| {
                let definition = definition.as_ref();
                definition.is_some_and(|definition| definition.allocated_range(subnet).is_some())
            })
            .map(|subnet| match subnet.net {
                IpNet::V4(_) => ANY_SUBNET,
                IpNet::V6(_) => ANY_SUBNET6,
            })
            .collect();
        any.sort_unstable();
        any.dedup();
        if any.is_empty() {
            any.push(ANY_SUBNET);
        }
        any
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
        let ip = scoped.ip();
        let Some((_, leased)) = self.lease_of(scoped) else {
            return Ok(());
        };
        self.operations.refuse_if_retired()?;
        self.define(scoped.network).await;
        let query = AddressQuery::Exactly(leased);
        let acquire = request.acquire(scoped.network, query);
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
                Err(AttachmentError::Allocation(match leased.addr() == ip {
                    true => text,
                    false => format!("{ip} goes with {}, and {text}", leased.addr()),
                }))
            }
        }
    }

    /// Frees addresses that were acquired for nothing.
    pub(crate) async fn give_back(&self, owner: &str, network: NetworkId, addresses: &[IpNet]) {
        for address in addresses {
            if let Some((leased, _)) = self.lease_of(ScopedAddress::new(network, *address)) {
                self.release(leased, owner).await;
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
