//! Frames that wait for a session, so that the first ping of a conversation is not lost.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::PeerId;
use crate::limits::{MAX_PENDING_BYTES, MAX_PENDING_FRAMES, PENDING_AGE};
use crate::time::Instant;

/// Frames for one peer, each with the time since when it waits.
pub(super) type Waiting = VecDeque<(Instant, Box<[u8]>)>;

/// The frames that wait, by peer and in order. Bounded per peer and in bytes; a full queue refuses the newest.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    queues: BTreeMap<PeerId, Waiting>,
    bytes: usize,
}

impl Pending {
    /// Keeps a copy of `frame`; false when there is no room.
    pub(super) fn push(&mut self, peer: PeerId, frame: &[u8], now: Instant) -> bool {
        let waiting = self.queues.get(&peer).map_or(0, VecDeque::len);
        if waiting >= MAX_PENDING_FRAMES || self.bytes + frame.len() > MAX_PENDING_BYTES {
            return false;
        }
        self.bytes += frame.len();
        let queue = self.queues.entry(peer).or_default();
        queue.push_back((now, frame.into()));
        true
    }

    /// Drops what waited too long; returns how many frames those were.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let mut expired = 0;
        for queue in self.queues.values_mut() {
            while let Some((_, frame)) = queue
                .front()
                .filter(|(at, _)| now.since(*at) >= PENDING_AGE)
            {
                self.bytes -= frame.len();
                queue.pop_front();
                expired += 1;
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        expired
    }

    /// Takes all frames for `peer`.
    pub(super) fn take(&mut self, peer: PeerId) -> Waiting {
        let frames = self.queues.remove(&peer).unwrap_or_default();
        self.bytes -= frames.iter().map(|(_, frame)| frame.len()).sum::<usize>();
        frames
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// The peers for whom frames wait.
    pub(super) fn peers(&self) -> Vec<PeerId> {
        self.queues.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const A: PeerId = PeerId([1; 16]);
    const B: PeerId = PeerId([2; 16]);
    const T0: Instant = Instant::from_nanos(0);

    #[test]
    fn frames_come_back_in_order_and_once() {
        let mut pending = Pending::default();
        assert!(pending.is_empty());
        for n in 0..3 {
            assert!(pending.push(A, &[n; 5], T0));
        }
        assert!(pending.push(B, b"other", T0));
        assert_eq!(pending.peers(), [A, B]);
        let frames: Vec<u8> = pending.take(A).iter().map(|(_, f)| f[0]).collect();
        assert_eq!(frames, [0, 1, 2]);
        assert!(pending.take(A).is_empty());
        assert_eq!(pending.bytes, 5);
    }

    #[test]
    fn a_peer_has_so_many_places() {
        let mut pending = Pending::default();
        for _ in 0..MAX_PENDING_FRAMES {
            assert!(pending.push(A, b"x", T0));
        }
        assert!(!pending.push(A, b"x", T0));
        assert!(pending.push(B, b"x", T0));
    }

    #[test]
    fn all_peers_share_so_many_bytes() {
        let mut pending = Pending::default();
        let frame = vec![0; 9_000];
        let mut kept = 0;
        for n in 0..=255 {
            for _ in 0..10 {
                kept += usize::from(pending.push(PeerId([n; 16]), &frame, T0));
            }
        }
        assert_eq!(kept, MAX_PENDING_BYTES / 9_000);
        assert!(pending.bytes <= MAX_PENDING_BYTES);
        pending.expire(T0 + PENDING_AGE);
        assert_eq!(pending.bytes, 0);
    }

    #[test]
    fn old_frames_expire_young_ones_stay() {
        let mut pending = Pending::default();
        pending.push(A, b"old", T0);
        pending.push(B, b"old", T0);
        pending.push(A, b"young", T0 + Duration::from_nanos(1));
        assert_eq!(
            pending.expire(T0 + PENDING_AGE - Duration::from_nanos(1)),
            0
        );
        assert_eq!(pending.expire(T0 + PENDING_AGE), 2);
        assert_eq!(pending.peers(), [A]);
        assert_eq!(&*pending.take(A)[0].1, b"young");
    }
}
