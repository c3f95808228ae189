//! Random number generator of a run, with one seed.

use std::time::Duration;

use mesh_proto::entropy::{Entropy, SeededEntropy};

/// A seeded generator.
#[derive(Clone, Debug)]
pub(crate) struct Rng(SeededEntropy);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        let mut entropy = SeededEntropy::new(seed);
        // SplitMix64 maps neighbouring seeds to neighbouring states: jump away from them.
        let jumped = entropy.u64() ^ seed.rotate_left(32);
        Self(SeededEntropy::new(jumped))
    }

    /// Returns an independent generator, whose use does not affect later choices of this one.
    pub(crate) fn fork(&mut self) -> Rng {
        Rng::new(self.0.u64())
    }

    /// Returns a generator for a router's keys and timers.
    pub(crate) fn entropy(&mut self) -> SeededEntropy {
        SeededEntropy::new(self.0.u64())
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.u64()
    }

    pub(crate) fn key(&mut self) -> [u8; 32] {
        self.0.key()
    }

    /// Returns a number below `n`; 0 if `n` is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let n = n as u64;
        usize::try_from(self.0.u64().checked_rem(n).unwrap_or(0)).unwrap_or(0)
    }

    /// Returns true with a probability of `per_mille` / 1000.
    pub(crate) fn chance(&mut self, per_mille: u32) -> bool {
        self.0.u64() % 1000 < u64::from(per_mille)
    }

    pub(crate) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = high.saturating_sub(low).as_nanos();
        let span = u64::try_from(span).unwrap_or(u64::MAX).saturating_add(1);
        low + Duration::from_nanos(self.0.u64() % span)
    }

    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        self.between(Duration::from_millis(low), Duration::from_millis(high))
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// Returns `low` to `high` random bytes.
    pub(crate) fn bytes(&mut self, low: usize, high: usize) -> Vec<u8> {
        let mut out = vec![0; low + self.below(high - low + 1)];
        self.0.fill(&mut out);
        out
    }

    /// Modifies, truncates or extends `bytes` at random.
    pub(crate) fn mutate(&mut self, bytes: &mut Vec<u8>) {
        match self.below(4) {
            0 => bytes.truncate(self.below(bytes.len() + 1)),
            1 => bytes.extend(self.bytes(1, 40)),
            _ => self.flip(bytes),
        }
    }

    /// Flips one to eight bits of `bytes`.
    pub(crate) fn flip(&mut self, bytes: &mut [u8]) {
        if bytes.is_empty() {
            return;
        }
        for _ in 0..=self.below(8) {
            let at = self.below(bytes.len());
            bytes[at] ^= 1 << self.below(8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            (0..50).map(|_| rng.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn choices_stay_in_range() {
        let mut rng = Rng::new(7);
        let mut hits = 0;
        for _ in 0..10_000 {
            assert!(rng.below(3) < 3);
            let d = rng.millis(10, 50);
            assert!(d >= Duration::from_millis(10) && d <= Duration::from_millis(50));
            hits += u32::from(rng.chance(100));
        }
        assert!((800..1200).contains(&hits), "{hits}");
        assert_eq!(rng.below(0), 0);
    }
}
