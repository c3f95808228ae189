//! Docker without its router: stopped, hung, killed. dockerd calls the driver for each container that stops, starts or
//! is removed, and waits for half a minute without an answer.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, here, tell, wait_until, with_testbed};

use crate::{again, run};

/// Most time that a mesh container may take beyond one on Docker's own network. On an idle machine the difference is
/// 0.1 s, and once 1 s when the router hangs; without an answer it would be 15 to 46 s.
const SLACK: Duration = Duration::from_secs(6);
/// Docker operations on a container, in order.
const STEPS: [&[&str]; 4] = [
    &["stop", "-t", "0"],
    &["start"],
    &["restart", "-t", "0"],
    &["rm", "-f"],
];

#[test]
fn containers_stop_and_start_at_once_whatever_the_router_does() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        let near = run(host, "10.2.1.1/24", "near")?;
        tell("router   network  stop   start  restart  rm   (seconds)");
        for state in ["runs", "stopped", "hung", "killed"] {
            run(host, "10.2.1.2/24", "meshed")?;
            run_on_bridge(host, "bridged")?;
            let pid = host.router_pid()?;
            match state {
                "stopped" => drop(host.mesh(&["stop"])?.ok()?),
                "hung" => drop(host.exec(&["kill", "-STOP", &pid])?.ok()?),
                "killed" => host.kill_router()?,
                _ => {}
            }
            let bridged = times(host, "bridged", || Ok(()))?;
            let meshed = times(host, "meshed", || {
                // It is on the mesh at once, before the router is back.
                let meshed = again(host, "meshed", "10.2.1.2/24")?;
                near.reaches(&meshed)
            })?;
            tell_times(state, [("bridge", &bridged), ("mesh", &meshed)])?;
            match state {
                "hung" => drop(host.exec(&["kill", "-CONT", &pid])?.ok()?),
                "runs" => {}
                _ => host.launch(&[])?,
            }
            wait_until(Duration::from_secs(20), "it is no longer listed", || {
                let listed: Vec<String> = host.ps()?.into_iter().map(|c| c.name).collect();
                ensure!(listed == ["near"], "{listed:?}");
                Ok(())
            })?;
        }
        comes_back_right(host)?;
        is_replaced_and_comes_back(host)
    })
}

#[test]
fn containers_of_networks_start_again_whatever_the_router_does() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        let line = ["network", "create", "-d", "mesh", "--ipam-driver", "mesh"];
        host.docker(&[&line[..], &["--subnet", "10.40.0.0/16", "web"]].concat())?
            .ok()?;
        let run = |name: &str| -> Result<String> {
            let line = ["run", "-d", "--network", "web", "--name", name];
            host.docker(&[&line[..], &["ubuntu", "sleep", "1000"]].concat())?
                .ok()?;
            address_in_web(host, name)
        };
        let near = run("near")?;
        let near = host.container("near", &near)?;
        tell("router   network  stop   start  restart  rm   (seconds)");
        for state in ["stopped", "hung", "killed"] {
            let stays = run("stays")?;
            let meshed = run("meshed")?;
            run_on_bridge(host, "bridged")?;
            let pid = host.router_pid()?;
            match state {
                "stopped" => drop(host.mesh(&["stop"])?.ok()?),
                "hung" => drop(host.exec(&["kill", "-STOP", &pid])?.ok()?),
                _ => host.kill_router()?,
            }
            let bridged = times(host, "bridged", || Ok(()))?;
            let took = times(host, "meshed", || {
                ensure!(address_in_web(host, "meshed")? == meshed, "another address");
                near.reaches(&host.container("meshed", &meshed)?)
            })?;
            tell_times(state, [("bridge", &bridged), ("web", &took)])?;
            host.docker(&["restart", "-t", "0", "stays"])?.ok()?;
            match state {
                "hung" => drop(host.exec(&["kill", "-CONT", &pid])?.ok()?),
                _ => host.launch(&[])?,
            }
            wait_until(
                Duration::from_secs(20),
                "they are listed as they are",
                || {
                    let mut listed: Vec<String> = host.ps()?.into_iter().map(|c| c.name).collect();
                    listed.sort();
                    ensure!(listed == ["near", "stays"], "{listed:?}");
                    Ok(())
                },
            )?;
            // Its address stays its own.
            ensure!(address_in_web(host, "stays")? == stays, "another address");
            let third = run("third")?;
            ensure!(third != stays, "{third} is given twice");
            near.reaches(&host.container("stays", &stays)?)?;
            near.reaches(&host.container("third", &third)?)?;
            host.docker(&["rm", "-f", "stays", "third"])?.ok()?;
        }
        // Nobody here had an address for a new one.
        host.kill_router()?;
        let line = ["run", "-d", "--network", "web", "ubuntu", "true"];
        let refused = host.docker(&line)?;
        ensure!(
            refused.code != Some(0) && refused.stderr.contains("start it with mesh launch"),
            "{refused}"
        );
        Ok(())
    })
}

fn address_in_web(host: &TestbedHost, name: &str) -> Result<String> {
    let format = "{{.NetworkSettings.Networks.web.IPAddress}}";
    let shown = host.docker(&["inspect", "-f", format, name])?.ok()?;
    Ok(shown.trim().to_owned())
}

/// Prints the times of two containers, the first on a bridge network, and fails if the second one's are much longer.
fn tell_times(state: &str, both: [(&str, &[Duration]); 2]) -> Result<()> {
    for (name, times) in both {
        let seconds = times.iter().map(|t| format!("{:5.2}", t.as_secs_f64()));
        let seconds: Vec<String> = seconds.collect();
        tell(&format!("{state:8} {name:8} {}", seconds.join("  ")));
    }
    let [(_, bridged), (_, meshed)] = both;
    for (step, (meshed, bridged)) in STEPS.iter().zip(meshed.iter().zip(bridged)) {
        ensure!(
            *meshed <= *bridged + here(SLACK),
            "router {state}: docker {step:?} took {meshed:?}, on a bridge {bridged:?}"
        );
    }
    Ok(())
}

/// Runs each step, calls `look` on running containers, and returns the durations of the steps.
fn times(host: &TestbedHost, name: &str, look: impl Fn() -> Result<()>) -> Result<Vec<Duration>> {
    let mut all = Vec::new();
    for step in STEPS {
        let began = Instant::now();
        host.docker(&[step, &[name]].concat())?.ok()?;
        all.push(began.elapsed());
        if matches!(step[0], "start" | "restart") {
            look()?;
        }
    }
    Ok(all)
}

fn run_on_bridge(host: &TestbedHost, name: &str) -> Result<()> {
    let line = ["run", "-d", "--name", name, "ubuntu", "sleep", "1000"];
    host.docker(&line)?.ok().map(drop)
}

/// Containers that Docker restarted, disconnected, connected or removed without the router are correct in its table
/// later.
fn comes_back_right(host: &TestbedHost) -> Result<()> {
    for (name, address) in [
        ("again", "10.2.1.3/24"),
        ("cut", "10.2.1.4/24"),
        ("gone", "10.2.1.5/24"),
    ] {
        run(host, address, name)?;
    }
    run_on_bridge(host, "late")?;
    host.kill_router()?;
    host.docker(&["restart", "-t", "0", "again"])?.ok()?;
    host.docker(&["network", "disconnect", "mesh", "cut"])?
        .ok()?;
    host.docker(&["rm", "-f", "gone"])?.ok()?;
    host.docker(&["network", "connect", "mesh", "late"])?.ok()?;
    host.launch(&[])?;
    let expected = ["again", "late", "near"];
    wait_until(Duration::from_secs(30), "all is listed as it is", || {
        let mut listed: Vec<String> = host.ps()?.into_iter().map(|c| c.name).collect();
        listed.sort();
        ensure!(listed == expected, "{listed:?}");
        Ok(())
    })?;
    let near = host.container("near", "10.2.1.1/24")?;
    near.reaches(&again(host, "again", "10.2.1.3/24")?)?;
    let address = host.address_of("late")?;
    again(host, "late", &address)?;
    let addresses = host.docker(&["exec", "cut", "ip", "-o", "-4", "addr"])?;
    let addresses = addresses.ok()?;
    ensure!(!addresses.contains("mesh"), "{addresses}");
    host.docker(&["rm", "-f", "again", "cut", "late"])?
        .ok()
        .map(drop)
}

/// The plugin process is replaced when the router has other settings (or another version), is restarted when it is
/// killed, and ends only with `mesh reset`.
fn is_replaced_and_comes_back(host: &TestbedHost) -> Result<()> {
    let pid = || host.exec(&["pgrep", "-x", "mesh-plugin"])?.ok();
    let first = pid()?;
    host.mesh(&["stop"])?.ok()?;
    ensure!(pid()? == first, "it does not outlive the router");
    host.launch(&["--mtu", "1300"])?;
    let second = wait_until(Duration::from_secs(20), "it is replaced", || {
        let now = pid()?;
        ensure!(now != first && !now.contains('\n'), "{now}");
        Ok(now)
    })?;
    host.exec(&["kill", "-KILL", &second])?.ok()?;
    wait_until(Duration::from_secs(20), "it is started again", || {
        let now = pid()?;
        ensure!(now != second, "{now}");
        Ok(())
    })?;
    host.docker(&["restart", "-t", "0", "near"])?.ok()?;
    again(host, "near", "10.2.1.1/24")?;
    host.mesh(&["stop"])?.ok()?;
    host.mesh(&["reset"])?.ok()?;
    ensure!(pid().is_err(), "it is there after a reset");
    Ok(())
}
