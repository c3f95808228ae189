//! Addresses that routers allocate: [`Ipam`] on the control thread, its journal on a thread of its own.
//!
//! [`IpamShell`] moves the outputs of the state machine: entries to the disk, statements and messages to the control plane,
//! answers to the callers of an [`Allocator`]. It decides nothing.

mod client;
mod container_names;
pub(crate) mod holder;
mod journal;
mod names;
mod open;
mod pending;
mod report;
mod requests;
mod settings;
#[cfg(test)]
mod tests;

use std::time::Duration;

use mesh_proto::control::{Control, Output as ControlOutput};
use mesh_proto::feed;
use mesh_proto::ipam::{Ipam, IpamOutput};
use mesh_proto::time::Instant;
use mesh_proto::wire::topic::Topic;
use tokio::sync::mpsc;

pub(crate) use client::{Acquire, AllocatorRequest, ContainerLease, NotGiven};
pub use client::{Allocator, Pool};
pub(crate) use container_names::ContainerNames;
pub use journal::JournalDamage;
pub use open::open;
pub use settings::{Ipalloc, IpallocPlan};

use journal::JournalKeeper;
use names::RouterNames;
use pending::PendingCalls;

/// The topic that statements and messages are about.
const TOPIC: Topic = Topic::ADDRESSES;
/// Time between two looks at callers that hung up, and at ranges to be primed.
const TICK: Duration = Duration::from_secs(1);

/// The state machine, wired to disk, control plane and callers.
#[derive(Debug)]
pub struct IpamShell {
    ipam: Ipam,
    pool: Pool,
    journal: JournalKeeper,
    requests: mpsc::Receiver<AllocatorRequest>,
    pending: PendingCalls,
    routers: RouterNames,
    containers: ContainerNames,
    /// A fact about this start that operators should know.
    notice: Option<String>,
    next_tick: Instant,
}

/// The reason for which [`IpamShell::event`] returned.
#[derive(Debug)]
pub struct IpamEvent(EventKind);

#[derive(Debug)]
enum EventKind {
    Request(Box<AllocatorRequest>),
    /// The disk went on.
    Written,
}

/// Reads the entries of a journal's file.
///
/// # Errors
/// [`JournalDamage`], for anything but a sound file or one whose end a crash cut short.
pub fn entries(file: &[u8]) -> Result<Vec<Vec<u8>>, JournalDamage> {
    Ok(journal::read(file)?.entries)
}

/// Returns a file with these entries.
pub fn file(entries: &[Vec<u8>]) -> Vec<u8> {
    journal::file(entries)
}

/// Returns the bytes that one sync appends to a file of `offset` bytes.
pub fn frame(offset: usize, entries: &[Vec<u8>]) -> Vec<u8> {
    journal::frame(offset, entries)
}

impl IpamShell {
    /// Waits until there is something to do that is not the control plane's.
    pub async fn event(&mut self) -> IpamEvent {
        let kind = tokio::select! {
            Some(request) = self.requests.recv() => EventKind::Request(Box::new(request)),
            Ok(()) = self.journal.changed() => EventKind::Written,
            else => std::future::pending().await,
        };
        IpamEvent(kind)
    }

    /// Does what [`IpamShell::event`] found.
    pub fn handle(&mut self, event: IpamEvent, control: &Control, now: Instant) {
        match event.0 {
            EventKind::Request(request) => self.handle_request(*request, control, now),
            EventKind::Written => self.handle_written(now),
        }
    }

    /// Takes an effect of the control plane.
    pub fn on_control_output(&mut self, output: &ControlOutput, control: &Control, now: Instant) {
        let has_names = match output {
            ControlOutput::Announcement(key) => {
                key.topic == TOPIC && !self.routers.know(&key.origin)
            }
            ControlOutput::Reach => true,
            _ => false,
        };
        if has_names {
            self.routers.learn(control);
        }
        feed::addresses(&mut self.ipam, output, control, now);
    }

    /// Returns when [`IpamShell::handle_timeout`] is due.
    pub fn next_deadline(&self) -> Instant {
        let deadline = self.ipam.next_deadline();
        match self.pending.is_empty() && !self.journal.is_broken() {
            true => deadline,
            false => deadline.min(self.next_tick),
        }
    }

    /// Does what time demands.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ipam.next_deadline() <= now {
            self.ipam.handle_timeout(now);
        }
        if self.next_tick <= now {
            self.next_tick = now + TICK;
            self.cancel_abandoned(now);
            self.continue_primes(now);
            self.journal.retry();
        }
    }

    /// Carries out the outputs of the state machine. Returns whether there were any.
    pub fn carry_out(&mut self, control: &mut Control, now: Instant) -> bool {
        control.settle_contests(|addr| self.ipam.rightful(addr), now);
        let mut any = false;
        while let Some(output) = self.ipam.poll_output() {
            any = true;
            self.carry_out_one(output, control, now);
        }
        if self.journal.is_due() {
            // All entries are handed to the disk, and the snapshot says them, too.
            self.journal
                .compact(self.ipam.position(), self.ipam.snapshot());
        }
        self.finish_leave(control, now);
        any
    }

    fn carry_out_one(&mut self, output: IpamOutput, control: &mut Control, now: Instant) {
        match output {
            IpamOutput::Persist { position, entry } => self.journal.push(position, entry),
            IpamOutput::Statement(bytes) => {
                if let Err(error) = control.announce(TOPIC, bytes, now) {
                    tracing::error!(%error, "the statement of this router about addresses is not told");
                }
            }
            IpamOutput::Send { to, bytes } => {
                if let Err(error) = control.send_unicast(to, TOPIC, &bytes, now) {
                    tracing::error!(%error, "a message about addresses is not sent");
                }
            }
            IpamOutput::Allocated {
                request,
                addr,
                prefix,
            } => self.allocated(request, addr, prefix, now),
            IpamOutput::Failed { request, why } => self.failed(request, &why),
            IpamOutput::Left { orphaned } => self.pending.note_left(orphaned),
        }
    }

    fn handle_written(&mut self, now: Instant) {
        match self.journal.durable() {
            Ok(position) => self.ipam.persisted(position, now),
            Err(error) => {
                tracing::error!(
                    "the journal of addresses cannot be written, trying again: {error}"
                );
                self.next_tick = self.next_tick.max(now + TICK);
            }
        }
    }
}
