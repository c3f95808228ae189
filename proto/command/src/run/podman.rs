//! `mesh run` with podman: the router has created the network namespace, and the container joins it.

use mesh_proto::api::Prepared;

use super::PreparedError;
use crate::CommandError;
use crate::dns;
use crate::engine_args::EngineArgs;

/// Long and short names of flags that podman ignores or refuses for a container in an existing network namespace, and
/// the alternative.
const CANNOT_WORK: [(&[&str], Option<char>, &str); 6] = [
    (&["publish"], Some('p'), BESIDE),
    (&["publish-all"], Some('P'), BESIDE),
    (&["pod", "pod-id-file"], None, BESIDE),
    (
        &["ip", "ip6"],
        None,
        "give its address on the mesh in front, like 10.2.1.1/24",
    ),
    (
        &["mac-address"],
        None,
        "leave it out: the MAC follows from the address",
    ),
    (
        &["network-alias", "net-alias"],
        None,
        "give it further names with `mesh dns-add`",
    ),
];
const BESIDE: &str = "run it with podman and then `mesh attach` it";

/// Checks the flags of a container.
///
/// # Errors
/// Fails if flags cannot work: a podman container joins either the router's namespace or one of its own.
pub fn check(args: &EngineArgs) -> Result<(), CommandError> {
    if !args.networks().all(|network| network == "none") {
        return Err(CommandError::OtherNetwork);
    }
    for (long, short, instead) in CANNOT_WORK {
        if let Some(flag) = args.given(long, short) {
            return Err(CommandError::OnMeshOnly { flag, instead });
        }
    }
    Ok(())
}

/// Replacement of a container, asked for with `--replace`.
#[derive(Debug, PartialEq, Eq)]
pub struct Replacement<'a> {
    /// Name of the container to replace.
    pub name: &'a str,
    /// Words that create a container like the new one for trial, so that a mistake in the flags does not cost the old one.
    pub rehearsal: Vec<String>,
}

impl<'a> Replacement<'a> {
    /// Returns the replacement, if the flags ask for one.
    pub fn of(args: &'a EngineArgs) -> Option<Self> {
        args.given(&["replace"], None)?;
        let name = args.container_name().filter(|name| !name.is_empty())?;
        let mut rehearsal = vec!["create".to_owned(), "--network=none".to_owned()];
        rehearsal.extend(args.for_rehearsal());
        Some(Self { name, rehearsal })
    }
}

/// Returns the words that run a prepared container in the background, whatever its flags say. Its id is written to
/// `id_file`, if one is given.
///
/// # Errors
/// Fails if the router prepared no namespace.
pub fn run_words(
    prepared: &Prepared,
    args: &EngineArgs,
    id_file: Option<&str>,
) -> Result<Vec<String>, PreparedError> {
    let netns = prepared.netns.as_ref().ok_or(PreparedError::NoNamespace)?;
    let mut words = vec!["run".to_owned(), "-d".to_owned()];
    words.push(format!("--network=ns:{netns}"));
    words.extend(id_file.map(|path| format!("--cidfile={path}")));
    words.extend(dns::unless_said(dns::flags_inside(&prepared.dns), args));
    words.extend(args.for_create());
    Ok(words)
}

#[cfg(test)]
mod tests {
    use mesh_proto::api::DnsClient;

    use super::*;

    fn args(line: &str) -> EngineArgs {
        let words: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
        EngineArgs::parse(&words).unwrap()
    }

    #[test]
    fn flags_of_another_network_are_refused() {
        for line in ["u", "--network none -t u", "-v /a:/b u -p 80"] {
            assert_eq!(check(&args(line)), Ok(()), "{line}");
        }
        let other = check(&args("--network back u"));
        assert_eq!(other, Err(CommandError::OtherNetwork));
        for (line, flag) in [
            ("-p 80:80 u", "-p 80:80"),
            ("--pod x u", "--pod x"),
            ("--ip 10.2.1.1 u", "--ip 10.2.1.1"),
            ("--mac-address x u", "--mac-address x"),
            ("--network-alias x u", "--network-alias x"),
        ] {
            let error = check(&args(line)).unwrap_err().to_string();
            assert!(error.contains(&format!("so {flag} cannot work")), "{error}");
        }
    }

    #[test]
    fn only_a_named_container_is_replaced() {
        let replacing = args("--replace --name q -t u sh");
        let replacement = Replacement::of(&replacing).unwrap();
        assert_eq!(replacement.name, "q");
        assert_eq!(
            replacement.rehearsal.join(" "),
            "create --network=none -t u sh"
        );
        for line in [
            "--name q u",
            "--replace u",
            "--replace=false --name q u",
            "--replace --name= u",
        ] {
            assert_eq!(Replacement::of(&args(line)), None, "{line}");
        }
    }

    #[test]
    fn a_container_joins_the_prepared_namespace() {
        let mut prepared = Prepared {
            id: String::new(),
            networks: Vec::new(),
            netns: None,
            addresses: Vec::new(),
            dns: DnsClient {
                inside: Some("127.0.0.12".parse().unwrap()),
                search: "mesh.local".to_owned(),
                ..DnsClient::default()
            },
        };
        let line = args("-d --network none --name q u");
        let refused = run_words(&prepared, &line, None);
        assert_eq!(refused, Err(PreparedError::NoNamespace));
        prepared.netns = Some("/run/netns/x".to_owned());
        assert_eq!(
            run_words(&prepared, &line, Some("/tmp/i"))
                .unwrap()
                .join(" "),
            "run -d --network=ns:/run/netns/x --cidfile=/tmp/i --dns=127.0.0.12 --dns-search=mesh.local --name q u"
        );
    }
}
