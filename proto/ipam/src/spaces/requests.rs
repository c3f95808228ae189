//! Requests of containers in networks besides `default`: from one subnet of the network, or from the next one when nothing
//! is free there.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::plan::SpaceId;
use super::{IpamSet, SetOutput};
use crate::effect::RequestId;
use crate::refusal::{AddressRefusal, NetworkRefusal};
use crate::report::NetworkLease;
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;

/// An address that a container wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressQuery {
    /// Any address of this subnet or part of one; [`super::plan::ANY_SUBNET`] and [`super::plan::ANY_SUBNET6`] are any
    /// subnet of a network besides `default`.
    AnyOf(IpNet),
    /// This very address. The prefix length counts for `default` only: in other networks it is that of the subnet.
    Exactly(IpNet),
}

/// A request that waits in one space.
#[derive(Debug)]
pub(super) struct SpaceRequest {
    /// The space that it waits in.
    pub(super) space: SpaceId,
    container: String,
    /// The spaces to go on with, and the part of each, when nothing is free there.
    rest: VecDeque<(SpaceId, IpNet)>,
    deadline: Instant,
}

impl IpamSet {
    /// Requests an address of a network for a container. The same container gets the same address of a subnet again.
    /// `default` has IPv4 addresses only. Ends as [`crate::Ipam::allocate`].
    ///
    /// # Errors
    /// [`AddressRefusal`] for what cannot succeed.
    pub fn request(
        &mut self,
        network: &NetworkId,
        id: RequestId,
        container: &str,
        query: AddressQuery,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), AddressRefusal> {
        if network.is_default() {
            let default = &mut self.default;
            let outside = |net| AddressRefusal::OutsideRange(net, default.slicing().subnet());
            return match query {
                AddressQuery::AnyOf(IpNet::V4(net)) => {
                    default.allocate(id, container, net, deadline, now)
                }
                AddressQuery::Exactly(IpNet::V4(net)) => {
                    default.claim(id, container, net, deadline, now)
                }
                AddressQuery::AnyOf(net) | AddressQuery::Exactly(net) => Err(outside(net)),
            };
        }
        self.open(network, now)?;
        let plan = self.known(network)?;
        match query {
            AddressQuery::AnyOf(asked) => {
                let parts = plan.parts(asked);
                let none = AddressRefusal::Network(NetworkRefusal::Outside(asked, plan.leased()));
                let mut parts = self.earlier_first(container, parts);
                let first = parts.pop_front().ok_or(none)?;
                self.ask(id, container, first, parts, deadline, now)
            }
            AddressQuery::Exactly(asked) => {
                let ip = asked.addr();
                let outside =
                    || AddressRefusal::Network(NetworkRefusal::Outside(ip.into(), plan.leased()));
                let space = plan.space_of(ip).ok_or_else(outside)?;
                self.wait(id, container, space, VecDeque::new(), deadline);
                let claimed = self.touch(space, now, |space| {
                    space.claim(id, container, ip, deadline, now)
                });
                self.opened(id, claimed)
            }
        }
    }

    /// Puts the space of which the container has an address, that it was given, in front.
    fn earlier_first(
        &self,
        container: &str,
        mut parts: Vec<(SpaceId, IpNet)>,
    ) -> VecDeque<(SpaceId, IpNet)> {
        let has_one = |(id, part): &(SpaceId, IpNet)| {
            let space = self.spaces.get(id);
            space.is_some_and(|space| space.has_given(container, *part))
        };
        parts.sort_by_key(|part| !has_one(part));
        parts.into()
    }

    fn ask(
        &mut self,
        id: RequestId,
        container: &str,
        (space, part): (SpaceId, IpNet),
        rest: VecDeque<(SpaceId, IpNet)>,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), AddressRefusal> {
        self.wait(id, container, space, rest, deadline);
        let opened = self.touch(space, now, |space| {
            space.allocate(id, container, part, deadline, now)
        });
        self.opened(id, opened)
    }

    fn wait(
        &mut self,
        id: RequestId,
        container: &str,
        space: SpaceId,
        rest: VecDeque<(SpaceId, IpNet)>,
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

    pub(super) fn finish(
        &mut self,
        space: SpaceId,
        request: RequestId,
        (number, prefix): (Ipv4Addr, u8),
    ) {
        self.requests.remove(&request);
        let Some(space) = self.spaces.get(&space) else {
            return;
        };
        let address = space.ipam.slicing().with_prefix(number, prefix);
        self.outputs
            .push_back(SetOutput::Allocated { request, address });
    }

    /// Goes on in the next subnet, or gives up.
    pub(super) fn fail(&mut self, request: RequestId, mut why: AddressRefusal) {
        let Some(mut waiting) = self.requests.remove(&request) else {
            return;
        };
        let now = self.now;
        if let Some(space) = self.spaces.get(&waiting.space) {
            why = why.outward(space.ipam.slicing());
        }
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
        addr: IpAddr,
        now: Instant,
    ) {
        if network.is_default() {
            if let IpAddr::V4(addr) = addr {
                self.default.release_address(container, addr, now);
            }
        } else if let Some(space) = self.space_of(network, addr) {
            self.touch(space, now, |space| {
                if let Some(number) = space.ipam.slicing().number(addr) {
                    space.ipam.release_address(container, number, now);
                }
            });
        }
    }

    /// Frees all addresses of a container in all networks, and ends its requests.
    pub fn release(&mut self, container: &str, now: Instant) {
        self.default.release(container, now);
        self.touch_all(now, |space| space.ipam.release(container, now));
    }

    /// Returns all addresses of this router's containers.
    pub fn allocations(&self) -> impl Iterator<Item = NetworkLease<'_>> {
        let default = (NetworkId::DEFAULT, &self.default);
        let spaces = self.spaces.iter();
        let spaces = spaces.map(|(id, space)| (id.network, &space.ipam));
        let all = core::iter::once(default).chain(spaces);
        all.flat_map(|(network, ipam)| {
            ipam.allocations().map(move |allocation| NetworkLease {
                network,
                address: ipam.slicing().address(allocation.addr),
                container: allocation.container,
            })
        })
    }

    /// Returns the router that may have an address in a network, as far as is known here.
    pub fn rightful(&self, network: &NetworkId, addr: IpAddr) -> Option<PeerId> {
        let ipam = match network.is_default() {
            true => &self.default,
            false => &self.spaces.get(&self.space_of(network, addr)?)?.ipam,
        };
        ipam.rightful(ipam.slicing().number(addr)?)
    }

    /// Returns the space of an address, whether or not the network has the subnet still.
    fn space_of(&self, network: &NetworkId, addr: IpAddr) -> Option<SpaceId> {
        let mut spaces = self.spaces.keys();
        let is_of = |id: &&SpaceId| id.network == *network && id.subnet.contains(&addr);
        spaces.find(is_of).copied()
    }
}
