//! Addresses without asking for one: distinct on all hosts, whatever is cut, killed, joined late or leaves.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{Host, Setup, Testbed, all_reach_all, tell, wait_until, with_testbed};

use crate::full_mesh;

/// Within this time all routers know who owns what.
const AGREE: Duration = Duration::from_secs(10);

/// All addresses that containers of these hosts hold, each of them once.
fn distinct(hosts: &[&Host]) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for host in hosts {
        for held in host.ipam()?.allocations {
            let is_new = all.insert(held.address.clone());
            ensure!(is_new, "{} is held twice", held.address);
        }
    }
    Ok(all)
}

/// Waits until these hosts name the same owners with as many addresses each.
fn agree(hosts: &[&Host]) -> Result<()> {
    let owners = |host: &Host| -> Result<BTreeSet<(String, u64)>> {
        let owners = host.ipam()?.owners.into_iter();
        Ok(owners.map(|owner| (owner.id, owner.addresses)).collect())
    };
    wait_until(AGREE, "all know the same owners", || {
        let first = owners(hosts[0])?;
        for host in hosts {
            let here = owners(host)?;
            ensure!(here == first, "{here:?} on {}, {first:?}", host.name());
        }
        let all: u64 = first.iter().map(|(_, addresses)| addresses).sum();
        ensure!(all == 1 << 20, "{all} addresses of a /12 have owners");
        Ok(())
    })
}

fn all(bed: &Testbed) -> Vec<&Host> {
    bed.hosts().iter().collect()
}

#[test]
fn three_hosts_allocate_at_once_and_all_addresses_are_distinct() -> Result<()> {
    with_testbed(&Setup::hosts(3), |bed| {
        full_mesh(bed, &[])?;
        let mut containers = Vec::new();
        for round in 0..3 {
            for host in bed.hosts() {
                containers.push(host.run_free(&[], &format!("c{round}"))?);
            }
        }
        ensure!(distinct(&all(bed))?.len() == 9);
        all_reach_all(&containers)?;
        agree(&all(bed))?;
        // The lowest free address of a subnet, also where another router owns it.
        for (n, host) in bed.hosts().iter().enumerate() {
            let name = format!("n{n}");
            host.run_free(&["net:10.32.5.0/24"], &name)?;
            let expected = format!("10.32.5.{}/24", n + 1);
            ensure!(host.address_of(&name)? == expected, "{expected}");
        }
        ensure!(distinct(&all(bed))?.len() == 12);
        for host in bed.hosts() {
            let status = host.mesh(&["status"])?.ok()?;
            ensure!(status.contains("Addresses: 10.32.0.0/12 (owns"), "{status}");
        }
        Ok(())
    })
}

#[test]
fn who_allocates_before_it_connects_keeps_what_it_has_and_goes_on() -> Result<()> {
    with_testbed(&Setup::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        let mut containers = Vec::new();
        for host in bed.hosts() {
            host.launch(&[])?;
            let began = Instant::now();
            containers.push(host.run_free(&[], "early")?);
            let took = began.elapsed();
            ensure!(took < Duration::from_secs(3), "a lone router took {took:?}");
        }
        two.mesh(&["connect", "host1"])?.ok()?;
        two.wait_connections(1)?;
        agree(&[one, two])?;
        for host in bed.hosts() {
            containers.push(host.run_free(&[], "late")?);
        }
        ensure!(distinct(&[one, two])?.len() == 4);
        all_reach_all(&containers)?;
        for host in bed.hosts() {
            let advice = host.ipam()?.advice;
            ensure!(advice.is_empty(), "{advice:?}");
        }
        Ok(())
    })
}

#[test]
fn what_both_gave_out_before_they_met_is_told_with_the_command_that_ends_it() -> Result<()> {
    with_testbed(&Setup::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        for host in bed.hosts() {
            host.launch(&[])?;
            host.run_free(&["net:10.32.5.0/24"], "early")?;
        }
        let id = |host: &Host| -> Result<String> {
            let found = host.ps()?.into_iter().find(|c| c.name == "early");
            Ok(found.context("it is not on the mesh")?.container)
        };
        two.mesh(&["connect", "host1"])?.ok()?;
        let words = "10.32.5.1 is held on";
        for host in bed.hosts() {
            let advice = wait_until(Duration::from_secs(15), "the conflict is told", || {
                let advice = host.ipam()?.advice;
                let told = advice.iter().find(|line| line.contains(words));
                told.cloned().with_context(|| format!("{advice:?}"))
            })?;
            let command = format!("mesh detach 10.32.5.1/24 {}", id(host)?);
            ensure!(advice.ends_with(&command), "{advice}");
        }
        // Only that address is in doubt.
        let more: Vec<_> = bed
            .hosts()
            .iter()
            .map(|host| host.run_free(&["net:10.32.5.0/24"], "late"))
            .collect::<Result<_>>()?;
        more[0].reaches(&more[1])?;
        let early = id(two)?;
        two.mesh(&["detach", "10.32.5.1/24", &early])?.ok()?;
        two.mesh(&["attach", "net:10.32.5.0/24", &early])?.ok()?;
        wait_until(Duration::from_secs(15), "the conflict is over", || {
            for host in bed.hosts() {
                let advice = host.ipam()?.advice;
                ensure!(
                    !advice.iter().any(|line| line.contains(words)),
                    "{advice:?}"
                );
            }
            distinct(&[one, two]).map(drop)
        })
    })
}

#[test]
fn explicit_addresses_are_claimed_and_conflicts_name_the_holder() -> Result<()> {
    with_testbed(&Setup::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        full_mesh(bed, &[])?;
        one.run_free(&["10.32.9.1/24"], "web")?;
        let refused = |host: &Host, args: &[&str]| -> Result<String> {
            let before = ["run", "--runtime", "process"];
            host.mesh(&[&before[..], args, &["--", "true"]].concat())?
                .refused()
        };
        let message = refused(one, &["10.32.9.1/24"])?;
        ensure!(
            message.contains("10.32.9.1 is already used by container web on this host"),
            "{message}"
        );
        let message = refused(two, &["10.32.9.1/24"])?;
        ensure!(
            message.contains("10.32.9.1 is already used by container web"),
            "{message}"
        );
        ensure!(message.contains("host1"), "{message}");
        // Allocation goes round it, and a claim of a free one elsewhere works.
        two.run_free(&["net:10.32.9.0/24"], "next")?;
        ensure!(two.address_of("next")? == "10.32.9.2/24");
        two.run_free(
            &["10.32.9.77/24", "net:10.32.10.0/24", "10.2.1.1/24"],
            "mixed",
        )?;
        let mixed = two.ps()?.into_iter().find(|c| c.name == "mixed");
        let mixed: BTreeSet<String> = mixed
            .context("it is not on the mesh")?
            .interfaces
            .into_iter()
            .map(|i| i.address)
            .collect();
        let expected = ["10.2.1.1/24", "10.32.10.1/24", "10.32.9.77/24"];
        ensure!(mixed.iter().eq(expected.iter()), "{mixed:?}");
        distinct(&[one, two]).map(drop)
    })
}

#[test]
fn a_partition_yields_no_address_twice_and_both_sides_go_on() -> Result<()> {
    with_testbed(&Setup::hosts(3), |bed| {
        full_mesh(bed, &[])?;
        let mut containers = Vec::new();
        for host in bed.hosts() {
            containers.push(host.run_free(&[], "before")?);
        }
        bed.host(3).cut()?;
        for host in &bed.hosts()[..2] {
            host.wait_connections(1)?;
        }
        for (n, host) in bed.hosts().iter().enumerate() {
            for round in 0..5 {
                containers.push(host.run_free(&[], &format!("cut{n}-{round}"))?);
            }
        }
        bed.host(3).heal()?;
        for host in bed.hosts() {
            host.wait_connections(2)?;
        }
        agree(&all(bed))?;
        ensure!(distinct(&all(bed))?.len() == 18);
        containers[0].reaches(&containers[17])?;
        let advice = bed.host(1).ipam()?.advice;
        ensure!(advice.is_empty(), "{advice:?}");
        Ok(())
    })
}

#[test]
fn killed_again_and_again_under_allocation_it_forgets_nothing() -> Result<()> {
    with_testbed(&Setup::hosts(1), |bed| {
        let host = bed.host(1);
        // Whoever holds an address goes on running through all of it.
        host.launch(&[])?;
        let kept = host.run_free(&["net:10.32.5.0/24"], "kept")?;
        let (began, mut kills) = (Instant::now(), 0);
        while kills < 200 && began.elapsed() < Duration::from_secs(25) {
            let id = host.ps()?[0].container.clone();
            let line = format!(
                "i=0; while [ $i -lt 8 ]; do i=$((i+1)); timeout 3 mesh attach --timeout 2 net:10.33.{}.0/24 {id} \
                 >>/run/testbed/granted 2>/dev/null; timeout 3 mesh detach net:10.33.{}.0/24 {id} >/dev/null 2>&1; done",
                kills % 200,
                kills % 200,
            );
            let script = format!(
                "({line}) & sleep 0.0{}; pkill -KILL -x mesh-router; wait; true",
                1 + kills % 9
            );
            host.shell(&script)?.ok()?;
            wait_until(Duration::from_secs(5), "the killed router is gone", || {
                ensure!(host.router_pid().is_err());
                Ok(())
            })?;
            host.launch(&[])?;
            kills += 1;
            let held = host.ipam()?;
            ensure!(held.advice.is_empty(), "after {kills}: {:?}", held.advice);
            let is_kept = held.allocations.iter().any(|a| a.address == "10.32.5.1/24");
            ensure!(is_kept, "after {kills} kills: {:?}", held.allocations);
        }
        // What is held and used by nobody is free in time; what is used is held.
        let used: BTreeSet<String> = host
            .ps()?
            .iter()
            .flat_map(|c| c.interfaces.iter().map(|i| i.address.clone()))
            .collect();
        ensure!(used.contains(&format!("{}/24", kept.address())), "{used:?}");
        wait_until(
            Duration::from_secs(60),
            "what is held is what is used",
            || {
                let held = distinct(&[host])?;
                ensure!(held == used, "held {held:?}, used {used:?}");
                Ok(())
            },
        )?;
        tell(&format!(
            "{kills} kills under allocation in {:.0?}",
            began.elapsed()
        ));
        ensure!(kills >= 10, "{kills} kills only");
        Ok(())
    })
}

#[test]
fn a_router_that_is_gone_is_removed_and_one_that_lives_is_not() -> Result<()> {
    with_testbed(&Setup::hosts(3), |bed| {
        full_mesh(bed, &[])?;
        let (one, two, three) = (bed.host(1), bed.host(2), bed.host(3));
        for host in bed.hosts() {
            host.run_free(&[], "c")?;
        }
        agree(&all(bed))?;
        let message = one.mesh(&["rmpeer", "host3"])?.refused()?;
        ensure!(message.contains("host3 can be reached"), "{message}");
        let message = one.mesh(&["rmpeer", "--force", "host3"])?.refused()?;
        ensure!(message.contains("host3 can be reached"), "{message}");
        let message = one.mesh(&["rmpeer", "host7"])?.refused()?;
        ensure!(message.contains("no router is called 'host7'"), "{message}");
        three.crash()?;
        for host in [one, two] {
            host.wait_connections(1)?;
        }
        wait_until(AGREE, "host3 is shown as unreachable", || {
            let owners = one.ipam()?.owners;
            ensure!(
                owners.iter().any(|o| o.peer == "host3" && !o.reachable),
                "{owners:?}"
            );
            Ok(())
        })?;
        // In its first seconds a router removes nobody.
        wait_until(AGREE, "it is refused for want of silence", || {
            let message = one.mesh(&["rmpeer", "host3"])?.refused()?;
            ensure!(
                message.contains("wait until 600 s, or use --force"),
                "{message}"
            );
            Ok(())
        })?;
        let done = one.mesh(&["rmpeer", "--force", "host3"])?.ok()?;
        ensure!(done.contains("host3 is removed"), "{done}");
        // The other one sees it within 5 s, and the space is used again.
        wait_until(Duration::from_secs(5), "host2 knows", || {
            let owners = two.ipam()?.owners;
            ensure!(owners.iter().all(|o| o.peer != "host3"), "{owners:?}");
            Ok(())
        })?;
        agree(&[one, two])?;
        two.run_free(&[], "after")?;
        distinct(&[one, two]).map(drop)
    })
}

#[test]
fn who_is_reset_hands_its_space_over_and_what_it_held_is_free_at_once() -> Result<()> {
    with_testbed(&Setup::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        // Whoever takes the range, both own a part of it.
        one.run_free(&["net:10.32.5.0/24"], "mine")?;
        one.run_free(&[], "more")?;
        two.run_free(&["net:10.32.5.0/24"], "theirs")?;
        two.run_free(&[], "other")?;
        agree(&[one, two])?;
        for host in [one, two] {
            let owners = host.ipam()?.owners;
            ensure!(owners.len() == 2, "{owners:?}");
        }
        let reset = two.mesh(&["reset"])?;
        ensure!(reset.code == Some(0) && reset.stderr.is_empty(), "{reset}");
        wait_until(
            Duration::from_secs(5),
            "host1 owns all and lends nothing",
            || {
                let report = one.ipam()?;
                ensure!(
                    report.owners.len() == 1 && report.loans.is_empty(),
                    "{report:?}"
                );
                Ok(())
            },
        )?;
        agree(&[one])?;
        one.run_free(&["net:10.32.5.0/24"], "next")?;
        ensure!(
            one.address_of("next")? == "10.32.5.2/24",
            "{}",
            one.address_of("next")?
        );
        // As a new router it may have some again.
        two.launch(&["host1"])?;
        two.wait_connections(1)?;
        two.run_free(&["net:10.32.5.0/24"], "again")?;
        ensure!(two.address_of("again")? == "10.32.5.3/24");
        Ok(())
    })
}

#[test]
fn a_wait_has_a_reason_a_line_and_an_end() -> Result<()> {
    with_testbed(&Setup::hosts(3), |bed| {
        let small = ["--ipalloc-range", "10.40.0.0/28"];
        full_mesh(bed, &small)?;
        let (one, three) = (bed.host(1), bed.host(3));
        for n in 0..14 {
            three.run_free(&[], &format!("c{n}"))?;
        }
        // Before it asked anybody for a single address it was given space.
        let first = three.address_of("c0")?;
        let full = one
            .mesh(&["run", "--runtime", "process", "--", "true"])?
            .refused()?;
        ensure!(
            full.contains("no address of 10.40.0.0/28 is free on any router"),
            "{full}"
        );
        three.crash()?;
        one.wait_connections(1)?;
        let began = Instant::now();
        let waited = one.mesh(&[
            "run",
            "--runtime",
            "process",
            "--timeout",
            "3",
            "--",
            "true",
        ])?;
        ensure!(waited.code == Some(1), "{waited}");
        let took = began.elapsed();
        ensure!(
            took > Duration::from_secs(2) && took < Duration::from_secs(8),
            "{took:?}"
        );
        ensure!(
            waited
                .stderr
                .contains("waiting for an address of 10.40.0.0/28:"),
            "{waited}"
        );
        ensure!(waited.stderr.contains("mesh rmpeer host3"), "{waited}");
        let claim = one
            .mesh(&["run", "--runtime", "process", &first, "--", "true"])?
            .refused()?;
        ensure!(
            claim.contains("host3") && claim.contains("mesh rmpeer host3"),
            "{claim}"
        );
        one.mesh(&["rmpeer", "--force", "host3"])?.ok()?;
        one.run_free(&[], "after")?;
        Ok(())
    })
}

#[test]
fn primed_ranges_have_an_owner_on_every_host() -> Result<()> {
    with_testbed(&Setup::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        for host in bed.hosts() {
            ensure!(host.ipam()?.owners.is_empty(), "nobody was asked yet");
        }
        for host in bed.hosts() {
            host.mesh(&["prime"])?.ok()?;
        }
        agree(&all(bed))
    })
}

#[test]
fn mistakes_about_ranges_are_told_with_their_remedies() -> Result<()> {
    with_testbed(&Setup::hosts(1), |bed| {
        let host = bed.host(1);
        for (flags, words) in [
            (
                &["--ipalloc-range", "192.168.0.0/16"][..],
                "this host has a route to 192.168.77.0/24, which collides; choose another range",
            ),
            (&["--ipalloc-range", "10.0.0.0/30"], "8 to 28 bits"),
            (&["--ipalloc-range", "10.32.0.1/12"], "write 10.32.0.0/12"),
            (
                &["--ipalloc-range", "x"],
                "must be an IPv4 range like 10.32.0.0/12",
            ),
            (
                &["--ipalloc-default-subnet", "10.2.0.0/16"],
                "is not in the range, 10.32.0.0/12",
            ),
            (&["--auto-reclaim", "5m"], "600 s at least"),
        ] {
            let message = host.mesh(&[&["launch"], flags].concat())?.refused()?;
            ensure!(message.contains(words), "{message}");
        }
        // The default range gives way to a route, and explicit addresses work.
        host.exec(&["ip", "route", "add", "10.0.0.0/8", "dev", "lo"])?
            .ok()?;
        host.launch(&[])?;
        host.run("10.2.1.1/24")?;
        let run = |args: &[&str]| -> Result<String> {
            let before = ["run", "--runtime", "process"];
            host.mesh(&[&before[..], args, &["--", "true"]].concat())?
                .refused()
        };
        let message = run(&[])?;
        ensure!(
            message.contains("collides with this host's route to 10.0.0.0/8"),
            "{message}"
        );
        ensure!(host.mesh(&["status"])?.ok()?.contains("Addresses: off"));
        host.mesh(&["stop"])?.ok()?;
        host.exec(&["ip", "route", "del", "10.0.0.0/8"])?.ok()?;
        host.launch(&["--ipalloc-default-subnet", "10.32.0.0/30"])?;
        for (args, words) in [
            (
                &["net:10.2.0.0/16"][..],
                "10.2.0.0/16 is not in the range of addresses, 10.32.0.0/12; take a subnet of it",
            ),
            (
                &["net:10.32.0.0/31"],
                "too small a subnet to allocate from; the smallest is a /30",
            ),
            (
                &["net:10.32.0.1/24"],
                "has host bits set; write net:10.32.0.0/24",
            ),
            (&["net:fd00::/64"], "only IPv4 addresses are allocated"),
            (&["--timeout=-1"], "--timeout -1: must be 0 to 3600 seconds"),
        ] {
            let message = run(args)?;
            ensure!(message.contains(words), "{message}");
        }
        for name in ["a", "b"] {
            host.run_free(&[], name)?;
        }
        let message = run(&[])?;
        ensure!(
            message
                .contains("no address of 10.32.0.0/30 is free on any router; take another subnet"),
            "{message}"
        );
        host.mesh(&["stop"])?.ok()?;
        let message = host
            .mesh(&["launch", "--ipalloc-range", "10.64.0.0/16"])?
            .refused()?;
        ensure!(
            message.contains("launch with --ipalloc-range 10.32.0.0/12"),
            "{message}"
        );
        host.launch(&["--ipalloc-range", ""])?;
        let message = run(&["net:default"])?;
        ensure!(message.contains("--ipalloc-range is \"\""), "{message}");
        Ok(())
    })
}
