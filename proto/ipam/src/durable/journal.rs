//! The journal: entries that the shell appends, syncs, and shows again at the next start.
//!
//! Each is a format byte and a value as [`mesh_proto::wire::codec`] writes it. The shell adds a length and a checksum, and drops
//! a damaged tail: every beginning of a journal is a state that there was, and nothing outside depended on the rest.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::super::slices::Slicing;
use super::entry::JournalEntry;
use super::state::AddressState;
use mesh_proto::ids::PeerId;
use mesh_proto::wire::codec;

/// Format of journals written by this version.
const FORMAT: u8 = 1;

/// The first entry: the router and the range that the journal is of.
#[derive(Serialize, Deserialize)]
struct JournalHeader {
    me: PeerId,
    range: Ipv4Net,
}

/// The reason a journal is not used. Nothing of it is, then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Written by another version.
    #[error(
        "the state of addresses has format {0}; this version reads {FORMAT}: start the newer version, or set the file aside with `mesh reset`"
    )]
    Format(u8),
    /// Not an entry.
    #[error("entry {0} of the state of addresses is damaged")]
    Malformed(usize),
    /// Written for another range.
    #[error(
        "the state of addresses is for {0}, not {1}: launch with --ipalloc-range {0}, or `mesh reset`"
    )]
    Range(Ipv4Net, Ipv4Net),
    /// Written by another router.
    #[error("the state of addresses belongs to router {0}: `mesh reset`")]
    Foreign(PeerId),
}

impl JournalEntry {
    /// Returns the bytes for the journal.
    pub(crate) fn encode(&self) -> Vec<u8> {
        framed(self)
    }
}

/// Returns the first entry of every journal.
pub(crate) fn header(state: &AddressState) -> Vec<u8> {
    framed(&JournalHeader {
        me: state.me(),
        range: state.slicing().range(),
    })
}

/// Returns the state that `entries` lead to; an empty journal is a new one.
pub(crate) fn replay<'a>(
    me: PeerId,
    slicing: Slicing,
    entries: impl IntoIterator<Item = &'a [u8]>,
) -> Result<AddressState, JournalError> {
    let mut state = AddressState::new(me, slicing);
    let mut entries = entries.into_iter().enumerate();
    if let Some((index, first)) = entries.next() {
        let header: JournalHeader = unframed(first, index)?;
        if header.range != slicing.range() {
            return Err(JournalError::Range(header.range, slicing.range()));
        }
        if header.me != me {
            return Err(JournalError::Foreign(header.me));
        }
    }
    for (index, bytes) in entries {
        state.apply(&unframed(bytes, index)?);
    }
    Ok(state)
}

/// Returns a short journal that leads to `state`.
pub(crate) fn snapshot(state: &AddressState) -> Vec<Vec<u8>> {
    let entries = state.snapshot();
    let entries = entries.iter().map(JournalEntry::encode);
    core::iter::once(header(state)).chain(entries).collect()
}

fn framed<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = vec![FORMAT];
    // None of our types fails to be encoded.
    let _ = codec::encode(value, &mut out);
    out
}

fn unframed<'a, T: Deserialize<'a>>(bytes: &'a [u8], index: usize) -> Result<T, JournalError> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => codec::decode(rest).map_err(|_| JournalError::Malformed(index)),
        Some((format, _)) => Err(JournalError::Format(*format)),
        None => Err(JournalError::Malformed(index)),
    }
}
