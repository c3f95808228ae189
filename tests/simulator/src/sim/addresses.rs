//! Address allocation of a router: the real state machine between control plane and disk, wired as in
//! `mesh_router::ipam`.

use std::net::Ipv4Addr;
use std::time::Duration;

use mesh_ipam::feed;
use mesh_ipam::{
    AddressRequest, Ipam, IpamConfig, IpamSet, IpamStatement, NetworkLease, NetworkPlan, RequestId,
    SetOutput, Slicing,
};
use mesh_proto::control::{Control, Output as ControlOutput};
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use mesh_proto::wire::topic::Topic;

use super::disk::{JournalKind, Write};
use super::effect::Effect;
use super::families;
use super::fault::InjectedFault;
use super::network::HostId;

const TOPIC: Topic = Topic::ADDRESSES;
/// Journal length in bytes below which it is not compacted; the router's own limit is a thousand times as large.
const COMPACT_FROM: usize = 1024;
const COMPACT_AT: usize = 4;
/// Epoch of a router's first start.
const FIRST_EPOCH: u64 = 1;

/// Address spaces of a router, as its next start finds them.
pub(crate) struct AddressSetup {
    /// The range of `default`.
    pub(crate) slicing: Slicing,
    /// Entries of the journals, in the order of [`JournalKind::ALL`].
    pub(crate) journals: [Vec<Vec<u8>>; 2],
    /// Subnets of the other networks.
    pub(crate) plans: Vec<NetworkPlan>,
}

/// Request of a new container for an address.
#[derive(Clone, Debug)]
pub(crate) struct WorkloadRequest {
    pub(crate) host: HostId,
    pub(crate) number: u64,
    pub(crate) container: String,
    pub(crate) network: NetworkId,
    pub(crate) address: AddressRequest,
    pub(crate) patience: Duration,
}

/// The state machines and their inputs.
pub(crate) struct RouterAddresses {
    ipam: IpamSet,
    /// Journals, in the order of [`JournalKind::ALL`].
    journals: [JournalLength; 2],
    fault: Option<InjectedFault>,
}

/// Length of a journal, which decides when it is compacted.
#[derive(Debug, Default)]
struct JournalLength {
    made_with: Option<usize>,
    is_long: bool,
}

impl RouterAddresses {
    pub(crate) fn start(
        config: IpamConfig,
        setup: &AddressSetup,
        fault: Option<InjectedFault>,
        now: Instant,
    ) -> Result<Self, String> {
        let [default, networks] = setup.journals.each_ref();
        let entries = default.iter().map(Vec::as_slice);
        let ipam = Ipam::new(config, entries, now).map_err(|e| e.to_string())?;
        let mut ipam = IpamSet::new(&config, ipam, now);
        if !networks.is_empty() && fault != Some(InjectedFault::ForgottenSpaces) {
            let restored = ipam.restore(networks.iter().map(Vec::as_slice), now);
            restored.map_err(|e| e.to_string())?;
        }
        for plan in &setup.plans {
            ipam.define(plan.clone(), now);
            // The networks are created with the first start of their founders.
            if plan.founder == config.me && config.epoch <= FIRST_EPOCH {
                ipam.found(&plan.network, now).map_err(|e| e.to_string())?;
            }
        }
        let journal = |is_long| JournalLength {
            is_long,
            ..JournalLength::default()
        };
        Ok(Self {
            ipam,
            journals: [journal(true), journal(!networks.is_empty())],
            fault,
        })
    }

    pub(crate) fn ipam(&mut self) -> &mut IpamSet {
        &mut self.ipam
    }

    pub(crate) fn state(&self) -> &Ipam {
        self.ipam.default()
    }

    /// Returns the state of a network besides `default`; none where this router takes no part.
    pub(crate) fn space(&self, network: NetworkId) -> Option<&Ipam> {
        let mut spaces = self.ipam.spaces();
        let found = spaces.find(|(id, _)| id.network == network);
        found.map(|(_, ipam)| ipam)
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

    /// Requests an address of a network for a container.
    pub(crate) fn ask(
        &mut self,
        request: &WorkloadRequest,
        control: &Control,
        times: [Instant; 2],
    ) -> bool {
        let [deadline, now] = times;
        let (network, container) = (&request.network, &request.container);
        let id = RequestId(request.number);
        if self.ipam.open(network, now).is_ok() {
            feed::catch_up(&mut self.ipam, control, now);
        }
        let plan = self.ipam.plan(network);
        let subnet = plan.and_then(|plan| plan.subnets.first());
        let subnet = subnet.map_or(self.state().slicing().subnet(), |plan| plan.subnet);
        let query = families::query_of(subnet, request.address);
        let opened = self
            .ipam
            .request(network, id, container, query, deadline, now);
        opened.is_ok()
    }

    /// Frees addresses without a live container.
    pub(crate) fn mend(&mut self, lives: impl Fn(NetworkId, &str, Ipv4Addr) -> bool, now: Instant) {
        let held = self.ipam.allocations();
        let lives = |lease: &NetworkLease<'_>| {
            lives(
                lease.network,
                lease.container,
                families::inward(lease.address),
            )
        };
        let gone = held.filter(|lease| !lives(lease));
        let gone = gone.map(|lease| (lease.network, lease.container.to_owned(), lease.address));
        for (network, container, addr) in gone.collect::<Vec<_>>() {
            self.ipam.release_address(&network, &container, addr, now);
        }
    }

    /// Reports that all entries of a journal up to `position` are synced, and that the file has `length` bytes.
    pub(crate) fn synced(
        &mut self,
        journal: JournalKind,
        (position, length): (u64, usize),
        now: Instant,
    ) {
        let [default, networks] = &mut self.journals;
        let journal = match journal {
            JournalKind::Default => {
                self.ipam.persisted(position, now);
                default
            }
            JournalKind::Networks => {
                self.ipam.spaces_persisted(position, now);
                networks
            }
        };
        let made_with = *journal.made_with.get_or_insert(length);
        journal.is_long |= length > COMPACT_FROM.max(COMPACT_AT * made_with);
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
                    let entry = Write::Entry { position, entry };
                    effects.push(Effect::Write(JournalKind::Default, entry));
                    if self.fault == Some(InjectedFault::GrantBeforeSync) {
                        self.ipam.persisted(position, now);
                    }
                }
                SetOutput::PersistSpace { position, entry } => {
                    let entry = Write::Entry { position, entry };
                    effects.push(Effect::Write(JournalKind::Networks, entry));
                    if self.fault == Some(InjectedFault::GrantBeforeSync) {
                        self.ipam.spaces_persisted(position, now);
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
                SetOutput::Allocated { request, address } => {
                    let addr = families::inward(address.addr());
                    effects.push(Effect::Answer(request.0, Ok(addr)));
                }
                SetOutput::Failed { request, why } => {
                    effects.push(Effect::Answer(request.0, Err(why.to_string())));
                }
                SetOutput::Left { .. } => {}
            }
        }
        self.compact(effects);
        any
    }

    /// Replaces journals that have become long.
    fn compact(&mut self, effects: &mut Vec<Effect>) {
        for (kind, journal) in JournalKind::ALL.into_iter().zip(&mut self.journals) {
            if !core::mem::take(&mut journal.is_long) {
                continue;
            }
            journal.made_with = None;
            let (position, entries) = match kind {
                JournalKind::Default => {
                    let default = self.ipam.default();
                    (default.position(), default.snapshot())
                }
                JournalKind::Networks => self.ipam.spaces_snapshot(),
            };
            effects.push(Effect::Write(kind, Write::Replace { position, entries }));
        }
    }
}
