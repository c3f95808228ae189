//! Cost to a router of hosts outside the mesh that can reach it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, here, tell, wait_until, with_testbed};

/// Duration of the connection flood; an attacker's would have no end.
const FLOOD: Duration = Duration::from_secs(6);
/// File descriptors that strangers may cost: 64 half-open links, 64 that get a reason, and twice those accepted in one
/// turn, since closed sockets stay open until their tasks have ended.
const DESCRIPTORS: u64 = 2 * 64 + 2 * 16;
/// Memory in KiB that strangers may cost.
const MEMORY: u64 = 12 * 1024;
/// Time limit of `mesh status` during the flood: 0.2 s on an idle machine, plus a margin for a busy one.
const ANSWER: Duration = Duration::from_millis(1_500);

/// Resources that the router uses.
#[derive(Clone, Copy, Debug)]
struct Cost {
    descriptors: u64,
    kib: u64,
}

fn cost(host: &TestbedHost) -> Result<Cost> {
    let pid = host.router_pid()?;
    let line =
        format!("ls /proc/{pid}/fd | wc -l; awk '/^RssAnon/ {{print $2}}' /proc/{pid}/status");
    let text = host.shell(&line)?.ok()?;
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let mut next = || Ok::<_, anyhow::Error>(numbers.next().context("a short answer")??);
    Ok(Cost {
        descriptors: next()?,
        kib: next()?,
    })
}

/// Opens connections to `victim` from several addresses of one host, and observes the victim throughout.
fn flood(from: &TestbedHost, victim: &TestbedHost) -> Result<()> {
    let sources: Vec<String> = (20..60).map(|n| format!("192.168.77.{n}")).collect();
    for source in &sources {
        let add =
            format!("ip -o addr show to {source} | grep -q . || ip addr add {source}/24 dev eth0");
        from.shell(&add)?.ok()?;
    }
    let before = cost(victim)?;
    let (probe, target) = (from.probe_path(), format!("{}:6783", victim.address()));
    let millis = FLOOD.as_millis().to_string();
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    let command = [&[probe.as_str(), "knock", &target, &millis], &sources[..]].concat();
    let mut knocker = from.spawn(&command)?;
    let began = Instant::now();
    while began.elapsed() < FLOOD {
        let now = cost(victim)?;
        ensure!(
            now.descriptors < before.descriptors + DESCRIPTORS,
            "{before:?}, after {:?}: {now:?}",
            began.elapsed()
        );
        ensure!(now.kib < before.kib + MEMORY, "{before:?}, then {now:?}");
        let asked = Instant::now();
        victim.mesh(&["status"])?.ok()?;
        let answered = asked.elapsed();
        ensure!(answered < here(ANSWER), "mesh status took {answered:?}");
    }
    let told = wait_until(Duration::from_secs(20), "the flood is over", || {
        knocker.finished()?.ok()
    })?;
    let knocked = told.trim().strip_prefix("knocked ").unwrap_or_default();
    ensure!(knocked.parse::<u64>()? > 200, "that was no flood: {told}");
    Ok(())
}

/// Puts the shell that runs this, and its children, under a memory limit of 64 MiB. Prints the cgroup; nothing if there
/// is no memory controller.
const IN_64_MIB: &str = "for d in /sys/fs/cgroup/memory /sys/fs/cgroup; do \
    g=$d/mesh-test-$NAME; mkdir $g 2>/dev/null || continue; \
    for f in memory.limit_in_bytes memory.max; do \
    if [ -w $g/$f ] && echo 64M >$g/$f && echo $$ >$g/cgroup.procs; then echo $g; break 2; fi; done; rmdir $g; done";

/// Returns true if a process in the group was killed for lack of memory; removes the group.
fn killed_in(host: &TestbedHost, group: &str) -> Result<bool> {
    let line = format!(
        "cat {group}/memory.oom_control {group}/memory.events 2>/dev/null | awk '$1 == \"oom_kill\" {{print $2}}'; \
         for p in $(cat {group}/cgroup.procs); do echo $p >{group}/../cgroup.procs; done; rmdir {group}"
    );
    Ok(host.shell(&line)?.ok()?.trim() != "0")
}

#[test]
fn a_flood_of_connections_costs_little_and_a_known_router_gets_in() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3).ipv4_only(), |bed| {
        let [one, two, three] = [bed.host(1), bed.host(2), bed.host(3)];
        // A shell may set a file descriptor limit this low; the router must cope.
        let launch = format!(
            "NAME={}; {IN_64_MIB}; umask 077; echo 'correct horse battery' >/etc/mesh/password; ulimit -n 256; \
             mesh launch --password-file /etc/mesh/password",
            bed.name()
        );
        let group = one.shell(&launch)?.ok()?;
        let group = group.lines().next().unwrap_or_default();
        let pid = one.router_pid()?;
        two.shell("umask 077; echo 'correct horse battery' >/etc/mesh/password")?
            .ok()?;
        two.launch(&["--password-file", "/etc/mesh/password", "host1"])?;
        two.wait_connections(1)?;
        flood(three, one)?;
        ensure!(
            two.established()?.len() == 1,
            "the link that was up is down"
        );
        let log = one.shell("cat /var/lib/mesh/router.log")?.ok()?;
        ensure!(!log.contains("Too many open files"), "{log}");

        let mut more = three.spawn(&[
            three.probe_path().as_str(),
            "knock",
            &format!("{}:6783", one.address()),
            "20000",
            "192.168.77.20",
            "192.168.77.21",
        ])?;
        two.kill_router()?;
        two.launch(&["--password-file", "/etc/mesh/password"])?;
        wait_until(Duration::from_secs(10), "a known router gets in", || {
            ensure!(two.established()?.len() == 1);
            Ok(())
        })?;
        ensure!(more.output()?.is_empty(), "the flood was over by then");
        more.stop()?;
        ensure!(one.router_pid()? == pid, "it was started again");
        match group.starts_with("/sys/") {
            true => ensure!(!killed_in(one, group)?, "64 MiB were not enough"),
            false => tell("there is no memory controller: not tried with 64 MiB"),
        }
        Ok(())
    })
}
