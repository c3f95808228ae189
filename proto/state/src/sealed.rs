//! A small file with a checksum: a first line with the checksum, then text or bytes.

use sha2::{Digest, Sha256};

/// Start of the first line, with the version of the format.
const MAGIC: &str = "mesh-state 1 ";
/// Largest file read, in bytes; real ones are far smaller, and a foreign file must not exhaust memory.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;

/// Returns `body` with the checksum line in front.
pub fn seal(body: &[u8]) -> Vec<u8> {
    let mut out = format!("{MAGIC}{}\n", digest(body)).into_bytes();
    out.extend_from_slice(body);
    out
}

/// Returns the body of a sealed file of text.
///
/// # Errors
/// The problem with it.
pub fn unseal(bytes: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let body = unseal_bytes(text.as_bytes())?;
    std::str::from_utf8(body).map_err(|_| "it is not text")
}

/// Returns the body of a sealed file.
///
/// # Errors
/// The problem with it.
pub fn unseal_bytes(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (head, body) = end
        .and_then(|end| bytes.split_at_checked(end))
        .ok_or("its first line is cut off")?;
    let body = body.get(1..).unwrap_or_default();
    let Some(sum) = head.strip_prefix(MAGIC.as_bytes()) else {
        return Err(match head.starts_with(b"mesh-state ") {
            true => "it was written by another version of mesh",
            false => "it is not a state file of mesh",
        });
    };
    match sum == digest(body).as_bytes() {
        true => Ok(body),
        false => Err("its checksum does not match"),
    }
}

fn digest(body: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(body) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_byte_changed_and_any_cut_is_refused() {
        let whole = seal(b"[\"host1\"]\n");
        assert_eq!(unseal(&whole), Ok("[\"host1\"]\n"));
        for at in 0..whole.len() {
            assert!(unseal(&whole[..at]).is_err(), "cut at {at}");
            for mask in [0x01, 0x20, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= mask;
                assert!(unseal(&bytes).is_err(), "byte {at} xor {mask:#x}");
            }
        }
        assert_eq!(
            unseal(b"mesh-state 2 00\n[]"),
            Err("it was written by another version of mesh")
        );
        assert_eq!(unseal(b"root:x:0\n"), Err("it is not a state file of mesh"));
    }

    #[test]
    fn bytes_that_are_no_text_come_back() {
        let whole = seal(&[0xff, b'\n', 0]);
        assert_eq!(unseal_bytes(&whole), Ok(&[0xff, b'\n', 0][..]));
        assert_eq!(unseal(&whole), Err("it is not text"));
        assert_eq!(unseal_bytes(&seal(&[])), Ok(&[][..]));
        for at in 0..whole.len() {
            assert!(unseal_bytes(&whole[..at]).is_err(), "cut at {at}");
        }
    }
}
