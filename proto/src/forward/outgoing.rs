//! Datagrams on their way to the socket: built one after another in one buffer, and grouped in runs that the kernel can
//! take with one call (UDP GSO: equal datagrams to one address, the last may be shorter).

use core::net::SocketAddr;
use core::ops::Range;

use crate::limits::{MAX_RUN_BYTES, MAX_RUN_DATAGRAMS};

/// Datagrams to one address that lie one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where they go.
    pub to: SocketAddr,
    /// Where they lie in [`Outgoing::bytes`].
    pub range: Range<usize>,
    /// Bytes of each but the last, which may have fewer; 0: the range is one datagram.
    pub segment: usize,
}

impl Run {
    /// A run of one datagram.
    pub fn one(to: SocketAddr, range: Range<usize>) -> Self {
        let segment = range.len();
        Self { to, range, segment }
    }

    /// How many datagrams there are, at least one.
    pub fn datagrams(&self) -> usize {
        match self.segment {
            0 => 1,
            segment => self.range.len().div_ceil(segment).max(1),
        }
    }

    /// Whether a further datagram of `len` bytes can join.
    fn takes(&self, to: SocketAddr, start: usize, len: usize) -> bool {
        self.to == to
            && self.range.end == start
            && self.segment > 0
            && len <= self.segment
            && self.range.len().is_multiple_of(self.segment)
            && self.range.len() + len <= MAX_RUN_BYTES
            && self.datagrams() < MAX_RUN_DATAGRAMS
    }
}

/// What one turn of a lane sends. Its memory is kept from turn to turn.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    runs: Vec<Run>,
}

impl Outgoing {
    /// The buffer at whose end the next datagram is to be built; what is in it already must stay.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Where the next datagram begins.
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// Sends what was built from byte `start` on.
    pub(super) fn commit(&mut self, to: SocketAddr, start: usize) {
        let end = self.bytes.len();
        let len = end.saturating_sub(start);
        match self.runs.last_mut() {
            Some(run) if run.takes(to, start, len) => run.range.end = end,
            _ => self.runs.push(Run::one(to, start..end)),
        }
    }

    /// Adds a datagram that is complete.
    pub fn push(&mut self, to: SocketAddr, datagram: &[u8]) {
        let start = self.end();
        self.bytes.extend_from_slice(datagram);
        self.commit(to, start);
    }

    /// All bytes; the runs say where the datagrams lie.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The runs, in the order in which they are to be sent.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The datagrams one by one, for whoever sends no runs.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.runs.iter().flat_map(|run| {
            let bytes = self.bytes.get(run.range.clone()).unwrap_or_default();
            let to = run.to;
            bytes.chunks(run.segment.max(1)).map(move |d| (to, d))
        })
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Forgets the datagrams, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn to(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 6783))
    }

    fn runs(datagrams: &[(u8, usize)]) -> Vec<(u8, usize)> {
        let mut out = Outgoing::default();
        for (n, len) in datagrams {
            out.push(to(*n), &vec![*n; *len]);
        }
        let first = |run: &Run| out.bytes()[run.range.start];
        out.runs()
            .iter()
            .map(|r| (first(r), r.datagrams()))
            .collect()
    }

    #[test]
    fn equal_datagrams_to_one_address_share_a_run() {
        assert_eq!(runs(&[(1, 100), (1, 100), (1, 100)]), [(1, 3)]);
        assert_eq!(
            runs(&[(1, 100), (2, 100), (1, 100)]),
            [(1, 1), (2, 1), (1, 1)]
        );
    }

    #[test]
    fn a_shorter_one_ends_a_run_and_a_longer_one_begins_another() {
        assert_eq!(runs(&[(1, 100), (1, 50), (1, 50)]), [(1, 2), (1, 1)]);
        assert_eq!(runs(&[(1, 100), (1, 101), (1, 101)]), [(1, 1), (1, 2)]);
    }

    #[test]
    fn runs_are_bounded() {
        let small = runs(&vec![(1, 10); MAX_RUN_DATAGRAMS + 1]);
        assert_eq!(small, [(1, MAX_RUN_DATAGRAMS), (1, 1)]);
        let large = runs(&[(1, 9_000); 8]);
        assert_eq!(large, [(1, MAX_RUN_BYTES / 9_000), (1, 1)]);
    }

    proptest! {
        #[test]
        fn what_went_in_comes_out(sent in prop::collection::vec((1u8..4, 1usize..4), 0..200)) {
            let mut out = Outgoing::default();
            for (i, (n, len)) in sent.iter().enumerate() {
                out.push(to(*n), &vec![u8::try_from(i).unwrap(); *len]);
            }
            let back: Vec<_> = out.datagrams().map(|(a, d)| (a, d.to_vec())).collect();
            let expected: Vec<_> = sent
                .iter()
                .enumerate()
                .map(|(i, (n, len))| (to(*n), vec![u8::try_from(i).unwrap(); *len]))
                .collect();
            prop_assert_eq!(back, expected);
        }
    }
}
