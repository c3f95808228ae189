//! Bounded decoding of lists, texts and bytes from outside: one element too many is an error, and announced lengths
//! cause no allocation.
//!
//! For use in `#[serde(deserialize_with = "…")]`.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// Number of elements allocated for an announced length; further ones are allocated as they are decoded.
const TRUSTED_CAPACITY: usize = 16;

/// Decodes a list of at most `MAX` elements.
///
/// # Errors
/// Errors of the deserializer, and more than `MAX` elements.
pub fn list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(ListVisitor::<T, MAX>(PhantomData))
}

/// Decodes a UTF-8 text of at most `MAX` bytes.
///
/// # Errors
/// Errors of the deserializer, and more than `MAX` bytes.
pub fn text<'de, D: Deserializer<'de>, const MAX: usize>(
    deserializer: D,
) -> Result<String, D::Error> {
    let text = <&str>::deserialize(deserializer)?;
    if text.len() > MAX {
        return Err(D::Error::custom("text too long"));
    }
    Ok(text.to_owned())
}

/// Returns the longest prefix of `text` that has at most `max` bytes and ends between two characters.
pub fn truncated(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Opaque bytes, at most `MAX`, borrowed from the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob<'a, const MAX: usize>(pub &'a [u8]);

impl<const MAX: usize> serde::Serialize for Blob<'_, MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a, const MAX: usize> Deserialize<'de> for Blob<'a, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        if bytes.len() > MAX {
            return Err(D::Error::custom("too many bytes"));
        }
        Ok(Self(bytes))
    }
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let announced = seq.size_hint().unwrap_or(0);
        if announced > MAX {
            return Err(A::Error::invalid_length(announced, &self));
        }
        let mut list = Vec::with_capacity(announced.min(TRUSTED_CAPACITY));
        while let Some(element) = seq.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::invalid_length(MAX + 1, &self));
            }
            list.push(element);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample<'a> {
        #[serde(deserialize_with = "list::<_, _, 3>")]
        list: Vec<u32>,
        #[serde(deserialize_with = "text::<_, 4>")]
        text: String,
        #[serde(borrow)]
        blob: Blob<'a, 2>,
    }

    fn round_trip(list: &[u32], text: &str, blob: &[u8]) -> bool {
        let sample = Sample {
            list: list.to_vec(),
            text: text.to_owned(),
            blob: Blob(blob),
        };
        let mut bytes = Vec::new();
        codec::encode(&sample, &mut bytes).unwrap();
        match codec::decode::<Sample<'_>>(&bytes) {
            Ok(back) => back == sample,
            Err(_) => false,
        }
    }

    #[test]
    fn bounds_are_inclusive_and_hold() {
        assert!(round_trip(&[1, 2, 3], "abcd", &[1, 2]));
        assert!(round_trip(&[], "", &[]));
        assert!(!round_trip(&[1, 2, 3, 4], "", &[]));
        assert!(!round_trip(&[], "abcde", &[]));
        assert!(!round_trip(&[], "", &[1, 2, 3]));
    }

    #[test]
    fn an_announced_list_that_is_not_there_is_an_error() {
        assert!(codec::decode::<Sample<'_>>(&[3, 1]).is_err());
        assert!(codec::decode::<Sample<'_>>(&[0xfc, 0x7f, 0xff, 0xff, 0xff]).is_err());
    }

    #[test]
    fn truncation_keeps_characters_whole() {
        assert_eq!(truncated("häuser", 2), "h");
        assert_eq!(truncated("häuser", 3), "hä");
        assert_eq!(truncated("abc", 9), "abc");
        assert_eq!(truncated("ä", 0), "");
    }
}
