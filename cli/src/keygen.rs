//! `mesh keygen`: a random key for a mesh.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use mesh_command::args::KeygenArgs;

use crate::output;
use crate::output::VerbResult;

/// Writes 32 random bytes as 64 hexadecimal characters and a newline.
pub(crate) fn keygen(args: &KeygenArgs) -> VerbResult {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|e| anyhow!("no randomness from the system: {e}"))?;
    let text = hex_line(&key);
    match &args.file {
        Some(file) => write_new(file, &text)?,
        None => output::print(&text)?,
    }
    Ok(0)
}

fn hex_line(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len() + 1);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text
}

/// Creates `file` with mode 0600; an existing key is never overwritten, since a mesh may depend on it.
fn write_new(file: &Path, text: &str) -> anyhow::Result<()> {
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    let mut out = match opened {
        Ok(out) => out,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => bail!(
            "{} exists and is not overwritten; remove it first if no mesh uses it",
            file.display()
        ),
        Err(e) => return Err(e).with_context(|| format!("cannot make {}", file.display())),
    };
    let written = out.write_all(text.as_bytes()).and_then(|()| out.sync_all());
    if written.is_err() {
        // A partial key is useless, and would block the next attempt.
        let _ = std::fs::remove_file(file);
    }
    written.with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex() {
        assert_eq!(hex_line(&[0, 0x0f, 0xff]), "000fff\n");
    }
}
