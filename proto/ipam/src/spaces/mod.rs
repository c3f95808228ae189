//! Allocation in all networks: `default`, as it is without others, and one state machine for each subnet of each other
//! network that is used (a *space*, [`SpaceId`]).
//!
//! Each space is an [`Ipam`] of its own, with its own slices, claims, leases and removals, so all that the head of this
//! crate argues holds for each of them, and equal subnets of two networks never meet. [`IpamSet`] keeps them apart on the
//! way: one record with the statements of all, messages that name their space, one journal beside that of `default`.
//! Without other networks nothing is added to any of these, not even a byte.
//!
//! **Who has the space at first.** In `default` a router without a map takes the whole range if it meets nobody who
//! should. Two that are asked in the same second, before they hear of one another, both do, and what they allocated is
//! reported as held twice. In other networks that would happen at each `docker compose up` on two hosts. So nobody takes
//! anything there: a network has a *founder*, the router that created it, and each router begins with the claim
//! of the founder to all slices, in version 1. A router that comes late and has heard nothing therefore owns nothing; it asks the founder, or
//! the router that a higher claim names. Only the founder itself may own by that first claim: at the moment of the creation
//! ([`IpamSet::found`]), because nobody else can know the network's random id; and later (its journal was lost, or it
//! crashed in between) after a claim round like every router that finds itself owner, before which it waits for the
//! routers that its operator named. So even routers that never met, and partitions from the first moment on, give no
//! address twice. The price: while the founder is out of reach and has given nothing away, others wait for it, or for
//! `rmpeer`. To keep that short, an owner without containers in the network gives all its empty slices to the first
//! router that asks.
//!
//! **Who takes part.** A router states a space from the first request of a container there, or as soon as another router
//! states a space of which it is the founder, until the network is removed. A router whose last container left keeps its
//! slices, and its journal of the space: it lends and gives them like any owner, all of the empty ones to the first that
//! asks. Handing them back at that moment instead would need others within reach and a way for what was under way when
//! the host, or the cable, went; containers that come back (`compose down`, `up`) would have to ask again; and what was
//! kept costs some 80 bytes of the record. `mesh reset` hands everything over ([`IpamSet::leave`]). A router that does
//! not state a space counts as out of reach there, whatever it stated before.
//!
//! **Removal of a network** ([`IpamSet::remove_network`]): the id is never used again, so the space is dropped with its
//! journal, and requests that wait are refused. **Removal of a router** is decided in `default`, in which all take part,
//! and followed in each space; `rmpeer` on any host reaches all networks.
//!
//! **Order.** Each space has its own gate, so nothing of it leaves before its entries are synced. The record is composed
//! of statements that have passed their gates. It is told at most every 100 ms, but before each message, so that a
//! request never arrives before the statement that it relies on. Which spaces are in it when not all fit: `default`, then
//! those with containers here, then the others, by id. A space that is left out stands still for others, and gives no
//! address twice: its router looks like one that is out of reach.
//!
//! **IPv6** has no other rules. A space of an IPv6 subnet counts as all others do ([`crate::slices::numbers`]); addresses become
//! numbers where a request comes in, and numbers become addresses where an answer goes out. On the wire it has a name of its
//! own (`tag`).
//!
//! | part | subject |
//! |---|---|
//! | `plan` | subnets of a network, as its definition gives them |
//! | `space` | one space |
//! | `tag` | what spaces are called on the wire |
//! | `requests` | requests of containers, over the subnets of a network |
//! | `exchange` | records and messages of other routers; all that goes out |
//! | `record`, `own_record` | the bytes of the record and of messages; what this router tells, and when |
//! | `output` | effects |
//! | `journal` | the journal of all spaces |
//! | `removed` | removals of routers that the spaces follow |

mod exchange;
mod journal;
mod output;
mod own_record;
pub(crate) mod plan;
pub(crate) mod record;
mod removed;
mod requests;
pub(crate) mod space;
pub(crate) mod tag;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::durable::JournalError;
use crate::effect::RequestId;
use crate::leaving::removal::{Removal, RemoveError};
use crate::refusal::{AddressRefusal, NetworkRefusal};
use crate::{Ipam, IpamConfig};
use journal::SpaceJournal;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::{IPAM_TICK, MAX_ADDRESS_SPACES, MAX_NETWORKS};
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
pub use output::SetOutput;
use own_record::OwnRecord;
use plan::{NetworkPlan, SpaceId};
use removed::RemovedRouters;
pub use requests::AddressQuery;
use requests::SpaceRequest;
use space::AddressSpace;
use tag::SpaceTags;

/// The way out: spaces that have not handed everything over, and what nobody took of the others.
#[derive(Debug)]
struct SetDeparture {
    missing: usize,
    orphaned: usize,
}

/// The state machines of all spaces. One input, then drain the outputs.
#[derive(Debug)]
pub struct IpamSet {
    me: PeerId,
    epoch: u64,
    default: Ipam,
    plans: BTreeMap<NetworkId, NetworkPlan>,
    spaces: BTreeMap<SpaceId, AddressSpace>,
    tags: SpaceTags,
    /// Spaces that may have outputs.
    ready: BTreeSet<SpaceId>,
    requests: BTreeMap<RequestId, SpaceRequest>,
    journal: SpaceJournal,
    record: OwnRecord,
    removed: RemovedRouters,
    /// Routers within reach; kept while there are spaces.
    reachable: BTreeSet<PeerId>,
    expecting: bool,
    /// The records of all routers are to be handed in again.
    must_reread: bool,
    departure: Option<SetDeparture>,
    outputs: VecDeque<SetOutput>,
    /// The time of the last input.
    now: Instant,
    refused: u64,
}

impl IpamSet {
    /// Makes the set of a router that has `default`, and no other space.
    pub fn new(config: &IpamConfig, default: Ipam, now: Instant) -> Self {
        Self {
            me: config.me,
            epoch: config.epoch,
            removed: RemovedRouters::new(&default),
            default,
            plans: BTreeMap::new(),
            spaces: BTreeMap::new(),
            tags: SpaceTags::default(),
            ready: BTreeSet::new(),
            requests: BTreeMap::new(),
            journal: SpaceJournal::default(),
            record: OwnRecord::default(),
            reachable: BTreeSet::new(),
            expecting: false,
            must_reread: false,
            departure: None,
            outputs: VecDeque::new(),
            now,
            refused: 0,
        }
    }

    /// Restores the spaces of an earlier run from their journal, before any other input.
    ///
    /// # Errors
    /// [`JournalError`]; there are no spaces then.
    pub fn restore<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a [u8]>,
        now: Instant,
    ) -> Result<(), JournalError> {
        let mut spaces = BTreeMap::new();
        for (id, entries) in journal::replay(self.me, entries)? {
            let config = space::config(self.me, self.epoch, &id);
            let config = config.ok_or(JournalError::Malformed(0))?;
            let ipam = space::open(config, None, entries, now)?;
            spaces.insert(id, AddressSpace::new(ipam));
            self.tags.note(id);
        }
        self.ready.extend(spaces.keys().copied());
        self.spaces = spaces;
        self.journal = SpaceJournal::resumed();
        self.must_reread = true;
        Ok(())
    }

    /// Returns the state machine of `default`.
    pub fn default(&self) -> &Ipam {
        &self.default
    }

    /// Returns the state machine of `default`, for requests about it alone.
    pub fn default_mut(&mut self) -> &mut Ipam {
        &mut self.default
    }

    /// Returns the other spaces in which this router takes part.
    pub fn spaces(&self) -> impl Iterator<Item = (&SpaceId, &Ipam)> {
        self.spaces.iter().map(|(id, space)| (id, &space.ipam))
    }

    /// Returns the plan of a network that is known here.
    pub fn plan(&self, network: &NetworkId) -> Option<&NetworkPlan> {
        self.plans.get(network)
    }

    /// Takes the subnets of a network, new or changed. A subnet that it has no more keeps its leases, and gets no more.
    /// Beyond [`MAX_NETWORKS`] nothing is taken.
    pub fn define(&mut self, plan: NetworkPlan, now: Instant) {
        self.now = now;
        let is_new = !self.plans.contains_key(&plan.network);
        if plan.network.is_default() || (is_new && self.plans.len() >= MAX_NETWORKS) {
            return;
        }
        if self.plans.get(&plan.network) == Some(&plan) {
            return;
        }
        let (network, founder) = (plan.network, plan.founder);
        for (id, space) in &mut self.spaces {
            if let Some(subnet) = plan.get(id).filter(|_| id.network == network) {
                space.plan(founder, subnet.gateway, now);
                self.ready.insert(*id);
            }
        }
        for subnet in plan.all() {
            self.tags.note(SpaceId { network, subnet });
        }
        // Others may have stated it before.
        self.must_reread |= plan.founder == self.me && is_new;
        self.plans.insert(plan.network, plan);
    }

    /// Takes all addresses of a network that this router has created at this moment: nobody else knows of it yet. Of a
    /// network that others state nothing is taken.
    ///
    /// # Errors
    /// [`AddressRefusal`]; others ask this router all the same, as its founder.
    pub fn found(&mut self, network: &NetworkId, now: Instant) -> Result<(), AddressRefusal> {
        let plan = self.known(network)?;
        let subnets = plan.all();
        let is_founder = plan.founder == self.me;
        for subnet in subnets.into_iter().filter(|_| is_founder) {
            let network = *network;
            let id = SpaceId { network, subnet };
            self.open_space(id, now)?;
            self.touch(id, now, |space| {
                if space.stated.is_empty() {
                    space::found(&mut space.ipam, now);
                }
            });
        }
        Ok(())
    }

    /// Drops all that is known of a network that was removed for good, with its journal.
    pub fn remove_network(&mut self, network: &NetworkId, now: Instant) {
        self.now = now;
        self.plans.remove(network);
        let is_gone = |id: &SpaceId| id.network == *network;
        let waiting = self.requests.iter().filter(|(_, r)| is_gone(&r.space));
        let waiting: Vec<RequestId> = waiting.map(|(id, _)| *id).collect();
        for request in waiting {
            self.requests.remove(&request);
            let why = AddressRefusal::Network(NetworkRefusal::Removed(*network));
            self.outputs.push_back(SetOutput::Failed { request, why });
        }
        self.tags.forget(network);
        let before = self.spaces.len();
        self.spaces.retain(|id, _| !is_gone(id));
        self.ready.retain(|id| !is_gone(id));
        if self.spaces.len() < before {
            let erased = self.journal.erase(self.me, *network);
            self.persist(erased);
            self.record.restate();
        }
    }

    /// Makes the spaces of a network that a container needs, so that what others stated of them can be handed in before
    /// the first request.
    ///
    /// # Errors
    /// [`AddressRefusal`]: the network is not known, or there are too many spaces.
    pub fn open(&mut self, network: &NetworkId, now: Instant) -> Result<(), AddressRefusal> {
        for subnet in self.known(network)?.all() {
            let network = *network;
            self.open_space(SpaceId { network, subnet }, now)?;
        }
        Ok(())
    }

    fn known(&self, network: &NetworkId) -> Result<&NetworkPlan, AddressRefusal> {
        let plan = self.plans.get(network);
        let plan = plan.ok_or(AddressRefusal::Network(NetworkRefusal::Unknown(*network)))?;
        match plan.subnets.is_empty() {
            true => Err(AddressRefusal::Network(NetworkRefusal::NoSubnet(*network))),
            false => Ok(plan),
        }
    }

    fn open_space(&mut self, id: SpaceId, now: Instant) -> Result<(), AddressRefusal> {
        self.now = now;
        if self.spaces.contains_key(&id) {
            return Ok(());
        }
        if self.departure.is_some() {
            return Err(AddressRefusal::Leaving);
        }
        if self.spaces.len() >= MAX_ADDRESS_SPACES {
            return Err(AddressRefusal::Network(NetworkRefusal::TooMany));
        }
        let plan = self.known(&id.network)?;
        let founder = plan.founder;
        let gateway = plan.get(&id).and_then(|subnet| subnet.gateway);
        let config = space::config(self.me, self.epoch, &id);
        let opened = config.map(|config| space::open(config, Some(founder), [], now));
        let Some(Ok(ipam)) = opened else {
            return Err(AddressRefusal::Network(NetworkRefusal::NoSubnet(
                id.network,
            )));
        };
        let mut space = AddressSpace::new(ipam);
        space.plan(founder, gateway, now);
        space.ipam.set_expecting(self.expecting, now);
        self.spaces.insert(id, space);
        self.ready.insert(id);
        self.must_reread = true;
        Ok(())
    }

    /// Returns whether the records of all routers are to be handed in again ([`IpamSet::reread`]), because there is a new
    /// space; says so once.
    pub fn take_reread(&mut self) -> bool {
        core::mem::take(&mut self.must_reread)
    }

    /// Has one space act.
    fn touch<T>(
        &mut self,
        id: SpaceId,
        now: Instant,
        act: impl FnOnce(&mut AddressSpace) -> T,
    ) -> Option<T> {
        self.now = now;
        let space = self.spaces.get_mut(&id)?;
        self.ready.insert(id);
        Some(act(space))
    }

    fn touch_all(&mut self, now: Instant, mut act: impl FnMut(&mut AddressSpace)) {
        self.now = now;
        for (id, space) in &mut self.spaces {
            act(space);
            self.ready.insert(*id);
        }
    }

    /// Takes note whether the operator named other routers of which none was met yet.
    pub fn set_expecting(&mut self, expecting: bool, now: Instant) {
        self.expecting = expecting;
        self.default.set_expecting(expecting, now);
        self.touch_all(now, |space| space.ipam.set_expecting(expecting, now));
    }

    /// Goes over to a later epoch.
    pub fn raise_epoch(&mut self, epoch: u64, now: Instant) {
        self.epoch = self.epoch.max(epoch);
        self.default.raise_epoch(epoch, now);
        self.touch_all(now, |space| space.ipam.raise_epoch(epoch, now));
    }

    /// Removes a router that is gone for good from all spaces, by the rules of [`Ipam::remove`] in `default`.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub fn remove(
        &mut self,
        dead: PeerId,
        force: bool,
        now: Instant,
    ) -> Result<Removal, RemoveError> {
        let removed = self.default.remove(dead, force, now);
        // It may take part in other spaces only; then their own rules count.
        let force = match removed {
            Err(RemoveError::Unknown(_)) if self.reachable.contains(&dead) => return removed,
            Err(RemoveError::Unknown(_)) => force,
            Err(_) => return removed,
            Ok(_) => true,
        };
        let mut all = removed;
        let involved = self.spaces.iter().filter(|(_, s)| s.involves(&dead));
        let involved: Vec<SpaceId> = involved.map(|(id, _)| *id).collect();
        for id in involved {
            let here = self.touch(id, now, |space| space.ipam.remove(dead, force, now));
            all = match (all, here) {
                (Ok(all), Some(Ok(here))) => Ok(Removal {
                    slices: all.slices + here.slices,
                    ..all
                }),
                (Err(RemoveError::Unknown(_)), Some(here)) => here,
                (all, _) => all,
            };
        }
        all
    }

    /// Follows removals that became known in `default`.
    fn follow_removals(&mut self, now: Instant) {
        for dead in self.removed.take(&self.default) {
            if self.reachable.contains(&dead) {
                continue;
            }
            let involved = self.spaces.iter().filter(|(_, s)| s.involves(&dead));
            let involved: Vec<SpaceId> = involved.map(|(id, _)| *id).collect();
            for id in involved {
                let done = self.touch(id, now, |space| space.ipam.remove(dead, true, now));
                if done == Some(Err(RemoveError::JustStarted)) {
                    self.removed.put_back(dead);
                }
            }
        }
    }

    /// Hands all space to other routers; ends with [`SetOutput::Left`].
    pub fn leave(&mut self, now: Instant) {
        if self.departure.is_none() {
            let (missing, orphaned) = (1 + self.spaces.len(), 0);
            self.departure = Some(SetDeparture { missing, orphaned });
            self.default.leave(now);
            self.touch_all(now, |space| space.ipam.leave(now));
        }
    }

    fn note_left(&mut self, more: usize) {
        if let Some(departure) = &mut self.departure {
            departure.missing = departure.missing.saturating_sub(1);
            departure.orphaned += more;
            let orphaned = departure.orphaned;
            if departure.missing == 0 {
                self.outputs.push_back(SetOutput::Left { orphaned });
            }
        }
    }

    /// Returns when [`IpamSet::handle_timeout`] is due.
    pub fn next_deadline(&self) -> Instant {
        let spaces = self.spaces.values().map(|space| space.ipam.next_deadline());
        let record = self.record.due();
        let has_spaces = !self.spaces.is_empty();
        let removals = (self.removed.is_due() && has_spaces).then(|| self.now + IPAM_TICK);
        let all = spaces.chain(record).chain(removals);
        all.fold(self.default.next_deadline(), Ord::min)
    }

    /// Does what time demands.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.default.next_deadline() <= now {
            self.default.handle_timeout(now);
        }
        self.now = now;
        if self.spaces.is_empty() && !self.record.is_stale() {
            return;
        }
        if self.removed.is_due() {
            self.follow_removals(now);
        }
        for (id, space) in &mut self.spaces {
            if space.ipam.next_deadline() <= now {
                space.ipam.handle_timeout(now);
                self.ready.insert(*id);
            }
        }
        if self.record.due().is_some_and(|due| due <= now) {
            self.tell();
        }
    }

    /// Takes note that all entries of the journal of `default` up to `position` are synced.
    pub fn persisted(&mut self, position: u64, now: Instant) {
        self.default.persisted(position, now);
    }

    /// Takes note that all entries of the journal of the other spaces up to `position` are synced.
    pub fn spaces_persisted(&mut self, position: u64, now: Instant) {
        for (id, own) in self.journal.synced(position) {
            self.touch(id, now, |space| space.ipam.persisted(own, now));
        }
    }

    /// Returns the number of the newest entry of the journal of the other spaces, and a short journal that says the same
    /// as all entries so far. All outputs must have been drained.
    pub fn spaces_snapshot(&self) -> (u64, Vec<Vec<u8>>) {
        let spaces = self.spaces.iter();
        let snapshots = spaces.map(|(id, space)| (*id, space.ipam.snapshot()));
        (
            self.journal.position(),
            journal::snapshot(self.me, snapshots),
        )
    }

    fn persist(&mut self, entries: Vec<(u64, Vec<u8>)>) {
        let outputs = entries.into_iter();
        self.outputs
            .extend(outputs.map(|(position, entry)| SetOutput::PersistSpace { position, entry }));
    }

    /// Takes note that a statement changed; `at_once` has it told without delay.
    fn restate(&mut self, at_once: bool) {
        if self.record.restate() || at_once {
            self.tell();
        }
    }

    /// Tells what a message relies on.
    fn tell_first(&mut self) {
        if self.record.is_stale() {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let record = self.record.tell(&self.spaces, self.now);
        self.outputs.push_back(SetOutput::Record(record));
    }

    /// Returns the record that was told last, unless there is a newer one to tell.
    pub fn record(&self) -> Option<&[u8]> {
        self.record.told()
    }

    /// Returns how many spaces have no room in the record.
    pub fn left_out(&self) -> usize {
        self.record.left_out()
    }

    /// Returns how many records and messages were refused as malformed, and statements of spaces and `default`.
    pub fn refused(&self) -> u64 {
        let spaces = self.spaces.values().map(|space| space.ipam.refused());
        self.refused + self.default.refused() + spaces.sum::<u64>()
    }
}
