//! Datagrams for the socket, built one after another in one buffer, and grouped in runs that the kernel takes with
//! one call (UDP GSO: datagrams of equal length to one address; the last one may be shorter).

use core::net::SocketAddr;
use core::ops::Range;

use crate::limits::{MAX_RUN_BYTES, MAX_RUN_DATAGRAMS};

/// Contiguous datagrams to one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Destination address.
    pub to: SocketAddr,
    /// Range of their bytes in [`Outgoing::bytes`].
    pub range: Range<usize>,
    /// Bytes of each datagram but the last, which may be shorter; 0: the range is one datagram.
    pub segment: usize,
}

impl Run {
    /// Creates a run of one datagram.
    pub fn one(to: SocketAddr, range: Range<usize>) -> Self {
        let segment = range.len();
        Self { to, range, segment }
    }

    /// Returns the number of datagrams, at least 1.
    pub fn datagrams(&self) -> usize {
        match self.segment {
            0 => 1,
            segment => self.range.len().div_ceil(segment).max(1),
        }
    }

    /// Returns true if a further datagram of `len` bytes can be appended to the run.
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

/// Datagrams of one batch of a lane. The memory is reused by the next batch.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    runs: Vec<Run>,
}

impl Outgoing {
    /// Returns the buffer to which the next datagram is appended; its present content must stay.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Returns the offset at which the next datagram begins.
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// Queues the bytes from `start` to the end as a datagram to `to`.
    pub(super) fn commit(&mut self, to: SocketAddr, start: usize) {
        let end = self.bytes.len();
        let len = end.saturating_sub(start);
        match self.runs.last_mut() {
            Some(run) if run.takes(to, start, len) => run.range.end = end,
            _ => self.runs.push(Run::one(to, start..end)),
        }
    }

    /// Appends a complete datagram.
    pub fn push(&mut self, to: SocketAddr, datagram: &[u8]) {
        let start = self.end();
        self.bytes.extend_from_slice(datagram);
        self.commit(to, start);
    }

    /// Returns the bytes of all datagrams; the runs give their ranges.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the runs in the order in which they are to be sent.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Returns the datagrams one by one, for senders without GSO.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.runs.iter().flat_map(|run| {
            let bytes = self.bytes.get(run.range.clone()).unwrap_or_default();
            let to = run.to;
            bytes.chunks(run.segment.max(1)).map(move |d| (to, d))
        })
    }

    /// Returns true if there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Removes all datagrams, but keeps the memory.
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
        fn datagrams_come_out_as_they_went_in(sent in prop::collection::vec((1u8..4, 1usize..4), 0..200)) {
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
