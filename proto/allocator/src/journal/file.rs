//! The journal file: an append-only list of synced batches.
//!
//! `mesh-addresses 1\n`, then frames:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `a5 6d 6a 0a` |
//! | 4 | length of the payload, big-endian |
//! | 8 | first bytes of the SHA-256 of: offset of the frame in the file (`u64`), length, payload |
//! | rest | entries, each with its length (4 bytes, big-endian) before it |
//!
//! A frame is what one sync made durable, and the next one is written only after that. So a damaged frame with a good
//! one behind it was whole once, and the file is refused; a damaged end is a write that a crash cut short, of which
//! nobody was told, and is cut off. The first frame comes with the file itself and is never cut short.

use sha2::{Digest, Sha256};

/// Longest file read, in bytes; compacting keeps ours far below.
pub const MAX_FILE: u64 = 64 * 1024 * 1024;

const HEADER: &[u8] = b"mesh-addresses 1\n";
const MAGIC: [u8; 4] = [0xa5, b'm', b'j', b'\n'];
const FRAME: usize = 16;

/// The reason a journal cannot be used. It was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalDamage {
    /// It does not begin as one.
    #[error("it is not a journal of addresses, or its beginning is cut off")]
    NotOurs,
    /// It was written by another version.
    #[error("it was written by another version of mesh")]
    Version,
    /// A part that was once whole is not any more.
    #[error("it is damaged at byte {0}")]
    At(usize),
    /// It is longer than routers write them.
    #[error("it is longer than {MAX_FILE} bytes")]
    TooLong,
}

/// The content of a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// All entries, oldest first.
    pub entries: Vec<Vec<u8>>,
    /// Bytes of the file that count; what is behind them was cut short by a crash.
    pub length: usize,
}

/// Reads a whole file.
///
/// # Errors
/// [`JournalDamage`], for anything but a sound file or one whose last frame was cut short.
pub fn read(bytes: &[u8]) -> Result<Journal, JournalDamage> {
    if !bytes.starts_with(HEADER) {
        return Err(
            match bytes.starts_with(b"mesh-addresses ") && bytes.len() > HEADER.len() {
                true => JournalDamage::Version,
                false => JournalDamage::NotOurs,
            },
        );
    }
    let mut journal = Journal {
        entries: Vec::new(),
        length: HEADER.len(),
    };
    while journal.length < bytes.len() {
        let Some(payload) = frame_at(bytes, journal.length) else {
            let is_first = journal.entries.is_empty();
            let later = (journal.length + 1..bytes.len()).any(|at| frame_at(bytes, at).is_some());
            return match is_first || later {
                true => Err(JournalDamage::At(journal.length)),
                false => Ok(journal),
            };
        };
        let entries = entries_of(payload).ok_or(JournalDamage::At(journal.length))?;
        journal.entries.extend(entries);
        journal.length += FRAME + payload.len();
    }
    match journal.entries.is_empty() {
        true => Err(JournalDamage::NotOurs),
        false => Ok(journal),
    }
}

/// Reads the entries of a whole file.
///
/// # Errors
/// [`JournalDamage`], for anything but a sound file or one whose last frame was cut short.
pub fn entries(bytes: &[u8]) -> Result<Vec<Vec<u8>>, JournalDamage> {
    Ok(read(bytes)?.entries)
}

/// Returns the payload of the sound frame that begins here.
fn frame_at(bytes: &[u8], offset: usize) -> Option<&[u8]> {
    let rest = bytes.get(offset..)?.strip_prefix(&MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let payload = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    (*sum == checksum(offset, payload)).then_some(payload)
}

fn entries_of(mut payload: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = payload.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (entry, rest) = rest.split_at_checked(length)?;
        entries.push(entry.to_vec());
        payload = rest;
    }
    payload.is_empty().then_some(entries)
}

/// Returns one frame that begins at `offset` of the file.
pub fn frame(offset: usize, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = Vec::new();
    for entry in entries {
        payload.extend_from_slice(&length(entry));
        payload.extend_from_slice(entry);
    }
    let mut frame = MAGIC.to_vec();
    frame.extend_from_slice(&length(&payload));
    frame.extend_from_slice(&checksum(offset, &payload));
    frame.extend_from_slice(&payload);
    frame
}

/// Returns a whole file with one frame.
pub fn file(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    bytes.extend(frame(HEADER.len(), entries));
    bytes
}

/// Returns a length as it is written. Entries have some hundred bytes, and frames are bounded by the backlog.
fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

fn checksum(offset: usize, payload: &[u8]) -> [u8; 8] {
    let mut hash = Sha256::new();
    hash.update(u64::try_from(offset).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(length(payload));
    hash.update(payload);
    let mut sum = [0; 8];
    sum.copy_from_slice(&hash.finalize()[..8]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(n: u8) -> Vec<Vec<u8>> {
        (0..n).map(|k| vec![k; usize::from(k) + 1]).collect()
    }

    /// A file of three frames, and what its beginnings say.
    fn sample() -> (Vec<u8>, [Vec<Vec<u8>>; 3], [usize; 3]) {
        let mut bytes = file(&some(3));
        let mut says = [some(3), Vec::new(), Vec::new()];
        let mut ends = [bytes.len(), 0, 0];
        for (n, more) in [(1, some(1)), (2, some(4))] {
            bytes.extend(frame(bytes.len(), &more));
            says[n] = [says[n - 1].clone(), more].concat();
            ends[n] = bytes.len();
        }
        (bytes, says, ends)
    }

    #[test]
    fn what_is_written_is_read() {
        let (bytes, says, ends) = sample();
        for (says, end) in says.iter().zip(ends) {
            let journal = read(&bytes[..end]).unwrap();
            assert_eq!((&journal.entries, journal.length), (says, end));
        }
    }

    #[test]
    fn cut_at_every_length_it_says_what_it_said_before_or_is_refused() {
        let (bytes, says, ends) = sample();
        for length in 0..bytes.len() {
            let whole = ends.iter().rposition(|end| *end <= length);
            match whole {
                None => assert!(read(&bytes[..length]).is_err(), "cut at {length}"),
                Some(n) => {
                    let journal = read(&bytes[..length]).unwrap();
                    assert_eq!((&journal.entries, journal.length), (&says[n], ends[n]));
                }
            }
        }
    }

    #[test]
    fn with_any_byte_changed_it_is_refused_but_for_the_last_frame_which_may_have_been_cut_short() {
        let (bytes, says, ends) = sample();
        for at in 0..bytes.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                let journal = read(&changed);
                if at < ends[1] {
                    assert!(journal.is_err(), "byte {at} changed by {change}");
                } else {
                    assert_eq!(journal.unwrap().entries, says[1], "byte {at} by {change}");
                }
            }
        }
    }

    #[test]
    fn a_crash_that_left_zeros_or_part_of_several_pages_costs_the_last_frame_only() {
        let (bytes, says, ends) = sample();
        let mut zeros = bytes[..ends[1]].to_vec();
        zeros.resize(ends[1] + 5_000, 0);
        assert_eq!(read(&zeros).unwrap().entries, says[1]);
        let mut holed = bytes.clone();
        holed[ends[1]..ends[1] + 20].fill(0);
        assert_eq!(read(&holed).unwrap().entries, says[1]);
    }

    #[test]
    fn a_frame_elsewhere_than_it_was_written_counts_for_nothing() {
        let (bytes, _, ends) = sample();
        let moved = [&bytes[..ends[0]], &bytes[ends[1]..]].concat();
        assert_eq!(read(&moved).unwrap().length, ends[0]);
    }

    #[test]
    fn foreign_files_are_refused_each_with_its_reason() {
        assert_eq!(read(b""), Err(JournalDamage::NotOurs));
        assert_eq!(read(b"mesh-addresses 1\n"), Err(JournalDamage::NotOurs));
        assert_eq!(
            read(b"mesh-addresses 2\nwhatever"),
            Err(JournalDamage::Version)
        );
        assert_eq!(read(&[0; 4096]), Err(JournalDamage::NotOurs));
    }
}
