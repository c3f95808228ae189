//! Networks of the mesh: which there are, and which routers have containers in them.
//!
//! The network `default` always exists, and is never stated. Each other network has a random id and a *definition*
//! ([`NetworkDefinition`]). A router states the definitions that it made or *adopted*, the removals of networks, and its
//! *memberships*: the networks in which it has containers, each with a label that it assigns ([`NetworksStatement`]).
//! The statements are signed records of a topic of their own, each replaced as a whole by a newer one. What all routers
//! stated so far is the *ledger* of each of them, which is stored on disk.
//!
//! Why all routers agree:
//!
//! 1. *The ledger is a join.* Of two definitions of one id the greater one stays (by version, then by content), and a
//!    removal, called a *tombstone*, is greater than each definition. So what a ledger says depends on what was heard, and
//!    neither on the order nor on how often. No clock is compared, apart from rule 3.
//! 2. *What anybody knows everybody learns.* A definition or a tombstone that no router within reach states is adopted,
//!    within seconds, by a router that knows it. So each of them is in some statement in each part of the mesh where it
//!    is known, and routers that are within reach of one another have the same ledger. Statements that are withdrawn or
//!    forgotten take nothing out of it.
//! 3. *One name, one network.* Of several networks with one name, created before their creators heard of one another,
//!    the one with the older creation stamp has the name, then that with the lower id. It is computed from the ledger, so
//!    it is the same everywhere. The others are *shadowed*: they go on by their ids, and their authors and members are told.
//!    When the winner is removed, the next one has the name.
//!
//! Why a network that exists is not lost: nothing but a tombstone ends it. Neither the absence nor the end of its author
//! does, nor a reset: each router that heard of it knows it from disk, and one of them adopts it. It would be lost if all
//! routers that ever heard of it were reset.
//!
//! Why a removed network does not come back:
//!
//! 1. A tombstone is final: the id is random and never used again, so there is nothing for which it should give way, and
//!    no version, however high, can outdo it.
//! 2. A router that returns with the definition after a week meets, at the latest when it states it, a router that knows
//!    the tombstone: each that heard of it keeps it on disk for [`TOMBSTONE`] (30 days in which it runs), and longer while any
//!    statement mentions the network. One of them states it within seconds, if not at once. The router that returned
//!    gives the definition up, and with it its statement, and what is left of the network is gone.
//! 3. A router that is new learns tombstones like definitions, because those that are kept for their age are always
//!    stated by somebody (the newest [`MAX_STATED_TOMBSTONES`] of each router). So it does not matter which routers are
//!    left when the one with the definition returns.
//! 4. Routers that forget a tombstone for its age do not learn it again from one another, because its age is stated too,
//!    once a day.
//! 5. What is not promised: a network comes back if a router returns that was away for longer than [`TOMBSTONE`], or
//!    after so many removals that the tombstone was forgotten ([`MAX_TOMBSTONES`]), or if all routers that heard of the
//!    removal were reset. It is then removed once more.
//!
//! A removal is refused while a known router has containers in the network, within reach or not. One that is cut off may
//! have joined in the other half, or join in the same second; then the tombstone wins, as with `--force`, and the router
//! that has the containers is told ([`NetworksOutput::Removed`]) and detaches them.
//!
//! A label leads from a datagram to a network ([`NetworkMember::label`]); `labels` says why it never leads to a wrong one.
//! That holds after a crash because of the order of outputs: [`NetworksOutput::Persist`] comes before the statement in
//! which others read the label.
//!
//! | part | subject |
//! |---|---|
//! | `definition` | definitions, names, subnets; the choice of free subnets |
//! | `statement` | the bytes that travel |
//! | `ledger` | all that was ever heard: definitions and tombstones |
//! | `origins` | statements of the other routers, and reachability |
//! | `adoption` | what this router states |
//! | `labels` | labels of this router's memberships |
//! | `keys` | keys of broadcasts, on which the members of each network agree |
//! | `view` | names |
//! | `create`, `refusal` | requests of users |
//! | `content` | the state file |
//! | `report` | all that operators see |
//! | `service` | all of this as a part of the router: the control plane, the disk, and those who ask |

#![forbid(unsafe_code)]

mod adoption;
mod content;
mod create;
mod definition;
mod keys;
mod labels;
mod ledger;
mod origins;
mod output;
mod refusal;
mod report;
mod service;
mod statement;
mod view;

pub use content::StoredNetworksError;
pub use create::{CreatedNetwork, NewNetwork};
pub use definition::name::{DEFAULT_NETWORK, NetworkName, NetworkNameError};
pub use definition::pools::{POOLS, PREFIX6, choose_subnet, local_prefix};
pub use definition::subnet::{NetworkSubnet, SubnetError};
pub use definition::swarm::SwarmSplit;
pub use definition::{DefinitionError, NetworkDefinition, NetworkVersion, UserLabel};
pub use keys::{AnnouncedKey, BadKeyMessage, KeyAnnouncement, KeyMessage, KeyReply, KeyRequest};
pub use output::NetworksOutput;
pub use refusal::{CreateNetworkError, JoinNetworkError, RemoveNetworkError, UnknownNetwork};
pub use report::{NetworkFigures, NetworkMember, ReportedNetwork};
pub use service::answer::{NetworksAnswer, NetworksCall, NotRemoved};
pub use service::config::NetworksConfig;
pub use service::desk::{NetworksDesk, NetworksEffect};
pub use service::directory::{NetworkDirectory, SHORT_ID};
pub use service::feed::NetworksFeed;
pub use service::request::NetworkRequestError;
pub use service::usage::HostNetworks;
pub use statement::{NetworkMembership, NetworkRemoval, NetworksError, NetworksStatement};

use core::num::NonZeroU16;
use std::collections::{BTreeSet, VecDeque};

use ipnet::{IpNet, Ipv6Net};

use adoption::{Adoption, Knowledge};
use keys::KeyRings;
use labels::{LabelError, LabelTable};
use ledger::{Buried, Learnt, NetworkLedger};
use mesh_proto::entropy::Entropy;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::{MAX_NETWORKS, NETWORKS_TICK, TOMBSTONE_REPEAT, TOMBSTONE_TICK};
#[cfg(doc)]
use mesh_proto::limits::{MAX_STATED_TOMBSTONES, MAX_TOMBSTONES, TOMBSTONE};
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use origins::Origins;
use view::NameTable;

/// Networks of the mesh, as one router knows them. One input, then drain the outputs.
#[derive(Debug)]
pub struct Networks {
    me: PeerId,
    prefix6: Ipv6Net,
    ledger: NetworkLedger,
    origins: Origins,
    labels: LabelTable,
    idle: BTreeSet<NetworkId>,
    adoption: Adoption,
    keys: KeyRings,
    names: NameTable,
    /// The statement that was last put out, with ages left out.
    stated: NetworksStatement,
    stated_at: Instant,
    left_out: usize,
    outputs: VecDeque<NetworksOutput>,
    /// Next time for [`Networks::handle_time`].
    due: Instant,
    /// Time at which the ages of tombstones were last stored.
    stored: Instant,
    refused: u64,
}

impl Networks {
    /// Creates the view of a router that knows no network besides `default`. `mesh` tells this mesh from others; the
    /// prefix of IPv6 subnets is derived from it.
    pub fn new(me: PeerId, mesh: &[u8], entropy: &mut impl Entropy) -> Self {
        let mut first = [0; 2];
        entropy.fill(&mut first);
        Self {
            me,
            prefix6: local_prefix(mesh),
            ledger: NetworkLedger::default(),
            origins: Origins::default(),
            labels: LabelTable::new(u16::from_be_bytes(first)),
            idle: BTreeSet::new(),
            adoption: Adoption::default(),
            keys: KeyRings::new(me),
            names: NameTable::default(),
            stated: NetworksStatement::default(),
            stated_at: Instant::ZERO,
            left_out: 0,
            outputs: VecDeque::new(),
            due: Instant::FAR_FUTURE,
            stored: Instant::ZERO,
            refused: 0,
        }
    }

    /// Restores what an earlier run stored, before any other input. Its memberships are to be joined again, and have the
    /// same labels then.
    ///
    /// # Errors
    /// [`StoredNetworksError`]; what was read before stays.
    pub fn restore(&mut self, bytes: &[u8], now: Instant) -> Result<(), StoredNetworksError> {
        let restored = content::restore(bytes, &mut self.ledger, &mut self.labels, now);
        self.names = NameTable::of(&self.ledger);
        self.state(now);
        restored
    }

    /// Returns what is to be stored: all that is known, and the labels.
    pub fn content(&self, now: Instant) -> Vec<u8> {
        content::encode(&self.ledger, &self.labels, now)
    }

    /// Creates a network, or adopts the one of this name. `stamp` is the time in seconds since 1970.
    ///
    /// # Errors
    /// [`CreateNetworkError`]; nothing is changed.
    pub fn create(
        &mut self,
        new: &NewNetwork,
        stamp: u64,
        entropy: &mut impl Entropy,
        now: Instant,
    ) -> Result<CreatedNetwork, CreateNetworkError> {
        let name = NetworkName::parse(&new.name)?;
        if let Some(id) = self.names.get(&name) {
            if let Some(has) = self.ledger.get(&id) {
                new.compare(has)?;
            }
            return Ok(CreatedNetwork { id, is_new: false });
        }
        let mut id = [0; 16];
        entropy.fill(&mut id);
        let (id, me, prefix6) = (NetworkId(id), self.me, self.prefix6);
        let known = self.ledger.live().values();
        let subnets = known.flat_map(|n| n.definition.subnets.iter().map(|s| s.net));
        let taken: Vec<IpNet> = subnets.collect();
        // A clock that is behind must not take the names of networks that were known here.
        let newest = self.ledger.live().values().map(|n| n.definition.stamp);
        let stamp = stamp.max(newest.max().map_or(0, |newest| newest.saturating_add(1)));
        let definition = new.define(name, id, me, stamp, prefix6, taken)?;
        if self.ledger.live().len() >= MAX_NETWORKS {
            return Err(CreateNetworkError::TooMany);
        }
        if !self.knowledge().has_room(&definition) {
            return Err(CreateNetworkError::TooManyHere);
        }
        let learnt = self.ledger.learn(&definition, me);
        if learnt == Learnt::Full {
            return Err(CreateNetworkError::TooManyHere);
        }
        self.note(learnt);
        self.flush(now);
        Ok(CreatedNetwork { id, is_new: true })
    }

    /// Removes a network, given by its name or id, for the whole mesh. With `force` it is removed though routers have
    /// containers in it, which they detach.
    ///
    /// # Errors
    /// [`RemoveNetworkError`]; nothing is changed.
    pub fn remove(
        &mut self,
        name: &str,
        force: bool,
        now: Instant,
    ) -> Result<NetworkId, RemoveNetworkError> {
        let id = self.resolve(name)?;
        let Some(definition) = self.ledger.get(&id) else {
            return Err(RemoveNetworkError::Default);
        };
        let members = self.members(&id).into_iter();
        let holders = members.filter(|member| !member.is_idle);
        let holders: Vec<PeerId> = holders.map(|member| member.router).collect();
        if !force && !holders.is_empty() {
            let name = definition.name.clone();
            return Err(RemoveNetworkError::InUse { name, holders });
        }
        let removal = NetworkRemoval {
            network: id,
            version: NetworkVersion {
                counter: definition.version.counter.saturating_add(1),
                author: self.me,
            },
            age: 0,
        };
        self.bury(&removal, self.me, now);
        self.flush(now);
        Ok(id)
    }

    /// Makes this router a member of a network, because it has a container in it. Returns the label; the same as before,
    /// if it is a member.
    ///
    /// # Errors
    /// [`JoinNetworkError`]; nothing is changed.
    pub fn join(&mut self, id: NetworkId, now: Instant) -> Result<NonZeroU16, JoinNetworkError> {
        if id.is_default() {
            return Err(JoinNetworkError::Default);
        }
        let Some(definition) = self.ledger.get(&id) else {
            return Err(JoinNetworkError::Unknown(id));
        };
        if let Some(label) = self.labels.used().get(&id) {
            return Ok(*label);
        }
        let name = &definition.name;
        let label = self.labels.join(id, now).map_err(|error| match error {
            LabelError::TooMany => JoinNetworkError::TooMany(name.clone()),
            LabelError::Resting => JoinNetworkError::Resting(name.clone()),
        })?;
        self.keys.join(id, now);
        self.outputs.push_back(NetworksOutput::Members(id));
        self.flush(now);
        Ok(label)
    }

    /// Sets the networks that this router stays a member of though its last container has left.
    pub fn set_idle(&mut self, idle: BTreeSet<NetworkId>, now: Instant) {
        if self.idle != idle {
            self.idle = idle;
            self.state(now);
        }
    }

    /// Ends the membership, because the last container left. Returns true if this router was a member.
    pub fn leave(&mut self, id: &NetworkId, now: Instant) -> bool {
        let was_member = self.labels.leave(id, now);
        if was_member {
            self.keys.leave(id);
            self.outputs.push_back(NetworksOutput::Members(*id));
            self.flush(now);
        }
        was_member
    }

    /// Handles the present statement of another router, empty if it was withdrawn. It replaces the former one.
    ///
    /// # Errors
    /// [`NetworksError`]; the router states nothing then, as its former statement is outdated. What was learnt of it
    /// stays.
    pub fn handle_statement(
        &mut self,
        origin: PeerId,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), NetworksError> {
        if origin == self.me {
            return Ok(());
        }
        let (statement, error) = match NetworksStatement::decode(bytes) {
            Ok(statement) => (statement, None),
            Err(_) if bytes.is_empty() => (NetworksStatement::default(), None),
            Err(error) => (NetworksStatement::default(), Some(error)),
        };
        self.refused += u64::from(error.is_some());
        let Some(changed) = self.origins.replace(origin, &statement) else {
            return error.map_or(Ok(()), Err);
        };
        self.keys.replace(origin, &statement, now);
        for id in changed {
            let is_member = self.origins.is_member(&id, &origin);
            self.keys.note_member(&id, origin, is_member, now);
            self.outputs.push_back(NetworksOutput::Members(id));
        }
        let mut is_new = false;
        for removal in &statement.removals {
            is_new |= self.bury(removal, origin, now);
        }
        // Networks with members have the first choice of the room.
        let used: BTreeSet<NetworkId> = statement.memberships.iter().map(|m| m.network).collect();
        let mut definitions: Vec<&NetworkDefinition> = statement.definitions.iter().collect();
        definitions.sort_by_key(|definition| !used.contains(&definition.id));
        for definition in definitions {
            let learnt = self.ledger.learn(definition, origin);
            if learnt == Learnt::Full {
                self.origins.note_refused(origin);
            }
            is_new |= self.note(learnt);
        }
        match is_new {
            true => self.flush(now),
            false => self.touch(now),
        }
        error.map_or(Ok(()), Err)
    }

    /// Sets the reachability of another router; at first it is out of reach.
    pub fn set_reachable(&mut self, origin: PeerId, is_reachable: bool, now: Instant) {
        if origin == self.me {
            return;
        }
        if let Some(used) = self.origins.set_reachable(origin, is_reachable) {
            used.iter().for_each(|id| self.keys.touch(id, now));
            let members = used.into_iter().map(NetworksOutput::Members);
            self.outputs.extend(members);
            self.touch(now);
        }
    }

    /// Removes the statement of a router of which no record is stored any more. What was learnt of it stays.
    pub fn forget(&mut self, origin: &PeerId, now: Instant) {
        self.keys.forget(origin, now);
        for (id, _) in self.origins.forget(origin) {
            self.keys.note_member(&id, *origin, false, now);
            self.outputs.push_back(NetworksOutput::Members(id));
        }
        self.touch(now);
    }

    /// Handles a message of another router about [`mesh_proto::wire::topic::Topic::NETWORKS`], whose signature was
    /// verified: a request for keys, or a reply to one. A malformed one is counted.
    pub fn handle_message(
        &mut self,
        from: PeerId,
        body: &[u8],
        entropy: &mut impl Entropy,
        now: Instant,
    ) {
        let origins = &self.origins;
        let reply = self.keys.handle_message(origins, from, body, entropy, now);
        let output = reply.map(|body| NetworksOutput::Send { to: from, body });
        self.outputs.extend(output);
    }

    /// Does what is due; to be called at [`Networks::next_deadline`].
    pub fn handle_time(&mut self, entropy: &mut impl Entropy, now: Instant) {
        self.review_keys(entropy, now);
        if now < self.due {
            return;
        }
        let (me, origins) = (self.me, &self.origins);
        let expired = self.ledger.expire(|id| origins.is_stated(id), now);
        let known = Knowledge {
            me,
            ledger: &self.ledger,
            origins,
            labels: &self.labels,
            idle: &self.idle,
        };
        self.adoption.review(known, now);
        let is_aged = !self.ledger.gone().is_empty() && now.since(self.stored) >= TOMBSTONE_TICK;
        if expired || is_aged {
            self.persist(now);
        }
        self.state(now);
        self.due = match self.adoption.is_waiting() {
            true => now + NETWORKS_TICK,
            false => now + TOMBSTONE_TICK,
        };
    }

    /// Returns the time at which [`Networks::handle_time`] is to be called.
    pub fn next_deadline(&self) -> Instant {
        self.due.min(self.keys.due())
    }

    /// Returns the next effect.
    pub fn poll_output(&mut self) -> Option<NetworksOutput> {
        self.outputs.pop_front()
    }

    fn knowledge(&self) -> Knowledge<'_> {
        Knowledge {
            me: self.me,
            ledger: &self.ledger,
            origins: &self.origins,
            labels: &self.labels,
            idle: &self.idle,
        }
    }

    /// Reports what was learnt. Returns true if it is new.
    fn note(&mut self, learnt: Learnt) -> bool {
        let output = match learnt {
            Learnt::Nothing | Learnt::Full => return false,
            Learnt::Added(definition) => NetworksOutput::Added(definition),
            Learnt::Changed(definition) => NetworksOutput::Changed(definition),
        };
        self.outputs.push_back(output);
        true
    }

    /// Takes note of a removal. Returns true if it is new.
    fn bury(&mut self, removal: &NetworkRemoval, sponsor: PeerId, now: Instant) -> bool {
        match self.ledger.bury(removal, sponsor, now) {
            Buried::Nothing => false,
            Buried::Noted => true,
            Buried::Ended(definition) => {
                let was_member = self.labels.leave(&removal.network, now);
                self.keys.leave(&removal.network);
                self.outputs.push_back(NetworksOutput::Removed {
                    definition,
                    by: removal.version.author,
                    was_member,
                });
                let again = self.origins.take_refused();
                let again = again.into_iter().map(NetworksOutput::Reread);
                self.outputs.extend(again);
                true
            }
        }
    }

    fn review_keys(&mut self, entropy: &mut impl Entropy, now: Instant) {
        let review = self.keys.review(&self.origins, entropy, now);
        let changed = review.changed.into_iter().map(NetworksOutput::Keys);
        self.outputs.extend(changed);
        let requests = review.requests.into_iter();
        let requests = requests.map(|(to, body)| NetworksOutput::Send { to, body });
        self.outputs.extend(requests);
        if review.is_announced {
            self.state(now);
        }
    }

    /// Carries what is new to names, disk and statement.
    fn flush(&mut self, now: Instant) {
        self.rename();
        self.persist(now);
        self.state(now);
    }

    fn persist(&mut self, now: Instant) {
        self.stored = now;
        self.outputs.push_back(NetworksOutput::Persist);
    }

    /// Puts out the statement, if it is another one.
    fn state(&mut self, now: Instant) {
        let mut own = self.adoption.statement(self.knowledge(), now);
        self.left_out = own.left_out;
        for membership in &mut own.statement.memberships {
            membership.extension = self.keys.extension(&membership.network);
        }
        let mut ageless = own.statement.clone();
        ageless.removals.iter_mut().for_each(|r| r.age = 0);
        let is_old = !ageless.removals.is_empty() && now.since(self.stated_at) >= TOMBSTONE_REPEAT;
        if is_old || ageless != self.stated {
            self.stated = ageless;
            self.stated_at = now;
            let bytes = own.statement.encode();
            self.outputs.push_back(NetworksOutput::State(bytes));
        }
        self.touch(now);
    }

    /// Takes note that what this router has to state may be something else soon.
    fn touch(&mut self, now: Instant) {
        self.due = self.due.min(now + NETWORKS_TICK);
    }
}

#[cfg(test)]
mod tests;
