//! Identity of a router: its keys, and its number of starts (epoch).

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::content::{hex, to_json, unhex};

/// Secret seeds of a router's identity, and its number of starts. Zeroized on drop; `Debug` prints nothing.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct IdentitySeeds {
    /// Ed25519 seed.
    pub sign: [u8; 32],
    /// X25519 secret.
    pub dh: [u8; 32],
    /// Number of starts; 0 before the first start.
    pub epoch: u64,
}

impl std::fmt::Debug for IdentitySeeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentitySeeds")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    sign: String,
    dh: String,
    epoch: u64,
}

impl IdentitySeeds {
    /// Reads the content of the file.
    ///
    /// # Errors
    /// The problem with it.
    pub fn parse(body: &str) -> Result<Self, String> {
        let parsed: IdentityFile = serde_json::from_str(body).map_err(|e| e.to_string())?;
        match (unhex(&parsed.sign), unhex(&parsed.dh)) {
            (Some(sign), Some(dh)) => Ok(Self {
                sign,
                dh,
                epoch: parsed.epoch,
            }),
            _ => Err("a key is not 64 hexadecimal digits".to_owned()),
        }
    }

    /// Returns the content of the file; the caller zeroizes it.
    pub fn to_text(&self) -> String {
        to_json(&IdentityFile {
            sign: hex(&self.sign),
            dh: hex(&self.dh),
            epoch: self.epoch,
        })
    }

    /// Returns the identity of the next start: with an unchanged epoch, peers would take its handshakes for replays. On the
    /// first start it is made from `fresh`, two independent random seeds; `None` if the epoch cannot be raised.
    pub fn next_start(
        stored: Option<Self>,
        fresh: impl FnOnce() -> ([u8; 32], [u8; 32]),
    ) -> Option<Self> {
        let mut seeds = stored.unwrap_or_else(|| {
            let (sign, dh) = fresh();
            Self { sign, dh, epoch: 0 }
        });
        seeds.epoch = seeds.epoch.checked_add(1)?;
        Some(seeds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(stored: Option<IdentitySeeds>) -> Option<IdentitySeeds> {
        IdentitySeeds::next_start(stored, || ([7; 32], [9; 32]))
    }

    #[test]
    fn each_start_raises_the_epoch_and_keeps_the_keys() {
        let first = start(None).unwrap();
        assert_eq!((first.epoch, first.sign, first.dh), (1, [7; 32], [9; 32]));
        let stored = IdentitySeeds::parse(&first.to_text()).unwrap();
        assert_eq!(stored, first);
        let next = IdentitySeeds::next_start(Some(stored), || panic!("it has keys"));
        assert_eq!(next.unwrap().epoch, 2);
        let last = IdentitySeeds {
            epoch: u64::MAX,
            ..first.clone()
        };
        assert_eq!(start(Some(last)), None);
    }

    #[test]
    fn foreign_content_is_refused() {
        for body in ["", "[]", "{}", r#"{"sign":"zz","dh":"zz","epoch":1}"#] {
            assert!(IdentitySeeds::parse(body).is_err(), "{body}");
        }
    }
}
