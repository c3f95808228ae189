//! Announcements of names by other routers, on their way from the control plane to the DNS thread; [`UpdateFeed`] decides
//! which are sent.

use mesh_dns::feed::UpdateFeed;
use mesh_proto::control::Control;
use mesh_proto::wire::topic::RecordKey;
use tokio::sync::mpsc;

use crate::dns::DnsCommand;

/// Control plane's end of the feed.
#[derive(Debug)]
pub struct NamesFeed {
    /// Sender to the server; `None` without a server.
    server: Option<mpsc::Sender<DnsCommand>>,
    updates: UpdateFeed,
}

impl NamesFeed {
    /// Returns a feed to this server, if there is one.
    pub fn new(server: Option<mpsc::Sender<DnsCommand>>) -> Self {
        Self {
            server,
            updates: UpdateFeed::default(),
        }
    }

    /// Marks a router whose record was updated, if the topic is names.
    pub fn note_record(&mut self, key: RecordKey) {
        if self.server.is_some() {
            self.updates.note_record(key);
        }
    }

    /// Marks routers whose reachability changed.
    pub fn note_reach(&mut self, control: &Control) {
        if self.server.is_some() {
            self.updates.note_reach(control);
        }
    }

    /// Returns true if updates wait for room in the channel.
    pub fn waits(&self) -> bool {
        self.updates.is_waiting()
    }

    /// Waits until the channel has room.
    pub async fn room(&self) {
        if let Some(server) = &self.server {
            // An error means that the server has ended, so the caller may continue.
            let _ = server.reserve().await;
        }
    }

    /// Sends updates until the channel is full.
    pub fn send_updates(&mut self, control: &Control) {
        let Some(server) = &self.server else {
            return;
        };
        while let Some((sent, update)) = self.updates.next(control) {
            let result = server.try_send(DnsCommand::Update(update));
            // A server that has ended needs nothing.
            if matches!(result, Err(mpsc::error::TrySendError::Full(_))) {
                return;
            }
            self.updates.commit(sent);
        }
    }
}
