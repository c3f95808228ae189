use std::io;
use std::os::unix::fs::PermissionsExt;

use mesh_proto::ids::PeerId;
use mesh_state::files::IDENTITY;
use mesh_state::identity::IdentitySeeds;
use mesh_state::sealed::seal;

use super::*;

fn seeds() -> ([u8; 32], [u8; 32]) {
    ([7; 32], [9; 32])
}

#[test]
fn each_boot_raises_the_epoch_and_keeps_the_keys() {
    let dir = tempfile::tempdir().unwrap();
    for epoch in 1..=3 {
        let store = Store::open(dir.path()).unwrap();
        let got = store.boot(seeds).unwrap();
        assert_eq!((got.epoch, got.sign, got.dh), (epoch, [7; 32], [9; 32]));
        assert_eq!(store.identity().unwrap(), Some(got));
    }
    let mode = fs::metadata(dir.path().join(IDENTITY))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_epoch_raised_in_a_run_is_the_one_the_next_start_exceeds() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.raise_epoch(9).unwrap();
    assert_eq!(store.identity().unwrap(), None, "no identity, no epoch");
    store.boot(seeds).unwrap();
    for epoch in [8, 3] {
        store.raise_epoch(epoch).unwrap();
        let got = store.identity().unwrap().unwrap();
        assert_eq!((got.epoch, got.sign, got.dh), (8, [7; 32], [9; 32]));
    }
    assert_eq!(store.boot(seeds).unwrap().epoch, 9);
}

#[test]
fn two_routers_never_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path()).unwrap();
    let message = Store::open(dir.path()).unwrap_err().to_string();
    let want = format!("is in use by another router (pid {})", std::process::id());
    assert!(message.ends_with(&want), "{message}");
    drop(first);
    Store::open(dir.path()).unwrap();
}

#[test]
fn an_identity_that_others_may_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.boot(seeds).unwrap();
    let path = dir.path().join(IDENTITY);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let message = store.boot(seeds).unwrap_err().to_string();
    assert!(message.contains("mode 0640"), "{message}");
    assert!(message.contains("chmod 600"), "{message}");
}

#[test]
fn an_epoch_that_cannot_rise_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let key = "07".repeat(32);
    let body = format!(
        "{{\"sign\":\"{key}\",\"dh\":\"{key}\",\"epoch\":{}}}",
        u64::MAX
    );
    let path = dir.path().join(IDENTITY);
    fs::write(&path, seal(body.as_bytes())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let message = store.boot(seeds).unwrap_err().to_string();
    assert!(
        message.contains("epoch") && message.contains("remove it"),
        "{message}"
    );
}

#[test]
fn targets_pins_and_neighbours_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(store.targets().unwrap().is_empty());
    let targets = vec!["host1".to_owned(), "[fd00::1]:6783".to_owned()];
    store.set_targets(&targets).unwrap();
    let pins = BTreeMap::from([("7a::1".to_owned(), [3; 32])]);
    store.set_pins(&pins).unwrap();
    assert!(store.neighbours().unwrap().is_empty());
    let neighbours = [StoredNeighbour {
        peer: PeerId([7; 16]),
        addresses: vec![
            "10.0.0.7:6783".parse().unwrap(),
            "[fd00::7]:1".parse().unwrap(),
        ],
    }];
    store.set_neighbours(&neighbours).unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.targets().unwrap(), targets);
    assert_eq!(store.neighbours().unwrap(), neighbours);
    assert_eq!(store.pins().unwrap(), pins);
}

#[test]
fn a_file_cut_anywhere_is_refused_with_its_name_and_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.boot(seeds).unwrap();
    let path = dir.path().join(IDENTITY);
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let message = store.boot(seeds).unwrap_err().to_string();
        assert!(
            message.contains(&*path.to_string_lossy()),
            "{len}: {message}"
        );
        assert!(message.contains("remove it"), "{len}: {message}");
        assert_eq!(
            fs::read(&path).unwrap().len(),
            len,
            "a bad file is not overwritten"
        );
    }
}

#[test]
fn a_file_with_any_byte_changed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.set_targets(&["host1".to_owned()]).unwrap();
    let path = dir.path().join(TARGETS);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        for mask in [0x01, 0x20, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= mask;
            fs::write(&path, &bytes).unwrap();
            assert!(
                matches!(store.targets(), Err(StateError::Corrupt { .. })),
                "byte {at} xor {mask:#x}"
            );
        }
    }
}

#[test]
fn foreign_content_with_a_right_checksum_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for body in ["", "{}", "[1]", "\"x\"", "null and more", "{\"a\": \"zz\"}"] {
        fs::write(dir.path().join(TARGETS), seal(body.as_bytes())).unwrap();
        assert!(
            matches!(store.targets(), Err(StateError::Corrupt { .. })),
            "{body}"
        );
    }
    fs::write(dir.path().join(PINS), seal(b"{\"a\": \"zz\"}")).unwrap();
    assert!(matches!(store.pins(), Err(StateError::Corrupt { .. })));
    fs::write(dir.path().join(TARGETS), "mesh-state 2 00\n[]").unwrap();
    let message = store.targets().unwrap_err().to_string();
    assert!(message.contains("another version"), "{message}");
}

#[test]
fn a_full_disk_leaves_the_old_state() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.set_targets(&["old".to_owned()]).unwrap();
    // An obstacle for the temporary file stands in for a full disk; tests of whole hosts use a really full one.
    std::os::unix::fs::symlink("/dev/full", dir.path().join(".targets.tmp")).unwrap();
    let message = store
        .set_targets(&["new".to_owned()])
        .unwrap_err()
        .to_string();
    assert!(message.contains("was no file"), "{message}");
    assert_eq!(store.targets().unwrap(), ["old"]);
    store.set_targets(&["new".to_owned()]).unwrap();
    assert_eq!(store.targets().unwrap(), ["new"]);
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let seeds = IdentitySeeds {
        sign: [0xab; 32],
        dh: [0xcd; 32],
        epoch: 1,
    };
    let text = format!("{seeds:?}");
    assert!(
        !text.contains("ab") && !text.contains("171") && !text.contains("205"),
        "{text}"
    );
}

#[test]
fn erase_leaves_nothing_of_ours_and_all_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let store = Store::open(&state).unwrap();
    store.boot(seeds).unwrap();
    store.set_targets(&[]).unwrap();
    store.set_neighbours(&[]).unwrap();
    drop(store);
    fs::write(state.join("mesh.toml"), "port = 1").unwrap();
    assert_eq!(erase(&state).unwrap().len(), 4);
    assert!(state.join("mesh.toml").exists());
    fs::remove_file(state.join("mesh.toml")).unwrap();
    assert_eq!(erase(&state).unwrap(), std::slice::from_ref(&state));
    assert!(erase(&state).unwrap().is_empty());
}

#[test]
fn a_directory_that_others_may_change_is_refused_and_one_they_may_read_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state");
    drop(Store::open(&dir).unwrap());
    let mode = |mode| fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
    let now = || fs::metadata(&dir).unwrap().permissions().mode() & 0o7777;
    for bad in [0o777, 0o775, 0o720] {
        mode(bad);
        let error = Store::open(&dir).unwrap_err();
        assert!(matches!(error, StateError::Unsafe { .. }), "{error}");
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }
    for loose in [0o755, 0o750, 0o1777] {
        mode(loose);
        drop(Store::open(&dir).unwrap());
        assert_eq!(now(), 0o700, "{loose:o}");
    }
    // With other files in it, the directory keeps its mode, and those files are not trusted.
    fs::write(dir.join("mesh.toml"), "").unwrap();
    mode(0o755);
    drop(Store::open(&dir).unwrap());
    assert_eq!(now(), 0o755);
    mode(0o1777);
    assert!(Store::open(&dir).is_err());
}

#[test]
fn a_link_in_place_of_a_temporary_file_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, "kept").unwrap();
    let store = Store::open(&dir.path().join("state")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, store.dir().join(".targets.tmp")).unwrap();
    let error = store.set_targets(&["a".into()]).unwrap_err().to_string();
    assert!(error.contains(".targets.tmp was no file"), "{error}");
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "kept");
    assert!(store.targets().unwrap().is_empty());
    // A remnant of a crash is replaced.
    fs::write(store.dir().join(".targets.tmp"), "half").unwrap();
    store.set_targets(&["a".into()]).unwrap();
    assert_eq!(store.targets().unwrap(), ["a"]);
}

#[test]
fn a_full_disk_is_told_once_and_without_numbers() {
    let full = io::Error::from_raw_os_error(28);
    let error = anyhow::Error::from(StateError::io("cannot write", "/x/targets".as_ref(), full));
    assert_eq!(
        format!("{error:#}"),
        "cannot write /x/targets: No space left on device"
    );
}
