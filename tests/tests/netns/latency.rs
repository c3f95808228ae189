//! The latency request to the kernel: held while frames flow at a low rate, and the option that controls it.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, wait_until, with_testbed};

/// The thread checks every 10 ms; allows for a busy machine.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn quick_wake_ups_are_held_while_frames_flow_and_not_when_quiet() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        let (auto, off, on) = (bed.host(1), bed.host(2), bed.host(3));
        auto.launch(&[])?;
        off.launch(&["--latency", "off", "host1"])?;
        on.launch(&["--latency", "on", "host1"])?;
        bed.hosts().iter().try_for_each(|host| host.wait_peers(3))?;
        let (from, to) = (auto.run("10.2.1.1/24")?, off.run("10.2.1.2/24")?);
        from.reaches(&to)?;

        let pings = from.spawn(&["ping", "-n", "-q", "-i", "0.02", to.address()])?;
        wait_until(SOON, "the request is held while pings flow", || {
            says(auto, "auto (quick wake-ups held: frames flow)")?;
            ensure!(holds(auto)?, "the device is not open");
            Ok(())
        })?;
        ensure!(!holds(off)?, "--latency off holds it while pings flow");
        says(off, "off")?;
        ensure!(holds(on)?, "--latency on does not hold it");
        says(on, "on (quick wake-ups held)")?;

        drop(pings);
        wait_until(SOON, "nothing is held when quiet", || {
            says(auto, "auto (nothing held: quiet)")?;
            ensure!(!holds(auto)?, "the device is open");
            Ok(())
        })?;
        let (text, mode) = (auto.mesh(&["status"])?.ok()?, "Latency: auto (");
        ensure!(text.contains(mode), "{text}");
        Ok(())
    })
}

fn says(host: &TestbedHost, latency: &str) -> Result<()> {
    let said = host.report()?.router.latency;
    ensure!(said == latency, "{} says: {said}", host.name());
    Ok(())
}

/// Returns true if the router has the kernel's device open, which is what holds the request.
fn holds(host: &TestbedHost) -> Result<bool> {
    let files = format!("ls -l /proc/{}/fd", host.router_pid()?);
    Ok(host.shell(&files)?.ok()?.contains("/dev/cpu_dma_latency"))
}
