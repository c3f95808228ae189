//! Real routers with real container engines, as used through `docker`.

mod attach;
mod away;
mod compose;
mod engine;
mod engines;
mod forced_updates;
mod ipam;
mod lifecycle;
mod names;
mod network_commands;
mod network_ipv6;
mod networks;
mod podman;
mod run;
mod sixty;
mod swarm;

mod truth;
mod user_networks;

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestContainer, Testbed, TestbedHost, run as run_command, wait_until};

/// Starts a router on each host, all with the first as target, and waits until they are connected.
fn full_mesh(bed: &Testbed) -> Result<()> {
    for (index, host) in bed.hosts().iter().enumerate() {
        let peers: &[&str] = if index == 0 { &[] } else { &["host1"] };
        host.launch(peers)?;
    }
    for host in bed.hosts() {
        host.wait_connections(bed.hosts().len() - 1)?;
    }
    Ok(())
}

/// Runs `mesh run ADDRESS --name NAME ubuntu sleep`, and checks that exactly the container's full id is printed.
fn run(host: &TestbedHost, address: &str, name: &str) -> Result<TestContainer> {
    run_with(host, address, name, &[])
}

/// Like [`run`], with further flags for the engine.
fn run_with(
    host: &TestbedHost,
    address: &str,
    name: &str,
    flags: &[&str],
) -> Result<TestContainer> {
    let args = [
        &["run", address, "--name", name],
        flags,
        &["ubuntu", "sleep", "1000"],
    ]
    .concat();
    let outcome = host.mesh(&args)?;
    // On a busy machine the engine may be so slow that a progress line is printed.
    let mut told = outcome.stderr.lines();
    let is_wait = |line: &str| line.starts_with("mesh: waiting for ");
    ensure!(told.all(is_wait), "more than an id: {outcome}");
    is_id(&outcome.ok()?)?;
    host.container(name, address)
}

/// Returns true if an optional program is installed; prints a message if not.
#[allow(clippy::print_stdout)]
fn is_installed(program: &str) -> Result<bool> {
    let found = run_command("sh", &["-c", &format!("command -v {program}")])?.code == Some(0);
    if !found {
        println!("skipped: {program} is not installed");
    }
    Ok(found)
}

fn is_id(text: &str) -> Result<()> {
    ensure!(
        text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        "not a full container id: {text}"
    );
    Ok(())
}

/// Waits until the container runs with this address. Returns it with its new process.
fn again(host: &TestbedHost, name: &str, address: &str) -> Result<TestContainer> {
    wait_until(
        Duration::from_secs(20),
        &format!("{name} runs with {address}"),
        || {
            let container = host.container(name, address)?;
            let seen = host
                .docker(&["exec", name, "ip", "-o", "-4", "addr"])?
                .ok()?;
            ensure!(seen.contains(&format!("inet {address}")), "{seen}");
            Ok(container)
        },
    )
}
