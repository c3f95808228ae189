//! Allocated addresses: distinct on all hosts, despite cuts, crashes, late joins and removals.

mod faults;
mod ipv6;
mod refusals;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{
    Testbed, TestbedHost, TestbedLayout, all_reach_all, here, wait_until, with_testbed,
};

use crate::full_mesh;

/// Time limit for all routers to agree on owners.
const AGREE: Duration = Duration::from_secs(10);

/// Returns all addresses held on these hosts, after checking that each is held once.
fn distinct(hosts: &[&TestbedHost]) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for host in hosts {
        for held in host.ipam()?.allocations {
            let is_new = all.insert(held.address.clone());
            ensure!(is_new, "{} is held twice", held.address);
        }
    }
    Ok(all)
}

/// Waits until these hosts report the same owners, with equal numbers of addresses.
fn agree(hosts: &[&TestbedHost]) -> Result<()> {
    let owners = |host: &TestbedHost| -> Result<BTreeSet<(String, u64)>> {
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

fn all(bed: &Testbed) -> Vec<&TestbedHost> {
    bed.hosts().iter().collect()
}

#[test]
fn three_hosts_allocate_at_once_and_all_addresses_are_distinct() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
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
        // Each gets the lowest free address of the subnet, even if another router owns it.
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
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        let mut containers = Vec::new();
        for host in bed.hosts() {
            host.launch(&[])?;
            let began = Instant::now();
            containers.push(host.run_free(&[], "early")?);
            let took = began.elapsed();
            ensure!(
                took < here(Duration::from_secs(3)),
                "a lone router took {took:?}"
            );
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
            let what = format!("{} has nothing left to settle", host.name());
            wait_until(Duration::from_secs(15), &what, || {
                let advice = host.ipam()?.advice;
                ensure!(advice.is_empty(), "{advice:?}");
                Ok(())
            })?;
        }
        Ok(())
    })
}

#[test]
fn what_both_gave_out_before_they_met_is_told_with_the_command_that_ends_it() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        for host in bed.hosts() {
            host.launch(&[])?;
            host.run_free(&["net:10.32.5.0/24"], "early")?;
        }
        let id = |host: &TestbedHost| -> Result<String> {
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
            let command = "mesh detach 10.32.5.1/24 early";
            ensure!(advice.ends_with(command), "{advice}");
        }
        // Only that address is in conflict.
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
fn primed_ranges_have_an_owner_on_every_host() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
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
