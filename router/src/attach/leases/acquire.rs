//! Addresses for arguments: any of a subnet, or this very one; acquired before anything is made with them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use mesh_allocator::call::{Acquire, ContainerLease};
use mesh_host::arguments::ArgumentError;
use mesh_host::network::scoped::ScopedAddress;
use mesh_host::table::AttachRefusal;
use mesh_ipam::{AddressPool, AddressRequest};
use mesh_proto::address::AddressArg;
use mesh_proto::network::NetworkId;

use crate::attach::AttachmentError;
use crate::attach::operations::Operations;
use crate::ipam::Allocator;

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
    fn for_address(&self, request: AddressRequest, prefix: u8) -> Acquire {
        Acquire {
            network: NetworkId::DEFAULT,
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

/// The place where addresses come from: the allocator for the range that routers share, the operator for all others, and
/// for those of other networks than `default`.
pub(crate) struct LeaseSource {
    allocator: Allocator,
    book: AddressBook,
    operations: Arc<Operations>,
}

impl LeaseSource {
    pub(crate) fn new(
        allocator: Allocator,
        book: AddressBook,
        operations: Arc<Operations>,
    ) -> Self {
        Self {
            allocator,
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

    /// Returns whether an address is allocated; any other is the operator's business. In networks besides `default` none
    /// is yet: allocation there begins here, and in [`LeaseSource::acquire`].
    pub(crate) fn covers(&self, network: NetworkId, address: IpAddr) -> bool {
        network.is_default() && self.allocator.covers(address)
    }

    /// Returns the holder of an address of a network elsewhere in the mesh, in words.
    pub(crate) fn elsewhere(&self, network: NetworkId, ip: IpAddr) -> Option<String> {
        (self.book)(network, ip)
    }

    /// Returns the leases of this host in the network `default`.
    pub(crate) async fn leases(&self) -> Vec<ContainerLease> {
        let mut leases = self.allocator.leases().await;
        leases.retain(|lease| lease.network.is_default());
        leases
    }

    /// Releases a lease, if this owner has it.
    pub(crate) async fn release(&self, address: Ipv4Addr, owner: &str) {
        let network = NetworkId::DEFAULT;
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
        if !network.is_default() {
            return given(args);
        }
        // Mistakes in any argument are told before anybody is asked for anything.
        let wants: Vec<(AddressRequest, u8)> = args
            .iter()
            .map(|arg| self.want(*arg))
            .collect::<Result<_, _>>()?;
        let held = self.leases().await;
        let had: BTreeSet<Ipv4Addr> = held.iter().map(|held| held.addr).collect();
        let mut acquired = AcquiredAddresses {
            addresses: Vec::new(),
            fresh: Vec::new(),
        };
        for (arg, want) in args.iter().zip(wants) {
            match self.acquire_one(request, *arg, want).await {
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
        arg: AddressArg,
        (want, prefix): (AddressRequest, u8),
    ) -> Result<IpNet, AttachmentError> {
        if let AddressArg::Ip(ip) = arg {
            let scoped = ScopedAddress::new(NetworkId::DEFAULT, ip);
            self.claim(scoped, request).await?;
            return Ok(ip);
        }
        let acquired = self.allocator.acquire(request.for_address(want, prefix));
        acquired
            .await
            .map_err(|why| AttachmentError::Allocation(why.text))
    }

    /// Returns what an argument asks of the allocator.
    fn want(&self, arg: AddressArg) -> Result<(AddressRequest, u8), AttachmentError> {
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
            AddressArg::Default => self.default_subnet()?,
        };
        self.pool()?;
        Ok((AddressRequest::Subnet(subnet), subnet.prefix_len()))
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
        let acquire = request.for_address(AddressRequest::Address(v4.addr()), v4.prefix_len());
        // A container that announces it has a name; the owner of its space may know an id only.
        let holder_there = self.elsewhere(scoped.network, ip);
        let claimed = self.allocator.acquire(acquire).await;
        match (claimed, holder_there) {
            (Ok(_), _) => Ok(()),
            (Err(why), Some(holder)) if why.is_in_use => {
                Err(AttachRefusal::InUse { ip, holder }.into())
            }
            (Err(why), _) => Err(AttachmentError::Allocation(why.text)),
        }
    }

    /// Frees addresses that were acquired for nothing.
    pub(crate) async fn give_back(&self, owner: &str, network: NetworkId, addresses: &[IpNet]) {
        if !network.is_default() {
            return;
        }
        for address in addresses {
            if let IpNet::V4(v4) = address {
                self.release(v4.addr(), owner).await;
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

/// Returns the addresses that were given, in a network where none are allocated.
fn given(args: &[AddressArg]) -> Result<AcquiredAddresses, AttachmentError> {
    let address = |arg: &AddressArg| arg.explicit();
    let addresses: Result<_, _> = args.iter().map(address).collect();
    Ok(AcquiredAddresses {
        addresses: addresses.map_err(ArgumentError::from)?,
        fresh: Vec::new(),
    })
}
