//! Requests of containers in networks besides `default`: from one subnet of the network, or from the next one when nothing
//! is free there.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::plan::SpaceId;
use super::{IpamSet, SetOutput};
use crate::effect::RequestId;
use crate::refusal::{AddressRefusal, NetworkRefusal};
use crate::report::Allocation;
use crate::wire::AddressRequest;
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;

/// A request that waits in one space.
#[derive(Debug)]
pub(super) struct SpaceRequest {
    /// The space that it waits in.
    pub(super) space: SpaceId,
    container: String,
    /// The spaces to go on with, and the part of each, when nothing is free there.
    rest: VecDeque<(SpaceId, Ipv4Net)>,
    deadline: Instant,
}

impl IpamSet {
    /// Requests an address of a network for a container: any of a part of its subnets ([`super::plan::ANY_SUBNET`] for all),
    /// or this very one. The same container gets the same address of a subnet again. `prefix` counts for `default` only:
    /// in other networks it is that of the subnet. Ends as [`crate::Ipam::allocate`].
    ///
    /// # Errors
    /// [`AddressRefusal`] for what cannot succeed.
    pub fn request(
        &mut self,
        network: &NetworkId,
        id: RequestId,
        container: &str,
        (request, prefix): (AddressRequest, u8),
        deadline: Instant,
        now: Instant,
    ) -> Result<(), AddressRefusal> {
        if network.is_default() {
            let default = &mut self.default;
            return match request {
                AddressRequest::Subnet(net) => default.allocate(id, container, net, deadline, now),
                AddressRequest::Address(addr) => {
                    let net = Ipv4Net::new(addr, prefix);
                    let net = net.map_err(|_| AddressRefusal::NotAHost(addr))?;
                    default.claim(id, container, net, deadline, now)
                }
            };
        }
        self.open(network, now)?;
        let plan = self.known(network)?;
        match request {
            AddressRequest::Subnet(asked) => {
                let parts = plan.parts(asked);
                let none = AddressRefusal::Network(NetworkRefusal::Outside(asked, plan.all()));
                let mut parts = self.earlier_first(container, parts);
                let first = parts.pop_front().ok_or(none)?;
                self.ask(id, container, first, parts, deadline, now)
            }
            AddressRequest::Address(addr) => {
                let outside =
                    || AddressRefusal::Network(NetworkRefusal::Outside(addr.into(), plan.all()));
                let space = plan.space_of(addr).ok_or_else(outside)?;
                let net = Ipv4Net::new(addr, space.subnet.prefix_len());
                let net = net.map_err(|_| AddressRefusal::NotAHost(addr))?;
                self.wait(id, container, space, VecDeque::new(), deadline);
                let claimed = self.touch(space, now, |space| {
                    space.ipam.claim(id, container, net, deadline, now)
                });
                self.opened(id, claimed)
            }
        }
    }

    /// Puts the space of which the container has an address, that it was given, in front.
    fn earlier_first(
        &self,
        container: &str,
        mut parts: Vec<(SpaceId, Ipv4Net)>,
    ) -> VecDeque<(SpaceId, Ipv4Net)> {
        let has_one = |(id, part): &(SpaceId, Ipv4Net)| {
            let leases = self
                .spaces
                .get(id)
                .map(|s| s.ipam.registry.state().leases());
            leases.is_some_and(|leases| {
                leases.of_container(container).any(|addr| {
                    let is_given = leases.local(&addr).is_some_and(|lease| !lease.explicit);
                    is_given && part.contains(&addr)
                })
            })
        };
        parts.sort_by_key(|part| !has_one(part));
        parts.into()
    }

    fn ask(
        &mut self,
        id: RequestId,
        container: &str,
        (space, part): (SpaceId, Ipv4Net),
        rest: VecDeque<(SpaceId, Ipv4Net)>,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), AddressRefusal> {
        self.wait(id, container, space, rest, deadline);
        let opened = self.touch(space, now, |space| {
            space.ipam.allocate(id, container, part, deadline, now)
        });
        self.opened(id, opened)
    }

    fn wait(
        &mut self,
        id: RequestId,
        container: &str,
        space: SpaceId,
        rest: VecDeque<(SpaceId, Ipv4Net)>,
        deadline: Instant,
    ) {
        let container = container.to_owned();
        let request = SpaceRequest {
            space,
            container,
            rest,
            deadline,
        };
        self.requests.insert(id, request);
    }

    fn opened(
        &mut self,
        id: RequestId,
        opened: Option<Result<(), AddressRefusal>>,
    ) -> Result<(), AddressRefusal> {
        let opened = opened.unwrap_or(Err(AddressRefusal::Cancelled));
        if opened.is_err() {
            self.requests.remove(&id);
        }
        opened
    }

    pub(super) fn finish(&mut self, request: RequestId, addr: Ipv4Addr, prefix: u8) {
        self.requests.remove(&request);
        self.outputs.push_back(SetOutput::Allocated {
            request,
            addr,
            prefix,
        });
    }

    /// Goes on in the next subnet, or gives up.
    pub(super) fn fail(&mut self, request: RequestId, mut why: AddressRefusal) {
        let Some(mut waiting) = self.requests.remove(&request) else {
            return;
        };
        let now = self.now;
        while matches!(why, AddressRefusal::Exhausted(_)) {
            let Some(next) = waiting.rest.pop_front() else {
                break;
            };
            let (container, rest) = (&waiting.container, waiting.rest.clone());
            match self.ask(request, container, next, rest, waiting.deadline, now) {
                Ok(()) => return,
                Err(refusal) => why = refusal,
            }
        }
        self.outputs.push_back(SetOutput::Failed { request, why });
    }

    /// Ends a request that is not needed any more.
    pub fn cancel(&mut self, id: RequestId, now: Instant) {
        let space = self.requests.get(&id).map(|request| request.space);
        let Some(space) = space else {
            return self.default.cancel(id, now);
        };
        self.touch(space, now, |space| space.ipam.cancel(id, now));
    }

    /// Frees one address of a container in a network.
    pub fn release_address(
        &mut self,
        network: &NetworkId,
        container: &str,
        addr: Ipv4Addr,
        now: Instant,
    ) {
        if network.is_default() {
            self.default.release_address(container, addr, now);
        } else if let Some(space) = self.space_of(network, addr) {
            self.touch(space, now, |space| {
                space.ipam.release_address(container, addr, now);
            });
        }
    }

    /// Frees all addresses of a container in all networks, and ends its requests.
    pub fn release(&mut self, container: &str, now: Instant) {
        self.default.release(container, now);
        self.touch_all(now, |space| space.ipam.release(container, now));
    }

    /// Returns all addresses of this router's containers, with their networks.
    pub fn allocations(&self) -> impl Iterator<Item = (NetworkId, Allocation<'_>)> {
        let default = self.default.allocations();
        let default = default.map(|allocation| (NetworkId::DEFAULT, allocation));
        let spaces = self.spaces.iter().flat_map(|(id, space)| {
            let allocations = space.ipam.allocations();
            allocations.map(|allocation| (id.network, allocation))
        });
        default.chain(spaces)
    }

    /// Returns the router that may have an address in a network, as far as is known here.
    pub fn rightful(&self, network: &NetworkId, addr: Ipv4Addr) -> Option<PeerId> {
        if network.is_default() {
            return self.default.rightful(addr);
        }
        let space = self.space_of(network, addr)?;
        self.spaces.get(&space)?.ipam.rightful(addr)
    }

    /// Returns the space of an address, whether or not the network has the subnet still.
    fn space_of(&self, network: &NetworkId, addr: Ipv4Addr) -> Option<SpaceId> {
        let mut spaces = self.spaces.keys();
        let is_of = |id: &&SpaceId| id.network == *network && id.subnet.contains(&addr);
        spaces.find(is_of).copied()
    }
}
