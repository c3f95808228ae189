//! Content of the state files: JSON, keys in hexadecimal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Peers given to a start, stored for the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GivenPeers {
    /// Peers on the command line.
    pub command: Vec<String>,
    /// Peers in the configuration file.
    pub file: Vec<String>,
}

/// Signing key that each peer name is bound to.
pub type KeyPins = BTreeMap<String, [u8; 32]>;

/// Reads the pins as they are stored.
///
/// # Errors
/// A key is none.
pub fn parse_pins(stored: BTreeMap<String, String>) -> Result<KeyPins, String> {
    let pins = stored.into_iter().map(|(name, key)| match unhex(&key) {
        Some(key) => Ok((name, key)),
        None => Err(format!("the key of {name} is not 64 hexadecimal digits")),
    });
    pins.collect()
}

/// Returns the pins as they are stored.
pub fn pins_text(pins: &KeyPins) -> BTreeMap<&String, String> {
    pins.iter().map(|(name, key)| (name, hex(key))).collect()
}

/// Returns the content of a file. Cannot fail for our types: maps have string keys.
pub fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

pub(crate) fn hex(bytes: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(64), |mut out, byte| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = [0; 32];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_come_back_and_foreign_keys_are_refused() {
        let pins = KeyPins::from([("7a::1".to_owned(), [3; 32])]);
        let text = pins_text(&pins);
        let stored = text.into_iter().map(|(name, key)| (name.clone(), key));
        assert_eq!(parse_pins(stored.collect()), Ok(pins));
        for key in ["", "zz", &"g".repeat(64), &"00".repeat(33)] {
            let stored = BTreeMap::from([("a".to_owned(), key.to_owned())]);
            assert!(parse_pins(stored).is_err(), "{key}");
        }
    }

    #[test]
    fn files_end_with_a_line() {
        assert_eq!(to_json(&["a"]), "[\n  \"a\"\n]\n");
    }
}
