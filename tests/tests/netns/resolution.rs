//! ARP requests and neighbour solicitations for containers elsewhere are sent to these alone, while they answer; and
//! storms.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{
    Background, TestContainer, Heard, TestbedHost, TestbedLayout, Testbed, cast, wait_until, with_testbed,
};

use crate::full_mesh;

const DEADLINE: Duration = Duration::from_secs(20);

/// Capture of a host's bridge, one line per frame.
struct Watch(Background);

impl Watch {
    fn start(host: &TestbedHost, filter: &str) -> Result<Self> {
        let mut tcpdump = host.spawn(&["tcpdump", "-lnei", "mesh", filter])?;
        wait_until(DEADLINE, "tcpdump listens", || {
            let said = tcpdump.errors()?;
            ensure!(said.contains("listening on"), "{said}");
            Ok(())
        })?;
        Ok(Self(tcpdump))
    }

    /// Returns the lines so far that contain all of these words.
    fn lines(&mut self, words: &[&str]) -> Result<Vec<String>> {
        let seen = self.0.output()?;
        let all = |line: &&str| words.iter().all(|word| line.contains(word));
        Ok(seen.lines().filter(all).map(str::to_owned).collect())
    }
}

fn counter(host: &TestbedHost, name: &str) -> Result<u64> {
    let counters = host.report()?.router.counters;
    Ok(counters.get(name).copied().unwrap_or_default())
}

/// Waits until each router knows the other's containers.
fn wait_announced(bed: &Testbed, each: usize) -> Result<()> {
    for host in bed.hosts() {
        wait_until(DEADLINE, "all routers announce their containers", || {
            let peers = host.report()?.router.peers;
            ensure!(peers.iter().all(|p| p.attached == each), "{peers:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Returns the MAC address that `mesh ps` shows for a container.
fn mac_of(container: &TestContainer) -> Result<String> {
    let all = container.host().ps()?;
    let mut interfaces = all.iter().flat_map(|c| &c.interfaces);
    let wanted = format!("{}/", container.address());
    let interface = interfaces.find(|i| i.address.starts_with(&wanted));
    Ok(interface.context("not on the mesh")?.mac.clone())
}

/// Checks that a request for the second container does not reach the other host's bridge as a broadcast, and that a
/// request for an address that nobody has does.
fn asks_one_only(
    [a, b]: &[TestContainer; 2],
    nobody: &str,
    filter: &str,
    question: &str,
    counted: &str,
) -> Result<()> {
    let mut watch = Watch::start(b.host(), filter)?;
    a.exec(&["ip", "neigh", "flush", "all"])?.ok()?;
    let before = counter(a.host(), counted)?;
    a.reaches(b)?;
    let now = counter(a.host(), counted)?;
    ensure!(now > before, "{counted} is {now}, was {before}");
    let known = a.exec(&["ip", "neigh", "show", b.address()])?.ok()?;
    let mac = mac_of(b)?;
    ensure!(known.contains(&mac), "{known}, not {mac}");

    ensure!(a.ping(nobody).is_err(), "nobody answers");
    let asked = |address: &str| format!("{question} {address}");
    wait_until(DEADLINE, "what nobody announces crosses", || {
        let seen = watch.lines(&[&asked(nobody)])?;
        ensure!(!seen.is_empty(), "nothing seen");
        Ok(())
    })?;
    // Unicast probes of a known neighbour are not broadcast, and go to that container.
    let crossed = watch.lines(&[&asked(b.address())])?;
    let to_b = format!("> {mac}");
    let to_all: Vec<_> = crossed.iter().filter(|l| !l.contains(&to_b)).collect();
    ensure!(to_all.is_empty(), "{to_all:?}");
    Ok(())
}

#[test]
fn arp_for_a_container_elsewhere_is_put_to_it_alone() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let pair = [
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(2).run("10.2.1.2/24")?,
        ];
        wait_announced(bed, 1)?;
        asks_one_only(&pair, "10.2.1.77", "arp", "Request who-has", "arp_directed")
    })
}

#[test]
fn solicitations_for_a_container_elsewhere_are_put_to_it_alone() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let run = |host: usize| {
            let address = format!("fd00:2:1::{host}/64");
            bed.host(host).run_named(&address, &format!("six{host}"))
        };
        let pair = [run(1)?, run(2)?];
        wait_announced(bed, 1)?;
        let question = "neighbor solicitation, who has";
        asks_one_only(&pair, "fd00:2:1::77", "icmp6", question, "nd_directed")?;

        // Duplicate address detection is broadcast, and the owner answers.
        let [a, b] = &pair;
        let look = "echo 1 >/proc/sys/net/ipv6/conf/mesh0/accept_dad";
        a.exec(&["sh", "-c", look])?.ok()?;
        let address = format!("{}/64", b.address());
        a.exec(&["ip", "addr", "add", &address, "dev", "mesh0"])?
            .ok()?;
        wait_until(DEADLINE, "the kernel finds the address taken", || {
            let shown = a
                .exec(&["ip", "-6", "addr", "show", "dev", "mesh0"])?
                .ok()?;
            ensure!(shown.contains("dadfailed"), "{shown}");
            Ok(())
        })
    })
}

#[test]
fn of_a_container_that_went_nobody_is_asked_and_one_that_moved_is() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        full_mesh(bed, &[])?;
        let a = bed.host(1).run("10.2.1.1/24")?;
        let b = bed.host(2).run("10.2.1.2/24")?;
        a.reaches(&b)?;
        b.kill()?;
        wait_until(DEADLINE, "the container is gone everywhere", || {
            let peers = bed.host(1).report()?.router.peers;
            ensure!(
                peers.iter().map(|p| p.attached).sum::<usize>() == 1,
                "{peers:?}"
            );
            Ok(())
        })?;
        let before = counter(bed.host(1), "arp_directed")?;
        a.exec(&["ip", "neigh", "flush", "all"])?.ok()?;
        ensure!(a.ping("10.2.1.2").is_err(), "it is gone");
        ensure!(
            counter(bed.host(1), "arp_directed")? == before,
            "asked of nobody"
        );

        let moved = bed.host(3).run_named("10.2.1.2/24", "moved")?;
        wait_until(DEADLINE, "it is announced from its new place", || {
            let peers = bed.host(1).report()?.router.peers;
            ensure!(
                peers.iter().map(|p| p.attached).sum::<usize>() == 2,
                "{peers:?}"
            );
            Ok(())
        })?;
        // Its announcement may have arrived at a failed entry; the test is about requests.
        a.exec(&["ip", "neigh", "flush", "all"])?.ok()?;
        a.reaches(&moved)?;
        ensure!(
            counter(bed.host(1), "arp_directed")? > before,
            "not asked at its new place"
        );
        Ok(())
    })
}

/// Returns the neighbour entry of the address at `asker`, resolved from an empty cache.
fn finds(asker: &TestContainer, address: &str) -> Result<String> {
    asker.exec(&["ip", "neigh", "flush", "all"])?.ok()?;
    asker.ping(address)?;
    asker.exec(&["ip", "neigh", "show", address])?.ok()
}

/// Returns the actual MAC address of a container's interface on the mesh.
fn real_mac(container: &TestContainer) -> Result<String> {
    let text = container
        .exec(&["ip", "-o", "link", "show", "dev", "mesh0"])?
        .ok()?;
    let mut words = text
        .split_whitespace()
        .skip_while(|word| *word != "link/ether");
    Ok(words.nth(1).context("no MAC address")?.to_owned())
}

/// Moves an address from one container to another as failover does: silently, and back with an announcement.
fn moves_by_hand(
    asker: &TestContainer,
    (from, to): (&TestContainer, &TestContainer),
    prefix: &str,
) -> Result<()> {
    let address = from.address().to_owned();
    let whole = format!("{address}/{prefix}");
    let (old, new) = (real_mac(from)?, real_mac(to)?);
    let known = finds(asker, &address)?;
    ensure!(known.contains(&old), "{known}, not {old}");
    let change = |place: &TestContainer, verb: &str| -> Result<()> {
        let mut words = vec!["ip", "addr", verb, &whole, "dev", "mesh0"];
        // Skip duplicate address detection, which would be broadcast.
        if verb == "add" && address.contains(':') {
            words.push("nodad");
        }
        place.exec(&words)?.ok().map(drop)
    };
    change(from, "del")?;
    change(to, "add")?;
    // The old owner does not answer the first request; the next one follows after a second.
    wait_until(Duration::from_secs(5), "the address is found again", || {
        let known = finds(asker, &address)?;
        ensure!(known.contains(&new), "{known}, not {new}");
        Ok(())
    })?;
    change(to, "del")?;
    change(from, "add")?;
    wait_until(Duration::from_secs(5), "it is found where it was", || {
        let known = finds(asker, &address)?;
        ensure!(known.contains(&old), "{known}, not {old}");
        Ok(())
    })
}

#[test]
fn an_address_that_moves_to_another_mac_is_found_in_a_few_seconds() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        full_mesh(bed, &[])?;
        let six = |host: usize, name: &str| {
            let address = format!("fd00:2:1::{host}/64");
            bed.host(host).run_named(&address, name)
        };
        let asker = bed.host(1).run_named("10.2.1.1/24", "asker")?;
        let owner = bed.host(2).run_named("10.2.1.2/24", "owner")?;
        let far = bed.host(3).run_named("10.2.1.3/24", "far")?;
        let beside = bed.host(2).run_named("10.2.1.4/24", "beside")?;
        let sixes = [six(1, "six1")?, six(2, "six2")?, six(3, "six3")?];
        for n in 1..=3 {
            let host = bed.host(n);
            wait_until(DEADLINE, "all containers are announced", || {
                let peers = host.report()?.router.peers;
                let known: usize = peers.iter().map(|p| p.attached).sum();
                ensure!(known == 7, "{peers:?}");
                Ok(())
            })?;
        }
        for to in [&far, &beside] {
            moves_by_hand(&asker, (&owner, to), "24")?;
        }
        moves_by_hand(&sixes[0], (&sixes[1], &sixes[2]), "64")?;

        // The owner changes its MAC address without an announcement.
        let change = "ip link set mesh0 down && ip link set mesh0 address 02:00:00:00:07:07 && ip link set mesh0 up";
        owner.exec(&["sh", "-c", change])?.ok()?;
        wait_until(Duration::from_secs(5), "the new MAC is found", || {
            let known = finds(&asker, "10.2.1.2")?;
            ensure!(known.contains("02:00:00:00:07:07"), "{known}");
            Ok(())
        })
    })
}

#[test]
fn a_storm_of_broadcasts_is_limited_and_other_traffic_flows() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let loud = bed.host(1).run("10.2.1.1/24")?;
        let quiet = bed.host(1).run("10.2.1.2/24")?;
        let far = bed.host(2).run("10.2.1.3/24")?;
        quiet.reaches(&far)?;
        let mut heard = Heard::start(&far, 4001, None)?;
        let mut storm = loud.storm("10.2.1.255:4000", Duration::from_secs(4))?;
        let dropped = || -> Result<u64> {
            let drops = bed.host(1).report()?.router.drops;
            Ok(drops.get("broadcast_limited").copied().unwrap_or_default())
        };
        wait_until(DEADLINE, "broadcasts are dropped", || {
            let dropped = dropped()?;
            ensure!(dropped > 0, "none was");
            Ok(())
        })?;
        let answers = quiet.count_answers(&far, 50)?;
        ensure!(answers >= 49, "{answers} of 50 echoes came back");
        cast(&quiet, "10.2.1.255", 4001, "quiet", 20)?;
        wait_until(DEADLINE, "broadcasts of others are heard", || {
            let heard = heard.counts()?.len();
            ensure!(heard >= 19, "{heard} of 20");
            Ok(())
        })?;
        let sent = wait_until(DEADLINE, "the storm ends", || storm.finished())?.stdout;
        let sent = sent.trim().strip_prefix("sent ").unwrap_or_default();
        let sent: u64 = sent.parse().context("what the storm sent")?;
        let flooded = counter(bed.host(1), "frames_flooded")?;
        ensure!(dropped()? > flooded, "{flooded} were flooded");
        ensure!(dropped()? <= sent + 1_000, "of {sent}");
        Ok(())
    })
}

#[test]
fn multicast_has_a_limit_of_its_own_that_operators_set() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        two.launch(&[])?;
        let message = one.mesh(&["launch", "--multicast-limit", "1000001"])?;
        ensure!(message.refused()?.contains("0 (no limit) to 1000000"));
        one.launch(&["--multicast-limit", "100", "host2"])?;
        let loud = one.run("10.2.1.1/24")?;
        let far = two.run("10.2.1.2/24")?;
        loud.reaches(&far)?;
        let mut storm = loud.storm("239.1.2.3:4000", Duration::from_secs(1))?;
        wait_until(DEADLINE, "the stream ends", || storm.finished())?.ok()?;
        wait_until(DEADLINE, "multicasts are dropped, and called so", || {
            let drops = one.report()?.router.drops;
            let of = |name: &str| drops.get(name).copied().unwrap_or_default();
            ensure!(of("multicast_limited") > 500, "{drops:?}");
            ensure!(of("broadcast_limited") == 0, "{drops:?}");
            Ok(())
        })?;
        let status = one.mesh(&["status"])?.ok()?;
        ensure!(
            status.contains("multicasts (launch --multicast-limit)"),
            "{status}"
        );
        // Without a limit, no frame is counted as dropped by one; frames beyond the lanes' capacity have their own
        // counter.
        one.kill_router()?;
        one.launch(&["--multicast-limit", "0", "host2"])?;
        loud.reaches(&far)?;
        let mut storm = loud.storm("239.1.2.3:4000", Duration::from_secs(1))?;
        wait_until(DEADLINE, "the stream ends", || storm.finished())?.ok()?;
        let flooded = counter(one, "frames_flooded")?;
        ensure!(flooded > 500, "{flooded}");
        let drops = one.report()?.router.drops;
        ensure!(
            drops.get("multicast_limited").copied().unwrap_or_default() == 0,
            "{drops:?}"
        );
        Ok(())
    })
}
