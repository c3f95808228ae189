//! Admission of authenticated peers.
//!
//! Only what the peer proves about itself decides; nothing learnt by gossip from third parties refuses a link. Where
//! anyone may join, a name belongs to the key that it was first seen with, or else to the neighbour that bears it. Where a
//! secret guards the mesh, two routers of one name are an operator's mistake, of which `mesh status` warns.

use std::collections::BTreeMap;

use crate::crypto::identity::peer_id;
use crate::ids::{PeerId, PeerName};
use crate::link::AlertCode;

/// Verdict on a link whose peer has proved its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkVerdict {
    /// Let it in.
    Accept,
    /// Refuse it, for this reason.
    Refuse(AlertCode),
}

/// Claims to a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameClaims<'a> {
    /// Our own name and identity.
    pub(crate) me: (PeerName, PeerId),
    /// Keys that names were first seen with.
    pub(crate) pins: &'a BTreeMap<PeerName, [u8; 32]>,
    /// The neighbour that bears the name now, if any.
    pub(crate) holder: Option<PeerId>,
    /// True if names are bound: where anyone may join they are, where a secret guards the mesh that decides.
    pub(crate) strict: bool,
}

/// Returns the verdict on a peer that bears `name`.
pub(crate) fn judge_name(
    name: PeerName,
    sign_key: &[u8; 32],
    claims: &NameClaims<'_>,
) -> LinkVerdict {
    let peer = peer_id(sign_key);
    if peer == claims.me.1 {
        return LinkVerdict::Refuse(AlertCode::SelfConnection);
    }
    if !claims.strict {
        return LinkVerdict::Accept;
    }
    let belongs_to_it = match claims.pins.get(&name) {
        _ if name == claims.me.0 => false,
        Some(key) => key == sign_key,
        None => claims.holder.is_none_or(|holder| holder == peer),
    };
    if belongs_to_it {
        LinkVerdict::Accept
    } else {
        LinkVerdict::Refuse(AlertCode::NameConflict)
    }
}

/// Returns true if the newer of two links to one peer stays, the same on both ends: of two that crossed, the one dialled by the lower identity;
/// else the older. A link that fell silent, or that belongs to an earlier start of the peer, always goes.
pub(crate) fn newer_stays(existing: Existing, new_dialler: PeerId, peer_restarted: bool) -> bool {
    peer_restarted || existing.silent || (existing.fresh && new_dialler < existing.dialler)
}

/// The link that is there already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Existing {
    /// The router that dialled it.
    pub(crate) dialler: PeerId,
    /// True if nothing was heard on it for a while.
    pub(crate) silent: bool,
    /// True if it came up so lately that the other one may have been dialled before.
    pub(crate) fresh: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(
        pins: &BTreeMap<PeerName, [u8; 32]>,
        holder: Option<PeerId>,
        strict: bool,
    ) -> NameClaims<'_> {
        NameClaims {
            me: (PeerName([2; 6]), peer_id(&[9; 32])),
            pins,
            holder,
            strict,
        }
    }

    #[test]
    fn names_are_bound_to_keys() {
        let mut pins = BTreeMap::new();
        let (name, key) = (PeerName([4; 6]), [1; 32]);
        let conflict = LinkVerdict::Refuse(AlertCode::NameConflict);
        assert_eq!(
            judge_name(name, &key, &claims(&pins, None, true)),
            LinkVerdict::Accept
        );
        assert_eq!(
            judge_name(name, &[9; 32], &claims(&pins, None, true)),
            LinkVerdict::Refuse(AlertCode::SelfConnection)
        );
        assert_eq!(
            judge_name(PeerName([2; 6]), &key, &claims(&pins, None, true)),
            conflict
        );
        assert_eq!(
            judge_name(name, &key, &claims(&pins, Some(peer_id(&[7; 32])), true)),
            conflict
        );
        assert_eq!(
            judge_name(name, &key, &claims(&pins, Some(peer_id(&[7; 32])), false)),
            LinkVerdict::Accept,
            "the secret decides"
        );
        assert_eq!(
            judge_name(name, &key, &claims(&pins, Some(peer_id(&key)), true)),
            LinkVerdict::Accept
        );
        let pinned = BTreeMap::from([(name, key)]);
        assert_eq!(
            judge_name(name, &key, &claims(&pinned, Some(peer_id(&[7; 32])), true)),
            LinkVerdict::Accept,
            "it was there first"
        );
        pins.insert(name, [8; 32]);
        assert_eq!(judge_name(name, &key, &claims(&pins, None, true)), conflict);
        assert_eq!(
            judge_name(name, &key, &claims(&pins, None, false)),
            LinkVerdict::Accept
        );
    }

    #[test]
    fn both_ends_keep_the_same_one_of_two_crossing_links() {
        let (a, b) = (PeerId([1; 16]), PeerId([2; 16]));
        let link = |dialler| Existing {
            dialler,
            silent: false,
            fresh: true,
        };
        // One end saw a's link first, the other b's: both end with the one a dialled.
        assert!(!newer_stays(link(a), b, false));
        assert!(newer_stays(link(b), a, false));
        assert!(
            !newer_stays(link(a), a, false),
            "a second link of the same dialler is not needed"
        );
        assert!(newer_stays(
            Existing {
                silent: true,
                ..link(a)
            },
            b,
            false
        ));
        assert!(newer_stays(link(a), b, true));
        let settled = Existing {
            fresh: false,
            ..link(b)
        };
        assert!(
            !newer_stays(settled, a, false),
            "a link that works is not given up for one like it"
        );
    }
}
