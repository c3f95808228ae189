//! The journal: what the shell appends, syncs, and shows again at the next start.
//!
//! Each entry is a format byte and a value as [`crate::wire::codec`] writes it. The shell adds a length and a checksum,
//! and drops a damaged tail: every beginning of a journal is a state that there was, and nothing that happened outside
//! depended on the rest.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::slices::{Run, Slicing};
use super::state::State;
use crate::ids::{PeerId, Version};
use crate::limits::MAX_CONTAINER_ID;
use crate::wire::{bounded, codec};

/// Format of journals written by this version.
const FORMAT: u8 = 1;

/// One change of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A router owns these slices, as far as we heard.
    Claim { owner: PeerId, run: Run },
    /// These are ours beyond doubt, and were given by `from`.
    Own { from: Option<PeerId>, run: Run },
    /// We gave these away.
    Give { to: PeerId, run: Run },
    /// The new owner claims this one.
    Taken { slice: u16 },
    /// A container of ours holds an address.
    Hold {
        addr: Ipv4Addr,
        prefix: u8,
        explicit: bool,
        #[serde(deserialize_with = "bounded::text::<_, MAX_CONTAINER_ID>")]
        container: String,
    },
    /// It does not any more.
    Release { addr: Ipv4Addr },
    /// Another router holds an address.
    Lend {
        addr: Ipv4Addr,
        to: PeerId,
        epoch: u64,
        number: u64,
    },
    /// It does not any more.
    Unlend { addr: Ipv4Addr },
    /// Another router claims a slice of ours.
    Contest { slice: u16, rival: PeerId },
    /// It does not any more, and the addresses it holds there are known.
    Conceded { slice: u16, rival: PeerId },
    /// A router was removed, with all it said up to this statement.
    Fence { peer: PeerId, version: Version },
}

#[derive(Serialize, Deserialize)]
struct Header {
    me: PeerId,
    range: Ipv4Net,
}

/// Why a journal is not used. Nothing of it is, then.
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

impl Entry {
    pub(crate) fn encode(&self) -> Vec<u8> {
        framed(self)
    }

    fn decode(bytes: &[u8], index: usize) -> Result<Self, JournalError> {
        unframed(bytes, index)
    }
}

/// The first entry of every journal.
pub(crate) fn header(state: &State) -> Vec<u8> {
    framed(&Header {
        me: state.me,
        range: state.slicing.range(),
    })
}

/// The state that `entries` lead to; an empty journal is a new one.
pub(crate) fn replay<'a>(
    me: PeerId,
    slicing: Slicing,
    entries: impl IntoIterator<Item = &'a [u8]>,
) -> Result<State, JournalError> {
    let mut state = State::new(me, slicing);
    let mut entries = entries.into_iter().enumerate();
    if let Some((index, first)) = entries.next() {
        let header: Header = unframed(first, index)?;
        if header.range != slicing.range() {
            return Err(JournalError::Range(header.range, slicing.range()));
        }
        if header.me != me {
            return Err(JournalError::Foreign(header.me));
        }
    }
    for (index, bytes) in entries {
        state.apply(&Entry::decode(bytes, index)?);
    }
    Ok(state)
}

/// A short journal that leads to `state`.
pub(crate) fn snapshot(state: &State) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    let mut owners: Vec<PeerId> = state.map.iter().flatten().map(|c| c.owner).collect();
    owners.sort_unstable();
    owners.dedup();
    for owner in owners {
        let theirs = state.slices().filter_map(|s| {
            let claim = state.claim_of(s).filter(|c| c.owner == owner)?;
            Some((s, claim.ver))
        });
        for run in Run::collect(theirs) {
            entries.push(Entry::Claim { owner, run });
        }
    }
    for slice in state.slices().filter(|s| state.owns(*s)) {
        let from = state.owned[usize::from(slice)].flatten();
        let run = run_of(state, slice);
        match entries.last_mut() {
            Some(Entry::Own { from: f, run: r })
                if *f == from && r.ver == run.ver && r.first + r.count == slice =>
            {
                r.count += 1;
            }
            _ => entries.push(Entry::Own { from, run }),
        }
    }
    for (slice, to) in &state.gives {
        let run = run_of(state, *slice);
        entries.push(Entry::Give { to: *to, run });
    }
    // Before the loans: what a removed router holds again was lent after its removal.
    for (peer, version) in &state.fences {
        let (peer, version) = (*peer, *version);
        entries.push(Entry::Fence { peer, version });
    }
    for (addr, held) in &state.held {
        entries.push(Entry::Hold {
            addr: *addr,
            prefix: held.prefix,
            explicit: held.explicit,
            container: held.container.clone(),
        });
    }
    for (addr, loan) in &state.loans {
        entries.push(Entry::Lend {
            addr: *addr,
            to: loan.to,
            epoch: loan.epoch,
            number: loan.number,
        });
    }
    for (slice, rivals) in &state.contests {
        for rival in rivals {
            let (slice, rival) = (*slice, *rival);
            entries.push(Entry::Contest { slice, rival });
        }
    }
    let entries = entries.iter().map(Entry::encode);
    core::iter::once(header(state)).chain(entries).collect()
}

fn run_of(state: &State, slice: u16) -> Run {
    Run {
        first: slice,
        count: 1,
        ver: state.claim_of(slice).map_or(0, |c| c.ver),
    }
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
