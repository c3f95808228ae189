//! Two links joined by an in-memory stream that can fragment, alter and truncate the bytes.

mod handshake;
mod messages;

use std::sync::Arc;

use super::channel::RekeyAfter;
use super::*;
use crate::crypto::secret::MeshSecret;
use crate::entropy::{Entropy, SeededEntropy};
use crate::time::Instant;
use crate::topology::testing::{identity, record};

const NOW: Instant = Instant::ZERO;

fn key(n: u8) -> Arc<MeshSecret> {
    Arc::new(MeshSecret::from_key_bytes([n; 32]))
}

fn config(n: u64, secret: &Arc<MeshSecret>) -> LinkConfig {
    let identity = identity(n);
    let record = record(&identity, 1, 1, "host");
    LinkConfig {
        identity: Arc::new(identity),
        secret: secret.clone(),
        record,
        features: 0b0110 | n,
    }
}

/// A dialler and an acceptor, with their events.
struct Pair {
    dialler: Link,
    acceptor: Link,
    entropy: SeededEntropy,
    dialler_events: Vec<LinkEvent>,
    acceptor_events: Vec<LinkEvent>,
    /// Decisions of the control planes of dialler and acceptor; `None` accepts.
    refuse: (Option<AlertCode>, Option<AlertCode>),
}

impl Pair {
    fn new(dialler: &LinkConfig, acceptor: &LinkConfig) -> Self {
        Self::with_rekey(dialler, acceptor, RekeyAfter::default())
    }

    fn with_rekey(dialler: &LinkConfig, acceptor: &LinkConfig, rekey: RekeyAfter) -> Self {
        let mut entropy = SeededEntropy::new(7);
        Self {
            dialler: Link::with_rekey(LinkRole::Dialler, dialler, rekey, NOW, &mut entropy),
            acceptor: Link::with_rekey(LinkRole::Acceptor, acceptor, rekey, NOW, &mut entropy),
            entropy,
            dialler_events: Vec::new(),
            acceptor_events: Vec::new(),
            refuse: (None, None),
        }
    }

    fn up() -> Self {
        let mut pair = Self::new(&config(1, &key(1)), &config(2, &key(1)));
        pair.run(&mut Wire::default());
        assert!(pair.both_up());
        pair.take_events();
        pair
    }

    /// Transfers bytes until neither side has more to send.
    fn run(&mut self, wire: &mut Wire) {
        loop {
            let to_acceptor = wire.carry(true, self.dialler.poll_transmit().unwrap_or_default());
            let to_dialler = wire.carry(false, self.acceptor.poll_transmit().unwrap_or_default());
            if to_acceptor.is_empty() && to_dialler.is_empty() {
                return;
            }
            for piece in to_acceptor {
                self.acceptor.handle_bytes(&piece, NOW, &mut self.entropy);
                self.answer();
            }
            for piece in to_dialler {
                self.dialler.handle_bytes(&piece, NOW, &mut self.entropy);
                self.answer();
            }
        }
    }

    fn answer(&mut self) {
        settle(&mut self.dialler, &mut self.dialler_events, self.refuse.0);
        settle(&mut self.acceptor, &mut self.acceptor_events, self.refuse.1);
    }

    fn both_up(&self) -> bool {
        self.dialler_events.contains(&LinkEvent::Up)
            && self.acceptor_events.contains(&LinkEvent::Up)
    }

    fn any_up(&self) -> bool {
        self.dialler_events.contains(&LinkEvent::Up)
            || self.acceptor_events.contains(&LinkEvent::Up)
    }

    fn take_events(&mut self) -> (Vec<LinkEvent>, Vec<LinkEvent>) {
        (
            core::mem::take(&mut self.dialler_events),
            core::mem::take(&mut self.acceptor_events),
        )
    }

    fn errors(&self) -> (LinkError, LinkError) {
        (error(&self.dialler_events), error(&self.acceptor_events))
    }
}

fn settle(link: &mut Link, events: &mut Vec<LinkEvent>, refuse: Option<AlertCode>) {
    while let Some(event) = link.poll_event() {
        if matches!(event, LinkEvent::Authenticated { .. }) {
            match refuse {
                Some(code) => link.refuse(code),
                None => link.accept(),
            }
        }
        events.push(event);
    }
}

fn error(events: &[LinkEvent]) -> LinkError {
    match events.last() {
        Some(LinkEvent::Closed(error)) => error.clone(),
        other => panic!("not closed, but {other:?}"),
    }
}

/// Faults of the stream.
#[derive(Default)]
struct Wire {
    /// Alters this byte of the stream towards the acceptor (true) or the dialler.
    flip: Option<(bool, usize, u8)>,
    /// Drops everything from this byte on.
    cut: Option<(bool, usize)>,
    /// Sizes of the pieces, in turn; empty: not fragmented.
    pieces: Vec<usize>,
    next_piece: usize,
    carried: [usize; 2],
}

impl Wire {
    fn carry(&mut self, to_acceptor: bool, mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let carried = &mut self.carried[usize::from(to_acceptor)];
        let start = *carried;
        *carried += bytes.len();
        if let Some((direction, at, mask)) = self.flip
            && direction == to_acceptor
            && let Some(byte) = at.checked_sub(start).and_then(|i| bytes.get_mut(i))
        {
            *byte ^= mask;
        }
        if let Some((direction, at)) = self.cut
            && direction == to_acceptor
        {
            bytes.truncate(at.saturating_sub(start));
        }
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let size = match self.pieces.len() {
                0 => rest.len(),
                n => {
                    self.next_piece += 1;
                    self.pieces[self.next_piece % n].clamp(1, rest.len())
                }
            };
            let (piece, after) = rest.split_at(size);
            pieces.push(piece.to_vec());
            rest = after;
        }
        pieces
    }
}

fn blob(entropy: &mut dyn Entropy, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    entropy.fill(&mut bytes);
    bytes
}
