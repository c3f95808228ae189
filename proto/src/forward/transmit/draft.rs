//! Data datagram under construction at the end of the outgoing buffer.

use super::encap::Encap;
use super::relayed::RelayHistory;
use super::{SEALED, SendError};
use crate::forward::Outgoing;
use crate::forward::snapshot::PeerRoute;
use crate::ids::PeerId;
use crate::limits::MAX_HOPS;
use crate::network::NetworkLabel;
use crate::session::transport::Draft;
use crate::time::Instant;
use crate::wire::datagram::{Kind, TAG_LEN};

/// Data datagram with its encapsulation; the caller appends frames to its body.
pub(in crate::forward) struct DatagramDraft<'a> {
    route: PeerRoute<'a>,
    label: NetworkLabel,
    encap: Encap<'a>,
    draft: Draft,
    /// Offset of the body in the buffer.
    body: usize,
}

impl<'a> DatagramDraft<'a> {
    pub(super) fn begin(
        peer: PeerId,
        label: NetworkLabel,
        route: PeerRoute<'a>,
        out: &mut Outgoing,
    ) -> Self {
        let encap = Encap::begin(peer, route.first_hop, out);
        let buffer = out.buffer();
        let transport = route.transport;
        let draft = transport.begin_labelled(Kind::Data, MAX_HOPS, label, buffer);
        Self {
            route,
            label,
            encap,
            draft,
            body: buffer.len(),
        }
    }

    /// Returns the longest body that fits the path without fragmentation, in bytes.
    pub(in crate::forward) fn room(&self) -> usize {
        self.encap.room().saturating_sub(SEALED)
    }

    pub(super) fn body_len(&self, out: &Outgoing) -> usize {
        out.end() - self.body
    }

    /// Returns true if the datagram fits the path without fragmentation.
    pub(super) fn fits(&self, out: &mut Outgoing) -> bool {
        self.draft.len(out.buffer()) + TAG_LEN <= self.encap.room()
    }

    /// Seals and sends the datagram.
    pub(super) fn send(
        self,
        relayed: &RelayHistory,
        now: Instant,
        out: &mut Outgoing,
    ) -> Result<(), SendError> {
        let transport = self.route.transport;
        if let Err(error) = transport.finish(self.draft, 0, now, out.buffer()) {
            self.encap.abandon(out);
            return Err(error.into());
        }
        self.encap.send(relayed, now, out)?;
        Ok(())
    }

    /// Returns the label of the network in its header.
    pub(super) fn label(&self) -> NetworkLabel {
        self.label
    }

    /// Moves the body from the buffer to `scratch`. Returns the destination, its route, and the longest datagram that
    /// fits the path.
    pub(super) fn take_body(
        self,
        out: &mut Outgoing,
        scratch: &mut Vec<u8>,
    ) -> (PeerId, PeerRoute<'a>, usize) {
        scratch.clear();
        scratch.extend_from_slice(out.buffer().get(self.body..).unwrap_or_default());
        let (peer, longest) = (self.encap.peer(), self.encap.room());
        self.encap.abandon(out);
        (peer, self.route, longest)
    }
}
