//! Addresses that routers allocate: [`AddressDesk`] on the control thread, its journal on a thread of its own.
//!
//! [`IpamShell`] moves the outputs of the desk: entries to the disk, statements and messages to the control plane, answers to
//! the callers of an [`Allocator`]. It decides nothing.

mod callers;
mod client;
mod collision;
mod journal;
mod open;
mod plans;
mod spaces;
#[cfg(test)]
mod tests;

use mesh_allocator::desk::{AddressDesk, DeskOutput, TOPIC};
use mesh_proto::control::{Control, Output as ControlOutput};
use mesh_proto::time::Instant;
use tokio::sync::mpsc;

pub use client::Allocator;
pub(crate) use client::AllocatorRequest;
pub use collision::colliding;
pub use open::open;
pub(crate) use plans::{plan_of, tell_plans};

use callers::{CallerAnswer, Callers};
use journal::JournalKeeper;
use spaces::SpaceJournals;

/// The desk, wired to disk, control plane and callers.
#[derive(Debug)]
pub struct IpamShell {
    desk: AddressDesk,
    journal: JournalKeeper,
    spaces: SpaceJournals,
    requests: mpsc::Receiver<AllocatorRequest>,
    callers: Callers,
}

/// The reason for which [`IpamShell::event`] returned.
#[derive(Debug)]
pub struct IpamEvent(EventKind);

#[derive(Debug)]
enum EventKind {
    Request(Box<AllocatorRequest>),
    /// The disk went on.
    Written,
    /// The disk went on with the journal of the networks besides `default`.
    SpacesWritten,
}

impl IpamShell {
    /// Waits until there is something to do that is not the control plane's.
    pub async fn event(&mut self) -> IpamEvent {
        let kind = tokio::select! {
            Some(request) = self.requests.recv() => EventKind::Request(Box::new(request)),
            Ok(()) = self.journal.changed() => EventKind::Written,
            Ok(()) = self.spaces.changed() => EventKind::SpacesWritten,
            else => std::future::pending().await,
        };
        IpamEvent(kind)
    }

    /// Does what [`IpamShell::event`] found.
    pub fn handle(&mut self, event: IpamEvent, control: &Control, now: Instant) {
        match event.0 {
            EventKind::Request(request) => self.handle_request(*request, control, now),
            EventKind::Written => self.handle_written(now),
            EventKind::SpacesWritten => self.handle_spaces_written(now),
        }
    }

    /// Takes an effect of the control plane.
    pub fn on_control_output(&mut self, output: &ControlOutput, control: &Control, now: Instant) {
        self.desk.on_control_output(output, control, now);
    }

    /// Returns when [`IpamShell::handle_timeout`] is due.
    pub fn next_deadline(&self) -> Instant {
        let is_broken = self.journal.is_broken() || self.spaces.is_broken();
        self.desk.next_deadline(is_broken)
    }

    /// Does what time demands.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.desk.handle_timeout(now);
        if self.desk.begin_tick(now) {
            for call in self.callers.abandoned() {
                self.desk.cancel(call, now);
            }
            self.desk.tick(now);
            self.journal.retry();
            self.spaces.retry();
        }
    }

    /// Carries out the outputs of the desk. Returns whether there were any.
    pub fn carry_out(&mut self, control: &mut Control, now: Instant) -> bool {
        self.desk.settle_contests(control, now);
        let any = self.drain(control, now);
        if self.journal.is_due() {
            // All entries are handed to the disk, and the snapshot says them, too.
            let (position, snapshot) = self.desk.snapshot();
            self.journal.compact(position, snapshot);
        }
        self.spaces.compact(&self.desk);
        if self.desk.is_leaving() {
            let told = control.announcement(control.me(), TOPIC);
            self.desk.finish_leave(told.map(|told| told.body), now);
            self.drain(control, now);
        }
        any
    }

    /// Returns the reason a journal cannot be written, if so.
    fn error(&self) -> Option<String> {
        self.journal.error().or_else(|| self.spaces.error())
    }

    fn drain(&mut self, control: &mut Control, now: Instant) -> bool {
        let mut any = false;
        let error = self.error();
        while let Some(output) = self.desk.poll_output(error.as_deref()) {
            any = true;
            self.carry_out_one(output, control, now);
        }
        any
    }

    fn carry_out_one(&mut self, output: DeskOutput, control: &mut Control, now: Instant) {
        match output {
            DeskOutput::Persist { position, entry } => self.journal.push(position, entry),
            DeskOutput::PersistSpace { position, entry } => self.spaces.push(position, entry),
            DeskOutput::Statement(bytes) => {
                if let Err(error) = control.announce(TOPIC, bytes, now) {
                    tracing::error!(%error, "the statement of this router about addresses is not told");
                }
            }
            DeskOutput::Send { to, bytes } => {
                if let Err(error) = control.send_unicast(to, TOPIC, &bytes, now) {
                    tracing::error!(%error, "a message about addresses is not sent");
                }
            }
            DeskOutput::Answer(call, answer) => {
                if let Some(lease) = self.callers.answer(call, answer) {
                    let (network, owner) = (&lease.network, &lease.owner);
                    self.desk.release(network, owner, lease.addr, now);
                }
            }
        }
    }

    fn handle_written(&mut self, now: Instant) {
        match self.journal.durable() {
            Ok(position) => self.desk.persisted(position, now),
            Err(error) => {
                tracing::error!(
                    "the journal of addresses cannot be written, trying again: {error}"
                );
                self.desk.delay_tick(now);
            }
        }
    }

    fn handle_spaces_written(&mut self, now: Instant) {
        match self.spaces.durable() {
            Some(Ok(position)) => self.desk.spaces_persisted(position, now),
            Some(Err(error)) => {
                tracing::error!(
                    "the journal of addresses in networks cannot be written, trying again: {error}"
                );
                self.desk.delay_tick(now);
            }
            None => {}
        }
    }

    /// Does what a caller wants, or begins to.
    fn handle_request(&mut self, request: AllocatorRequest, control: &Control, now: Instant) {
        let error = self.error();
        // A caller that hung up does not need its answer.
        match request {
            AllocatorRequest::Acquire { acquire, answer } => {
                let call = self.callers.add(CallerAnswer::Acquire(answer));
                self.desk.acquire(call, acquire, control, now);
            }
            AllocatorRequest::Release {
                network,
                addr,
                owner,
            } => self.desk.release(&network, &owner, addr, now),
            AllocatorRequest::Define { plan, is_created } => {
                self.desk.define(plan, is_created, control, now);
            }
            AllocatorRequest::RemoveNetwork(network) => self.desk.remove_network(&network, now),
            AllocatorRequest::Leases(answer) => drop(answer.send(self.desk.leases())),
            AllocatorRequest::Report(answer) => {
                let report = self.desk.report(control.me(), error.as_deref(), now);
                drop(answer.send(report));
            }
            AllocatorRequest::Waiting(answer) => {
                drop(answer.send(self.desk.waiting(error.as_deref(), now)));
            }
            AllocatorRequest::Prime { patience, answer } => {
                let call = self.callers.add(CallerAnswer::Prime(answer));
                self.desk.prime(call, patience, now);
            }
            AllocatorRequest::Remove {
                peer,
                force,
                answer,
            } => drop(answer.send(self.desk.remove(&peer, force, now))),
            AllocatorRequest::Leave(answer) => {
                let call = self.callers.add(CallerAnswer::Leave(answer));
                self.desk.leave(call, now);
            }
        }
    }
}
