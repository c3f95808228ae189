//! Broadcasts of networks other than `default`: opened by members with the key of the network, and forwarded as they are
//! by all routers.

use core::ops::Range;

use super::deliver::deliver;
use super::flood::{self, FloodHistory};
use crate::crypto::aead::Forged;
use crate::fdb::Owner;
use crate::forward::DropReason;
use crate::forward::lane::{LaneNetwork, LaneView};
use crate::forward::transmit::Transmitter;
use crate::ids::PeerId;
use crate::wire::datagram::{Kind, NETWORK_FLOOD_PREFIX_LEN, NetworkFloodPrefix};

/// Content of a broadcast of a network, for one router.
enum FloodContent<'a> {
    /// Frames of a network with members here.
    Frames {
        network: LaneNetwork<'a>,
        /// The body, opened.
        opened: Vec<u8>,
        /// Place of the frames in it.
        frames: Range<usize>,
    },
    /// Nothing for this router, which has no members there.
    Foreign,
    /// A broadcast that this router cannot use, but others may.
    Unusable(DropReason),
}

/// Processes the body of a NetworkFlood datagram from `sender`: delivers its frames if this router is a member of the
/// network, and forwards it down the tree.
///
/// A member drops one that was not sealed with the network's key, and does not record it, so that it cannot pass for
/// the broadcast whose number it has. Other routers cannot tell.
pub(super) fn take(
    floods: &FloodHistory,
    tx: &mut Transmitter<'_>,
    from: (PeerId, u8),
    body: &[u8],
) {
    let view = tx.view();
    let admitted = floods.look(view, body).and_then(|prefix| {
        let found = open(view, &prefix, body).map_err(|_| DropReason::NetworkForged)?;
        floods.admit_in_network(view, &prefix)?;
        Ok((prefix.stream.origin, found))
    });
    let (origin, found) = match admitted {
        Ok(admitted) => admitted,
        Err(reason) => return view.counters.drop(reason),
    };
    match found {
        FloodContent::Frames {
            network,
            opened,
            frames,
        } => {
            let frames = opened.get(frames).unwrap_or_default();
            deliver(network, tx, Owner::Peer(origin), frames);
        }
        FloodContent::Foreign => {}
        FloodContent::Unusable(reason) => view.counters.drop(reason),
    }
    flood::forward(tx, (Kind::NetworkFlood, origin), from, body);
}

fn open<'a>(
    view: LaneView<'a>,
    prefix: &NetworkFloodPrefix,
    body: &[u8],
) -> Result<FloodContent<'a>, Forged> {
    let network = view.network(prefix.stream.network);
    let Some((network, membership)) = network.and_then(|n| Some((n, n.membership()?))) else {
        return Ok(FloodContent::Foreign);
    };
    let Some(key) = membership.keys.get(prefix.key) else {
        return Ok(FloodContent::Unusable(DropReason::NoNetworkKey));
    };
    // Opened in a copy: what is forwarded stays sealed.
    let mut opened = body.to_vec();
    let (stream, sequence) = (&prefix.stream, prefix.sequence);
    let frames = key.open(stream, sequence, NETWORK_FLOOD_PREFIX_LEN, &mut opened)?;
    let frames = NETWORK_FLOOD_PREFIX_LEN..NETWORK_FLOOD_PREFIX_LEN + frames.len();
    Ok(match network.has_member(prefix.stream.origin) {
        true => FloodContent::Frames {
            network,
            opened,
            frames,
        },
        false => FloodContent::Unusable(DropReason::NotMember),
    })
}
