//! A small seeded mutator, so that the test suite fuzzes without libFuzzer.

use mesh_proto::entropy::{Entropy, SeededEntropy};

/// Longest generated input in bytes.
const MAX_INPUT: usize = 4096;
/// Boundary values of lengths and numbers.
const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    15,
    16,
    250,
    251,
    252,
    253,
    0xff,
    0x7fff,
    0xffff,
    0xffff_ffff,
    u64::MAX,
];

/// Generates inputs from others by bit flips, length changes, truncation, splicing and repetition.
#[derive(Debug)]
pub struct Mutator(SeededEntropy);

impl Mutator {
    /// Returns a mutator whose output is determined by `seed`.
    pub fn new(seed: u64) -> Self {
        let mut entropy = SeededEntropy::new(seed);
        let jumped = entropy.u64() ^ seed.rotate_left(32);
        Self(SeededEntropy::new(jumped))
    }

    /// Returns the next input: one of the corpus, mutated at least once.
    pub fn next(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.pick(corpus).to_vec();
        for _ in 0..1 << self.below(4) {
            self.mutate(&mut input, corpus);
        }
        input.truncate(MAX_INPUT);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        match self.below(9) {
            0 => {
                let bit = 1 << self.below(8);
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= bit;
                }
            }
            1 => {
                let value = self.byte();
                if let Some(byte) = input.get_mut(at) {
                    *byte = value;
                }
            }
            2 => self.put_number(input, at),
            3 => input.truncate(at),
            4 => {
                let end = (at + 1 + self.below(16)).min(input.len());
                input.drain(at.min(end)..end);
            }
            5 => {
                let new: Vec<u8> = (0..=self.below(16)).map(|_| self.byte()).collect();
                input.splice(at..at, new);
            }
            6 => {
                let other = self.pick(corpus);
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            7 => {
                let other = self.pick(corpus);
                let from = self.below(other.len() + 1);
                let to = (from + 1 + self.below(32)).min(other.len());
                input.splice(at..at, other[from.min(to)..to].iter().copied());
            }
            _ => {
                let end = (at + 1 + self.below(32)).min(input.len());
                let piece = input[at.min(end)..end].to_vec();
                for _ in 0..=self.below(8) {
                    input.splice(at..at, piece.iter().copied());
                }
            }
        }
    }

    /// Overwrites one to eight bytes with a number, in either byte order.
    fn put_number(&mut self, input: &mut [u8], at: usize) {
        let number = NUMBERS[self.below(NUMBERS.len())];
        let width = 1 << self.below(4);
        let little = number.to_le_bytes();
        let mut bytes = little[..width].to_vec();
        if self.below(2) == 0 {
            bytes.reverse();
        }
        for (byte, new) in input.iter_mut().skip(at).zip(bytes) {
            *byte = new;
        }
    }

    fn pick<'a>(&mut self, corpus: &'a [Vec<u8>]) -> &'a [u8] {
        let n = self.below(corpus.len().max(1));
        corpus.get(n).map_or(&[], Vec::as_slice)
    }

    fn byte(&mut self) -> u8 {
        self.0.u64().to_le_bytes()[0]
    }

    /// Returns a number below `n`, which must be at least 1.
    fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        usize::try_from(self.0.u64() % n).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_run_and_inputs_differ() {
        let corpus = vec![b"hello".to_vec(), vec![0; 100], Vec::new()];
        let run = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..500).map(|_| mutator.next(&corpus)).collect::<Vec<_>>()
        };
        let first = run(1);
        assert_eq!(first, run(1));
        assert_ne!(first, run(2));
        let distinct: std::collections::BTreeSet<_> = first.iter().collect();
        assert!(distinct.len() > 300, "{}", distinct.len());
        assert!(first.iter().all(|input| input.len() <= MAX_INPUT));
        assert!(Mutator::new(3).next(&[]).len() <= MAX_INPUT);
    }
}
