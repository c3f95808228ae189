//! Announcement of keys, in the extension of a membership.
//!
//! `01`, the number of keys (at most [`MAX_NETWORK_KEYS`]), and for each 17 bytes: flags and fingerprint. What follows is
//! of later versions and skipped. The first key is the one with which the router seals. An extension of another format
//! announces no key; it never makes a statement malformed.

use mesh_proto::limits::{MAX_NETWORK_EXTENSION, MAX_NETWORK_KEYS};
use mesh_proto::network::NetworkKeyPrint;

/// First byte; others are formats of later versions.
const FORMAT: u8 = 1;
/// Flag: the key is to be replaced.
const STALE: u8 = 1;
/// Flag: the key will replace another one, and seals nowhere yet.
const NEXT: u8 = 2;
/// Bytes of a key.
const ENTRY: usize = 1 + 16;

const _: () = assert!(
    2 + MAX_NETWORK_KEYS * ENTRY <= MAX_NETWORK_EXTENSION,
    "all keys fit the extension"
);

/// Keys of one network that a member announces; the first one seals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyAnnouncement {
    /// The keys, at most [`MAX_NETWORK_KEYS`].
    pub keys: Vec<AnnouncedKey>,
}

/// Key that a member says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnouncedKey {
    /// Fingerprint.
    pub print: NetworkKeyPrint,
    /// True if it is to be replaced.
    pub stale: bool,
    /// True if it will replace another one, and seals nowhere yet.
    pub next: bool,
}

impl KeyAnnouncement {
    /// Returns the extension of the membership; empty without keys.
    pub fn encode(&self) -> Vec<u8> {
        let keys = &self.keys[..self.keys.len().min(MAX_NETWORK_KEYS)];
        if keys.is_empty() {
            return Vec::new();
        }
        let count = u8::try_from(keys.len()).unwrap_or(0);
        let mut out = vec![FORMAT, count];
        for key in keys {
            let stale = if key.stale { STALE } else { 0 };
            let next = if key.next { NEXT } else { 0 };
            out.push(stale | next);
            out.extend_from_slice(&key.print.0);
        }
        out
    }

    /// Reads the extension of a membership. One that this version cannot read announces nothing.
    pub fn read(extension: &[u8]) -> Self {
        Self::parse(extension).unwrap_or_default()
    }

    fn parse(extension: &[u8]) -> Option<Self> {
        let (&[format, count], rest) = extension.split_first_chunk()?;
        let count = usize::from(count);
        if format != FORMAT || count > MAX_NETWORK_KEYS {
            return None;
        }
        let entries = rest.get(..count * ENTRY)?.chunks_exact(ENTRY);
        let mut keys: Vec<AnnouncedKey> = Vec::with_capacity(count);
        for entry in entries {
            let (flags, print) = entry.split_first()?;
            let print = NetworkKeyPrint(print.try_into().ok()?);
            if keys.iter().any(|key| key.print == print) {
                return None;
            }
            keys.push(AnnouncedKey {
                print,
                stale: flags & STALE != 0,
                next: flags & NEXT != 0,
            });
        }
        Some(Self { keys })
    }

    /// Returns the key that seals.
    pub(super) fn first(&self) -> Option<&AnnouncedKey> {
        self.keys.first()
    }

    /// Returns the key with this fingerprint.
    pub(super) fn get(&self, print: NetworkKeyPrint) -> Option<&AnnouncedKey> {
        self.keys.iter().find(|key| key.print == print)
    }
}
