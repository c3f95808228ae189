//! Fragmentation of datagrams that exceed the path MTU of the first hop (kind Fragment), and their reassembly at the
//! router that opens them.

use core::sync::atomic::Ordering::Relaxed;

use super::arrival::{Arrival, FragmentArrival, SEALED, SendError};
use super::snapshot::{NextHop, Snapshot};
use super::{Counter, DropReason, Forwarder, Outbox, Outgoing, Via, lock};
use crate::fdb::Owner;
use crate::fragment::{Fragment, Reassembled, split};
use crate::ids::PeerId;
use crate::limits::MAX_HOPS;
use crate::session::transport::{DeadKey, Transport};
use crate::time::Instant;
use crate::wire::datagram::Kind;

impl Forwarder {
    /// Sends the body of a Data datagram to `peer` in fragments of at most `longest` bytes, not counting a Relay
    /// around them.
    pub(super) fn send_data_fragmented(
        &self,
        snap: &Snapshot,
        (peer, transport): (PeerId, &Transport),
        longest: usize,
        body: &[u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) -> Result<(), SendError> {
        for fragment in self.fragments(Kind::Data, body, longest)? {
            self.dispatch(snap, peer, now, out, |buffer| {
                seal_fragment(transport, MAX_HOPS, &fragment, now, buffer)
            })?;
        }
        Ok(())
    }

    /// Sends the content of a Relay or Flood datagram to a neighbour in fragments.
    pub(super) fn send_hop_fragmented(
        &self,
        hop: NextHop<'_>,
        (kind, hops): (Kind, u8),
        content: &[u8],
        now: Instant,
        out: &mut Outgoing,
    ) -> Result<(), SendError> {
        for fragment in self.fragments(kind, content, hop.datagram)? {
            let start = out.end();
            seal_fragment(hop.transport, hops, &fragment, now, out.buffer())?;
            out.commit(hop.address, start);
        }
        Ok(())
    }

    fn fragments<'c>(
        &self,
        kind: Kind,
        content: &'c [u8],
        longest: usize,
    ) -> Result<impl Iterator<Item = Fragment<'c>>, SendError> {
        let id = self.fragment_id.fetch_add(1, Relaxed);
        let fragments = split(kind, id, content, longest.saturating_sub(SEALED));
        let fragments = fragments.ok_or(SendError::TooLong)?;
        self.counters.count(Counter::DatagramsCut);
        Ok(fragments)
    }

    /// Takes an authenticated fragment; once all fragments are there, processes the reassembled datagram.
    pub(super) fn fragment_in(
        &self,
        snap: &Snapshot,
        came: FragmentArrival,
        body: &[u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) {
        let FragmentArrival {
            sender,
            arrival: Arrival { via, index },
            hop_limit,
        } = came;
        // Relay and Flood are hop by hop: the neighbour itself fragments them, so they never arrive relayed.
        let is_allowed =
            |fragment: &Fragment<'_>| fragment.kind == Kind::Data || matches!(via, Via::Direct(_));
        let Some(fragment) = Fragment::decode(body).filter(is_allowed) else {
            self.counters.drop(DropReason::Malformed);
            return;
        };
        let pushed = lock(&self.reassembly).push(index, &fragment, now);
        let (kind, mut content) = match pushed {
            Ok(None) => return,
            Ok(Some(Reassembled { kind, content })) => (kind, content),
            Err(_) => return self.counters.drop(DropReason::FragmentRefused),
        };
        self.counters.count(Counter::DatagramsReassembled);
        match kind {
            Kind::Relay => self.relayed(snap, (sender, hop_limit), &mut content, now, out),
            Kind::Flood => self.flooded(snap, (sender, hop_limit), &content, now, out),
            _ => self.deliver(snap, Owner::Peer(sender), &content, now, out),
        }
    }
}

fn seal_fragment(
    transport: &Transport,
    hops: u8,
    fragment: &Fragment<'_>,
    now: Instant,
    buffer: &mut Vec<u8>,
) -> Result<(), DeadKey> {
    let draft = transport.begin(Kind::Fragment, hops, buffer);
    fragment.encode(buffer);
    transport.finish(draft, 0, now, buffer)
}
