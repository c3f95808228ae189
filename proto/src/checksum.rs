//! The Internet checksum (RFC 1071).

/// Bytes added at once; the compiler vectorises the loop.
const STRIDE: usize = 64;

/// Returns the Internet checksum of `bytes`: the inverted ones' complement sum of the big-endian 16-bit words (RFC
/// 1071), with a zero appended to an odd number of bytes.
///
/// 0 if the bytes include a valid checksum.
pub fn checksum(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// Returns the Internet checksum of the concatenated `parts`; all but the last have an even length.
pub fn checksum_of(parts: &[&[u8]]) -> u16 {
    !fold64(parts.iter().map(|part| u64::from(sum(part))).sum())
}

/// Returns the ones' complement sum of the 16-bit words, at most 0xffff; 0 only for zeros.
pub(crate) fn sum(bytes: &[u8]) -> u32 {
    let mut lanes = [0u64; STRIDE / 8];
    let mut chunks = bytes.chunks_exact(STRIDE);
    for chunk in &mut chunks {
        for (lane, word) in lanes.iter_mut().zip(chunk.as_chunks::<8>().0) {
            let word = u64::from_ne_bytes(*word);
            // No carry is lost: a lane has room for 2^31 additions.
            *lane += (word & 0xffff_ffff) + (word >> 32);
        }
    }
    let mut total: u64 = lanes
        .iter()
        .map(|lane| (lane & 0xffff_ffff) + (lane >> 32))
        .sum();
    let (words, odd) = chunks.remainder().as_chunks::<4>();
    for word in words {
        total += u64::from(u32::from_ne_bytes(*word));
    }
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(odd) {
        *to = *from;
    }
    total += u64::from(u32::from_ne_bytes(last));
    // The sum is independent of the byte order, except for the order of its own bytes (RFC 1071 section 2 (B)).
    u32::from(u16::from_be(fold64(total)))
}

/// Folds a sum of 16-bit words into 16 bits; 0 only for 0.
pub(crate) fn fold(sum: u32) -> u16 {
    fold64(u64::from(sum))
}

/// Returns the folded sum of several sums.
pub(crate) fn folded(sums: &[u32]) -> u16 {
    fold64(sums.iter().map(|sum| u64::from(*sum)).sum())
}

fn fold64(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}
