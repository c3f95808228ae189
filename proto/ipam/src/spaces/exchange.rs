//! The exchange with other routers, their records and messages, and all that goes out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::plan::SpaceId;
use super::record::{AddressRecord, SpaceMessage};
use super::tag::SpaceTag;
use super::{IpamSet, SetOutput};
use crate::output::IpamOutput;
use crate::wire::WireError;
use mesh_proto::ids::PeerId;
use mesh_proto::time::Instant;

impl IpamSet {
    /// Takes the present record of a router; `reachable` is whether there is a path to it now.
    ///
    /// # Errors
    /// [`WireError`]: nothing was changed, and it was counted.
    pub fn handle_record(
        &mut self,
        origin: PeerId,
        bytes: &[u8],
        reachable: bool,
        now: Instant,
    ) -> Result<(), WireError> {
        let record = AddressRecord::decode(bytes).inspect_err(|_| self.refused += 1)?;
        match &record.default {
            Some(statement) => {
                let default = &mut self.default;
                default.take_statement(origin, statement, reachable, now);
            }
            None => self.default.set_reachable(origin, false, now),
        }
        self.take_spaces(origin, &record, reachable, now);
        Ok(())
    }

    /// Takes the record of a router again, for the sake of new spaces.
    pub fn reread(&mut self, origin: PeerId, bytes: &[u8], reachable: bool, now: Instant) {
        if let Ok(record) = AddressRecord::decode(bytes) {
            self.take_spaces(origin, &record, reachable, now);
        }
    }

    fn take_spaces(
        &mut self,
        origin: PeerId,
        record: &AddressRecord<'_>,
        reachable: bool,
        now: Instant,
    ) {
        if origin == self.me {
            return;
        }
        let stated = record.spaces.iter();
        let stated = stated.map(|s| (self.tags.space_of(&s.space), s.statement.0));
        let stated: BTreeMap<SpaceId, &[u8]> = stated.collect();
        for space in stated.keys() {
            self.join_as_founder(*space, now);
        }
        if self.spaces.is_empty() {
            return;
        }
        self.note_reachable(origin, reachable);
        for (id, space) in &mut self.spaces {
            match stated.get(id) {
                Some(bytes) => space.handle_statement(origin, bytes, reachable, now),
                None if space.stated.contains(&origin) => space.withdraw(origin, now),
                None => continue,
            }
            self.ready.insert(*id);
        }
        self.now = now;
    }

    /// Takes part in a space of which others expect everything of this router.
    fn join_as_founder(&mut self, id: SpaceId, now: Instant) {
        let plan = self.plans.get(&id.network);
        let plan = plan.filter(|plan| plan.founder == self.me && plan.get(&id).is_some());
        if plan.is_some() && !self.spaces.contains_key(&id) {
            // Without room for it nothing is given: the others wait.
            let _ = self.open_space(id, now);
        }
    }

    fn note_reachable(&mut self, peer: PeerId, reachable: bool) {
        match reachable {
            true => self.reachable.insert(peer),
            false => self.reachable.remove(&peer),
        };
    }

    /// Takes note that a router states nothing any more.
    pub fn withdraw(&mut self, origin: PeerId, now: Instant) {
        self.default.set_reachable(origin, false, now);
        self.reachable.remove(&origin);
        self.touch_all(now, |space| space.withdraw(origin, now));
    }

    /// Takes note of all routers that state anything, and whether there is a path to each.
    pub fn set_reachable(&mut self, all: impl Iterator<Item = (PeerId, bool)>, now: Instant) {
        let has_spaces = !self.spaces.is_empty();
        for (peer, reachable) in all {
            self.default.set_reachable(peer, reachable, now);
            if has_spaces {
                self.note_reachable(peer, reachable);
            }
        }
        if !has_spaces {
            return;
        }
        let reachable = core::mem::take(&mut self.reachable);
        self.touch_all(now, |space| {
            for peer in &space.stated {
                let is_reachable = reachable.contains(peer);
                space.ipam.set_reachable(*peer, is_reachable, now);
            }
        });
        self.reachable = reachable;
    }

    /// Takes a message of another router.
    ///
    /// # Errors
    /// [`WireError`]: nothing was changed, and it was counted.
    pub fn handle_message(
        &mut self,
        from: PeerId,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), WireError> {
        let message = SpaceMessage::decode(bytes).inspect_err(|_| self.refused += 1)?;
        let Some(SpaceMessage { space, message }) = message else {
            return self.default.handle_message(from, bytes, now);
        };
        let space = self.tags.space_of(&space);
        // What the network keeps back is not known before its plan is.
        let handled = self.touch(space, now, |space| match space.is_planned {
            true => space.ipam.handle_message(from, message, now),
            false => Ok(()),
        });
        handled.unwrap_or(Ok(()))
    }

    /// Returns the next thing to carry out.
    pub fn poll_output(&mut self) -> Option<SetOutput> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if let Some(output) = self.default.poll_output() {
                self.take_default(output);
                continue;
            }
            let id = *self.ready.first()?;
            match self.spaces.get_mut(&id).and_then(|s| s.ipam.poll_output()) {
                Some(output) => self.take_space(id, output),
                None => {
                    self.ready.remove(&id);
                }
            }
        }
    }

    fn take_default(&mut self, output: IpamOutput) {
        let output = match output {
            IpamOutput::Persist { position, entry } => {
                self.removed.touch();
                SetOutput::Persist { position, entry }
            }
            IpamOutput::Statement(bytes) => {
                self.record.set_default(bytes);
                return self.restate(self.spaces.is_empty());
            }
            IpamOutput::Send { to, bytes } => {
                self.tell_first();
                SetOutput::Send { to, bytes }
            }
            IpamOutput::Left { orphaned } => return self.note_left(orphaned),
            IpamOutput::Failed { request, why } => SetOutput::Failed { request, why },
            IpamOutput::Allocated {
                request,
                addr,
                prefix,
            } => SetOutput::Allocated {
                request,
                // A lease has a prefix length of at most 32.
                address: IpNet::new(addr.into(), prefix).unwrap_or(IpAddr::from(addr).into()),
            },
        };
        self.outputs.push_back(output);
    }

    fn take_space(&mut self, id: SpaceId, output: IpamOutput) {
        match output {
            IpamOutput::Persist { position, entry } => {
                let entries = self.journal.record(self.me, id, position, &entry);
                self.persist(entries);
            }
            IpamOutput::Statement(bytes) => {
                if let Some(space) = self.spaces.get_mut(&id) {
                    space.statement = Some(bytes);
                    self.restate(false);
                }
            }
            IpamOutput::Send { to, bytes } => {
                self.tell_first();
                let (space, message) = (SpaceTag::of(&id), &bytes[..]);
                let bytes = SpaceMessage { space, message }.encode();
                self.outputs.push_back(SetOutput::Send { to, bytes });
            }
            IpamOutput::Allocated {
                request,
                addr,
                prefix,
            } => self.finish(id, request, (addr, prefix)),
            IpamOutput::Failed { request, why } => self.fail(request, why),
            IpamOutput::Left { orphaned } => self.note_left(orphaned),
        }
    }
}
