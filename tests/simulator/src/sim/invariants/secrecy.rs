//! I8: the bytes of a container's frame appear in no datagram and in no TCP stream.

use super::{Check, Violation};
use crate::sim::frames::MARKER;

const NAME: &str = "I8 secrecy";
/// Bytes that are compared at once.
const PART: usize = 32;

/// Checks a datagram.
pub(crate) fn datagram(bytes: &[u8]) -> Check {
    if contains(bytes) {
        return Err(Violation::new(
            NAME,
            "a frame in clear in a datagram".to_owned(),
        ));
    }
    Ok(())
}

/// Checks bytes written to a stream; `tail` keeps the end, for matches across two writes.
pub(crate) fn stream(tail: &mut Vec<u8>, bytes: &[u8]) -> Check {
    tail.extend_from_slice(bytes);
    if contains(tail) {
        return Err(Violation::new(
            NAME,
            "a frame in clear in a TCP stream".to_owned(),
        ));
    }
    let keep = tail.len().saturating_sub(MARKER.len() - 1);
    tail.drain(..keep);
    Ok(())
}

fn contains(bytes: &[u8]) -> bool {
    // Most parts lack even the first byte, which is found out for a part at once: every datagram passes here.
    bytes.chunks(PART).enumerate().any(|(part, chunk)| {
        let has_first = chunk.iter().fold(false, |has, b| has | (*b == MARKER[0]));
        has_first && begins_in(&bytes[part * PART..], chunk.len())
    })
}

/// True if the marker begins within the first `length` bytes.
fn begins_in(bytes: &[u8], length: usize) -> bool {
    (0..length).any(|at| bytes[at..].starts_with(MARKER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_is_found_wherever_it_is() {
        let mut bytes = vec![MARKER[0]; 40];
        assert!(datagram(&bytes).is_ok());
        bytes.extend_from_slice(MARKER);
        assert!(datagram(&bytes).is_err());
        assert!(datagram(&bytes[..bytes.len() - 1]).is_ok());
    }

    #[test]
    fn the_marker_is_found_at_every_position() {
        for at in 0..3 * PART {
            let mut bytes = vec![0; at];
            bytes.extend_from_slice(MARKER);
            assert!(datagram(&bytes).is_err(), "at {at}");
            assert!(datagram(&bytes[..at + MARKER.len() - 1]).is_ok());
            bytes.resize(4 * PART, 0);
            assert!(datagram(&bytes).is_err(), "at {at}");
        }
    }

    #[test]
    fn the_marker_is_found_across_writes() {
        let mut tail = Vec::new();
        assert!(stream(&mut tail, b"abc").is_ok());
        assert!(stream(&mut tail, &MARKER[..7]).is_ok());
        assert!(stream(&mut tail, &MARKER[7..]).is_err());
    }
}
