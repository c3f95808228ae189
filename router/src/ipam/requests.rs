//! What attachments and the API ask, and their answers.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use mesh_proto::api::ipam::Left;
use mesh_proto::control::Control;
use mesh_proto::ids::PeerId;
use mesh_proto::ipam::{AddressRefusal, AddressRequest, RequestId};
use mesh_proto::limits::IPAM_LEAVE_WAIT;
use mesh_proto::time::Instant;
use tokio::sync::oneshot;

use super::{Addresses, Held, NotGiven, Request, TICK, TOPIC};

/// Somebody who waits for an address.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) caller: u32,
    pub(super) holder: String,
    pub(super) answer: oneshot::Sender<Result<Ipv4Net, NotGiven>>,
}

/// Somebody who waits for the range to have an owner.
#[derive(Debug)]
pub(super) struct Priming {
    since: Instant,
    until: Instant,
    answer: oneshot::Sender<Result<(), String>>,
}

/// Somebody who waits for the space to be handed over.
#[derive(Debug)]
pub(super) struct Leaving {
    answer: oneshot::Sender<Left>,
    others: usize,
    /// Slices that nobody took, once that is known.
    pub(super) orphaned: Option<usize>,
    until: Instant,
}

impl Addresses {
    pub(super) fn handle_request(&mut self, request: Request, control: &Control, now: Instant) {
        // A caller that hung up does not want its answer.
        match request {
            Request::Acquire {
                holder,
                want,
                prefix,
                patience,
                caller,
                answer,
            } => {
                let asking = Asking {
                    caller,
                    holder,
                    answer,
                };
                self.acquire(asking, want, prefix, now + patience, now);
            }
            Request::Release { addr, holder } => self.ipam.release_address(&holder, addr, now),
            Request::Held(answer) => {
                let held = self.ipam.allocations().map(|a| Held {
                    addr: a.addr,
                    holder: a.container.to_owned(),
                });
                let _ = answer.send(held.collect());
            }
            Request::Report(answer) => drop(answer.send(self.report(control.me(), now))),
            Request::Waiting(answer) => drop(answer.send(self.waiting(now))),
            Request::Prime { patience, answer } => {
                self.priming.push(Priming {
                    since: now,
                    until: now + patience,
                    answer,
                });
                self.next_tick = now;
            }
            Request::Remove {
                peer,
                force,
                answer,
            } => drop(answer.send(self.remove(&peer, force, now))),
            Request::Leave(answer) => self.leave(answer, now),
        }
    }

    fn acquire(
        &mut self,
        asking: Asking,
        want: AddressRequest,
        prefix: u8,
        until: Instant,
        now: Instant,
    ) {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        let opened = match want {
            AddressRequest::Subnet(subnet) => {
                self.ipam.allocate(id, &asking.holder, subnet, until, now)
            }
            AddressRequest::Address(addr) => match Ipv4Net::new(addr, prefix) {
                Ok(net) => self.ipam.claim(id, &asking.holder, net, until, now),
                Err(_) => Err(AddressRefusal::NotAHost(addr)),
            },
        };
        match opened {
            Ok(()) => {
                self.asking.insert(id, asking);
            }
            Err(why) => {
                let _ = asking.answer.send(Err(self.not_given(&why)));
            }
        }
    }

    pub(super) fn allocated(
        &mut self,
        request: RequestId,
        addr: Ipv4Addr,
        prefix: u8,
        now: Instant,
    ) {
        let Some(asking) = self.asking.remove(&request) else {
            return;
        };
        let net = Ipv4Net::new(addr, prefix).map_err(|e| e.to_string().into());
        if asking.answer.send(net).is_err() {
            // Nobody waits for it any more.
            self.ipam.release_address(&asking.holder, addr, now);
        }
    }

    pub(super) fn failed(&mut self, request: RequestId, why: &AddressRefusal) {
        if let Some(asking) = self.asking.remove(&request) {
            let _ = asking.answer.send(Err(self.not_given(why)));
        }
    }

    fn not_given(&self, why: &AddressRefusal) -> NotGiven {
        NotGiven {
            is_held: why.is_in_use(),
            text: self.words(why),
        }
    }

    fn words(&self, why: &AddressRefusal) -> String {
        let names = |id: &PeerId| self.names.of(id);
        let why = match why {
            AddressRefusal::InUse(addr, container) => {
                AddressRefusal::InUse(*addr, self.called.words(container))
            }
            AddressRefusal::InUseOn(addr, container, peer) => {
                AddressRefusal::InUseOn(*addr, self.called.words(container), *peer)
            }
            other => other.clone(),
        };
        let mut words = why.text(&names);
        if let (AddressRefusal::Timeout(_), Some(error)) = (&why, &self.progress.borrow().error) {
            words =
                format!("no address in time: the journal of addresses cannot be written: {error}");
        }
        words
    }

    /// Requests whose callers hung up are over.
    pub(super) fn drop_the_unwanted(&mut self, now: Instant) {
        let asking = self.asking.iter();
        let unwanted = asking.filter(|(_, asking)| asking.answer.is_closed());
        let unwanted: Vec<RequestId> = unwanted.map(|(id, _)| *id).collect();
        for id in unwanted {
            self.ipam.cancel(id, now);
        }
    }

    pub(super) fn prime_on(&mut self, now: Instant) {
        for priming in std::mem::take(&mut self.priming) {
            let wait = self.ipam.prime(priming.since, now);
            match wait {
                None => drop(priming.answer.send(Ok(()))),
                Some(why) if now >= priming.until => {
                    let why = why.text(&|id| self.names.of(id));
                    let _ = priming.answer.send(Err(format!(
                        "the range of addresses has no owner yet: {why}; try again, or with a longer --timeout"
                    )));
                }
                Some(_) => self.priming.push(priming),
            }
        }
    }

    fn remove(&mut self, typed: &str, force: bool, now: Instant) -> Result<String, String> {
        let owners = self.ipam.owners().into_iter().map(|owner| owner.peer);
        let peer = self.names.find(typed, owners)?;
        let names = |id: &PeerId| self.names.of(id);
        match self.ipam.remove(peer, force, now) {
            Ok(done) => Ok(format!(
                "{typed} is removed; {} slices of its space go to {}",
                done.slices,
                names(&done.successor)
            )),
            Err(why) => Err(why.text(&names)),
        }
    }

    fn leave(&mut self, answer: oneshot::Sender<Left>, now: Instant) {
        let held: Vec<String> = self
            .ipam
            .allocations()
            .map(|a| a.container.to_owned())
            .collect();
        held.iter()
            .for_each(|holder| self.ipam.release(holder, now));
        let owners = self.ipam.owners();
        let others = owners.iter().filter(|owner| owner.reachable).count();
        self.leaving = Some(Leaving {
            answer,
            others: others.saturating_sub(1).max(self.ipam.space().reachable),
            orphaned: None,
            until: now + IPAM_LEAVE_WAIT + TICK * 2,
        });
        self.ipam.leave(now);
    }

    /// Handed over, and the last statement is out: it says that nothing is held any more.
    pub(super) fn finish_leaving(&mut self, control: &Control, now: Instant) {
        let me = control.said_by(control.me(), TOPIC);
        let last = self.ipam.statement();
        let is_told = me.is_some_and(|said| Some(said.body) == last.as_deref());
        let is_over = |leaving: &Leaving| {
            leaving.orphaned.is_some() && is_told && self.ipam.next_deadline() > now
                || now >= leaving.until
        };
        if self.leaving.as_ref().is_some_and(is_over)
            && let Some(leaving) = self.leaving.take()
        {
            let _ = leaving.answer.send(Left {
                orphaned: leaving.orphaned.unwrap_or_default(),
                others: leaving.others,
            });
        }
    }
}
