//! The requester's side: requests of this router's containers, any address of a subnet or this very one, and their end.

mod request;
mod search;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

pub(crate) use request::NewRequest;

use super::durable::JournalEntry;
use super::effect::RequestId;
use super::refusal::{AddressRefusal, Wait};
use super::registry::Registry;
use super::slices::Slicing;
use super::wire::{AddressRequest, Denial, IpamMessage};
use mesh_proto::ids::PeerId;
use mesh_proto::limits::{MAX_CONTAINER_ID, MAX_IPAM_REQUESTS, MAX_LOCAL_LEASES};
use mesh_proto::time::Instant;
use request::PendingRequest;

/// All requests that wait.
#[derive(Debug, Default)]
pub(crate) struct Requester {
    /// By number, so oldest first.
    requests: BTreeMap<u64, PendingRequest>,
    /// This router is leaving, and requests nothing any more.
    is_closed: bool,
    revision: u64,
}

/// A request that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingRequest<'a> {
    /// The request.
    pub id: RequestId,
    /// The container that is to have the address.
    pub container: &'a str,
    /// The subnet or the address.
    pub request: AddressRequest,
    /// The moment of its opening.
    pub since: Instant,
    /// The moment at which it ends at the latest.
    pub deadline: Instant,
    /// The reason it waits.
    pub why: &'a Wait,
}

/// Returns the request for any address of a subnet, and the prefix length.
///
/// # Errors
/// [`AddressRefusal`] for what cannot succeed.
pub(crate) fn any_of(
    slicing: &Slicing,
    subnet: Ipv4Net,
) -> Result<(AddressRequest, u8), AddressRefusal> {
    if !slicing.range().contains(&subnet) {
        return Err(AddressRefusal::OutsideRange(
            subnet.into(),
            slicing.range().into(),
        ));
    }
    if subnet.prefix_len() > 30 && !slicing.is_subnet() {
        return Err(AddressRefusal::TooSmall(subnet.into()));
    }
    let prefix = slicing.subnet_of(subnet).prefix_len();
    Ok((AddressRequest::Subnet(subnet.trunc()), prefix))
}

/// Returns the request for this very address, and the prefix length.
///
/// # Errors
/// [`AddressRefusal`] for what cannot succeed.
pub(crate) fn exactly(
    range: Ipv4Net,
    addr: Ipv4Net,
) -> Result<(AddressRequest, u8), AddressRefusal> {
    if !range.contains(&addr.addr()) {
        return Err(AddressRefusal::OutsideRange(addr.into(), range.into()));
    }
    if addr.prefix_len() <= 30 && (addr.addr() == addr.network() || addr.addr() == addr.broadcast())
    {
        return Err(AddressRefusal::NotAHost(addr.addr().into()));
    }
    Ok((AddressRequest::Address(addr.addr()), addr.prefix_len()))
}

impl Requester {
    /// Opens a request, and goes on with it as far as possible.
    ///
    /// # Errors
    /// [`AddressRefusal`]; there is no request then.
    pub(crate) fn open(
        &mut self,
        registry: &mut Registry,
        new: &NewRequest<'_>,
        now: Instant,
    ) -> Result<(), AddressRefusal> {
        if new.container.len() > MAX_CONTAINER_ID {
            return Err(AddressRefusal::LongId);
        }
        if self.is_closed {
            return Err(AddressRefusal::Leaving);
        }
        let leases = registry.state().leases().all_local().len();
        if self.requests.len() >= MAX_IPAM_REQUESTS || leases >= MAX_LOCAL_LEASES {
            return Err(AddressRefusal::Limit);
        }
        let number = registry.take_number();
        let mut request = PendingRequest::new(new, number, now);
        if request.advance(registry, now) {
            self.revision += 1;
        } else {
            self.requests.insert(number, request);
        }
        Ok(())
    }

    /// Goes on with all requests that wait.
    pub(crate) fn advance(&mut self, registry: &mut Registry, now: Instant) {
        let before = self.requests.len();
        self.requests
            .retain(|_, request| !request.advance(registry, now));
        self.note_ended(before);
    }

    /// Ends all requests, and takes no more.
    pub(crate) fn close(&mut self, registry: &mut Registry) {
        self.is_closed = true;
        self.end_where(registry, &AddressRefusal::Leaving, |_| true);
    }

    /// Frees all addresses of a container that is gone for good, and ends its requests.
    pub(crate) fn release(&mut self, registry: &mut Registry, container: &str) {
        let addrs = registry.state().leases().of_container(container);
        let addrs: Vec<Ipv4Addr> = addrs.collect();
        for addr in addrs {
            registry.record(&JournalEntry::Release { addr });
        }
        self.end_where(registry, &AddressRefusal::Cancelled, |request| {
            request.container == container
        });
    }

    /// Frees one address, if the container leases it. Returns whether it does.
    pub(crate) fn release_address(
        &mut self,
        registry: &mut Registry,
        container: &str,
        addr: Ipv4Addr,
    ) -> bool {
        let lease = registry.state().leases().local(&addr);
        let is_leased = lease.is_some_and(|lease| lease.container == container);
        if is_leased {
            registry.record(&JournalEntry::Release { addr });
        }
        is_leased
    }

    /// Ends a request that is not needed any more. Returns whether there was one.
    pub(crate) fn cancel(&mut self, registry: &mut Registry, id: RequestId) -> bool {
        self.end_where(registry, &AddressRefusal::Cancelled, |request| {
            request.id == id
        })
    }

    fn end_where(
        &mut self,
        registry: &mut Registry,
        why: &AddressRefusal,
        is_over: impl Fn(&PendingRequest) -> bool,
    ) -> bool {
        let before = self.requests.len();
        self.requests.retain(|_, request| {
            let is_over = is_over(request);
            if is_over {
                request.end(registry, Err(why.clone()));
            }
            !is_over
        });
        self.note_ended(before)
    }

    /// Takes note of requests that ended. Returns whether there were any.
    fn note_ended(&mut self, before: usize) -> bool {
        let has_ended = self.requests.len() < before;
        self.revision += u64::from(has_ended);
        has_ended
    }

    /// Takes an address that an owner leases to this router.
    pub(crate) fn handle_lease(
        &mut self,
        registry: &mut Registry,
        from: PeerId,
        number: u64,
        addr: Ipv4Addr,
    ) {
        let request = self.requests.get(&number);
        if request.is_some_and(|request| request.accept(registry, from, addr)) {
            self.requests.remove(&number);
            self.revision += 1;
        }
    }

    /// Takes the denial of an owner.
    pub(crate) fn handle_denial(
        &mut self,
        registry: &mut Registry,
        from: PeerId,
        number: u64,
        why: Denial,
        now: Instant,
    ) {
        let Some(request) = self.requests.get_mut(&number) else {
            return;
        };
        if let Some(refusal) = request.handle_denial(from, why, now) {
            request.end(registry, Err(refusal));
            self.requests.remove(&number);
            self.revision += 1;
        }
    }

    /// Sees to it that the range has an owner (`prime`): takes it, or asks the router that should. Returns what it waits
    /// for; `None` once there is an owner.
    pub(crate) fn prime(
        &self,
        registry: &mut Registry,
        since: Instant,
        now: Instant,
    ) -> Option<Wait> {
        let wait = registry.bootstrap(since, now);
        if let Some(Wait::Bootstrap(router)) = wait {
            let number = registry.spend_number();
            let request = AddressRequest::Subnet(registry.range());
            let (epoch, slices) = (registry.epoch(), 1);
            let message = IpamMessage::Request {
                epoch,
                number,
                request,
                slices,
            };
            registry.send(router, &message);
        }
        wait
    }

    /// Returns whether requests wait.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Returns the number below which all requests are over.
    pub(crate) fn settled(&self, registry: &Registry) -> u64 {
        let first = self.requests.keys().next();
        first.copied().unwrap_or(registry.next_number())
    }

    /// Returns the earliest deadline of a request.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.requests.values().map(|r| r.deadline).min()
    }

    /// Returns a number that grows with each request that ends.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the requests that wait, oldest first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = WaitingRequest<'_>> {
        self.requests.values().map(|request| WaitingRequest {
            id: request.id,
            container: &request.container,
            request: request.request,
            since: request.since,
            deadline: request.deadline,
            why: &request.why,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::IpamOutput;
    use super::super::tests::parts::{
        LARGER, NOW, SMALLER, effects, meet, messages, registry, run,
    };
    use super::*;
    use mesh_proto::limits::IPAM_REQUEST_TIMEOUT;

    const LATER: Instant = Instant::from_nanos(60_000_000_000);

    fn open(requester: &mut Requester, registry: &mut Registry, request: AddressRequest) {
        let new = NewRequest {
            id: RequestId(7),
            container: "web",
            request,
            prefix: 24,
            deadline: LATER,
        };
        requester.open(registry, &new, NOW).unwrap();
    }

    fn subnet() -> AddressRequest {
        AddressRequest::Subnet("10.32.0.0/24".parse().unwrap())
    }

    fn allocated(addr: [u8; 4]) -> IpamOutput {
        IpamOutput::Allocated {
            request: RequestId(7),
            addr: addr.into(),
            prefix: 24,
        }
    }

    /// Returns the routers that were asked.
    fn asked(registry: &mut Registry) -> Vec<PeerId> {
        messages(registry).into_iter().map(|(to, _)| to).collect()
    }

    #[test]
    fn requests_that_cannot_succeed_are_refused() {
        let net = |text: &str| -> Ipv4Net { text.parse().unwrap() };
        let range = net("10.32.0.0/24");
        for (subnet, refusal) in [
            (
                "10.33.0.0/24",
                AddressRefusal::OutsideRange(net("10.33.0.0/24").into(), range.into()),
            ),
            (
                "10.32.0.0/31",
                AddressRefusal::TooSmall(net("10.32.0.0/31").into()),
            ),
        ] {
            let slicing = Slicing::new(range).unwrap();
            assert_eq!(any_of(&slicing, net(subnet)), Err(refusal));
        }
        let last = AddressRefusal::NotAHost([10, 32, 0, 255].into());
        assert_eq!(exactly(range, net("10.32.0.255/24")), Err(last));
        assert!(exactly(range, net("10.32.0.255/32")).is_ok());
    }

    #[test]
    fn the_first_router_takes_the_range_and_leases_at_once() {
        let (mut requester, mut registry) = (Requester::default(), registry());
        open(&mut requester, &mut registry, subnet());
        assert!(!requester.is_waiting());
        let effects = effects(&mut registry);
        assert!(matches!(
            effects[..],
            [IpamOutput::Allocated { prefix: 24, .. }]
        ));
    }

    #[test]
    fn owners_are_asked_one_after_the_other_until_one_leases() {
        let (mut requester, mut registry) = (Requester::default(), registry());
        meet(&mut registry, SMALLER, 1, vec![run(0, 8)]);
        meet(&mut registry, LARGER, 1, vec![run(8, 8)]);
        open(&mut requester, &mut registry, subnet());
        assert_eq!(asked(&mut registry), [SMALLER]);
        let full = Denial::Full;
        requester.handle_denial(&mut registry, LARGER, 1, full.clone(), NOW);
        requester.advance(&mut registry, NOW);
        assert!(asked(&mut registry).is_empty(), "it was not asked");
        requester.handle_denial(&mut registry, SMALLER, 1, full, NOW);
        requester.advance(&mut registry, NOW);
        assert_eq!(asked(&mut registry), [LARGER]);
        let addr = [10, 32, 0, 129];
        requester.handle_lease(&mut registry, SMALLER, 1, addr.into());
        assert!(requester.is_waiting(), "it does not own that slice");
        requester.handle_lease(&mut registry, LARGER, 1, addr.into());
        assert!(!requester.is_waiting());
        assert_eq!(effects(&mut registry), [allocated(addr)]);
        assert_eq!(requester.settled(&registry), 2);
    }

    #[test]
    fn an_owner_that_does_not_answer_is_passed_over() {
        let (mut requester, mut registry) = (Requester::default(), registry());
        meet(&mut registry, SMALLER, 1, vec![run(0, 8)]);
        meet(&mut registry, LARGER, 1, vec![run(8, 8)]);
        open(&mut requester, &mut registry, subnet());
        requester.advance(&mut registry, NOW + IPAM_REQUEST_TIMEOUT);
        assert_eq!(asked(&mut registry), [SMALLER, LARGER]);
    }

    #[test]
    fn requests_end_when_the_router_leaves_and_at_their_deadline() {
        let (mut requester, mut registry) = (Requester::default(), registry());
        meet(&mut registry, SMALLER, 1, vec![run(0, 16)]);
        open(&mut requester, &mut registry, subnet());
        requester.advance(&mut registry, LATER);
        open(&mut requester, &mut registry, subnet());
        requester.close(&mut registry);
        let failed = |why| IpamOutput::Failed {
            request: RequestId(7),
            why,
        };
        let mut ends = effects(&mut registry);
        ends.retain(|effect| matches!(effect, IpamOutput::Failed { .. }));
        let IpamOutput::Failed { why, .. } = &ends[0] else {
            panic!("{ends:?}");
        };
        assert!(matches!(why, AddressRefusal::Timeout(_)), "{why:?}");
        assert_eq!(ends[1..], [failed(AddressRefusal::Leaving)]);
    }
}
