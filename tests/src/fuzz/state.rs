//! The files of the router's state directory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mesh_router::state::{StateError, Store};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::scratch;

const FILES: [&str; 4] = ["identity", "targets", "pins", "attachments"];

/// A damaged or foreign file is rejected with its name and kept; one that parses survives writing.
///
/// The first byte selects the file, and if the rest is the file itself or text behind a valid checksum.
pub(super) fn target(data: &[u8]) {
    let Some((choice, content)) = data.split_first() else {
        return;
    };
    let file = FILES[usize::from(choice & 3)];
    let bytes = if choice & 4 == 0 {
        content.to_vec()
    } else {
        sealed(&String::from_utf8_lossy(content))
    };
    scratch::with_dir(|dir| {
        let dir = dir.join("state");
        let store = Store::open(&dir).expect("an empty directory can be opened");
        let path = dir.join(file);
        write_private(&path, &bytes);
        let refused = match file {
            "identity" => read_identity(&store),
            "targets" => store
                .targets()
                .and_then(|targets| {
                    store.set_targets(&targets)?;
                    assert_eq!(store.targets()?, targets);
                    Ok(())
                })
                .err(),
            "pins" => store
                .pins()
                .and_then(|pins| {
                    store.set_pins(&pins)?;
                    assert_eq!(store.pins()?, pins);
                    Ok(())
                })
                .err(),
            _ => store.attachments::<Value>().err(),
        };
        if let Some(error) = refused {
            assert!(matches!(error, StateError::Corrupt { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(&*path.to_string_lossy()), "{text}");
            assert_eq!(fs::read(&path).expect("the file is still there"), bytes);
        }
        fs::remove_file(&path).expect("the file is still there");
    });
}

fn read_identity(store: &Store) -> Option<StateError> {
    let seeds = match store.identity() {
        Ok(seeds) => seeds?,
        Err(error) => return Some(error),
    };
    let booted = match store.boot(|| ([0; 32], [0; 32])) {
        Ok(booted) => booted,
        Err(error) => {
            assert_eq!(seeds.epoch, u64::MAX, "{error}");
            return Some(error);
        }
    };
    assert_eq!((booted.sign, booted.dh), (seeds.sign, seeds.dh));
    assert!(booted.epoch > seeds.epoch, "an epoch that does not rise");
    None
}

fn write_private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the scratch directory can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}

/// Returns a file with this text and a valid first line.
fn sealed(text: &str) -> Vec<u8> {
    let mut line = "mesh-state 1 ".to_owned();
    for byte in Sha256::digest(text.as_bytes()) {
        write!(line, "{byte:02x}").expect("a String takes everything");
    }
    format!("{line}\n{text}").into_bytes()
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let key = "07".repeat(32);
    let identity = format!("{{\"sign\": \"{key}\", \"dh\": \"{key}\", \"epoch\": 3}}\n");
    let last = format!(
        "{{\"sign\": \"{key}\", \"dh\": \"{key}\", \"epoch\": {}}}\n",
        u64::MAX
    );
    let pins = serde_json::to_string(&BTreeMap::from([("7a::1", &key)])).unwrap_or_default();
    let targets = "[\"host1\", \"[fd00::1]:6783\"]\n";
    let with = |choice: u8, text: &str| [&[choice][..], text.as_bytes()].concat();
    let raw = |choice: u8, text: &str| [&[choice][..], &sealed(text)].concat();
    vec![
        with(4, &identity),
        with(4, &last),
        with(5, targets),
        with(6, &pins),
        with(7, "{\"Containers\": []}"),
        with(5, "null and more"),
        with(6, "{\"a\": \"zz\"}"),
        raw(0, &identity),
        raw(1, targets),
        raw(2, &pins),
        with(1, "mesh-state 2 00\n[]"),
        with(1, ""),
    ]
}
