//! Requests of this router for keys of one network.
//!
//! Each key that is lacking is asked for of a member that announces it, chosen at random, with back-off; each third time
//! of any member, as others may have it, too. So one that announces keys and does not give them costs time, no more.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use mesh_proto::crypto::dh::DhSecret;
use mesh_proto::crypto::key_transfer::{KeyTransfer, TransferredKey};
use mesh_proto::entropy::Entropy;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::{
    MAX_NETWORK_KEY_ASKS, MAX_NETWORK_KEYS, MAX_NETWORK_KEYS_TRIED, NETWORK_KEY_ASK_BURST,
    NETWORK_KEY_ASK_RATE, NETWORK_KEY_RETRY, NETWORK_KEY_RETRY_MAX,
};
use mesh_proto::network::{NetworkId, NetworkKeyPrint};
use mesh_proto::rate::FixedBucket;
use mesh_proto::time::Instant;

use super::company::Company;
use super::message::{KeyMessage, KeyReply, KeyRequest};

/// Attempts after which other keys are asked for first.
const IN_VAIN: u32 = 3;

/// Request whose answer is awaited. The secret is erased with it.
#[derive(Debug)]
struct KeyAsk {
    to: PeerId,
    secret: DhSecret,
    wanted: Vec<NetworkKeyPrint>,
    sent: Instant,
}

/// Attempts to get one key.
#[derive(Clone, Copy, Debug)]
struct KeyAttempts {
    count: u32,
    /// Time of the next one.
    next: Instant,
}

/// Requests of one network.
#[derive(Debug, Default)]
pub(super) struct KeyAsking {
    asks: VecDeque<KeyAsk>,
    attempts: BTreeMap<NetworkKeyPrint, KeyAttempts>,
    budget: FixedBucket<NETWORK_KEY_ASK_RATE, NETWORK_KEY_ASK_BURST>,
}

/// Keys that came as they were asked for.
#[derive(Debug)]
pub(super) struct ArrivedKeys {
    /// The keys, all of them asked for.
    pub(super) keys: Vec<TransferredKey>,
    /// Time of the request.
    pub(super) asked: Instant,
}

impl KeyAsking {
    /// Returns the keys to be had, the first of `announced`, which are in order of preference; those that were asked for
    /// in vain come last.
    pub(super) fn places(&mut self, announced: &[NetworkKeyPrint]) -> Vec<NetworkKeyPrint> {
        self.attempts.retain(|print, _| announced.contains(print));
        let is_in_vain = |print: &NetworkKeyPrint| {
            let attempts = self.attempts.get(print);
            attempts.is_some_and(|attempts| attempts.count >= IN_VAIN)
        };
        let mut places = announced.to_vec();
        places.sort_by_key(is_in_vain);
        places.truncate(MAX_NETWORK_KEYS);
        places
    }

    /// Returns the next request for the keys in `wanted`, and who is asked; `None` if it is not time for one.
    pub(super) fn ask(
        &mut self,
        network: NetworkId,
        wanted: &[NetworkKeyPrint],
        company: &Company<'_>,
        entropy: &mut impl Entropy,
        now: Instant,
    ) -> Option<(PeerId, Vec<u8>)> {
        if wanted.is_empty() {
            // Nothing is lacking: secrets are erased.
            self.asks.clear();
            return None;
        }
        let due: Vec<NetworkKeyPrint> = wanted
            .iter()
            .copied()
            .filter(|print| self.is_due(print, now))
            .collect();
        let first = due.first()?;
        let count = self.attempts.get(first).map_or(0, |tried| tried.count);
        let mut holders = match count % IN_VAIN == IN_VAIN - 1 {
            true => company.members.clone(),
            false => company.holders(*first),
        };
        if holders.is_empty() || !self.budget.take(now) {
            return None;
        }
        let at = entropy.u64() % u64::try_from(holders.len()).unwrap_or(1);
        let to = holders.swap_remove(usize::try_from(at).unwrap_or(0));
        for print in &due {
            self.note_attempt(*print, entropy, now);
        }
        let secret = DhSecret::from_bytes(entropy.key());
        let request = KeyRequest {
            network,
            public: secret.public(),
            wanted: due.clone(),
        };
        if self.asks.len() >= MAX_NETWORK_KEY_ASKS {
            self.asks.pop_front();
        }
        self.asks.push_back(KeyAsk {
            to,
            secret,
            wanted: due,
            sent: now,
        });
        Some((to, KeyMessage::Request(request).encode()))
    }

    fn is_due(&self, print: &NetworkKeyPrint, now: Instant) -> bool {
        match self.attempts.get(print) {
            Some(attempts) => now >= attempts.next,
            None => self.attempts.len() < MAX_NETWORK_KEYS_TRIED,
        }
    }

    fn note_attempt(&mut self, print: NetworkKeyPrint, entropy: &mut impl Entropy, now: Instant) {
        let attempts = self.attempts.entry(print);
        let attempts = attempts.or_insert(KeyAttempts {
            count: 0,
            next: now,
        });
        let wait = NETWORK_KEY_RETRY * 2_u32.saturating_pow(attempts.count.min(16));
        let wait = entropy.jitter(wait.min(NETWORK_KEY_RETRY_MAX), 25);
        attempts.count = attempts.count.saturating_add(1);
        attempts.next = now + wait;
    }

    /// Returns the time until a key of `wanted` is due; `None` if none is lacking.
    pub(super) fn wait(&self, wanted: &[NetworkKeyPrint], now: Instant) -> Option<Duration> {
        let waits = wanted.iter().map(|print| match self.attempts.get(print) {
            Some(attempts) => attempts.next.since(now),
            None => Duration::ZERO,
        });
        waits.min()
    }

    /// Takes a reply from `giver` to a request that was sent to it. Keys that were not asked for, or are not what the
    /// giver was asked for, are dropped.
    pub(super) fn take(
        &mut self,
        me: &PeerId,
        giver: &PeerId,
        reply: &KeyReply,
    ) -> Option<ArrivedKeys> {
        let is_mine = |ask: &KeyAsk| ask.to == *giver && ask.secret.public() == reply.asker_public;
        let at = self.asks.iter().position(is_mine)?;
        let ask = self.asks.get(at)?;
        let transfer = KeyTransfer {
            network: &reply.network,
            asker: me,
            giver,
            asker_public: &reply.asker_public,
            giver_public: &reply.giver_public,
        };
        let mut keys = transfer.open(&ask.secret, &reply.sealed).ok()?;
        keys.retain(|sent| ask.wanted.contains(&sent.key.print(&reply.network)));
        let asked = ask.sent;
        self.asks.remove(at);
        Some(ArrivedKeys { keys, asked })
    }
}
