//! Flags of `weave launch` that mesh does not have. Scripts that pass them keep working, and get a remark for each.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::CommandError;

/// A flag of Weave Net's `launch`.
struct WeaveFlag {
    name: &'static str,
    takes_value: bool,
    handling: WeaveHandling,
}

/// Handling of a flag.
#[derive(Clone, Copy)]
enum WeaveHandling {
    /// The flag is ignored. Carries the reason, or what replaces it.
    Ignored(&'static str),
    /// The same as `--datapath pcap`.
    Pcap,
    /// The start is refused, because ignoring the flag would mislead. Carries the remedy.
    Refused(&'static str),
}

use WeaveHandling::{Ignored, Pcap, Refused};

const PROXY: &str = "mesh has no Docker proxy; `mesh run` starts containers on the mesh";
const PLUGIN: &str = "Docker's plugin is always served";
const API: &str = "the router has its API on a Unix socket (--socket)";
const LOG: &str = "mesh has --log-level for that";
const PLACES: &str = "the router is no container and needs no such path";
const DISCOVERY: &str = "there is no discovery service; name a peer, as in `mesh launch host2`, and the others are found";

/// All flags of `weave launch` 2.8 and of earlier versions.
const FLAGS: &[WeaveFlag] = &[
    value(
        "ipalloc-init",
        Ignored("addresses need no initial agreement here"),
    ),
    value(
        "init-peer-count",
        Ignored("addresses need no initial agreement here"),
    ),
    flag("no-fastdp", Pcap),
    flag("no-bridged-fastdp", Ignored("mesh has no such data path")),
    value("bufsz", Ignored("the capture buffer has a fixed size")),
    value(
        "conn-limit",
        Ignored("a router keeps some 8 links in a large mesh, 256 at most"),
    ),
    value(
        "connlimit",
        Ignored("a router keeps some 8 links in a large mesh, 256 at most"),
    ),
    value(
        "min-protocol-version",
        Ignored("there is one protocol version so far"),
    ),
    value(
        "dns-fallback-timeout",
        Ignored("other servers have 1.9 s to answer"),
    ),
    value(
        "resolv-conf",
        Ignored("other names are forwarded to the servers in /etc/resolv.conf"),
    ),
    flag(
        "rewrite-hosts",
        Ignored("`mesh run` and `mesh attach` set up /etc/hosts"),
    ),
    flag(
        "no-rewrite-hosts",
        Ignored("it is an option of `mesh run` and `mesh attach`"),
    ),
    flag(
        "without-dns",
        Ignored("it is an option of `mesh run` and `mesh attach`"),
    ),
    flag("no-default-ipalloc", Ignored(PROXY)),
    flag("rewrite-inspect", Ignored(PROXY)),
    value("hostname-from-label", Ignored(PROXY)),
    value("hostname-match", Ignored(PROXY)),
    value("hostname-replacement", Ignored(PROXY)),
    flag("proxy", Ignored(PROXY)),
    flag("no-proxy", Ignored(PROXY)),
    flag("no-detect-tls", Ignored(PROXY)),
    flag("plugin", Ignored(PLUGIN)),
    flag("no-plugin", Ignored(PLUGIN)),
    flag("plugin-v2", Ignored(PLUGIN)),
    flag("plugin-v2-multicast", Ignored(PLUGIN)),
    value("plugin-socket", Ignored(PLUGIN)),
    value("plugin-mesh-socket", Ignored(PLUGIN)),
    value("http-addr", Ignored(API)),
    value("status-addr", Ignored(API)),
    value(
        "metrics-addr",
        Ignored("metrics are not served yet; `mesh report` has all counters"),
    ),
    value("profile", Ignored(LOG)),
    flag("pkt-debug", Ignored(LOG)),
    value("db-prefix", Ignored("mesh has --state-dir for that")),
    value("host-root", Ignored(PLACES)),
    value("proc-path", Ignored(PLACES)),
    value(
        "docker-api",
        Ignored("mesh uses the default socket of the engine"),
    ),
    flag("expect-npc", Ignored("mesh has no network policies")),
    flag(
        "no-masq-local",
        Ignored("sources are kept between hosts of the mesh anyway"),
    ),
    flag(
        "awsvpc",
        Refused("mesh programs no routes of a VPC; start it without"),
    ),
    value("token", Refused(DISCOVERY)),
    value("peer-discovery-url", Refused(DISCOVERY)),
    value("advertise-address", Refused(DISCOVERY)),
    value(
        "password",
        Refused(
            "everybody on this host could read it; put it into MESH_PASSWORD, or a file and --password-file",
        ),
    ),
];

const fn flag(name: &'static str, handling: WeaveHandling) -> WeaveFlag {
    WeaveFlag {
        name,
        takes_value: false,
        handling,
    }
}

const fn value(name: &'static str, handling: WeaveHandling) -> WeaveFlag {
    WeaveFlag {
        name,
        takes_value: true,
        handling,
    }
}

/// Flags of Weave Net that were given. They are in no help text.
#[derive(Clone, Debug, Default)]
pub struct WeaveFlags {
    given: Vec<&'static str>,
}

impl WeaveFlags {
    /// Returns a remark for each given flag, in the order of the table.
    ///
    /// # Errors
    /// Fails at the first flag that cannot be ignored.
    pub fn remarks(&self) -> Result<Vec<String>, CommandError> {
        let mut remarks = Vec::new();
        for flag in self.flags() {
            let name = flag.name;
            match flag.handling {
                Ignored(why) => remarks.push(format!("--{name} is ignored: {why}")),
                Pcap => remarks.push(format!("--{name} is taken as --datapath pcap")),
                Refused(why) => return Err(CommandError::RefusedFlag { name, why }),
            }
        }
        Ok(remarks)
    }

    /// True if the data path without offloads was requested.
    pub fn asks_for_pcap(&self) -> bool {
        self.flags().any(|flag| matches!(flag.handling, Pcap))
    }

    fn flags(&self) -> impl Iterator<Item = &'static WeaveFlag> {
        FLAGS.iter().filter(|flag| self.given.contains(&flag.name))
    }
}

impl Args for WeaveFlags {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(|flag| {
            let action = match flag.takes_value {
                true => ArgAction::Append,
                false => ArgAction::Count,
            };
            Arg::new(flag.name)
                .long(flag.name)
                .action(action)
                .hide(true)
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for WeaveFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let is_given = |flag: &&WeaveFlag| match flag.takes_value {
            true => matches.contains_id(flag.name),
            false => matches.get_count(flag.name) > 0,
        };
        let given = FLAGS.iter().filter(is_given).map(|flag| flag.name);
        Ok(Self {
            given: given.collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Verb};

    fn launch(line: &str) -> WeaveFlags {
        let words = ["mesh", "launch"].into_iter().chain(line.split(' '));
        match Cli::try_parse_from(words).unwrap().verb {
            Verb::Launch(args) => args.weave,
            verb => panic!("{verb:?}"),
        }
    }

    #[test]
    fn a_script_of_weave_goes_on_and_is_told() {
        let flags = launch(
            "--ipalloc-init consensus=3 --no-fastdp --conn-limit=30 --no-fastdp --plugin-v2 host2",
        );
        let remarks = flags.remarks().unwrap();
        assert_eq!(remarks.len(), 4, "{remarks:?}");
        assert!(remarks[0].starts_with("--ipalloc-init is ignored: "));
        assert!(flags.asks_for_pcap());
        assert!(launch("host2").remarks().unwrap().is_empty());
        assert!(!launch("host2").asks_for_pcap());
    }

    #[test]
    fn what_would_be_missed_is_refused() {
        for (line, said) in [
            ("--awsvpc", "--awsvpc: "),
            ("--password secret", "MESH_PASSWORD"),
            ("--token x --bufsz 8", "name a peer"),
        ] {
            let error = launch(line).remarks().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
