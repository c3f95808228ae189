//! Randomness as an argument, so that a seed reproduces a simulated run.

use core::time::Duration;

/// Source of random bytes: the operating system in the router, a seeded generator in the simulator.
pub trait Entropy {
    /// Fills `out` with random bytes fit for keys.
    fn fill(&mut self, out: &mut [u8]);

    /// Returns eight random bytes as a number.
    fn u64(&mut self) -> u64 {
        let mut b = [0; 8];
        self.fill(&mut b);
        u64::from_le_bytes(b)
    }

    /// Returns a new 32-byte secret.
    fn key(&mut self) -> [u8; 32] {
        let mut b = [0; 32];
        self.fill(&mut b);
        b
    }

    /// Returns `d` with a random change of up to `percent` per cent either way; all timers of the protocol use it.
    fn jitter(&mut self, d: Duration, percent: u32) -> Duration {
        let span = d * (2 * percent) / 100;
        let span_nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1);
        d - span / 2 + Duration::from_nanos(self.u64() % span_nanos)
    }
}

/// Small seeded generator (SplitMix64) for tests and the simulator; never for real keys.
#[derive(Clone, Debug)]
pub struct SeededEntropy(u64);

impl SeededEntropy {
    /// Creates a generator whose output depends on `seed` only.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}
