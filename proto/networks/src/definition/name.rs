//! Name of a network, as Docker allows it.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use mesh_proto::limits::MAX_NETWORK_NAME;
use mesh_proto::network::NetworkId;
use mesh_proto::wire::bounded;

/// Name of the network that always exists.
pub const DEFAULT_NETWORK: &str = "default";
/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 32;
/// Bytes of a name that are decoded, so that an error can name it.
const DECODED: usize = 255;

/// Name of a network: 1 to [`MAX_NETWORK_NAME`] letters, digits, `_`, `.` and `-`, of which a letter or digit comes
/// first. Upper and lower case differ, as they do for Docker. A whole id is no name; the first digits of one may be, and
/// then mean the network with this name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkName(Box<str>);

/// Reason why a text is no name of a new network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkNameError {
    /// Other characters, or none.
    #[error(
        "'{}' cannot name a network: use letters, digits, '_', '.' and '-', a letter or digit first",
        .0.escape_debug()
    )]
    Malformed(String),
    /// Too many characters.
    #[error(
        "the name '{}…' has {length} characters, a network's {MAX_NETWORK_NAME} at most; choose a shorter one",
        .start.escape_debug()
    )]
    TooLong {
        /// First characters.
        start: String,
        /// Number of characters.
        length: usize,
    },
    /// All digits of an id, which means the network with that id.
    #[error(
        "'{0}' could be the id of a network; choose a name that is not {ID_DIGITS} hexadecimal digits"
    )]
    Id(String),
    /// Name of the network that always exists.
    #[error("the network '{DEFAULT_NETWORK}' always exists; choose another name")]
    Reserved,
}

impl NetworkName {
    /// Parses the name of a network other than `default`.
    ///
    /// # Errors
    /// [`NetworkNameError`].
    pub fn parse(text: &str) -> Result<Self, NetworkNameError> {
        let name = Self(text.into());
        name.check().map(|()| name)
    }

    /// Checks a name that was decoded.
    ///
    /// # Errors
    /// [`NetworkNameError`].
    pub(crate) fn check(&self) -> Result<(), NetworkNameError> {
        let length = self.0.chars().count();
        if length > MAX_NETWORK_NAME {
            let start = self.0.chars().take(16).collect();
            return Err(NetworkNameError::TooLong { start, length });
        }
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let first = self.0.bytes().next();
        if !first.is_some_and(|b| b.is_ascii_alphanumeric()) || !self.0.bytes().all(inner) {
            return Err(NetworkNameError::Malformed(self.0.to_string()));
        }
        match &*self.0 {
            DEFAULT_NETWORK => Err(NetworkNameError::Reserved),
            id if NetworkId::from_hex(id).is_some() => Err(NetworkNameError::Id(id.to_owned())),
            _ => Ok(()),
        }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for NetworkName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Decodes any text: `NetworkDefinition::check` says what is wrong with it.
impl<'de> Deserialize<'de> for NetworkName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = bounded::text::<D, DECODED>(deserializer)?;
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_docker() {
        let longest = "a".repeat(MAX_NETWORK_NAME);
        for text in ["t", "T", "0", "my_net", "a.b-c", "Default", &longest] {
            assert_eq!(NetworkName::parse(text).unwrap().as_str(), text);
        }
        for text in ["", ".a", "-a", "_a", "a b", "a/b", "ä", "a\n", "a:b"] {
            let error = NetworkName::parse(text).unwrap_err();
            assert_eq!(error, NetworkNameError::Malformed(text.to_owned()));
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        assert_eq!(
            NetworkName::parse("default"),
            Err(NetworkNameError::Reserved)
        );
        for id in ["ab", "AB", "01"].map(|digits| digits.repeat(16)) {
            assert_eq!(
                NetworkName::parse(&id),
                Err(NetworkNameError::Id(id.clone()))
            );
            assert!(NetworkName::parse(&id[1..]).is_ok());
        }
        let error = NetworkName::parse(&"ab".repeat(32)).unwrap_err();
        let says = "the name 'abababababababab…' has 64 characters, a network's 63 at most; \
                    choose a shorter one";
        assert_eq!(error.to_string(), says);
    }
}
