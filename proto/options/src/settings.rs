//! Settings of the router: options with defaults filled in and values checked.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use mesh_proto::crypto::secret::{MAX_MESH_NAME, Realm};
use mesh_proto::fastpath::Consent;
use mesh_proto::forward::GroupLimits;
use mesh_proto::ids::PeerName;
use mesh_proto::limits::{
    BROADCAST_RATE_EACH, DEFAULT_MTU, DEFAULT_PORT, MAX_GROUP_RATE_EACH, MAX_NICKNAME, MTU_RANGE,
    MULTICAST_RATE_EACH,
};
use mesh_proto::wire::bounded::truncated;

use crate::declared::Options;
use crate::dns::{DnsOptions, DnsSettings};
use crate::error::{SettingsError, refuse};
use crate::ipalloc::{Ipalloc, IpallocOptions};
use crate::values::{Cipher, Datapath, LatencyMode};
use crate::{DEFAULT_BRIDGE, DEFAULT_SOCKET, DEFAULT_STATE_DIR};

/// Most lanes in each direction.
const MAX_LANES: usize = 16;
/// Most lanes in each direction by default: each takes a few MiB under load.
const MAX_DEFAULT_LANES: usize = 4;

const LOG_LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Options with defaults filled in and values checked.
#[derive(Clone, Debug)]
pub struct RouterSettings {
    /// Address to listen on; `None` for all.
    pub host: Option<IpAddr>,
    /// TCP and UDP port.
    pub port: u16,
    /// Name given by the operator; `None` derives it from the key.
    pub name: Option<PeerName>,
    /// Nickname shown to users.
    pub nickname: String,
    /// State directory.
    pub state_dir: PathBuf,
    /// Path of the API socket.
    pub socket: PathBuf,
    /// Name of the bridge.
    pub bridge: String,
    /// MTU inside the mesh, in bytes.
    pub mtu: u16,
    /// Device through which frames enter and leave.
    pub datapath: Datapath,
    /// Peers with which traffic may go unencrypted.
    pub consent: Consent,
    /// Lanes in each direction, if the port supports several.
    pub lanes: usize,
    /// Mode of the latency request, which keeps CPUs out of deep idle states.
    pub latency: LatencyMode,
    /// Rate limits on frames to groups, per container.
    pub groups: GroupLimits,
    /// Choice of ciphers for data sessions.
    pub cipher: Cipher,
    /// True if containers get a multicast route into the mesh, unless attached without one.
    pub multicast_route: bool,
    /// True if peers learnt by gossip are dialled.
    pub discovery: bool,
    /// Settings of address allocation.
    pub ipalloc: Ipalloc,
    /// Settings of name resolution.
    pub dns: DnsSettings,
    /// Log filter.
    pub log_level: String,
    /// Path of the key file, if given.
    pub key_file: Option<PathBuf>,
    /// Path of the password file, if given.
    pub password_file: Option<PathBuf>,
    /// Name of the mesh.
    pub mesh_name: Realm,
    /// Peers on the command line.
    pub peers: Vec<String>,
    /// Peers in the file; used if there are none on the command line.
    pub configured: Vec<String>,
}

/// Facts about the host that defaults follow from.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// Name of the host, or the reason it is unknown.
    pub name: Result<String, String>,
    /// Number of processors.
    pub processors: usize,
}

impl HostFacts {
    /// Returns the default nickname.
    fn nickname(&self) -> Result<String, SettingsError> {
        let name = self.name.as_ref().map_err(|error| {
            SettingsError(format!(
                "cannot read the host's name; give --nickname: {error}"
            ))
        })?;
        Ok(match truncated(name.trim(), MAX_NICKNAME) {
            "" => "host".to_owned(),
            name => name.to_owned(),
        })
    }

    /// Returns the default number of lanes: half the processors, so that containers have the rest.
    fn lanes(&self) -> usize {
        (self.processors / 2).clamp(1, MAX_DEFAULT_LANES)
    }
}

impl RouterSettings {
    /// Returns the settings of the options and of the file that they name, with defaults and every value checked.
    ///
    /// # Errors
    /// One line that names the option and what is wrong with it.
    pub fn new(
        options: Options,
        file: Option<&Options>,
        host: &HostFacts,
    ) -> Result<Self, SettingsError> {
        let peers = options.peers.clone();
        let (merged, configured) = match file {
            Some(file) => (options.over(file)?, file.peers.clone()),
            None => (options, Vec::new()),
        };
        let settings = Self {
            host: merged.host,
            port: merged.port.unwrap_or(DEFAULT_PORT),
            name: merged.name.as_deref().map(parse_name).transpose()?,
            nickname: merged.nickname.map_or_else(|| host.nickname(), Ok)?,
            state_dir: merged.state_dir.unwrap_or_else(|| DEFAULT_STATE_DIR.into()),
            socket: merged.socket.unwrap_or_else(|| DEFAULT_SOCKET.into()),
            bridge: merged.bridge.unwrap_or_else(|| DEFAULT_BRIDGE.to_owned()),
            mtu: merged.mtu.unwrap_or(DEFAULT_MTU),
            datapath: merged.datapath.unwrap_or(Datapath::Auto),
            consent: consent(merged.no_encryption, &merged.trusted_subnets),
            lanes: merged.lanes.unwrap_or_else(|| host.lanes()),
            latency: merged.latency.unwrap_or_default(),
            groups: GroupLimits {
                broadcasts: merged.broadcast_limit.unwrap_or(BROADCAST_RATE_EACH),
                multicasts: merged.multicast_limit.unwrap_or(MULTICAST_RATE_EACH),
            },
            cipher: merged.cipher.unwrap_or(Cipher::Auto),
            multicast_route: !merged.no_multicast_route,
            discovery: !merged.no_discovery,
            ipalloc: Ipalloc::new(&IpallocOptions {
                range: merged.ipalloc_range.as_deref(),
                range6: merged.ipalloc_range6.as_deref(),
                default_subnet: merged.ipalloc_default_subnet,
                auto_reclaim: merged.auto_reclaim.as_deref(),
            })?,
            dns: DnsSettings::settle(&DnsOptions {
                off: merged.no_dns,
                domain: merged.dns_domain.as_deref(),
                ttl: merged.dns_ttl,
                listen: &merged.dns_listen,
            })?,
            log_level: merged.log_level.unwrap_or_else(|| "info".to_owned()),
            key_file: merged.key_file,
            password_file: merged.password_file,
            mesh_name: mesh_name(merged.mesh_name.as_deref().unwrap_or_default())?,
            peers,
            configured,
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), SettingsError> {
        if self.port == 0 {
            refuse!(
                "--port 0: peers could not know which port that is; give a number from 1 to 65535"
            );
        }
        if !MTU_RANGE.contains(&self.mtu) {
            refuse!(
                "--mtu {}: must be between {} and {}",
                self.mtu,
                MTU_RANGE.start(),
                MTU_RANGE.end()
            );
        }
        for (option, frames) in [
            ("--broadcast-limit", self.groups.broadcasts),
            ("--multicast-limit", self.groups.multicasts),
        ] {
            if frames > MAX_GROUP_RATE_EACH {
                refuse!(
                    "{option} {frames}: must be 0 (no limit) to {MAX_GROUP_RATE_EACH} frames a second"
                );
            }
        }
        if !(1..=MAX_LANES).contains(&self.lanes) {
            refuse!("--lanes {}: must be between 1 and {MAX_LANES}", self.lanes);
        }
        if self.nickname.is_empty()
            || self.nickname.len() > MAX_NICKNAME
            || self.nickname.chars().any(char::is_control)
        {
            refuse!(
                "--nickname '{}': must be 1 to {MAX_NICKNAME} bytes of printable text",
                self.nickname.escape_debug()
            );
        }
        if !LOG_LEVELS.contains(&self.log_level.as_str()) {
            refuse!(
                "--log-level {}: must be one of {}",
                self.log_level.escape_debug(),
                LOG_LEVELS.join(", ")
            );
        }
        let name_ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if self.bridge.is_empty() || self.bridge.len() > 15 || !self.bridge.bytes().all(name_ok) {
            refuse!(
                "--bridge '{}': must be an interface name of at most 15 letters, digits, '-', '_' or '.'",
                self.bridge.escape_debug()
            );
        }
        for (name, file) in [
            ("key-file", &self.key_file),
            ("password-file", &self.password_file),
        ] {
            if file.as_ref().is_some_and(|f| f.as_os_str().is_empty()) {
                refuse!("--{name} '': name a file, or leave it out for a mesh without a secret");
            }
        }
        if self.key_file.is_some() && self.password_file.is_some() {
            refuse!(
                "both a key file and a password file are given; a mesh is guarded by one of them"
            );
        }
        Ok(())
    }
}

fn mesh_name(text: &str) -> Result<Realm, SettingsError> {
    Realm::new(text).ok_or_else(|| {
        SettingsError(format!(
            "--mesh-name '{}': must be at most {MAX_MESH_NAME} letters, digits, '-', '_' or '.'",
            text.escape_debug()
        ))
    })
}

/// 192.168.78.2/24 means 192.168.78.0/24: an address that is copied from `ip addr` says which subnet is meant.
fn consent(everywhere: bool, subnets: &[IpNet]) -> Consent {
    let mut subnets: Vec<IpNet> = subnets.iter().map(IpNet::trunc).collect();
    subnets.dedup();
    Consent::new(everywhere, subnets)
}

fn parse_name(text: &str) -> Result<PeerName, SettingsError> {
    let name: PeerName = text.parse().map_err(|_| {
        SettingsError(format!(
            "--name '{}': write it like 7a:00:00:00:00:1c or ::1",
            text.escape_debug()
        ))
    })?;
    if name.0[0] & 1 == 1 {
        refuse!("--name {name}: the first byte must be even (a unicast address)");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        options: Options,
    }

    fn host() -> HostFacts {
        HostFacts {
            name: Ok(" host1\n".to_owned()),
            processors: 6,
        }
    }

    fn with_file(text: &str, args: &[&str]) -> Result<RouterSettings, SettingsError> {
        let words = ["program"].iter().chain(args);
        let options = Program::try_parse_from(words).unwrap().options;
        RouterSettings::new(options, Some(&Options::from_toml(text)?), &host())
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let s = with_file(
            "port = 7000\nmtu = 1400\npeers = ['a']\nno-discovery = true\n",
            &["--port", "7001"],
        )
        .unwrap();
        assert_eq!((s.port, s.mtu, s.discovery), (7001, 1400, false));
        assert!(s.peers.is_empty());
        assert_eq!(s.configured, ["a"]);
        assert_eq!(
            (s.bridge.as_str(), s.cipher),
            (DEFAULT_BRIDGE, Cipher::Auto)
        );
        let file = "cipher = 'aes-256-gcm'";
        let s = with_file(file, &[]).unwrap();
        assert_eq!(s.cipher, Cipher::Aes256Gcm);
        let s = with_file(file, &["--cipher", "chacha20-poly1305"]).unwrap();
        assert_eq!(s.cipher, Cipher::ChaCha20Poly1305);
        let s = with_file(
            "peers = ['a']\nkey-file = '/k'",
            &["b", "--password-file", "/p"],
        )
        .unwrap();
        assert_eq!(s.peers, ["b"]);
        assert_eq!((s.key_file, s.password_file), (None, Some("/p".into())));
    }

    #[test]
    fn consent_is_none_unless_asked_for() {
        let with = |text: &str, args: &[&str]| with_file(text, args).unwrap().consent;
        assert!(with("", &[]).is_none());
        let both = with(
            "trusted-subnets = ['fd00::/8']",
            &["--trusted-subnets", "10.0.0.0/8,192.0.2.0/24"],
        );
        for (address, trusted) in [("10.1.2.3", true), ("192.0.2.7", true), ("fd00::1", false)] {
            assert_eq!(both.allows(address.parse().unwrap()), trusted, "{address}");
        }
        assert!(with("trusted-subnets = ['fd00::/8']", &[]).allows("fd00::1".parse().unwrap()));
        let host_bits = with("", &["--trusted-subnets", "192.168.78.2/24"]);
        assert!(host_bits.allows("192.168.78.77".parse().unwrap()));
        assert_eq!(host_bits.to_string(), "peers that agree in 192.168.78.0/24");
        assert!(with("no-encryption = true", &[]).allows("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str, args: &[&str]| with_file(text, args).unwrap_err().to_string();
        assert!(
            error("prot = 7000\n", &[]).contains("line 1: unknown field `prot`"),
            "{}",
            error("prot = 7000\n", &[])
        );
        assert!(error("\nport = 'x'\n", &[]).contains("line 2"));
        assert!(error("cipher = 'rot13'", &[]).contains("aes-256-gcm"));
        assert!(error("mtu = 100", &[]).contains("--mtu 100"));
        assert!(error("lanes = 17", &[]).contains("--lanes 17"));
        assert!(error("", &["--lanes", "0"]).contains("between 1 and 16"));
        assert!(error("", &["--name", "7b::1"]).contains("must be even"));
        assert!(!error("name = \"a\\u001bb\"", &[]).contains('\u{1b}'));
        assert!(error("name = 'x'", &[]).contains("write it like"));
        assert!(error("", &["--bridge", "a b"]).contains("--bridge"));
        assert!(error("", &["--port", "0"]).contains("--port 0"));
        assert!(error("", &["--log-level", "loud"]).contains("loud"));
        assert!(error("trusted-subnets = ['10.0.0.0']", &[]).contains("line 1"));
    }

    #[test]
    fn the_host_gives_nickname_and_lanes() {
        let s = with_file("", &[]).unwrap();
        assert_eq!((s.nickname.as_str(), s.lanes), ("host1", 3));
        let with = |name: Result<&str, &str>, processors| {
            let host = HostFacts {
                name: name.map(str::to_owned).map_err(str::to_owned),
                processors,
            };
            RouterSettings::new(Options::default(), None, &host)
        };
        let s = with(Ok(""), 1).unwrap();
        assert_eq!((s.nickname.as_str(), s.lanes), ("host", 1));
        assert_eq!(with(Ok("h"), 64).unwrap().lanes, MAX_DEFAULT_LANES);
        let error = with(Err("denied"), 1).unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot read the host's name; give --nickname: denied"
        );
    }
}
