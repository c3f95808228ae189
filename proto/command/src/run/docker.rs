//! `mesh run` with Docker: the router is a network driver, and the container is connected to its networks.

use std::str::FromStr;

use mesh_proto::api::Prepared;

use super::PreparedError;
use crate::CommandError;
use crate::args::RunArgs;
use crate::dns;
use crate::engine_args::EngineArgs;

/// Label that makes the router leave a container's `/etc/hosts` alone.
const LEAVE_HOSTS: &str = "mesh.rewrite-hosts=false";

/// Long and short names of flags about Docker's own network, which a container with `--network none` lacks.
const OF_DOCKERS_NETWORK: [(&[&str], Option<char>); 6] = [
    (&["publish"], Some('p')),
    (&["publish-all"], Some('P')),
    (&["ip", "ip6"], None),
    (&["mac-address"], None),
    (&["network-alias", "net-alias"], None),
    (&["link"], None),
];

/// Checks the flags of a container.
///
/// # Errors
/// Fails if they contradict each other, or put the container into a network namespace that is not its own.
pub fn check(args: &EngineArgs) -> Result<(), CommandError> {
    let is_shared = |n: &&str| *n == "host" || n.starts_with("container:");
    if let Some(network) = args.networks().find(is_shared) {
        return Err(CommandError::SharedNetwork(network.to_owned()));
    }
    if let Some(flag) = args.given(&["timeout"], None) {
        return Err(CommandError::NoTimeout(flag));
    }
    if !args.wants_no_network() {
        return Ok(());
    }
    for (long, short) in OF_DOCKERS_NETWORK {
        if let Some(flag) = args.given(long, short) {
            return Err(CommandError::NeedsNetwork(flag));
        }
    }
    Ok(())
}

/// Words that create a container and connect it to the mesh.
#[derive(Debug, PartialEq, Eq)]
pub struct NewContainer {
    /// Words of `docker create`.
    pub create: Vec<String>,
    /// Connections to make before the start.
    pub connects: Vec<NetworkConnect>,
}

impl NewContainer {
    /// Returns the words for a prepared container. It is on the networks of its flags (default: Docker's), too; with
    /// `--network none` it is on the mesh only.
    ///
    /// # Errors
    /// Fails if the router prepared no network, or one that is not understood.
    pub fn of(
        prepared: &Prepared,
        args: &EngineArgs,
        run: &RunArgs,
    ) -> Result<Self, PreparedError> {
        let networks = &prepared.networks;
        let Some((first, others)) = networks.split_first() else {
            return Err(PreparedError::NoNetwork);
        };
        let (mut create, connected) = if args.wants_no_network() {
            // Docker connects no further network to a container that has none.
            (words(&["create", "--network", first]), others)
        } else {
            (words(&["create"]), networks.as_slice())
        };
        if !run.without_dns {
            let flags = dns::flags(&prepared.dns);
            create.extend(dns::unless_said(flags, args));
        }
        if run.no_rewrite_hosts {
            create.push(format!("--label={LEAVE_HOSTS}"));
        }
        create.extend(args.for_create());
        let connects = connected
            .iter()
            .map(|network| network.parse::<NetworkConnect>());
        Ok(Self {
            create,
            connects: connects.collect::<Result<_, _>>()?,
        })
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// Arguments of `docker network connect`, from the value of a `docker run --network` flag.
#[derive(Debug, PartialEq, Eq)]
pub struct NetworkConnect {
    flags: Vec<String>,
    network: String,
}

impl NetworkConnect {
    /// Returns the words that connect a container.
    pub fn words(&self, container: &str) -> Vec<String> {
        let tail = [self.network.clone(), container.to_owned()];
        let head = words(&["network", "connect"]);
        head.into_iter()
            .chain(self.flags.clone())
            .chain(tail)
            .collect()
    }
}

impl FromStr for NetworkConnect {
    type Err = PreparedError;

    fn from_str(network: &str) -> Result<Self, PreparedError> {
        let (mut flags, mut name) = (Vec::new(), None);
        for field in csv_fields(network) {
            match field.split_once('=') {
                None => name = Some(field.clone()),
                Some(("name", value)) => name = Some(value.to_owned()),
                Some((key @ ("driver-opt" | "ip" | "ip6" | "alias"), value)) => {
                    flags.extend([format!("--{key}"), value.to_owned()]);
                }
                Some((key, _)) => return Err(PreparedError::NoOption(key.to_owned())),
            }
        }
        let Some(network) = name else {
            return Err(PreparedError::Unnamed(network.to_owned()));
        };
        Ok(Self { flags, network })
    }
}

/// Splits a line at its commas, except those in double quotes.
fn csv_fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => {
                if let Some(field) = fields.last_mut() {
                    field.push(c);
                }
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use mesh_proto::api::DnsClient;

    use super::*;
    use crate::args::Verb;

    /// Returns the words for docker, for a container on these networks.
    fn words_of(line: &str, networks: &[&str]) -> Result<Vec<String>, PreparedError> {
        let words = ["mesh", "run"].into_iter().chain(line.split_whitespace());
        let cli = crate::parse(words.map(Into::into).collect()).unwrap();
        let Verb::Run(args) = cli.verb else {
            panic!("another verb");
        };
        let engine_args = EngineArgs::parse(&args.rest).unwrap();
        let prepared = Prepared {
            id: String::new(),
            networks: super::words(networks),
            netns: None,
            addresses: Vec::new(),
            dns: DnsClient {
                servers: vec!["172.17.0.1".parse().unwrap()],
                search: "mesh.local".to_owned(),
                ..DnsClient::default()
            },
        };
        let container = NewContainer::of(&prepared, &engine_args, &args)?;
        let connects = container.connects.iter().map(|c| c.words("c").join(" "));
        Ok([container.create.join(" ")]
            .into_iter()
            .chain(connects)
            .collect())
    }

    #[test]
    fn a_container_is_on_dockers_network_unless_told_otherwise() {
        let dns = "--dns=172.17.0.1 --dns-search=mesh.local";
        let networks = ["name=mesh,ip=10.2.1.1", "mesh2"];
        assert_eq!(
            words_of("-d nginx", &networks).unwrap(),
            [
                format!("create {dns} nginx"),
                "network connect --ip 10.2.1.1 mesh c".to_owned(),
                "network connect mesh2 c".to_owned(),
            ]
        );
        assert_eq!(
            words_of("--network none nginx", &networks).unwrap(),
            [
                format!("create --network name=mesh,ip=10.2.1.1 {dns} nginx"),
                "network connect mesh2 c".to_owned(),
            ]
        );
        assert_eq!(
            words_of("--without-dns --no-rewrite-hosts nginx", &["m"]).unwrap(),
            [
                "create --label=mesh.rewrite-hosts=false nginx",
                "network connect m c"
            ]
        );
        assert_eq!(words_of("nginx", &[]), Err(PreparedError::NoNetwork));
    }

    #[test]
    fn flags_that_cannot_work_are_refused() {
        for (line, error) in [
            (
                "--network host u",
                CommandError::SharedNetwork("host".to_owned()),
            ),
            (
                "--net=container:x u",
                CommandError::SharedNetwork("container:x".to_owned()),
            ),
            (
                "--timeout 5 u",
                CommandError::NoTimeout("--timeout 5".to_owned()),
            ),
            (
                "--network none -p 80:80 u",
                CommandError::NeedsNetwork("-p 80:80".to_owned()),
            ),
        ] {
            let line: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
            assert_eq!(check(&EngineArgs::parse(&line).unwrap()), Err(error));
        }
        for line in ["u", "-p 80:80 --network back u", "--network none -t u"] {
            let line: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
            assert_eq!(check(&EngineArgs::parse(&line).unwrap()), Ok(()));
        }
    }

    #[test]
    fn a_network_in_the_words_of_connect() {
        for (network, expected) in [
            ("mesh2", "network connect mesh2 c"),
            (
                "name=mesh2,driver-opt=mesh.id=7,driver-opt=mesh.address=10.2.1.1/24",
                "network connect --driver-opt mesh.id=7 --driver-opt mesh.address=10.2.1.1/24 mesh2 c",
            ),
            (
                "name=m,\"driver-opt=a=b,c\",ip=10.2.1.1",
                "network connect --driver-opt a=b,c --ip 10.2.1.1 m c",
            ),
        ] {
            let connect: NetworkConnect = network.parse().unwrap();
            assert_eq!(connect.words("c").join(" "), expected);
        }
        for network in ["name=m,mac-address=x", "ip=10.2.1.1"] {
            assert!(network.parse::<NetworkConnect>().is_err(), "{network}");
        }
    }
}
