//! `mesh launch`: the command line of the router.

use std::path::Path;

use mesh_options::{Datapath, Options};

use crate::CommandError;
use crate::args::LaunchArgs;
use crate::service::ConfigFile;

/// Returns the router's command line. Flags of other tools have become ours; paths are handed on as they are, so they
/// must be absolute.
///
/// # Errors
/// Fails if a path is not UTF-8.
pub fn router_words(
    args: &LaunchArgs,
    socket: &Path,
    state_dir: &Path,
) -> Result<Vec<String>, CommandError> {
    let mut words = vec!["--socket".to_owned(), text(socket)?];
    let starts: [(&str, bool); 3] = [
        ("--daemon", !args.foreground),
        ("--restart", !args.foreground && !args.no_restart),
        ("--resume", args.resume),
    ];
    let given = starts.iter().filter(|(_, given)| *given);
    words.extend(given.map(|(flag, _)| (*flag).to_owned()));
    words.extend(router_options(args, state_dir).to_words()?);
    Ok(words)
}

/// Returns the peers that the router will dial at once: as given, else as configured.
pub fn peers_to_dial(args: &LaunchArgs, config: &ConfigFile) -> Vec<String> {
    let typed = args.router.peers.iter().chain(&args.more_peers);
    let peers: Vec<String> = typed.cloned().collect();
    match peers.is_empty() && !args.resume {
        true => config.peers.clone(),
        false => peers,
    }
}

fn router_options(args: &LaunchArgs, state_dir: &Path) -> Options {
    let mut options = args.router.clone();
    options.state_dir = Some(state_dir.to_owned());
    options.peers.extend(args.more_peers.iter().cloned());
    if args.weave.asks_for_pcap() {
        options.datapath.get_or_insert(Datapath::Pcap);
    }
    options
}

fn text(path: &Path) -> Result<String, CommandError> {
    let text = path.to_str().map(ToOwned::to_owned);
    text.ok_or_else(|| CommandError::NotUtf8(path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_is_passed_on() {
        let args = LaunchArgs {
            router: Options {
                peers: vec!["host2".to_owned()],
                port: Some(7000),
                multicast_limit: Some(0),
                no_discovery: true,
                no_encryption: true,
                trusted_subnets: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
                ..Options::default()
            },
            ..LaunchArgs::default()
        };
        let words = router_words(&args, Path::new("/s"), Path::new("/d")).unwrap();
        let expected = [
            "--socket",
            "/s",
            "--daemon",
            "--restart",
            "--multicast-limit=0",
            "--no-discovery",
            "--no-encryption",
            "--port=7000",
            "--state-dir=/d",
            "--trusted-subnets=10.0.0.0/8",
            "--trusted-subnets=fd00::/8",
            "host2",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn peers_of_the_file_are_dialled_when_none_are_given() {
        let config = ConfigFile::parse("peers = ['host9']").unwrap();
        let mut args = LaunchArgs::default();
        assert_eq!(peers_to_dial(&args, &config), ["host9"]);
        args.resume = true;
        assert!(peers_to_dial(&args, &config).is_empty());
        args.resume = false;
        args.router.peers = vec!["host2".to_owned()];
        args.more_peers = vec!["host3".to_owned()];
        assert_eq!(peers_to_dial(&args, &config), ["host2", "host3"]);
    }
}
