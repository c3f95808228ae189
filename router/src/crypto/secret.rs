//! Reading of the mesh's secret: a key file, a password file, or the environment.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, bail};
use mesh_proto::crypto::secret::{MeshSecret, Realm};
use zeroize::Zeroizing;

use crate::config::Settings;
use crate::warnings::Warnings;

/// Environment variable that may hold the password.
pub const PASSWORD_VARIABLE: &str = "MESH_PASSWORD";
/// Largest secret file in bytes; a longer one is neither a key nor a password.
const MAX_FILE: u64 = 4096;

/// Value of [`PASSWORD_VARIABLE`], possibly empty, if it was set; erased on drop.
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Removes the password from the environment, so that neither `/proc` nor child processes show it. Must be called
    /// before a second thread exists.
    pub fn take() -> Option<Self> {
        mesh_sys::process::environment::take(PASSWORD_VARIABLE).map(Self::from)
    }

    /// Returns the raw value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<OsString> for Password {
    fn from(value: OsString) -> Self {
        Self(Zeroizing::new(value.into_vec()))
    }
}

/// Returns the secret that the settings or the environment name. Only if none is named is the mesh open: an unusable
/// secret is an error, since the operator wants one.
///
/// # Errors
/// One line that names the file or the variable and the problem.
pub fn load(
    settings: &Settings,
    variable: Option<Password>,
    warnings: &Warnings,
) -> anyhow::Result<MeshSecret> {
    if let Some(path) = &settings.key_file {
        return Ok(key_from(path, warnings)?.of_mesh(&settings.mesh_name));
    }
    if let Some(path) = &settings.password_file {
        let text = read(path, warnings)
            .with_context(|| format!("cannot read the password file {}", path.display()))?;
        let source = format!("the password file {}", path.display());
        return password(&text, &source, &settings.mesh_name);
    }
    match variable {
        Some(Password(text)) if text.is_empty() => bail!(
            "{PASSWORD_VARIABLE} is set, and empty; give it the password of the mesh, or unset it for a mesh without one"
        ),
        Some(Password(text)) => password(&text, PASSWORD_VARIABLE, &settings.mesh_name),
        None => Ok(MeshSecret::open().of_mesh(&settings.mesh_name)),
    }
}

fn password(text: &[u8], source: &str, mesh: &Realm) -> anyhow::Result<MeshSecret> {
    let text = std::str::from_utf8(text).with_context(|| {
        format!(
            "{source} is not UTF-8 text; write the password in UTF-8, as all routers read it so"
        )
    })?;
    MeshSecret::from_password(text.trim_end_matches(['\r', '\n']), mesh)
        .with_context(|| source.to_owned())
}

/// Reads a key file: 32 raw bytes, or 64 hexadecimal characters and white space.
fn key_from(path: &Path, warnings: &Warnings) -> anyhow::Result<MeshSecret> {
    let bytes = read(path, warnings)
        .with_context(|| format!("cannot read the key file {}", path.display()))?;
    let key = if bytes.len() == 32 {
        bytes.as_slice().try_into().ok()
    } else {
        from_hex(&bytes)
    };
    match key {
        Some(key) => MeshSecret::from_key_file(key)
            .with_context(|| format!("the key file {}; make one with mesh keygen", path.display())),
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

fn read(path: &Path, warnings: &Warnings) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    // Opening a pipe would wait for a writer.
    if !std::fs::metadata(path)?.is_file() {
        bail!("not a regular file");
    }
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if meta.len() > MAX_FILE {
        bail!("{} bytes are too many for a secret", meta.len());
    }
    check_owner(path, &meta)?;
    if meta.mode() & 0o077 != 0 {
        warnings.set(
            "secret",
            format!(
                "the secret in {} can be read by others on this host; chmod 600 {}",
                path.display(),
                path.display()
            ),
        );
    }
    // Enough capacity from the start: reallocation would leave copies in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_FILE)? + 1));
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Fails if other users may write the file, since they would decide who joins.
fn check_owner(path: &Path, meta: &Metadata) -> anyhow::Result<()> {
    if meta.mode() & 0o022 != 0 {
        bail!(
            "others than its owner may write it (mode {:04o}); chmod 600 {}",
            meta.mode() & 0o7777,
            path.display()
        );
    }
    if !mesh_sys::process::is_trusted(meta.uid()) {
        bail!(
            "it belongs to user {}, who is neither root nor this process's; chown root {}",
            meta.uid(),
            path.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn key(content: &[u8]) -> anyhow::Result<MeshSecret> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, content).unwrap();
        key_from(&file, &Warnings::default())
    }

    const HEX: &str = "00112233445566778899aabbccddeeff0123456789abcdefFEDCBA9876543210";

    #[test]
    fn a_key_file_is_raw_or_hexadecimal() {
        let raw = key(&from_hex(HEX.as_bytes()).unwrap()).unwrap();
        let hex = key(HEX.as_bytes()).unwrap();
        let line = key(format!("{}\n", HEX.to_uppercase()).as_bytes()).unwrap();
        assert_eq!(raw.link_psk(), hex.link_psk());
        assert_eq!(raw.link_psk(), line.link_psk());
    }

    #[test]
    fn other_files_are_refused_by_name() {
        for bad in [
            &b""[..],
            b"short",
            &[b'g'; 64],
            &[b'a'; 63],
            &[1; 33],
            &[0; 32],
            &[b'0'; 64],
        ] {
            let error = format!("{:#}", key(bad).unwrap_err());
            assert!(error.contains("mesh keygen"), "{error}");
        }
        let warnings = Warnings::default();
        let missing = key_from(Path::new("/nonexistent"), &warnings).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent"));
        assert!(key_from(Path::new("/"), &warnings).is_err());
    }

    #[test]
    fn a_password_that_is_set_is_used_or_stops_the_start() {
        let load = |variable: Option<&[u8]>| {
            let settings = Settings::of(mesh_options::Options::default()).unwrap();
            let variable = variable.map(|v| Password(Zeroizing::new(v.to_vec())));
            load(&settings, variable, &Warnings::default())
        };
        let kind = |variable| load(variable).unwrap().kind();
        use mesh_proto::crypto::secret::SecretKind;
        assert_eq!(kind(None), SecretKind::Open);
        assert_eq!(kind(Some(b"correct horse battery")), SecretKind::Password);
        for bad in [
            &b""[..],
            b"\n",
            b"short",
            b"            ",
            b"aaaaaaaaaaaa",
            b"\xff\xfelongenoughpassword",
            b"caf\xe9 correct horse",
        ] {
            let error = format!("{:#}", load(Some(bad)).unwrap_err());
            assert!(error.contains(PASSWORD_VARIABLE), "{error}");
            assert!(!error.contains("horse"), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_may_write_is_refused_and_one_they_may_read_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, HEX).unwrap();
        for (mode, taken, told) in [
            (0o600, true, 0),
            (0o400, true, 0),
            (0o644, true, 1),
            (0o640, true, 1),
            (0o660, false, 0),
            (0o606, false, 0),
        ] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let warnings = Warnings::default();
            let result = key_from(&file, &warnings);
            assert_eq!(result.is_ok(), taken, "{mode:o}");
            assert_eq!(warnings.lines().len(), told, "{mode:o}");
        }
    }
}
