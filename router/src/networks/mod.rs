//! Networks of the mesh: [`NetworksDesk`] on the control thread, its file on a thread of its own.
//!
//! [`NetworksShell`] moves the effects of the desk: content to the disk, statements and memberships to the control plane,
//! answers to the callers of a [`NetworksClient`]. It decides nothing.

mod callers;
mod client;
mod disk;
mod occupied;
mod open;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use mesh_networks::{HostNetworks, NetworkDirectory, NetworksDesk, NetworksEffect};
use mesh_proto::control::{Control, Note, Output as ControlOutput};
use mesh_proto::time::Instant;
use mesh_proto::wire::topic::Topic;
use tokio::sync::{mpsc, watch};

pub use client::NetworksClient;
pub(crate) use occupied::occupied;
pub use open::open;

use crate::clock::{OsEntropy, seconds_since_1970};
use callers::NetworkCallers;
use client::NetworksRequest;
use disk::{DiskProgress, NetworksDisk};

/// The desk, wired to disk, control plane and callers.
#[derive(Debug)]
pub struct NetworksShell {
    desk: NetworksDesk,
    disk: NetworksDisk,
    progress: watch::Receiver<DiskProgress>,
    requests: mpsc::Receiver<NetworksRequest>,
    callers: NetworkCallers,
    directory: watch::Sender<Arc<NetworkDirectory>>,
    /// Networks that are open on this host; `None` before anybody says so.
    open: Option<watch::Receiver<HostNetworks>>,
}

/// The reason for which [`NetworksShell::event`] returned.
#[derive(Debug)]
pub struct NetworksEvent(NetworksEventKind);

#[derive(Debug)]
enum NetworksEventKind {
    Request(NetworksRequest),
    /// The disk went on.
    Written,
    /// Other networks are open than before.
    Open(HostNetworks),
}

impl NetworksShell {
    /// Follows the networks that are open on this host.
    pub fn follow(&mut self, mut open: watch::Receiver<HostNetworks>) {
        open.mark_changed();
        self.open = Some(open);
    }

    /// Waits until there is something to do that is not the control plane's.
    pub async fn event(&mut self) -> NetworksEvent {
        let kind = tokio::select! {
            Some(request) = self.requests.recv() => NetworksEventKind::Request(request),
            Ok(()) = self.progress.changed() => NetworksEventKind::Written,
            Some(open) = changed(&mut self.open) => NetworksEventKind::Open(open),
            else => std::future::pending().await,
        };
        NetworksEvent(kind)
    }

    /// Does what [`NetworksShell::event`] found.
    pub fn handle(&mut self, event: NetworksEvent, control: &Control, now: Instant) {
        match event.0 {
            NetworksEventKind::Request(request) => self.handle_request(request, control, now),
            NetworksEventKind::Written => self.handle_written(),
            NetworksEventKind::Open(open) => self.desk.set_open(open, control, now),
        }
    }

    /// Takes an effect of the control plane.
    pub fn on_control_output(&mut self, output: &ControlOutput, control: &Control, now: Instant) {
        self.desk
            .on_control_output(output, control, &mut OsEntropy, now);
    }

    /// Returns when [`NetworksShell::handle_timeout`] is due.
    pub fn next_deadline(&self) -> Instant {
        self.desk.next_deadline()
    }

    /// Does what time demands.
    pub fn handle_timeout(&mut self, control: &Control, now: Instant) {
        self.desk.handle_time(control, &mut OsEntropy, now);
    }

    /// Carries out the effects of the desk. Returns whether there were any.
    pub fn carry_out(&mut self, control: &mut Control, now: Instant) -> bool {
        let mut any = false;
        while let Some(effect) = self.desk.poll_effect() {
            any = true;
            self.carry_out_one(effect, control, now);
        }
        any
    }

    fn carry_out_one(&mut self, effect: NetworksEffect, control: &mut Control, now: Instant) {
        match effect {
            NetworksEffect::Store { position, content } => self.disk.store(position, content),
            NetworksEffect::Announce(bytes) => {
                if let Err(error) = control.announce(Topic::NETWORKS, bytes, now) {
                    tracing::error!(%error, "the statement of this router about networks is not told");
                }
            }
            NetworksEffect::Memberships(joined) => control.set_networks(joined, now),
            NetworksEffect::Send { to, body } => {
                if let Err(error) = control.send_unicast(to, Topic::NETWORKS, &body, now) {
                    tracing::error!(%error, "a message about the keys of networks is not sent");
                }
            }
            NetworksEffect::Directory(directory) => {
                self.directory.send_replace(directory);
            }
            NetworksEffect::Answer(call, answer) => self.callers.answer(call, answer),
            NetworksEffect::Note(Note::Info(text)) => tracing::info!("{text}"),
            NetworksEffect::Note(Note::Warn(text)) => tracing::warn!("{text}"),
        }
    }

    fn handle_written(&mut self) {
        let progress = self.progress.borrow_and_update().clone();
        self.desk.stored(progress.durable);
        if let Some(error) = progress.error {
            self.desk.store_failed(&error);
        }
    }

    fn handle_request(&mut self, request: NetworksRequest, control: &Control, now: Instant) {
        // A caller that hung up does not need its answer.
        match request {
            NetworksRequest::Create { new, answer } => {
                let call = self.callers.add(answer);
                let (stamp, entropy) = (seconds_since_1970(), &mut OsEntropy);
                self.desk.create(call, &new, stamp, entropy, control, now);
            }
            NetworksRequest::Remove {
                name,
                force,
                answer,
            } => {
                let call = self.callers.add(answer);
                self.desk.remove(call, &name, force, control, now);
            }
            NetworksRequest::Join { network, answer } => {
                let call = self.callers.add(answer);
                self.desk.join(call, network, control, now);
            }
            NetworksRequest::List(answer) => drop(answer.send(self.desk.list(control))),
            NetworksRequest::Inspect { name, answer } => {
                let found = self.desk.inspect(&name, control);
                drop(answer.send(found.map_err(|error| error.to_string())));
            }
            NetworksRequest::Summary(answer) => {
                let (summary, warnings) = (self.desk.summary(), self.desk.warnings(control));
                drop(answer.send((summary, warnings)));
            }
        }
    }
}

/// Waits for other networks to be open; for ever if nobody says which.
async fn changed(open: &mut Option<watch::Receiver<HostNetworks>>) -> Option<HostNetworks> {
    let Some(receiver) = open else {
        return std::future::pending().await;
    };
    match receiver.changed().await {
        Ok(()) => Some(receiver.borrow_and_update().clone()),
        Err(_) => {
            *open = None;
            None
        }
    }
}
