//! Relay datagrams: their clear part, and their associated data.

use super::{HEADER_LEN, Header, Kind, PEER_ID_LEN, TAG_LEN};
use crate::ids::PeerId;

/// Splits the clear part of a Relay datagram into the destination and the inner datagram.
///
/// `None` if it is too short for a destination and a datagram header.
pub fn split_relay(clear: &[u8]) -> Option<(PeerId, &[u8])> {
    let (id, inner) = clear.split_first_chunk::<PEER_ID_LEN>()?;
    (inner.len() >= HEADER_LEN).then_some((PeerId(*id), inner))
}

/// Associated data of a datagram, which its tag covers besides the body.
///
/// It is header and clear part. If the clear part holds a datagram with its own tag (a Relay of Data, Probe or
/// Fragment), that tag represents the inner content: header ‖ destination ‖ inner header ‖ length of the clear part
/// `u16` ‖ inner tag. So a hop need not process the content, and content altered on the way is refused by its
/// receiver. Hop limit and destination, which the inner tag does not cover, are covered here.
#[derive(Debug)]
pub enum Associated<'a> {
    /// Header and clear part.
    Whole(&'a [u8]),
    /// Substitute for the content of a Relay.
    Ends([u8; RELAY_ASSOCIATED]),
}

/// Length of [`Associated::Ends`], in bytes.
const RELAY_ASSOCIATED: usize = RELAY_HEAD + 2 + TAG_LEN;
/// Length of header, destination and inner header.
const RELAY_HEAD: usize = 2 * HEADER_LEN + PEER_ID_LEN;

impl<'a> Associated<'a> {
    /// Returns the associated data of a datagram of `kind` that begins with `head`, its header and clear part.
    pub fn new(kind: Kind, head: &'a [u8]) -> Self {
        Self::ends(kind, head).map_or(Self::Whole(head), Self::Ends)
    }

    /// Returns the associated data as bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Ends(bytes) => bytes,
        }
    }

    fn ends(kind: Kind, head: &[u8]) -> Option<[u8; RELAY_ASSOCIATED]> {
        let (begin, rest) = head.split_first_chunk::<RELAY_HEAD>()?;
        let inner = Header::parse(&begin[HEADER_LEN + PEER_ID_LEN..]).ok()?;
        if kind != Kind::Relay || inner.kind.is_handshake() {
            return None;
        }
        let length = u16::try_from(head.len() - HEADER_LEN).ok()?;
        let mut bytes = [0; RELAY_ASSOCIATED];
        let (first, last) = bytes.split_first_chunk_mut::<RELAY_HEAD>()?;
        *first = *begin;
        let (len, tag) = last.split_first_chunk_mut::<2>()?;
        *len = length.to_be_bytes();
        tag.copy_from_slice(rest.last_chunk::<TAG_LEN>()?);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionIndex;
    use crate::network::NetworkLabel;

    #[test]
    fn relay_needs_a_destination_and_a_header() {
        let clear = [7; PEER_ID_LEN + HEADER_LEN];
        for len in 0..clear.len() {
            assert_eq!(split_relay(&clear[..len]), None);
        }
        assert_eq!(
            split_relay(&clear),
            Some((PeerId([7; 16]), &clear[PEER_ID_LEN..]))
        );
    }

    #[test]
    fn the_associated_data_of_a_relay_replaces_its_content() {
        let inner = Header {
            kind: Kind::Data,
            hop_limit: 16,
            label: NetworkLabel::DEFAULT,
            receiver: SessionIndex(5),
            counter: 9,
        };
        let head = |inner_kind, content: &[u8]| {
            let header = Header {
                kind: inner_kind,
                ..inner
            };
            let outer = Header {
                kind: Kind::Relay,
                ..inner
            };
            [&outer.encode()[..], &[7; 16], &header.encode(), content].concat()
        };
        let associated = |head: &[u8]| Associated::new(Kind::Relay, head).bytes().to_vec();
        let data = head(Kind::Data, &[1; 100]);
        let short = associated(&data);
        assert_eq!(short.len(), 66);
        for at in 0..data.len() {
            let mut changed = data.clone();
            changed[at] ^= 0x40;
            let is_covered = at < 48 || at >= data.len() - TAG_LEN;
            assert_eq!(associated(&changed) != short, is_covered, "byte {at}");
        }
        assert_ne!(associated(&data[..data.len() - 1]), short);
        assert_ne!(
            associated(&head(Kind::Data, &[1; 99])),
            short,
            "the length counts"
        );
        // Inner datagrams without a tag, or too short for one, are covered as they are.
        for whole in [
            head(Kind::Init, &[1; 100]),
            head(Kind::Data, &[1; 15]),
            vec![0; 20],
        ] {
            assert_eq!(associated(&whole), whole);
        }
        assert_eq!(Associated::new(Kind::Data, &data).bytes(), data);
    }
}
