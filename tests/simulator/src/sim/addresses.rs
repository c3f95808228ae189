//! Address allocation of a router: the real state machine between control plane and disk, wired as in
//! `mesh_router::ipam`.

use std::net::Ipv4Addr;

use mesh_ipam::feed;
use mesh_ipam::{AddressRequest, Ipam, IpamConfig, IpamSet, IpamStatement, RequestId, SetOutput};
use mesh_proto::control::{Control, Output as ControlOutput};
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use mesh_proto::wire::topic::Topic;

use super::disk::Write;
use super::effect::Effect;
use super::fault::InjectedFault;

const TOPIC: Topic = Topic::ADDRESSES;
/// Journal length in bytes below which it is not compacted; the router's own limit is a thousand times as large.
const COMPACT_FROM: usize = 1024;
const COMPACT_AT: usize = 4;

/// The state machines and their inputs.
pub(crate) struct RouterAddresses {
    ipam: IpamSet,
    made_with: Option<usize>,
    is_long: bool,
    fault: Option<InjectedFault>,
}

impl RouterAddresses {
    pub(crate) fn start(
        config: IpamConfig,
        entries: &[Vec<u8>],
        fault: Option<InjectedFault>,
        now: Instant,
    ) -> Result<Self, String> {
        let entries = entries.iter().map(Vec::as_slice);
        let ipam = Ipam::new(config, entries, now).map_err(|e| e.to_string())?;
        Ok(Self {
            ipam: IpamSet::new(&config, ipam, now),
            made_with: None,
            is_long: true,
            fault,
        })
    }

    pub(crate) fn ipam(&mut self) -> &mut IpamSet {
        &mut self.ipam
    }

    pub(crate) fn state(&self) -> &Ipam {
        self.ipam.default()
    }

    /// Returns when [`RouterAddresses::handle_timeout`] is due.
    pub(crate) fn next_deadline(&self) -> Instant {
        self.ipam.next_deadline()
    }

    /// Passes an output of the control plane to the state machine.
    pub(crate) fn hear(&mut self, output: &ControlOutput, control: &Control, now: Instant) {
        let is_claim = matches!(output, ControlOutput::Announcement(key) if key.topic == TOPIC);
        let is_deaf =
            self.fault == Some(InjectedFault::DeafToClaims) && !self.state().owners().is_empty();
        if !(is_claim && is_deaf) {
            feed::addresses(&mut self.ipam, output, control, now);
        }
    }

    /// Requests an address for a container.
    pub(crate) fn ask(
        &mut self,
        id: u64,
        container: &str,
        want: AddressRequest,
        times: [Instant; 2],
    ) -> bool {
        let [deadline, now] = times;
        let (id, network, want) = (RequestId(id), NetworkId::DEFAULT, (want, 24));
        let ipam = &mut self.ipam;
        let opened = ipam.request(&network, id, container, want, deadline, now);
        opened.is_ok()
    }

    /// Frees addresses without a live container.
    pub(crate) fn mend(&mut self, lives: impl Fn(&str, Ipv4Addr) -> bool, now: Instant) {
        let held = self.state().allocations();
        let gone = held.filter(|a| !lives(a.container, a.addr));
        let gone: Vec<(String, Ipv4Addr)> =
            gone.map(|a| (a.container.to_owned(), a.addr)).collect();
        for (container, addr) in gone {
            let network = NetworkId::DEFAULT;
            self.ipam.release_address(&network, &container, addr, now);
        }
    }

    /// Reports that all entries up to `position` are synced, and that the file has `length` bytes.
    pub(crate) fn synced(&mut self, position: u64, length: usize, now: Instant) {
        self.ipam.persisted(position, now);
        let made_with = *self.made_with.get_or_insert(length);
        self.is_long |= length > COMPACT_FROM.max(COMPACT_AT * made_with);
    }

    /// Frees the addresses of a removed container.
    pub(crate) fn release(&mut self, container: &str, now: Instant) {
        if self.fault != Some(InjectedFault::LeakedAddress) {
            self.ipam.release(container, now);
        }
    }

    /// Injected fault `ForgottenPins`: the announcement omits the held addresses in other owners' space.
    fn perhaps_without_pins(&self, bytes: Vec<u8>) -> Vec<u8> {
        match IpamStatement::decode(&bytes) {
            Ok(mut statement) if self.fault == Some(InjectedFault::ForgottenPins) => {
                statement.pins.clear();
                statement.encode()
            }
            _ => bytes,
        }
    }

    /// Runs the timers that are due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.ipam.next_deadline() <= now {
            self.ipam.handle_timeout(now);
        }
    }

    /// Carries out the effects of the state machine. Returns true if there were any.
    pub(crate) fn carry_out(
        &mut self,
        control: &mut Control,
        effects: &mut Vec<Effect>,
        now: Instant,
    ) -> bool {
        let mut any = false;
        while let Some(output) = self.ipam.poll_output() {
            any = true;
            match output {
                SetOutput::Persist { position, entry } => {
                    effects.push(Effect::Write(Write::Entry { position, entry }));
                    if self.fault == Some(InjectedFault::GrantBeforeSync) {
                        self.ipam.persisted(position, now);
                    }
                }
                SetOutput::Record(bytes) => {
                    let bytes = self.perhaps_without_pins(bytes);
                    if let Err(error) = control.announce(TOPIC, bytes, now) {
                        effects.push(Effect::Note(error.to_string()));
                    }
                }
                SetOutput::Send { to, bytes } => {
                    if let Err(error) = control.send_unicast(to, TOPIC, &bytes, now) {
                        effects.push(Effect::Note(error.to_string()));
                    }
                }
                SetOutput::Allocated { request, addr, .. } => {
                    effects.push(Effect::Answer(request.0, Ok(addr)));
                }
                SetOutput::Failed { request, why } => {
                    effects.push(Effect::Answer(request.0, Err(why.to_string())));
                }
                // There are no other networks yet.
                SetOutput::PersistSpace { .. } | SetOutput::Left { .. } => {}
            }
        }
        if self.is_long {
            self.is_long = false;
            self.made_with = None;
            let (position, entries) = (self.state().position(), self.state().snapshot());
            effects.push(Effect::Write(Write::Replace { position, entries }));
        }
        any
    }
}
