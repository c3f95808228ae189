//! Forwarding of relayed datagrams by the routers on the way.

use crate::forward::snapshot::{NextHop, Unreachable};
use crate::forward::transmit::Transmitter;
use crate::forward::{Counter, DropReason};
use crate::ids::PeerId;
use crate::limits::MAX_HOPS;
use crate::wire::datagram::{Datagram, Header, Kind, PEER_ID_LEN};

/// A relayed datagram for another router.
pub(super) struct Passage {
    /// Neighbour that sealed the Relay datagram.
    pub(super) sender: PeerId,
    /// Hops left, as received.
    pub(super) hop_limit: u8,
    pub(super) destination: PeerId,
    /// Header of the inner datagram.
    pub(super) inner: Header,
}

/// Splits the content of a Relay datagram into the destination and the inner datagram. `None` if it is malformed, or
/// if the inner datagram is of a kind that goes hop by hop.
pub(super) fn split(content: &mut [u8]) -> Option<(PeerId, Datagram<'_>)> {
    let (destination, inner) = content.split_first_chunk_mut::<PEER_ID_LEN>()?;
    let inner = Datagram::parse(inner).ok()?;
    let is_end_to_end = inner.header().kind.is_end_to_end();
    is_end_to_end.then_some((PeerId(*destination), inner))
}

/// Forwards `content`, destination and inner datagram, to the next hop.
pub(super) fn forward(tx: &mut Transmitter<'_>, passage: &Passage, content: &[u8]) {
    let sent = match next_hop(tx, passage, content) {
        Ok((hop, hops)) => tx.send_to_neighbour(hop, Kind::Relay, hops, content),
        Err(PassError::Unreachable(why)) => Err(why.into()),
        Err(PassError::Drop(reason)) => {
            tx.view().counters.drop(reason);
            return;
        }
    };
    match sent {
        Ok(()) => tx.view().counters.count(Counter::Relayed),
        Err(error) => tx.undelivered(error),
    }
}

enum PassError {
    Drop(DropReason),
    Unreachable(Unreachable),
}

/// Returns the next hop, and the hops left from there.
fn next_hop<'a>(
    tx: &Transmitter<'a>,
    passage: &Passage,
    content: &[u8],
) -> Result<(NextHop<'a>, u8), PassError> {
    let view = tx.view();
    let hops = passage
        .hop_limit
        .min(MAX_HOPS)
        .checked_sub(1)
        .ok_or(PassError::Drop(DropReason::HopLimit))?;
    let hop = view
        .snapshot
        .next_hop(passage.destination, view.now)
        .map_err(PassError::Unreachable)?;
    if hop.peer == passage.sender {
        return Err(PassError::Drop(DropReason::RelayBack));
    }
    let inner = content.get(PEER_ID_LEN..).unwrap_or_default();
    if !tx.is_first_passage(passage.destination, &passage.inner, inner) {
        return Err(PassError::Drop(DropReason::RelayDuplicate));
    }
    Ok((hop, hops))
}
