//! Cost of an idle router.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, all_reach_all, with_testbed};

use crate::full_mesh;

const PERIOD: Duration = Duration::from_secs(10);
/// Limit of wake-ups per second. CPU time would depend on the build profile and on other load.
const MAX_WAKEUPS: u64 = 100;

#[test]
fn an_idle_router_is_small_and_quiet() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        full_mesh(bed, &[])?;
        let containers = [
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(2).run("10.2.1.2/24")?,
        ];
        all_reach_all(&containers)?;
        let host = bed.host(1);
        let before = host.router_wakeups()?;
        let used_before = host.router_cpu_seconds()?;
        std::thread::sleep(PERIOD);
        let wakeups = (host.router_wakeups()? - before) / PERIOD.as_secs();
        let used = (host.router_cpu_seconds()? - used_before) / PERIOD.as_secs_f64();
        let (resident, own) = (memory_kib(host, "VmRSS:")?, memory_kib(host, "RssAnon:")?);
        println!(
            "idle router: {wakeups} wake-ups a second, {:.2} % of a core, {resident} KiB resident, {own} KiB its own",
            used * 100.0
        );
        ensure!(
            wakeups <= MAX_WAKEUPS,
            "{wakeups} wake-ups a second when idle"
        );
        // Anonymous memory only: the program itself depends on the build profile.
        ensure!(own <= 5 * 1024, "{own} KiB of its own when idle");
        Ok(())
    })
}

/// Returns a field of the router's `/proc/PID/status`, in KiB.
fn memory_kib(host: &TestbedHost, field: &str) -> Result<u64> {
    let status = host
        .shell(&format!("cat /proc/{}/status", host.router_pid()?))?
        .ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let line = line.with_context(|| format!("no {field}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
