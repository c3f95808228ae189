//! Mesh secret shared by all routers, and the pre-shared keys of links and sessions derived from it.

use core::fmt;
use std::collections::BTreeSet;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, Zeroizing};

/// Fewest characters of a password.
pub const MIN_PASSWORD: usize = 12;
/// Fewest different characters of a password, not counting white space.
pub const MIN_VARIETY: usize = 4;
/// Fewest different byte values of a key. 32 random bytes have fewer with a probability below 10^-30.
pub const MIN_KEY_VARIETY: usize = 8;

const ARGON2_KIB: u32 = 32 * 1024;
const ARGON2_PASSES: u32 = 6;
const ARGON2_LANES: u32 = 1;
// Followed by the name of the mesh. It is constant, because all routers must derive the same key from the password.
const ARGON2_SALT: &[u8] = b"mesh password v1";
// Cannot collide with a 32-byte key, because the lengths differ.
const OPEN_KEY: &[u8] = b"mesh open v1";
const LINK_LABEL: &[u8] = b"mesh link psk v1";
const SESSION_LABEL: &[u8] = b"mesh session psk v1";

/// Kind of protection of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// A random 256-bit key.
    KeyFile,
    /// Password. A router that is dialled can test guesses, at the cost of one Argon2id each.
    Password,
    /// No secret: traffic is encrypted, but any router may join.
    Open,
}

/// Longest name of a mesh, in bytes.
pub const MAX_MESH_NAME: usize = 63;

const MESH_TAG: &[u8] = b"mesh name v1";

/// Name of a mesh (`--mesh-name`), used as the realm of a password: it is part of the salt, so that password hashes
/// precomputed for another mesh are useless. Consists of letters, digits, `-`, `_` and `.`; empty if the operator
/// gave none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Realm(String);

impl Realm {
    /// Checks a name; `None` if it is too long or has other characters.
    pub fn new(name: &str) -> Option<Self> {
        let is_right = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let is_name = name.len() <= MAX_MESH_NAME && name.bytes().all(is_right);
        is_name.then(|| Self(name.to_owned()))
    }

    /// Returns the tag in hellos: 8 bytes of a hash, or zeros without a name.
    fn tag(&self) -> [u8; 8] {
        if self.0.is_empty() {
            return [0; 8];
        }
        let hash = Sha256::new().chain_update(MESH_TAG).chain_update(&self.0);
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
        [a, b, c, d, e, f, g, h]
    }
}

/// Secret that only the members of a mesh know; erased when dropped, and never printed.
pub struct MeshSecret {
    mesh_tag: [u8; 8],
    kind: SecretKind,
    key: Zeroizing<Vec<u8>>,
}

/// Reason why a password or key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The password is short enough to be guessed.
    #[error("the password has {0} characters; it must have at least {MIN_PASSWORD}")]
    TooShort(usize),
    /// The password has too few different characters, like white space or one letter twelve times.
    #[error(
        "the password consists of fewer than {MIN_VARIETY} different characters (spaces do not count)"
    )]
    TooPlain,
    /// The key is not random, like zeros or a placeholder.
    #[error(
        "the key is not random: its 32 bytes are of fewer than {MIN_KEY_VARIETY} different values"
    )]
    NotRandom,
    /// The memory-hard hash refused its input (a password of 4 GiB).
    #[error("the password cannot be hashed")]
    Unhashable,
}

impl MeshSecret {
    /// Creates the secret from the 32 random bytes of a key file.
    pub fn from_key_bytes(key: [u8; 32]) -> Self {
        let key = Zeroizing::new(key);
        Self {
            mesh_tag: [0; 8],
            kind: SecretKind::KeyFile,
            key: Zeroizing::new(key.to_vec()),
        }
    }

    /// Creates the secret from 32 bytes of unknown origin.
    ///
    /// # Errors
    /// [`SecretError::NotRandom`].
    pub fn from_key_file(key: [u8; 32]) -> Result<Self, SecretError> {
        let values: BTreeSet<u8> = key.into_iter().collect();
        if values.len() < MIN_KEY_VARIETY {
            return Err(SecretError::NotRandom);
        }
        Ok(Self::from_key_bytes(key))
    }

    /// Derives the secret from a password: Argon2id (RFC 9106), 32 MiB, 6 passes, 1 lane, with the name of the mesh
    /// in the salt. Takes 0.1 s to 1 s and that much memory, so it is to be called once at start, off the event loop.
    pub fn from_password(password: &str, mesh: &Realm) -> Result<Self, SecretError> {
        let characters = password.chars().count();
        if characters < MIN_PASSWORD {
            return Err(SecretError::TooShort(characters));
        }
        let visible = password
            .chars()
            .filter(|c| !c.is_whitespace() && !c.is_control());
        if visible.collect::<BTreeSet<char>>().len() < MIN_VARIETY {
            return Err(SecretError::TooPlain);
        }
        let key = hash_password(password.as_bytes(), mesh, ARGON2_KIB);
        Ok(Self {
            mesh_tag: mesh.tag(),
            kind: SecretKind::Password,
            key: key.ok_or(SecretError::Unhashable)?,
        })
    }

    /// Returns the same secret in the mesh with this name.
    #[must_use]
    pub fn of_mesh(mut self, mesh: &Realm) -> Self {
        self.mesh_tag = mesh.tag();
        self
    }

    /// Returns the tag of the mesh's name in hellos: 8 bytes.
    pub fn mesh_tag(&self) -> [u8; 8] {
        self.mesh_tag
    }

    /// Returns the secret of an open mesh: public constant keys, so that the same handshakes run.
    pub fn open() -> Self {
        Self {
            mesh_tag: [0; 8],
            kind: SecretKind::Open,
            key: Zeroizing::new(OPEN_KEY.to_vec()),
        }
    }

    /// Returns the kind of protection.
    pub fn kind(&self) -> SecretKind {
        self.kind
    }

    /// Returns the pre-shared key of links (HKDF-SHA256, label "mesh link psk v1").
    pub fn link_psk(&self) -> [u8; 32] {
        self.derive(LINK_LABEL)
    }

    /// Returns the pre-shared key of sessions (HKDF-SHA256, label "mesh session psk v1").
    pub fn session_psk(&self) -> [u8; 32] {
        self.derive(SESSION_LABEL)
    }

    fn derive(&self, label: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        let expanded = Hkdf::<Sha256>::new(None, &self.key).expand(label, &mut out);
        debug_assert!(expanded.is_ok(), "32 bytes are within HKDF's reach");
        out
    }
}

impl fmt::Debug for MeshSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeshSecret({:?})", self.kind)
    }
}

fn hash_password(password: &[u8], mesh: &Realm, kib: u32) -> Option<Zeroizing<Vec<u8>>> {
    let params = Params::new(kib, ARGON2_PASSES, ARGON2_LANES, Some(32)).ok()?;
    let salt = [ARGON2_SALT, mesh.0.as_bytes()].concat();
    let mut memory = vec![Block::default(); params.block_count()];
    let mut key = Zeroizing::new(vec![0; 32]);
    let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password, &salt, &mut key, &mut memory);
    // The memory reveals the key.
    memory.iter_mut().for_each(Zeroize::zeroize);
    done.ok().map(|()| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_passwords_are_refused_with_their_length() {
        let error = MeshSecret::from_password("elevenchars", &Realm::default()).unwrap_err();
        assert_eq!(error, SecretError::TooShort(11));
        assert!(error.to_string().contains("at least 12"), "{error}");
        // Characters count, not bytes.
        assert_eq!(
            MeshSecret::from_password("ééééééééééé", &Realm::default()).unwrap_err(),
            SecretError::TooShort(11)
        );
    }

    #[test]
    fn easily_guessed_secrets_are_refused() {
        for plain in [
            " ".repeat(12),
            "a".repeat(40),
            "ab".repeat(6),
            "a b c a b c a b c".to_owned(),
            "\0".repeat(12),
            "\u{a0}\t".repeat(12),
        ] {
            let error = MeshSecret::from_password(&plain, &Realm::default()).unwrap_err();
            assert_eq!(error, SecretError::TooPlain, "{plain:?}");
        }
        assert!(MeshSecret::from_password("abcdabcdabcd", &Realm::default()).is_ok());
        for byte in [0, 0x30, 0xff] {
            let error = MeshSecret::from_key_file([byte; 32]).unwrap_err();
            assert_eq!(error, SecretError::NotRandom);
        }
        let random = core::array::from_fn(|i| u8::try_from(i * 7).unwrap());
        assert!(MeshSecret::from_key_file(random).is_ok());
    }

    #[test]
    fn a_password_gives_the_same_keys_everywhere() {
        let a = MeshSecret::from_password("correct horse battery", &Realm::default()).unwrap();
        let b = MeshSecret::from_password("correct horse battery", &Realm::default()).unwrap();
        let c = MeshSecret::from_password("correct horse batterY", &Realm::default()).unwrap();
        assert_eq!(a.kind(), SecretKind::Password);
        assert_eq!(a.link_psk(), b.link_psk());
        assert_ne!(a.link_psk(), c.link_psk());
    }

    #[test]
    fn a_password_gives_other_keys_in_a_mesh_of_another_name() {
        let keys = |name| {
            let name = Realm::new(name).unwrap();
            let secret = MeshSecret::from_password("correct horse battery", &name).unwrap();
            (secret.link_psk(), secret.mesh_tag())
        };
        let all = [keys(""), keys("blue"), keys("green")];
        assert!(
            all[0].1 == [0; 8] && all[0] != all[1] && all[1].0 != all[2].0 && all[1].1 != all[2].1
        );
        for wrong in ["with space", "é", &"x".repeat(MAX_MESH_NAME + 1)] {
            assert_eq!(Realm::new(wrong), None);
        }
    }

    #[test]
    fn every_kind_and_use_has_keys_of_its_own() {
        let secrets = [
            MeshSecret::open(),
            MeshSecret::from_key_bytes([0; 32]),
            MeshSecret::from_key_bytes([1; 32]),
        ];
        let mut keys: Vec<_> = secrets
            .iter()
            .flat_map(|s| [s.link_psk(), s.session_psk()])
            .collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 6);
        assert!(!keys.contains(&[0; 32]));
    }

    #[test]
    fn open_keys_are_fixed() {
        assert_eq!(
            MeshSecret::open().session_psk(),
            MeshSecret::open().session_psk()
        );
        assert_eq!(MeshSecret::open().kind(), SecretKind::Open);
    }

    #[test]
    fn nothing_secret_is_printed() {
        let text = format!("{:?}", MeshSecret::from_key_bytes([0x5a; 32]));
        assert_eq!(text, "MeshSecret(KeyFile)");
    }
}
