//! Cut cables, killed routers, removed and reset hosts: no duplicate address, and no lost space.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mesh_tests::{TestbedLayout, tell, wait_until, with_testbed};

use super::{AGREE, agree, all, distinct};
use crate::full_mesh;

#[test]
fn a_partition_yields_no_address_twice_and_both_sides_go_on() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
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

/// Returns the number of kills and their time limit: as many as fit into it, or `MESH_KILLS` without a limit.
fn kills_wanted() -> (usize, Duration) {
    let wanted = std::env::var("MESH_KILLS")
        .ok()
        .and_then(|n| n.parse().ok());
    match wanted {
        Some(kills) => (kills, Duration::MAX),
        None => (200, Duration::from_secs(15)),
    }
}

#[test]
fn killed_again_and_again_under_allocation_it_forgets_nothing() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        // The container with the address keeps running throughout.
        host.launch(&["--no-restart"])?;
        let kept = host.run_free(&["net:10.32.5.0/24"], "kept")?;
        let (wanted, most) = kills_wanted();
        let (began, mut kills) = (Instant::now(), 0);
        while kills < wanted && began.elapsed() < most {
            let id = host.ps()?[0].container.clone();
            let line = format!(
                "i=0; while [ $i -lt 8 ]; do i=$((i+1)); timeout 3 mesh attach --timeout 2 net:10.33.{}.0/24 {id} \
                 >>/run/testbed/granted 2>/dev/null || pgrep -x mesh-router >/dev/null || break; timeout 3 mesh detach net:10.33.{}.0/24 {id} >/dev/null 2>&1; done",
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
            host.launch(&["--no-restart"])?;
            kills += 1;
            let held = host.ipam()?;
            ensure!(held.advice.is_empty(), "after {kills}: {:?}", held.advice);
            let is_kept = held.allocations.iter().any(|a| a.address == "10.32.5.1/24");
            ensure!(is_kept, "after {kills} kills: {:?}", held.allocations);
        }
        // Addresses without a user are freed in time; those in use are held.
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
        ensure!(kills >= wanted.min(10), "{kills} kills only");
        Ok(())
    })
}

#[test]
fn a_router_that_is_gone_is_removed_and_one_that_lives_is_not() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
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
        // During its first seconds a router removes no peers.
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
        // The other router learns of it within 5 s, and the space is used again.
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
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        // Whichever takes the range, both own a part of it.
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
                    report.owners.len() == 1 && report.remote_leases.is_empty(),
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
        // As a new router it may own space again.
        two.launch(&["host1"])?;
        two.wait_connections(1)?;
        two.run_free(&["net:10.32.5.0/24"], "again")?;
        ensure!(two.address_of("again")? == "10.32.5.3/24");
        Ok(())
    })
}
