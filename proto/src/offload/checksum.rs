//! Checksums of TCP and UDP packets in frames: completed, and verified.

use super::OffloadError;
use super::packet::{L4Protocol, Packet, get16, put};
use crate::checksum::{checksum, folded, sum};

/// Completes the checksum of a partial TCP or UDP frame.
///
/// # Errors
/// [`OffloadError::NotTransport`] if it is no complete TCP or UDP packet; the frame is unchanged.
pub fn finish_checksum(frame: &mut [u8]) -> Result<(), OffloadError> {
    let packet = Packet::parse(frame).map_err(|_| OffloadError::NotTransport)?;
    let covered = frame.get(packet.transport_at..packet.end);
    let finished = match checksum(covered.unwrap_or_default()) {
        // In UDP, 0 means no checksum (RFC 768).
        0 if packet.transport == L4Protocol::Udp => u16::MAX,
        finished => finished,
    };
    put(frame, packet.checksum_at(), finished.to_be_bytes());
    Ok(())
}

/// Returns true if the frame is a complete TCP or UDP packet with a valid checksum; false for UDP without a checksum.
pub fn has_valid_checksum(frame: &[u8]) -> bool {
    Packet::parse(frame).is_ok_and(|packet| is_valid(frame, &packet))
}

/// Returns the same as [`has_valid_checksum`], for a parsed frame.
pub(super) fn is_valid(frame: &[u8], packet: &Packet) -> bool {
    let covered = frame.get(packet.transport_at..packet.end);
    let none = packet.transport == L4Protocol::Udp && get16(frame, packet.checksum_at()) == 0;
    !none && folded(&[sum(covered.unwrap_or_default()), pseudo(frame, packet)]) == u16::MAX
}

/// Returns the content of the checksum field of `packet` when it is partial: the sum of the pseudo-header.
pub(super) fn pseudo(frame: &[u8], packet: &Packet) -> u32 {
    let len = u32::try_from(packet.transport_len()).unwrap_or(u32::MAX);
    u32::from(folded(&[packet.pseudo_sum(frame), len]))
}
