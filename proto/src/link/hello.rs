//! Hello: the first 64 bytes in each direction.

use super::VERSION;
use super::error::{LinkError, Stranger};
use crate::crypto::secret::{MeshSecret, SecretKind};
use crate::entropy::Entropy;

/// Length of a hello, in bytes.
pub(super) const HELLO: usize = 64;
/// Length of the start of a hello, which is the same in every version, in bytes.
pub(super) const HELLO_START: usize = 6;

const MAGIC: &[u8; 4] = b"mesh";
const AUTH: usize = 6;
const FEATURES: core::ops::Range<usize> = 8..16;
const NONCE: core::ops::Range<usize> = 16..32;
const MESH: core::ops::Range<usize> = 32..40;

/// Returns the hello for a new link.
pub(super) fn write(secret: &MeshSecret, features: u64, entropy: &mut dyn Entropy) -> [u8; HELLO] {
    let mut hello = [0; HELLO];
    hello[..4].copy_from_slice(MAGIC);
    hello[4] = VERSION;
    hello[5] = VERSION;
    hello[AUTH] = auth_kind(secret.kind());
    hello[FEATURES].copy_from_slice(&features.to_be_bytes());
    entropy.fill(&mut hello[NONCE]);
    hello[MESH].copy_from_slice(&secret.mesh_tag());
    hello
}

/// Checks the bytes that all versions have in common; `start` must have at least [`HELLO_START`].
pub(super) fn check_start(start: &[u8]) -> Result<(), LinkError> {
    let &[m, e, s, h, min, max, ..] = start else {
        return Err(LinkError::Corrupt("short hello"));
    };
    if &[m, e, s, h] != MAGIC {
        return Err(LinkError::NotMesh(stranger(start)));
    }
    if !(min..=max).contains(&VERSION) {
        return Err(LinkError::Version { min, max });
    }
    Ok(())
}

/// Checks the rest of a hello whose start is valid. Returns the features of the other side.
pub(super) fn check_rest(hello: &[u8; HELLO], secret: &MeshSecret) -> Result<u64, LinkError> {
    let (ours, theirs) = (secret.kind(), hello[AUTH]);
    if theirs != auth_kind(ours) {
        return Err(LinkError::Authentication { ours, theirs });
    }
    if hello[MESH] != secret.mesh_tag() {
        return Err(LinkError::OtherMesh);
    }
    let mut features = [0; 8];
    features.copy_from_slice(&hello[FEATURES]);
    Ok(u64::from_be_bytes(features))
}

fn auth_kind(secret: SecretKind) -> u8 {
    match secret {
        SecretKind::Open => 0,
        SecretKind::KeyFile | SecretKind::Password => 1,
    }
}

fn stranger(start: &[u8]) -> Stranger {
    match start {
        [b'H', b'T', b'T', b'P', ..] => Stranger::Http,
        [b'S', b'S', b'H', b'-', ..] => Stranger::Ssh,
        // TLS alert or handshake record, version 3.x.
        [0x15 | 0x16, 3, ..] => Stranger::Tls,
        _ => Stranger::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::secret::Realm;
    use crate::entropy::SeededEntropy;

    fn key() -> MeshSecret {
        MeshSecret::from_key_bytes([5; 32])
    }

    #[test]
    fn meshes_of_different_names_are_told_apart() {
        let of = |name| key().of_mesh(&Realm::new(name).unwrap());
        let hello = write(&of("blue"), 0, &mut SeededEntropy::new(1));
        assert_eq!(check_rest(&hello, &of("blue")), Ok(0));
        for other in ["green", ""] {
            assert_eq!(check_rest(&hello, &of(other)), Err(LinkError::OtherMesh));
        }
    }

    #[test]
    fn layout() {
        let hello = write(&key(), 0x0102_0304_0506_0708, &mut SeededEntropy::new(1));
        assert_eq!(
            hello[..16],
            [b'm', b'e', b's', b'h', 1, 1, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8]
        );
        assert_ne!(hello[16..32], [0; 16]);
        assert_eq!(hello[32..], [0; 32]);
        assert_eq!(check_start(&hello), Ok(()));
        assert_eq!(check_rest(&hello, &key()), Ok(0x0102_0304_0506_0708));
    }

    #[test]
    fn strangers_and_versions_are_told_apart() {
        let start = |bytes: &[u8]| check_start(bytes).unwrap_err();
        assert_eq!(start(b"HTTP/1"), LinkError::NotMesh(Stranger::Http));
        assert_eq!(start(b"SSH-2."), LinkError::NotMesh(Stranger::Ssh));
        assert_eq!(
            start(&[0x15, 3, 1, 0, 2, 2]),
            LinkError::NotMesh(Stranger::Tls)
        );
        assert_eq!(start(b"220 sm"), LinkError::NotMesh(Stranger::Other));
        assert_eq!(
            start(b"mesh\x02\x03"),
            LinkError::Version { min: 2, max: 3 }
        );
        assert_eq!(
            start(b"mesh\x00\x00"),
            LinkError::Version { min: 0, max: 0 }
        );
        assert_eq!(check_start(b"mesh\x00\x07"), Ok(()));
    }

    #[test]
    fn kinds_of_authentication_must_agree() {
        let open = write(&MeshSecret::open(), 0, &mut SeededEntropy::new(1));
        assert!(check_rest(&open, &MeshSecret::open()).is_ok());
        let error = check_rest(&open, &key()).unwrap_err();
        assert_eq!(
            error,
            LinkError::Authentication {
                ours: SecretKind::KeyFile,
                theirs: 0
            }
        );
    }
}
