//! The networks between control plane, disk and those who ask: the state machine that the router's shell drives.
//!
//! The order of effects keeps what [`NetworksOutput::Persist`] is for: statements and answers wait until the content
//! before them is on disk. Memberships do not: a label that is not stored yet is known to nobody else. While the disk is
//! broken, networks go on, and what changes elsewhere is in force here; nothing is created, removed or joined here.

use std::collections::VecDeque;
use std::sync::Arc;

use mesh_proto::api::{NetworkReport, NetworksSummary};
use mesh_proto::control::{Control, JoinedNetwork, Note, Output};
use mesh_proto::entropy::Entropy;
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;

use super::answer::{NetworksAnswer, NetworksCall, NotRemoved};
use super::config::NetworksConfig;
use super::directory::{NetworkDirectory, short};
use super::feed::NetworksFeed;
use super::gate::{HeldEffect, StoreGate};
use super::notes::{self, NoteLimit};
use super::reports::{self, router_name};
use super::usage::{HostNetworks, NetworkUsage};
use crate::Networks;
use crate::create::NewNetwork;
use crate::output::NetworksOutput;
use crate::refusal::{RemoveNetworkError, UnknownNetwork};

/// Effect that the shell carries out.
#[derive(Debug)]
pub enum NetworksEffect {
    /// Store this content in place of the former one; then call [`NetworksDesk::stored`] or
    /// [`NetworksDesk::store_failed`]. Of several, only the last need be stored.
    Store {
        /// Number of the content.
        position: u64,
        /// The content.
        content: Vec<u8>,
    },
    /// Announce this statement, in place of the former one.
    Announce(Vec<u8>),
    /// Send this message about keys to one router.
    Send {
        /// The router.
        to: PeerId,
        /// Body of the message.
        body: Vec<u8>,
    },
    /// These are the networks in which this router has containers from now on.
    Memberships(Vec<JoinedNetwork>),
    /// There are other networks than before, or other names.
    Directory(Arc<NetworkDirectory>),
    /// Answer to a caller.
    Answer(NetworksCall, NetworksAnswer),
    /// Line for the log.
    Note(Note),
}

/// All networks, with those who ask about them. One input, then drain the effects.
#[derive(Debug)]
pub struct NetworksDesk {
    networks: Networks,
    config: NetworksConfig,
    feed: NetworksFeed,
    usage: NetworkUsage,
    gate: StoreGate,
    limit: NoteLimit,
    /// True if the memberships may be others than those that were put out last.
    has_members: bool,
    effects: VecDeque<NetworksEffect>,
}

impl NetworksDesk {
    /// Creates the desk of networks that were restored.
    pub fn new(networks: Networks, config: NetworksConfig) -> Self {
        Self {
            networks,
            config,
            feed: NetworksFeed::default(),
            usage: NetworkUsage::default(),
            gate: StoreGate::default(),
            limit: NoteLimit::default(),
            has_members: false,
            effects: VecDeque::new(),
        }
    }

    // Inputs

    /// Takes an effect of the control plane.
    pub fn on_control_output(
        &mut self,
        output: &Output,
        control: &Control,
        entropy: &mut impl Entropy,
        now: Instant,
    ) {
        let feed = &mut self.feed;
        self.has_members |=
            feed.on_control_output(&mut self.networks, output, control, entropy, now);
        self.settle(control, now);
    }

    /// Takes the networks that are open on this host now: others are left, and these are joined.
    pub fn set_open(&mut self, open: HostNetworks, control: &Control, now: Instant) {
        self.usage.set_open(open);
        self.usage.review(&mut self.networks, now);
        self.settle(control, now);
    }

    /// Creates a network, or finds the one that is as asked for; answered by [`NetworksAnswer::Created`]. `stamp` is the
    /// time in seconds since 1970.
    pub fn create(
        &mut self,
        call: NetworksCall,
        new: &NewNetwork,
        stamp: u64,
        entropy: &mut impl Entropy,
        control: &Control,
        now: Instant,
    ) {
        let created = match self.disk_refuses() {
            Some(why) => Err(why),
            None => {
                let created = self.networks.create(new, stamp, entropy, now);
                created.map_err(|error| error.to_string())
            }
        };
        self.answer(call, NetworksAnswer::Created(created), control, now);
    }

    /// Removes a network for the whole mesh; answered by [`NetworksAnswer::Removed`].
    pub fn remove(
        &mut self,
        call: NetworksCall,
        name: &str,
        force: bool,
        control: &Control,
        now: Instant,
    ) {
        let removed = match self.disk_refuses() {
            Some(why) => Err(NotRemoved::Refused(why)),
            None => self.remove_now(name, force, control, now),
        };
        self.answer(call, NetworksAnswer::Removed(removed), control, now);
    }

    fn remove_now(
        &mut self,
        name: &str,
        force: bool,
        control: &Control,
        now: Instant,
    ) -> Result<NetworkId, NotRemoved> {
        let removed = self.networks.remove(name, force, now);
        removed.map_err(|error| match error {
            RemoveNetworkError::InUse { name: is, holders } => NotRemoved::InUse {
                network: self.networks.resolve(name).unwrap_or_default(),
                name: is.to_string(),
                others: holders
                    .iter()
                    .filter(|holder| **holder != self.networks.me)
                    .map(|holder| router_name(control, holder))
                    .collect(),
                is_here: holders.contains(&self.networks.me),
            },
            error => NotRemoved::Refused(error.to_string()),
        })
    }

    /// Makes this router a member of a network, because a container is about to start in it; answered by
    /// [`NetworksAnswer::Joined`]. A membership that is not used within 10 s is left.
    pub fn join(&mut self, call: NetworksCall, id: NetworkId, control: &Control, now: Instant) {
        let joined = match self.disk_refuses() {
            _ if id.is_default() => Ok(()),
            Some(why) if !self.is_member(&id) => Err(why),
            _ => {
                let joined = self.networks.join(id, now);
                joined.map(drop).map_err(|error| error.to_string())
            }
        };
        if joined.is_ok() && !id.is_default() {
            self.usage.expect(&mut self.networks, id, now);
        }
        self.answer(call, NetworksAnswer::Joined(joined), control, now);
    }

    fn is_member(&self, id: &NetworkId) -> bool {
        self.networks.labels.used().contains_key(id)
    }

    /// Returns the reason why nothing is changed here while the disk is broken.
    fn disk_refuses(&self) -> Option<String> {
        let error = self.gate.error()?;
        Some(format!(
            "the networks cannot be stored: {error}; make room, then try again"
        ))
    }

    /// Has a call answered, once all that follows from it is stored; at once if it was refused.
    fn answer(
        &mut self,
        call: NetworksCall,
        answer: NetworksAnswer,
        control: &Control,
        now: Instant,
    ) {
        self.settle(control, now);
        match answer.is_refused() {
            true => self.effects.push_back(NetworksEffect::Answer(call, answer)),
            false => self.gate.hold(HeldEffect::Answer(call, answer)),
        }
    }

    /// Takes note that the content of this number is on disk.
    pub fn stored(&mut self, position: u64) {
        self.gate.stored(position);
    }

    /// Takes note that the last content could not be stored; the shell tries again.
    pub fn store_failed(&mut self, error: &str) {
        for (call, answer) in self.gate.failed(error.to_owned()) {
            let answer = answer.unstored(error);
            self.effects.push_back(NetworksEffect::Answer(call, answer));
        }
    }

    /// Does what is due; to be called at [`NetworksDesk::next_deadline`].
    pub fn handle_time(&mut self, control: &Control, entropy: &mut impl Entropy, now: Instant) {
        self.feed.handle_time(&mut self.networks, now);
        if self.usage.next_deadline() <= now {
            self.usage.review(&mut self.networks, now);
        }
        self.networks.handle_time(entropy, now);
        self.settle(control, now);
    }

    /// Returns the time at which [`NetworksDesk::handle_time`] is to be called.
    pub fn next_deadline(&self) -> Instant {
        let parts = [self.feed.next_deadline(), self.usage.next_deadline()];
        let own = self.networks.next_deadline();
        parts.into_iter().fold(own, Instant::min)
    }

    // Effects

    /// Returns the next effect.
    pub fn poll_effect(&mut self) -> Option<NetworksEffect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        if core::mem::take(&mut self.has_members) {
            let joined = self.feed.joined(&self.networks);
            return Some(NetworksEffect::Memberships(joined));
        }
        Some(match self.gate.release()? {
            HeldEffect::Announce(bytes) => NetworksEffect::Announce(bytes),
            HeldEffect::Answer(call, answer) => NetworksEffect::Answer(call, answer),
        })
    }

    /// Sorts the outputs of the networks: some are carried out at once, others after what was stored before them.
    fn settle(&mut self, control: &Control, now: Instant) {
        let mut has_names = false;
        let mut position = None;
        while let Some(output) = self.networks.poll_output() {
            match output {
                NetworksOutput::Persist => {
                    position.get_or_insert_with(|| self.gate.next_position());
                }
                NetworksOutput::State(bytes) => self.gate.hold(HeldEffect::Announce(bytes)),
                NetworksOutput::Members(_) | NetworksOutput::Keys(_) => self.has_members = true,
                NetworksOutput::Send { to, body } => {
                    self.effects.push_back(NetworksEffect::Send { to, body });
                }
                NetworksOutput::Reread(origin) => {
                    let feed = &mut self.feed;
                    self.has_members |= feed.read(&mut self.networks, origin, control, now);
                }
                change => {
                    has_names = true;
                    self.has_members |= matches!(change, NetworksOutput::Removed { .. });
                    self.note(&change, control, now);
                }
            }
        }
        if let Some(position) = position {
            let content = self.networks.content(now);
            let store = NetworksEffect::Store { position, content };
            self.effects.push_back(store);
        }
        if has_names {
            let directory = NetworksEffect::Directory(Arc::new(self.directory()));
            self.effects.push_back(directory);
        }
    }

    fn note(&mut self, change: &NetworksOutput, control: &Control, now: Instant) {
        let note = match change {
            NetworksOutput::Added(definition) => notes::added(
                definition,
                &router_name(control, &definition.version.author),
            ),
            NetworksOutput::Changed(definition) => notes::changed(
                definition,
                &router_name(control, &definition.version.author),
            ),
            NetworksOutput::Removed {
                definition,
                by,
                was_member,
            } => notes::removed(definition, &router_name(control, by), *was_member),
            NetworksOutput::Shadowed {
                definition,
                by,
                is_own,
            } => {
                let text = reports::shadowed(&self.networks, definition, by, control);
                notes::shadowed(text, *is_own)
            }
            NetworksOutput::Revealed(definition) => {
                notes::revealed(definition, &short(&definition.id))
            }
            _ => return,
        };
        let admitted = self.limit.admit(note, now).into_iter();
        self.effects.extend(admitted.map(NetworksEffect::Note));
    }

    // What is known

    /// Returns the names and definitions of all networks.
    pub fn directory(&self) -> NetworkDirectory {
        NetworkDirectory::of(&self.networks)
    }

    /// Returns the MTU of the mesh.
    pub fn mesh_mtu(&self) -> u16 {
        self.config.mtu
    }

    /// Returns all networks, `default` first, then by name.
    pub fn list(&self, control: &Control) -> Vec<NetworkReport> {
        let default = reports::default_network(&self.config, control);
        let mut all = vec![default];
        all.extend(reports::others(&self.networks, control));
        all
    }

    /// Returns the network that a user named.
    ///
    /// # Errors
    /// [`UnknownNetwork`].
    pub fn inspect(&self, name: &str, control: &Control) -> Result<NetworkReport, UnknownNetwork> {
        let id = self.networks.resolve(name)?.to_string();
        let mut all = self.list(control).into_iter();
        let found = all.find(|network| network.id == id);
        found.ok_or_else(|| UnknownNetwork::Missing(name.to_owned()))
    }

    /// Returns figures for the report; `None` if there are no networks besides `default`.
    pub fn summary(&self) -> Option<NetworksSummary> {
        reports::summary(&self.networks)
    }

    /// Returns warnings for the operator, one line each.
    pub fn warnings(&self, control: &Control) -> Vec<String> {
        let refused = self.usage.refused().values();
        let refused = refused.map(|why| format!("containers of this host have no network: {why}"));
        let mut warnings: Vec<String> = refused.collect();
        warnings.extend(reports::shadow_warnings(&self.networks, control));
        warnings
    }
}
