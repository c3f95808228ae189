//! Addresses that routers allocate: [`Ipam`] on the control thread, its journal on a thread of its own.
//!
//! [`Addresses`] moves what the state machine says: entries to the disk, statements and messages to the control plane,
//! answers to whoever asked by an [`Allocator`]. It decides nothing.

mod called;
mod client;
mod disk;
pub(crate) mod holder;
mod journal;
mod names;
mod open;
mod report;
mod requests;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_proto::control::{Control, Output as ControlOutput};
use mesh_proto::feed;
use mesh_proto::ipam::{Ipam, IpamOutput, RequestId};
use mesh_proto::time::Instant;
use mesh_proto::topology::topic::Topic;
use tokio::sync::{mpsc, watch};

pub(crate) use called::Called;
pub use client::{Allocator, Pool};
pub(crate) use client::{Held, NotGiven, Request};
pub use journal::Damage;
pub(crate) use journal::{FILE, SET_ASIDE};
pub use open::open;
pub use settings::{Ipalloc, Plan};

use disk::{Disk, Progress};
use names::Names;
use requests::{Asking, Leaving, Priming};

/// The topic that statements and messages are about.
const TOPIC: Topic = Topic::ADDRESSES;
/// Between two looks at what nobody waits for any more, and at ranges to be primed.
const TICK: Duration = Duration::from_secs(1);
/// A journal shorter than this is not compacted.
const COMPACT_FROM: usize = 1024 * 1024;
/// A journal this many times as long as it was made is compacted.
const COMPACT_AT: usize = 4;

/// The state machine and what it is wired to.
#[derive(Debug)]
pub struct Addresses {
    ipam: Ipam,
    pool: Pool,
    disk: Disk,
    progress: watch::Receiver<Progress>,
    requests: mpsc::Receiver<Request>,
    asking: BTreeMap<RequestId, Asking>,
    next_request: u64,
    priming: Vec<Priming>,
    leaving: Option<Leaving>,
    names: Names,
    called: Called,
    /// Bytes of the journal when it was last made anew; none while that is under way.
    made_with: Option<usize>,
    /// The journal is to be made anew.
    is_long: bool,
    /// Something that operators should know of this start.
    notice: Option<String>,
    next_tick: Instant,
}

/// What woke [`Addresses::stirred`].
#[derive(Debug)]
pub struct Stir(Stirred);

#[derive(Debug)]
enum Stirred {
    /// Somebody asks.
    Asked(Box<Request>),
    /// The disk went on.
    Written,
}

/// The entries of a journal's file.
///
/// # Errors
/// [`Damage`], for anything but a sound file or one whose end a crash cut short.
pub fn entries(file: &[u8]) -> Result<Vec<Vec<u8>>, Damage> {
    Ok(journal::read(file)?.entries)
}

/// A file with these entries.
pub fn file(entries: &[Vec<u8>]) -> Vec<u8> {
    journal::file(entries)
}

/// What one sync appends to a file of `offset` bytes.
pub fn frame(offset: usize, entries: &[Vec<u8>]) -> Vec<u8> {
    journal::frame(offset, entries)
}

impl Addresses {
    /// Waits until there is something to do that is not the control plane's.
    pub async fn stirred(&mut self) -> Stir {
        tokio::select! {
            Some(request) = self.requests.recv() => Stir(Stirred::Asked(Box::new(request))),
            Ok(()) = self.progress.changed() => Stir(Stirred::Written),
            else => std::future::pending().await,
        }
    }

    /// Does what [`Addresses::stirred`] found.
    pub fn handle(&mut self, stir: Stir, control: &Control, now: Instant) {
        match stir.0 {
            Stirred::Asked(request) => self.handle_request(*request, control, now),
            Stirred::Written => self.handle_written(now),
        }
    }

    /// Something the control plane tells.
    pub fn hear(&mut self, output: &ControlOutput, control: &Control, now: Instant) {
        let has_names = match output {
            ControlOutput::Said(key) => key.topic == TOPIC && !self.names.know(&key.origin),
            ControlOutput::Reach => true,
            _ => false,
        };
        if has_names {
            self.names.learn(control);
        }
        feed::addresses(&mut self.ipam, output, control, now);
    }

    /// When [`Addresses::handle_timeout`] is due.
    pub fn next_deadline(&self) -> Instant {
        let is_idle = self.asking.is_empty() && self.priming.is_empty() && self.leaving.is_none();
        let broken = self.progress.borrow().error.is_some();
        let deadline = self.ipam.next_deadline();
        match is_idle && !broken {
            true => deadline,
            false => deadline.min(self.next_tick),
        }
    }

    /// Time went by.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ipam.next_deadline() <= now {
            self.ipam.handle_timeout(now);
        }
        if self.next_tick <= now {
            self.next_tick = now + TICK;
            self.drop_the_unwanted(now);
            self.prime_on(now);
            self.is_long |= self.progress.borrow().error.is_some();
        }
    }

    /// Carries out what the state machine wants; whether there was anything.
    pub fn carry_out(&mut self, control: &mut Control, now: Instant) -> bool {
        control.settle_contests(|addr| self.ipam.rightful(addr), now);
        let mut any = false;
        let mut overflow = false;
        while let Some(output) = self.ipam.poll_output() {
            any = true;
            match output {
                IpamOutput::Persist { position, entry } => {
                    overflow |= !self.disk.push(position, entry)
                }
                IpamOutput::Statement(bytes) => {
                    if let Err(error) = control.say(TOPIC, bytes, now) {
                        tracing::error!(%error, "what this router says of addresses is not told");
                    }
                }
                IpamOutput::Send { to, bytes } => {
                    if let Err(error) = control.tell(to, TOPIC, &bytes, now) {
                        tracing::error!(%error, "a message about addresses is not sent");
                    }
                }
                IpamOutput::Allocated {
                    request,
                    addr,
                    prefix,
                } => self.allocated(request, addr, prefix, now),
                IpamOutput::Failed { request, why } => self.failed(request, &why),
                IpamOutput::Left { orphaned } => {
                    if let Some(leaving) = &mut self.leaving {
                        leaving.orphaned = Some(orphaned);
                    }
                }
            }
        }
        if overflow || self.is_long {
            self.compact();
        }
        self.finish_leaving(control, now);
        any
    }

    fn handle_written(&mut self, now: Instant) {
        let progress = self.progress.borrow_and_update().clone();
        if let Some(error) = &progress.error {
            tracing::error!("the journal of addresses cannot be written, trying again: {error}");
            self.next_tick = self.next_tick.max(now + TICK);
            return;
        }
        self.ipam.persisted(progress.durable, now);
        let made_with = *self.made_with.get_or_insert(progress.length);
        self.is_long |= progress.length > COMPACT_FROM.max(COMPACT_AT * made_with);
    }

    /// Has the journal made anew, short. All entries must have been handed to the disk, since a snapshot says them, too.
    fn compact(&mut self) {
        self.is_long = false;
        self.made_with = None;
        self.disk
            .replace(self.ipam.position(), self.ipam.snapshot());
    }
}
