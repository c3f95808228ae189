//! The router's configuration file.

use mesh_options::Options;
use mesh_proto::limits::{MAX_NICKNAME, MTU_RANGE};
use mesh_router::config;

use super::scratch;

/// A file is rejected with a single line that names it, or yields settings within their ranges.
pub(super) fn target(data: &[u8]) {
    scratch::with_dir(|dir| {
        let path = dir.join("mesh.toml");
        std::fs::write(&path, data).expect("the scratch directory can be written");
        let options = Options {
            config: Some(path),
            ..Options::default()
        };
        match config::settings(options) {
            Ok(settings) => {
                assert!(MTU_RANGE.contains(&settings.mtu) && settings.port != 0);
                assert!((1..=MAX_NICKNAME).contains(&settings.nickname.len()));
                assert!((1..16).contains(&settings.bridge.len()));
            }
            Err(error) => {
                let text = format!("{error:#}");
                assert!(!text.is_empty());
                assert!(!text.chars().any(char::is_control), "{text:?}");
            }
        }
    });
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    [
        "",
        "port = 7000\nmtu = 1400\npeers = ['a', 'host2:7000']\nno-discovery = true\n",
        "host = '10.0.0.1'\nname = '7a::1c'\nnickname = 'h\u{e4}uschen'\n",
        "state-dir = '/x'\nsocket = '/y'\nbridge = 'mesh0'\ndatapath = 'pcap'\n",
        "log-level = 'debug'\nkey-file = '/k'\n",
        "password-file = '/p'\n# comment\n",
        "prot = 7000\n",
        "port = 'x'\n",
        "mtu = 70000\n",
        "name = 'x'",
        "\u{feff}port = 1",
        "[table]\na = 1\n",
        "nickname = \"a\\u001bb\"\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}
