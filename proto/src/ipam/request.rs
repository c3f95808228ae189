//! Requests of this router's containers and their life: any address of a subnet, or this very one; and their end.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::journal::Entry;
use super::refusal::{Refusal, Wait};
use super::wire::{Message, Want};
use super::{Ipam, Output};
use crate::ids::PeerId;
use crate::limits::{MAX_CONTAINER_ID, MAX_HELD, MAX_IPAM_REQUESTS};
use crate::time::Instant;

/// The shell's number of one allocation or claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A request that waits.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) id: RequestId,
    pub(super) container: String,
    pub(super) want: Want,
    pub(super) prefix: u8,
    pub(super) since: Instant,
    pub(super) deadline: Instant,
    pub(super) why: Wait,
    /// Who was asked last, and when.
    pub(super) asked: Option<(PeerId, Instant)>,
    /// Owners that have nothing, or did not answer.
    pub(super) tried: BTreeSet<PeerId>,
    /// All that were tried said so themselves.
    pub(super) all_full: bool,
    /// No owner is asked before.
    pub(super) rest: Instant,
}

pub(super) enum Step {
    Done(Ipv4Addr),
    Failed(Refusal),
    Wait(Wait),
}

impl Ipam {
    /// Wants any free address of `subnet` for a container: the lowest of those this router owns, and the same again
    /// for the same container. The end is [`Output::Allocated`] or, at `deadline` at the latest, [`Output::Failed`].
    ///
    /// # Errors
    /// [`Refusal`] for what cannot succeed.
    pub fn allocate(
        &mut self,
        id: RequestId,
        container: &str,
        subnet: Ipv4Net,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), Refusal> {
        if !self.range().contains(&subnet) {
            return Err(Refusal::OutsideRange(subnet, self.range()));
        }
        if subnet.prefix_len() > 30 {
            return Err(Refusal::TooSmall(subnet));
        }
        let want = Want::Subnet(subnet.trunc());
        self.open(id, container, want, subnet.prefix_len(), deadline, now)
    }

    /// Wants this very address for a container; the prefix length is that of its subnet. Ends as [`Ipam::allocate`].
    ///
    /// # Errors
    /// [`Refusal`] for what cannot succeed; [`Refusal::OutsideRange`] is for the shell to ignore: such addresses are not
    /// kept here.
    pub fn claim(
        &mut self,
        id: RequestId,
        container: &str,
        addr: Ipv4Net,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), Refusal> {
        if !self.range().contains(&addr.addr()) {
            return Err(Refusal::OutsideRange(addr, self.range()));
        }
        if addr.prefix_len() <= 30
            && (addr.addr() == addr.network() || addr.addr() == addr.broadcast())
        {
            return Err(Refusal::NotAHost(addr.addr()));
        }
        let want = Want::Address(addr.addr());
        self.open(id, container, want, addr.prefix_len(), deadline, now)
    }

    /// The container is gone for good: its addresses are free, its requests are over.
    pub fn release(&mut self, container: &str, now: Instant) {
        let addrs = self.state.containers.get(container).cloned();
        for addr in addrs.unwrap_or_default() {
            self.record(&Entry::Release { addr });
        }
        let requests = self.requests.iter();
        let mine = requests.filter(|(_, request)| request.container == container);
        let mine: Vec<u64> = mine.map(|(number, _)| *number).collect();
        for number in mine {
            self.close(number, Err(Refusal::Cancelled));
        }
        self.pump(now);
        self.flush(now);
    }

    /// One address of a container is free.
    pub fn release_address(&mut self, container: &str, addr: Ipv4Addr, now: Instant) {
        let held = self.state.held.get(&addr);
        if held.is_some_and(|held| held.container == container) {
            self.record(&Entry::Release { addr });
            self.pump(now);
            self.flush(now);
        }
    }

    /// A request is not wanted any more. An address that it got meanwhile stays with the container.
    pub fn cancel(&mut self, id: RequestId, now: Instant) {
        let number = self.requests.iter().find(|(_, request)| request.id == id);
        if let Some(number) = number.map(|(number, _)| *number) {
            self.close(number, Err(Refusal::Cancelled));
            self.flush(now);
        }
    }

    /// Sees to it that the range has an owner (`prime`): takes it, or asks the router that should. What it waits for;
    /// `None` once there is an owner. To be called again every second; `since` is when it was first called.
    pub fn prime(&mut self, since: Instant, now: Instant) -> Option<Wait> {
        if !self.state.has_no_map() {
            return None;
        }
        let wait = self.found(since, now);
        if let Some(Wait::Founder(founder)) = wait {
            let number = self.next_number;
            self.next_number += 1;
            self.published.changed = true;
            let want = Want::Subnet(self.range());
            let (epoch, slices) = (self.config.epoch, 1);
            let ask = Message::Ask {
                epoch,
                number,
                want,
                slices,
            };
            self.send(founder, &ask);
        }
        self.flush(now);
        wait
    }

    fn open(
        &mut self,
        id: RequestId,
        container: &str,
        want: Want,
        prefix: u8,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), Refusal> {
        if container.len() > MAX_CONTAINER_ID {
            return Err(Refusal::LongId);
        }
        if self.leaving.is_some() {
            return Err(Refusal::Leaving);
        }
        if self.requests.len() >= MAX_IPAM_REQUESTS || self.state.held.len() >= MAX_HELD {
            return Err(Refusal::Limit);
        }
        let number = self.next_number;
        self.next_number += 1;
        let request = Request {
            id,
            container: container.to_owned(),
            want,
            prefix,
            since: now,
            deadline,
            why: Wait::Space(0, None),
            asked: None,
            tried: BTreeSet::new(),
            all_full: true,
            rest: now,
        };
        self.requests.insert(number, request);
        self.advance(number, now);
        self.flush(now);
        Ok(())
    }

    /// Looks at all that waits.
    pub(super) fn pump(&mut self, now: Instant) {
        let numbers: Vec<u64> = self.requests.keys().copied().collect();
        for number in numbers {
            self.advance(number, now);
        }
    }

    fn advance(&mut self, number: u64, now: Instant) {
        let Some(request) = self.requests.get(&number).cloned() else {
            return;
        };
        let step = match request.want {
            _ if self.leaving.is_some() => Step::Failed(Refusal::Leaving),
            Want::Subnet(subnet) => self.step_subnet(number, &request, subnet, now),
            Want::Address(addr) => self.step_address(number, &request, addr, now),
        };
        match step {
            Step::Done(addr) => self.close(number, Ok(addr)),
            Step::Failed(why) => self.close(number, Err(why)),
            Step::Wait(why) if now >= request.deadline => {
                self.close(number, Err(Refusal::Timeout(why)));
            }
            Step::Wait(why) => {
                if let Some(request) = self.requests.get_mut(&number) {
                    request.why = why;
                }
            }
        }
    }

    pub(super) fn close(&mut self, number: u64, result: Result<Ipv4Addr, Refusal>) {
        let Some(done) = self.requests.remove(&number) else {
            return;
        };
        self.published.changed = true;
        let request = done.id;
        self.emit(match result {
            Ok(addr) => Output::Allocated {
                request,
                addr,
                prefix: done.prefix,
            },
            Err(why) => Output::Failed { request, why },
        });
    }
}
