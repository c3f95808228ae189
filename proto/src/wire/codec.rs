//! Serialization of link messages and records. The serializer is named in this file only, so that it can be replaced
//! by changing one file and the protocol version.
//!
//! The format:
//!
//! | value | bytes |
//! |---|---|
//! | `u8`, `bool` | one byte; a `bool` is 0 or 1 |
//! | `u16`, `u32`, `u64`, length, enum tag | below 251 1 byte; else `fb` + 2, `fc` + 4 or `fd` + 8 bytes, big-endian |
//! | `[T; n]`, tuple, struct | the members one after another |
//! | list, text, bytes | number of elements (text, bytes: of bytes), then the elements |
//! | `Option` | 0, or 1 and the value |
//! | IP address | 0 and 4 bytes, or 1 and 16 bytes |
//! | socket address | 0 (IPv4) or 1 (IPv6), 4 or 16 bytes, the port as `u16`; no scope and no flow label |
//! | address with prefix length | 0 and 4 bytes, or 1 and 16 bytes, then the prefix length as one byte |
//!
//! Nothing is encoded again to be signed or hashed: signatures cover the bytes that were transmitted.

use bincode::config::{BigEndian, Configuration, Limit, Varint};
use serde::{Deserialize, Serialize};

use crate::limits::MAX_LINK_MESSAGE;

const CONFIG: Configuration<BigEndian, Varint, Limit<MAX_LINK_MESSAGE>> =
    bincode::config::standard()
        .with_big_endian()
        .with_variable_int_encoding()
        .with_limit::<MAX_LINK_MESSAGE>();

/// Reason why bytes cannot be decoded, or a value cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// No encoding of the type, or a bound of [`crate::limits`] is exceeded.
    #[error("malformed or out of bounds")]
    Malformed,
    /// This many bytes follow the value.
    #[error("{0} bytes after the end")]
    Trailing(usize),
    /// The value cannot be encoded.
    #[error("cannot be encoded")]
    Unencodable,
}

/// Appends the encoding of `value` to `out`.
///
/// # Errors
/// [`CodecError::Unencodable`] for types whose `Serialize` fails; no type of this crate does.
pub fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let bytes =
        bincode::serde::encode_to_vec(value, CONFIG).map_err(|_| CodecError::Unencodable)?;
    out.extend_from_slice(&bytes);
    Ok(())
}

/// Decodes one value that fills `bytes` entirely, of which at most [`MAX_LINK_MESSAGE`] are read.
///
/// Announced lengths are not trusted: bytes and texts are borrowed from the input, and lists go through
/// [`super::bounded`].
///
/// # Errors
/// [`CodecError::Malformed`] or [`CodecError::Trailing`].
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    match decode_first(bytes)? {
        (value, []) => Ok(value),
        (_, rest) => Err(CodecError::Trailing(rest.len())),
    }
}

/// Decodes the value at the beginning of `bytes`, and returns it with the bytes after it.
///
/// # Errors
/// [`CodecError::Malformed`].
pub fn decode_first<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), CodecError> {
    let (value, used) = bincode::serde::borrow_decode_from_slice(bytes, CONFIG)
        .map_err(|_| CodecError::Malformed)?;
    Ok((value, bytes.get(used..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnet::IpNet;
    use std::net::SocketAddr;

    fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, &mut out).unwrap();
        out
    }

    #[test]
    fn the_table_in_the_documentation_is_true() {
        assert_eq!(bytes(&7u8), [7]);
        assert_eq!(bytes(&255u8), [255]);
        assert_eq!(bytes(&true), [1]);
        assert_eq!(bytes(&250u64), [250]);
        assert_eq!(bytes(&251u64), [0xfb, 0, 251]);
        assert_eq!(bytes(&0x1_0000u64), [0xfc, 0, 1, 0, 0]);
        assert_eq!(bytes(&(1u64 << 32)), [0xfd, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(bytes(&[1u8, 2, 3]), [1, 2, 3]);
        assert_eq!(bytes(&vec![1u8, 2, 3]), [3, 1, 2, 3]);
        assert_eq!(bytes(&"ab"), [2, b'a', b'b']);
        assert_eq!(bytes(&Some(9u8)), [1, 9]);
        assert_eq!(bytes(&None::<u8>), [0]);
        let v4: SocketAddr = "1.2.3.4:258".parse().unwrap();
        assert_eq!(bytes(&v4), [0, 1, 2, 3, 4, 0xfb, 1, 2]);
        let net: IpNet = "10.2.1.1/24".parse().unwrap();
        assert_eq!(bytes(&net), [0, 10, 2, 1, 1, 24]);
        let v6: IpNet = "fd00::1/64".parse().unwrap();
        assert_eq!(bytes(&v6).len(), 18);
        assert_eq!(bytes(&v6)[17], 64);
    }

    #[test]
    fn trailing_bytes_and_short_input_are_refused() {
        assert_eq!(decode::<u8>(&[1, 2, 3]), Err(CodecError::Trailing(2)));
        assert_eq!(decode_first::<u8>(&[1, 2, 3]), Ok((1, &[2, 3][..])));
        assert_eq!(decode::<u8>(&[]), Err(CodecError::Malformed));
        assert_eq!(decode::<bool>(&[2]), Err(CodecError::Malformed));
        assert_eq!(decode::<&str>(&[2, 0xff, 0xff]), Err(CodecError::Malformed));
    }

    #[test]
    fn an_impossible_prefix_length_is_refused() {
        assert!(decode::<IpNet>(&[0, 10, 2, 1, 1, 32]).is_ok());
        assert!(decode::<IpNet>(&[0, 10, 2, 1, 1, 33]).is_err());
    }

    #[test]
    fn a_huge_announced_length_is_refused_at_once() {
        let announced = [0xfd, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(decode::<&str>(&announced), Err(CodecError::Malformed));
        assert_eq!(decode::<&[u8]>(&announced), Err(CodecError::Malformed));
    }
}
