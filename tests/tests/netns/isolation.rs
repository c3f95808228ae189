//! Isolation of networks, counted: frames of every kind are injected in each of eight networks with equal subnets, and
//! none of them arrives in another network, at a container on another bridge, or at a host that is in one network.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_tests::frames::{FrameKind, FrameMark, TallyCounts};
use mesh_tests::{
    Background, TestContainer, Testbed, TestbedHost, TestbedLayout, here, tell, wait_until,
    with_testbed,
};

/// Networks besides `default`, which has the number 0.
const NETWORKS: u8 = 8;
/// Networks with a container on the host in the middle, which relays for the others all the same.
const ON_ALL_HOSTS: u8 = 4;
/// Frames that each network injects in `make test`; the environment variable sets another number.
const FRAMES: u64 = 4_000;
const FRAMES_VARIABLE: &str = "MESH_ISOLATION_FRAMES";
/// Frames per second of each of the two senders of a network.
const RATE: u64 = 250;
const RATE_VARIABLE: &str = "MESH_ISOLATION_RATE";
/// Number of the bridge that is not part of the mesh, in place of a network's.
const PLAIN: u8 = 9;
const PLAIN_ADDRESS: &str = "172.30.0.2";
/// Address of the host in the middle, in the network 1.
const EXPOSED: &str = "10.40.0.254";
const SOON: Duration = Duration::from_secs(15);
/// Time in which the members of new networks agree on keys.
const KEYS: Duration = Duration::from_secs(60);
/// Kinds that must reach other containers of the sender's network on both paths. The others may be answered on the way, or
/// limited.
const ARRIVE: [FrameKind; 5] = [
    FrameKind::UnicastOwn,
    FrameKind::Broadcast,
    FrameKind::Multicast,
    FrameKind::ArpAnnouncement,
    FrameKind::VlanBroadcast,
];

/// A container with a receiver in it.
struct Member {
    network: u8,
    host: u8,
    container: TestContainer,
    mac: String,
    tally: Option<Background>,
}

impl Member {
    fn station(&self) -> String {
        format!("{}/{}", self.mac, self.container.address())
    }

    fn counts(&mut self) -> Result<TallyCounts> {
        let tally = self.tally.as_mut().context("no receiver")?;
        TallyCounts::parse(&tally.output()?)
    }

    /// Starts to count what arrives here.
    fn listen(&mut self, foreign: &[String]) -> Result<()> {
        let interface = if self.network == PLAIN {
            "eth0"
        } else {
            "mesh0"
        };
        let numbers = [self.network.to_string(), self.host.to_string()];
        let mut line = vec!["tally".to_owned(), interface.to_owned()];
        line.extend(numbers);
        line.extend_from_slice(foreign);
        let program = self.container.host().probe_path();
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        self.tally = Some(
            self.container
                .spawn(&[&[program.as_str()], &words[..]].concat())?,
        );
        Ok(())
    }

    /// Starts to send; `all` are the stations of this and other networks.
    fn inject(&self, all: &[(u8, String)], count: u64, rate: u64) -> Result<Background> {
        let own = self.station();
        let is_own = |(network, _): &&(u8, String)| *network == self.network;
        let mine: Vec<&str> = all.iter().filter(is_own).map(|(_, s)| s.as_str()).collect();
        // Equal addresses have equal MACs, in each network.
        let foreign = all.iter().map(|(_, station)| station.as_str());
        let foreign: BTreeSet<&str> = foreign.filter(|station| !mine.contains(station)).collect();
        let foreign: Vec<&str> = foreign.into_iter().collect();
        let others: Vec<&str> = mine.into_iter().filter(|station| *station != own).collect();
        let numbers = [
            self.network.to_string(),
            self.host.to_string(),
            count.to_string(),
            rate.to_string(),
        ];
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let program = self.container.host().probe_path();
        let start = [program.as_str(), "inject", "mesh0"];
        let line = [&start[..], &numbers, &[&own], &others, &["--"], &foreign];
        self.container.spawn(&line.concat())
    }
}

fn mesh(host: &TestbedHost, line: &str) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    host.mesh(&words)?.ok()
}

fn from_environment(variable: &str, otherwise: u64) -> Result<u64> {
    match std::env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable}={text}")),
        Err(_) => Ok(otherwise),
    }
}

/// Starts three routers in a line, so that the one in the middle relays, and creates the networks.
fn line_of_three(bed: &Testbed) -> Result<()> {
    bed.host(2).launch(&["--datapath", "tap"])?;
    bed.host(1).launch(&["--datapath", "tap", "host2"])?;
    bed.host(3).launch(&["--datapath", "pcap", "host2"])?;
    for host in bed.hosts() {
        host.wait_peers(3)?;
    }
    for network in 1..=NETWORKS {
        let line = format!("network create n{network} --subnet 10.40.0.0/24");
        mesh(bed.host(1), &line)?;
    }
    for host in bed.hosts() {
        wait_until(SOON, "the networks are known", || {
            let listed = mesh(host, "network ls")?;
            let known = (1..=NETWORKS).filter(|n| listed.contains(&format!("n{n} ")));
            ensure!(known.count() == usize::from(NETWORKS), "{listed}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Runs a container in a network. On the first and the last host, half of the networks have the same addresses, and so the
/// same MACs; on the host in the middle, each has another one.
fn run_in(bed: &Testbed, network: u8, host: u8) -> Result<Member> {
    let on = bed.host(usize::from(host));
    let last = match host {
        2 => 100 + network,
        _ => 10 * (network % 2) + host,
    };
    let name = format!("c{network}-{host}");
    let container = match network {
        0 => on.run_free(&[&format!("10.40.0.{last}/24")], &name)?,
        _ => {
            let (net, address) = (format!("n{network}"), format!("10.40.0.{last}"));
            on.run_free(&["--net", &net, &address], &name)?
        }
    };
    let rows = on.ps()?;
    let row = rows.iter().find(|row| row.name == name);
    let interface = row.and_then(|row| row.interfaces.first());
    let mac = interface.context("no interface")?.mac.clone();
    Ok(Member {
        network,
        host,
        container,
        mac,
        tally: None,
    })
}

/// Puts a container on another bridge of the host, as Docker has one.
fn plain(bed: &Testbed, host: u8) -> Result<Member> {
    let on = bed.host(usize::from(host));
    on.shell(
        "ip link add br-plain type bridge && ip addr add 172.30.0.1/24 dev br-plain && ip link set br-plain up && \
         sysctl -qw net.ipv4.ip_forward=1",
    )?
    .ok()?;
    let file = "/run/testbed/plain.pid";
    let start = format!("echo $$ >{file}.new; mv {file}.new {file}; exec sleep infinity");
    on.exec(&["setsid", "-f", "unshare", "--net", "sh", "-c", &start])?
        .ok()?;
    let pid = wait_until(SOON, "the plain container starts", || {
        on.exec(&["cat", file])?.ok()
    })?;
    let line = format!(
        "ip link add v-plain type veth peer name eth0 netns {pid} && ip link set v-plain master br-plain up && \
         nsenter -t {pid} -n sh -c 'ip addr add {PLAIN_ADDRESS}/24 dev eth0; ip link set lo up; ip link set eth0 up; \
         ip route add default via 172.30.0.1'"
    );
    on.shell(&line)?.ok()?;
    let container = on.process(&pid, PLAIN_ADDRESS);
    let mac = mac_of(&container, "eth0")?;
    Ok(Member {
        network: PLAIN,
        host,
        container,
        mac,
        tally: None,
    })
}

/// Returns the MAC of an interface in a container.
fn mac_of(container: &TestContainer, interface: &str) -> Result<String> {
    let text = container
        .exec(&["ip", "-o", "link", "show", interface])?
        .ok()?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "link/ether");
    let mac = at.and_then(|at| words.get(at + 1)).context("no MAC")?;
    Ok((*mac).to_owned())
}

/// Makes all containers, and starts to count in each.
fn members(bed: &Testbed) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    for network in 0..=NETWORKS {
        for host in 1..=3 {
            if host != 2 || network <= ON_ALL_HOSTS {
                members.push(run_in(bed, network, host)?);
            }
        }
    }
    for host in 1..=2 {
        members.push(plain(bed, host)?);
    }
    let macs: Vec<(u8, String)> = members.iter().map(|m| (m.network, m.mac.clone())).collect();
    for member in &mut members {
        let network = member.network;
        let own = macs.iter().filter(|(other, _)| *other == network);
        let own: BTreeSet<&String> = own.map(|(_, mac)| mac).collect();
        let foreign: BTreeSet<&String> = macs.iter().map(|(_, mac)| mac).collect();
        let foreign: Vec<String> = foreign.difference(&own).map(|mac| (*mac).clone()).collect();
        member.listen(&foreign)?;
    }
    Ok(members)
}

/// Starts to count on the bridge of the network in which the host is. Returns the MAC of the bridge as well.
fn listen_on_host(host: &TestbedHost) -> Result<(Background, String)> {
    let links = host.exec(&["ip", "-o", "-4", "addr", "show"])?.ok()?;
    let line = links.lines().find(|line| line.contains(EXPOSED));
    let bridge = line.and_then(|line| line.split_whitespace().nth(1));
    let bridge = bridge.with_context(|| links.clone())?;
    let mac = mac_of(&host.underlay()?, bridge)?;
    let tally = host.spawn(&[&host.probe_path(), "tally", bridge, "1", "0"])?;
    Ok((tally, mac))
}

/// Returns whether a member has received every kind of [`ARRIVE`] from each other host with a sender of its network.
fn hears_its_own(member: &mut Member) -> Result<()> {
    let (network, own) = (member.network, member.host);
    let counts = member.counts()?;
    for host in [1, 3].into_iter().filter(|host| *host != own) {
        for kind in ARRIVE {
            let mark = FrameMark {
                network,
                host,
                kind,
            };
            ensure!(
                counts.marked.contains_key(&mark),
                "network {network}, host {own}: no {kind:?} from host {host}: {counts}"
            );
        }
    }
    Ok(())
}

/// Sends from both ends of each network, and waits for the end. Returns the number of frames sent.
///
/// Frames for the plain container go to its MAC, and to that of the exposed host, which could forward them.
fn send_everywhere(members: &[Member], exposed: &str, count: u64, rate: u64) -> Result<u64> {
    let stations = members.iter().map(|m| (m.network, m.station()));
    let forwarded = (PLAIN, format!("{exposed}/{PLAIN_ADDRESS}"));
    let stations: Vec<(u8, String)> = stations.chain([forwarded]).collect();
    let senders = members.iter().filter(|m| m.host != 2 && m.network != PLAIN);
    let mut senders: Vec<Background> = senders
        .map(|member| member.inject(&stations, count, rate))
        .collect::<Result<_>>()?;
    let longest = Duration::from_secs(30 + 3 * count / rate.max(1));
    let mut sent = 0;
    for sender in &mut senders {
        let text = wait_until(longest, "frames are sent", || sender.finished())?.ok()?;
        let number = text.strip_prefix("injected ").unwrap_or_default();
        sent += number.parse::<u64>().with_context(|| text.clone())?;
    }
    Ok(sent)
}

/// Fails if a frame of another network arrived. Returns the number of frames of the own network.
fn is_apart(network: u8, place: &str, counts: &TallyCounts) -> Result<u64> {
    let foreign: Vec<_> = counts
        .marked
        .iter()
        .filter(|(mark, _)| mark.network != network)
        .collect();
    ensure!(
        foreign.is_empty() && counts.answers == 0,
        "{place} got frames of other networks: {foreign:?}, and {} answers that name their containers",
        counts.answers
    );
    Ok(counts.marked.values().sum())
}

/// Like [`is_apart`], for all containers.
fn all_apart(members: &mut [Member]) -> Result<u64> {
    let each = members.iter_mut().map(|member| {
        let place = format!("network {} on host {}", member.network, member.host);
        let counts = member.counts()?;
        is_apart(member.network, &place, &counts)
    });
    each.sum()
}

/// Returns the number of frames that the receiver in a container was too slow for.
fn missed(member: &Member) -> Result<u64> {
    let sockets = member.container.exec(&["ss", "-0", "-m", "-n"])?.ok()?;
    let drops = sockets
        .split([',', '(', ')'])
        .filter_map(|word| word.strip_prefix('d'));
    Ok(drops.filter_map(|number| number.parse::<u64>().ok()).sum())
}

/// Asks the router in a container for a name; `None` if nobody answers there.
fn ask(member: &Member, words: &[&str]) -> Result<Option<String>> {
    let dig = ["dig", "@127.0.0.12", "+short", "+tries=2", "+time=2"];
    let outcome = member.container.exec(&[&dig, words].concat())?;
    Ok((outcome.code == Some(0)).then(|| outcome.stdout.trim().to_owned()))
}

/// Checks that names and addresses of one network are not told in another.
fn names_stay_inside(members: &[Member]) -> Result<()> {
    for member in members.iter().filter(|m| m.host == 1 && m.network != PLAIN) {
        for network in 0..=ON_ALL_HOSTS {
            let name = format!("c{network}-2.mesh.local");
            let address = format!("10.40.0.{}", 100 + network);
            let is_own = network == member.network;
            let place = format!("network {} asks for {name}", member.network);
            let told = || -> Result<[String; 2]> {
                let told = [ask(member, &[&name])?, ask(member, &["-x", &address])?];
                Ok(told.map(Option::unwrap_or_default))
            };
            if !is_own {
                let told = told()?;
                ensure!(told == <[String; 2]>::default(), "{place}: {told:?}");
                continue;
            }
            let expected = [address.clone(), format!("{name}.")];
            wait_until(here(SOON), &place, || {
                let told = told()?;
                ensure!(told == expected, "{told:?}, not {expected:?}");
                Ok(())
            })?;
        }
    }
    Ok(())
}

#[test]
fn nothing_passes_from_one_network_to_another() -> Result<()> {
    let frames = from_environment(FRAMES_VARIABLE, FRAMES)?;
    let rate = from_environment(RATE_VARIABLE, RATE)?;
    with_testbed(&TestbedLayout::hosts(3).links("1-2,2-3"), |bed| {
        line_of_three(bed)?;
        let mut members = members(bed)?;
        mesh(bed.host(2), &format!("expose --net n1 {EXPOSED}"))?;
        let (mut exposed, mac) = listen_on_host(bed.host(2))?;
        let begun = wait_until(KEYS, "all networks have keys", || {
            send_everywhere(&members, &mac, 200, 200)?;
            // A leak says more than a frame that is missing.
            if all_apart(&mut members).is_err() {
                return Ok(());
            }
            let mut in_mesh = members.iter_mut().filter(|m| m.network != PLAIN);
            in_mesh.try_for_each(hears_its_own)
        });
        all_apart(&mut members)?;
        begun?;
        let sent = send_everywhere(&members, &mac, frames / 2, rate)?;
        // Queues are empty when nothing more arrives.
        wait_until(here(SOON), "nothing more arrives", || {
            let all = |members: &mut [Member]| -> Result<Vec<TallyCounts>> {
                members.iter_mut().map(Member::counts).collect()
            };
            let before = all(&mut members)?;
            std::thread::sleep(Duration::from_millis(600));
            ensure!(all(&mut members)? == before, "frames arrive");
            Ok(())
        })?;
        let mut told = format!(
            "isolation: {sent} frames sent in {} networks;",
            NETWORKS + 1
        );
        let arrived = all_apart(&mut members)?;
        let lost = members.iter().map(missed).sum::<Result<u64>>()?;
        let counts = TallyCounts::parse(&exposed.output()?)?;
        let at_host = is_apart(1, "the exposed host", &counts)?;
        ensure!(
            at_host > 0,
            "the exposed host hears nothing of its own network"
        );
        write!(
            told,
            " 0 arrived in another; {arrived} arrived in their own, {at_host} at the exposed host; \
             {lost} came too fast for the receivers"
        )?;
        tell(&told);
        names_stay_inside(&members)
    })
}
