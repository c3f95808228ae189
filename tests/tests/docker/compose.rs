//! A Compose project whose services run on several hosts, on networks of the mesh.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, wait_until, with_testbed};

use crate::names::inside;
use crate::{full_mesh, is_installed};

const SOON: Duration = Duration::from_secs(25);
/// Path of the project on each host; the name of its folder is that of the project.
const FOLDER: &str = "/run/testbed/shop";

/// One file for all hosts, which differ by profile.
const PROJECT: &str = r#"
services:
  web:
    image: ubuntu
    command: sleep 1000
    stop_grace_period: 0s
    profiles: [one]
    networks:
      front: {aliases: [www]}
  app:
    image: ubuntu
    command: sleep 1000
    stop_grace_period: 0s
    profiles: [two]
    networks: [front, back]
  db:
    image: ubuntu
    command: sleep 1000
    stop_grace_period: 0s
    profiles: [three]
    networks:
      back: {ipv4_address: 10.51.0.50}
  cache:
    image: ubuntu
    command: sleep 1000
    stop_grace_period: 0s
    profiles: [three]
    networks: [back]
  worker:
    image: ubuntu
    command: sleep 1000
    stop_grace_period: 0s
    profiles: [two]
    networks: [back]
networks:
  front:
    driver: mesh
    ipam: {driver: mesh}
  back:
    driver: mesh
    ipam: {driver: mesh, config: [{subnet: 10.51.0.0/24}]}
"#;

fn compose(host: &TestbedHost, profile: &str, line: &str) -> Result<String> {
    let line = format!("cd {FOLDER} && docker-compose --no-ansi --profile {profile} {line}");
    host.shell(&line)?.ok()
}

/// Returns the addresses of a container on the networks of the project.
fn addresses(host: &TestbedHost, container: &str) -> Result<BTreeSet<String>> {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    let said = host.docker(&["inspect", "-f", format, container])?.ok()?;
    Ok(said.split_whitespace().map(str::to_owned).collect())
}

/// Waits until a container finds a name, and returns its addresses.
fn found(host: &TestbedHost, container: &str, name: &str) -> Result<BTreeSet<String>> {
    wait_until(SOON, &format!("{container} finds {name}"), || {
        let found = resolve(host, container, name)?;
        ensure!(!found.is_empty(), "nothing");
        Ok(found)
    })
}

fn resolve(host: &TestbedHost, container: &str, name: &str) -> Result<BTreeSet<String>> {
    let asked = inside(host, container, &format!("getent ahostsv4 {name}"))?;
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    Ok(asked.stdout.lines().filter_map(first).collect())
}

#[test]
fn five_services_on_three_hosts_have_addresses_and_names_in_their_networks() -> Result<()> {
    if !is_installed("docker-compose")? {
        return Ok(());
    }
    with_testbed(&TestbedLayout::hosts(3).engines(), |bed| {
        full_mesh(bed)?;
        let (one, two, three) = (bed.host(1), bed.host(2), bed.host(3));
        for (host, profile) in [(one, "one"), (two, "two"), (three, "three")] {
            host.shell(&format!(
                "mkdir -p {FOLDER} && cat >{FOLDER}/docker-compose.yml <<'END'\n{PROJECT}\nEND"
            ))?
            .ok()?;
            compose(host, profile, "up -d")?;
        }
        compose(two, "two", "up -d --scale worker=2")?;
        let (web, app, db) = ("shop_web_1", "shop_app_1", "shop_db_1");
        ensure!(addresses(three, db)? == BTreeSet::from(["10.51.0.50".to_owned()]));
        // No address twice on one network.
        let mut seen = BTreeSet::new();
        let containers = [
            (one, web),
            (two, app),
            (two, "shop_worker_1"),
            (two, "shop_worker_2"),
            (three, db),
            (three, "shop_cache_1"),
        ];
        let mut count = 0;
        for (host, container) in containers {
            for address in addresses(host, container)? {
                count += 1;
                ensure!(seen.insert(address.clone()), "{address} twice");
            }
        }
        ensure!(count == 7, "{seen:?}");
        // Names of services, aliases and containers, from every container, in its own networks only.
        let app_there = addresses(two, app)?;
        let web_there = addresses(one, web)?;
        for name in ["web", "www", web] {
            ensure!(found(two, app, name)? == web_there, "{name}");
        }
        for name in ["app", app] {
            ensure!(found(one, web, name)?.is_subset(&app_there), "{name}");
            ensure!(found(three, db, name)?.is_subset(&app_there), "{name}");
        }
        ensure!(found(three, "shop_cache_1", "worker")?.len() == 2);
        ensure!(found(two, "shop_worker_1", "db")? == addresses(three, db)?);
        for stranger in ["db", "cache", "worker", db] {
            ensure!(
                resolve(one, web, stranger)?.is_empty(),
                "web finds {stranger}"
            );
        }
        ensure!(resolve(three, db, "www")?.is_empty(), "db finds www");
        // They reach one another by name.
        for (host, from, to) in [(one, web, "app"), (two, app, "db"), (three, db, "worker")] {
            wait_until(SOON, &format!("{from} reaches {to}"), || {
                inside(host, from, &format!("ping -n -c 1 -W 1 {to}"))?.ok()
            })?;
        }
        // Again changes nothing; a container that is made again is found with its address.
        let before = addresses(one, web)?;
        compose(one, "one", "up -d")?;
        ensure!(addresses(one, web)? == before);
        compose(one, "one", "up -d --force-recreate")?;
        let web_there = addresses(one, web)?;
        wait_until(SOON, "the new address is found", || {
            let found = resolve(two, app, "web")?;
            ensure!(found == web_there, "{found:?}");
            Ok(())
        })?;
        // The end of the project, with the router and without it.
        compose(three, "three", "down")?;
        two.mesh(&["stop"])?.ok()?;
        compose(two, "two", "down")?;
        two.launch(&["host1"])?;
        compose(one, "one", "down")?;
        for host in [one, two, three] {
            let left = host
                .docker(&["network", "ls", "-q", "-f", "name=shop"])?
                .ok()?;
            ensure!(left.is_empty(), "{left}");
        }
        wait_until(SOON, "nothing is attached", || {
            for host in [one, two, three] {
                ensure!(host.ps()?.is_empty(), "{:?}", host.ps()?);
            }
            Ok(())
        })
    })
}
