//! A router that begins as if it had run before, in a mesh that is at rest.
//!
//! For simulations of meshes in which a beginning from nothing would cost more than all that follows.

use core::time::Duration;

use crate::time::Instant;
use crate::topology::lsdb::Lsdb;
use crate::topology::routes::Routes;
use crate::topology::topic::{RecordKey, Topic};

use super::Control;

/// Time for its links to become what they are said to be.
const LINKING: Duration = Duration::from_secs(5);

impl Control {
    /// Takes over what another router of the mesh holds and sees, which has records of this one in this run: what those
    /// say of its links stays said for a few seconds, until they are there.
    ///
    /// To be called once, before anything else happens; a record of another run than [`super::Config::epoch`] is
    /// overtaken as ever.
    pub fn resume(&mut self, lsdb: &Lsdb, routes: &Routes, now: Instant) {
        self.gossip.resume(lsdb, now);
        if let Some(links) = lsdb.get(RecordKey::new(self.me, Topic::LINKS)) {
            for link in links.links() {
                if let Some(peer) = lsdb.by_prefix(link.peer) {
                    self.costs.said(peer, link.cost, now);
                }
            }
            self.links_said_until = now + LINKING;
        }
        self.take_routes(routes.seen_by(self.me), now);
        self.snapshot_dirty = true;
        self.flush(now);
    }
}
