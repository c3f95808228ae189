//! Reading what guards the mesh: a key file, a password file, or the environment.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, bail};
use mesh_proto::crypto::secret::{MeshSecret, Realm};
use zeroize::Zeroizing;

use crate::config::Settings;

/// The environment variable that may hold the password.
const PASSWORD_VARIABLE: &str = "MESH_PASSWORD";
/// Longest file read for a secret; a longer one is no key and no password.
const MAX_FILE: u64 = 4096;

/// The secret the settings or the environment name; without any, the mesh is open.
///
/// # Errors
/// One line that names the file and what is wrong with it.
pub fn load(settings: &Settings) -> anyhow::Result<MeshSecret> {
    if let Some(path) = &settings.key_file {
        return Ok(key_from(path)?.of_mesh(&settings.mesh_name));
    }
    if let Some(path) = &settings.password_file {
        let text = read(path)
            .with_context(|| format!("cannot read the password file {}", path.display()))?;
        let text = std::str::from_utf8(&text)
            .with_context(|| format!("{} is not text", path.display()))?;
        return password(text, &path.display().to_string(), &settings.mesh_name);
    }
    match std::env::var(PASSWORD_VARIABLE) {
        Ok(text) if !text.is_empty() => password(
            &Zeroizing::new(text),
            PASSWORD_VARIABLE,
            &settings.mesh_name,
        ),
        _ => Ok(MeshSecret::open().of_mesh(&settings.mesh_name)),
    }
}

fn password(text: &str, source: &str, mesh: &Realm) -> anyhow::Result<MeshSecret> {
    MeshSecret::from_password(text.trim_end_matches(['\r', '\n']), mesh)
        .with_context(|| format!("the password in {source}"))
}

/// A key file holds 32 raw bytes, or 64 hexadecimal characters and white space.
fn key_from(path: &Path) -> anyhow::Result<MeshSecret> {
    let bytes =
        read(path).with_context(|| format!("cannot read the key file {}", path.display()))?;
    let key = if bytes.len() == 32 {
        bytes.as_slice().try_into().ok()
    } else {
        from_hex(&bytes)
    };
    match key {
        Some(key) => Ok(MeshSecret::from_key_bytes(key)),
        None => bail!(
            "the key file {} holds {} bytes, not 32 (or 64 hexadecimal characters); make one with mesh keygen",
            path.display(),
            bytes.len()
        ),
    }
}

fn from_hex(text: &[u8]) -> Option<[u8; 32]> {
    let digits: Zeroizing<Vec<u8>> = Zeroizing::new(
        text.trim_ascii()
            .iter()
            .map(|b| {
                char::from(*b)
                    .to_digit(16)
                    .and_then(|d| u8::try_from(d).ok())
            })
            .collect::<Option<_>>()?,
    );
    if digits.len() != 64 {
        return None;
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Some(key)
}

fn read(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let meta = std::fs::metadata(path)?;
    if !meta.is_file() {
        bail!("not a regular file");
    }
    if meta.len() > MAX_FILE {
        bail!("{} bytes are too many for a secret", meta.len());
    }
    if meta.mode() & 0o077 != 0 {
        tracing::warn!(
            "{} can be read by others than its owner; chmod 600 it",
            path.display()
        );
    }
    Ok(Zeroizing::new(std::fs::read(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(content: &[u8]) -> anyhow::Result<MeshSecret> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, content).unwrap();
        key_from(&file)
    }

    #[test]
    fn a_key_file_is_raw_or_hexadecimal() {
        let raw = key(&[0xab; 32]).unwrap();
        let hex = key("ab".repeat(32).as_bytes()).unwrap();
        let line = key(format!("{}\n", "AB".repeat(32)).as_bytes()).unwrap();
        assert_eq!(raw.link_psk(), hex.link_psk());
        assert_eq!(raw.link_psk(), line.link_psk());
    }

    #[test]
    fn other_files_are_refused_by_name() {
        for bad in [&b""[..], b"short", &[b'g'; 64], &[b'a'; 63], &[1; 33]] {
            let error = key(bad).unwrap_err().to_string();
            assert!(error.contains("mesh keygen"), "{error}");
        }
        assert!(
            key_from(Path::new("/nonexistent"))
                .unwrap_err()
                .to_string()
                .contains("/nonexistent")
        );
        assert!(key_from(Path::new("/")).is_err());
    }
}
