//! Many networks with one subnet on the same two hosts: each works, all are apart, and nothing of them is left.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{TestbedHost, TestbedLayout, tell, wait_until, with_testbed};

use crate::full_mesh;

/// Networks in `make test`; the environment variable sets another number, at most 100 on one host.
const NETWORKS: usize = 16;
const VARIABLE: &str = "MESH_MANY_NETWORKS";
/// Most networks that a host uses.
const MOST: usize = 100;
/// Descriptors that all networks share, and that stay from the first one on: the limit of their storms, and the journal of
/// their addresses.
const SHARED: usize = 4;
/// Threads that come and go for blocking work, whatever the number of networks.
const POOL: usize = 8;
const SOON: Duration = Duration::from_secs(20);
/// Time limit until devices of removed networks are gone.
const GONE: Duration = Duration::from_secs(60);

/// What the router of a host holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    bridges: usize,
    threads: usize,
    descriptors: usize,
}

impl Held {
    fn of(host: &TestbedHost) -> Result<Self> {
        let pid = host.router_pid()?;
        let line = format!(
            "ip -o link show type bridge | grep -c ' mn'; ls /proc/{pid}/task | wc -l; ls /proc/{pid}/fd | wc -l"
        );
        let text = host.shell(&line)?.ok()?;
        let numbers: Vec<usize> = text.lines().filter_map(|line| line.parse().ok()).collect();
        match numbers[..] {
            [bridges, threads, descriptors] => Ok(Self {
                bridges,
                threads,
                descriptors,
            }),
            _ => anyhow::bail!("{text}"),
        }
    }
}

/// Runs one command line for each number, in one shell. Returns the milliseconds that each took.
fn each(host: &TestbedHost, count: usize, command: &str) -> Result<Vec<u64>> {
    let script = format!(
        "for n in $(seq {count}); do a=$(date +%s%N); {command} >/dev/null || exit 1; b=$(date +%s%N); \
         echo $(((b - a) / 1000000)); done"
    );
    let text = host.shell(&script)?.ok()?;
    let times: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    ensure!(times.len() == count, "{text}");
    Ok(times)
}

/// Creates the networks, in as many commands as the time limit of a command allows.
fn create(host: &TestbedHost, count: usize) -> Result<Vec<u64>> {
    each(
        host,
        count,
        "mesh network create net$n --subnet 10.0.0.0/24",
    )
}

/// Runs a process in each network, with the same address in all.
fn populate(host: &TestbedHost, count: usize, address: &str) -> Result<Vec<u64>> {
    let line = format!(
        "mesh run --runtime process --net net$n {address} -d --name p$n -- \
         sh -c \"echo \\$\\$ >/run/testbed/p$n.new; mv /run/testbed/p$n.new /run/testbed/p$n; exec sleep infinity\""
    );
    each(host, count, &line)
}

/// Runs a command line in the network namespace of each process at once, and returns the numbers where it succeeds.
fn where_it_works(host: &TestbedHost, count: usize, command: &str) -> Result<Vec<usize>> {
    let script = format!(
        "for n in $(seq {count}); do (nsenter -t $(cat /run/testbed/p$n) -n {command} >/dev/null 2>&1 && echo $n) & done; wait"
    );
    let text = host.shell(&script)?.ok()?;
    let mut numbers: Vec<usize> = text.lines().filter_map(|line| line.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Waits until the command works in all networks.
fn works_everywhere(host: &TestbedHost, count: usize, command: &str) -> Result<()> {
    wait_until(SOON, &format!("{command} in each network"), || {
        let there = where_it_works(host, count, command)?;
        ensure!(there.len() == count, "only in {there:?}");
        Ok(())
    })
}

/// Median of the first and of the last few, in milliseconds.
fn ends(times: &[u64]) -> String {
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied().unwrap_or_default()
    };
    let few = times.len().min(5);
    format!(
        "{} -> {} ms",
        median(&times[..few]),
        median(&times[times.len() - few..])
    )
}

#[test]
fn many_networks_with_one_subnet_work_beside_each_other_and_leave_nothing() -> Result<()> {
    let count = match std::env::var(VARIABLE) {
        Ok(text) => text.parse().with_context(|| format!("{VARIABLE}={text}"))?,
        Err(_) => NETWORKS,
    };
    let began = Instant::now();
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        let before = [Held::of(one)?, Held::of(two)?];
        let mut told = format!("{count} networks: ");
        let created = create(one, count)?;
        write!(told, "create {}", ends(&created))?;
        wait_until(SOON, "the other host knows them", || {
            let listed = two.mesh(&["network", "ls"])?.ok()?;
            ensure!(listed.matches("10.0.0.0/24").count() == count, "{listed}");
            Ok(())
        })?;
        let ran = populate(one, count, "10.0.0.1")?;
        write!(told, ", run {}", ends(&ran))?;
        populate(two, count, "10.0.0.2")?;
        for (host, peer) in [(one, "10.0.0.2"), (two, "10.0.0.1")] {
            works_everywhere(host, count, &format!("ping -n -c 1 -W 1 {peer}"))?;
        }
        apart(one, count)?;
        let within = [Held::of(one)?, Held::of(two)?];
        ensure!(
            within.iter().all(|held| held.bridges == count),
            "{within:?}"
        );
        let is_bounded = |(now, then): (&Held, &Held)| now.threads < then.threads + POOL;
        ensure!(
            within.iter().zip(&before).all(is_bounded),
            "a network has threads of its own: {before:?}, now {within:?}"
        );
        if count == MOST {
            refuse_one_more(one)?;
        }
        let removal = each(two, count, "mesh network rm --force net$n")?;
        write!(told, ", rm {}", ends(&removal))?;
        // Processes that lost their network go on, and the router looks after each.
        for host in [one, two] {
            host.shell("kill -KILL $(cat /run/testbed/p*)")?.ok()?;
        }
        nothing_is_left([one, two], before)?;
        tell(&format!(
            "{told}; in all {:.1} s",
            began.elapsed().as_secs_f64()
        ));
        Ok(())
    })
}

/// Checks with addresses that one network alone has that others do not reach it.
fn apart(host: &TestbedHost, count: usize) -> Result<()> {
    for n in [1, count] {
        let address = "10.0.0.77";
        let line = format!(
            "mesh run --runtime process --net net{n} {address} -d --name only{n} -- \
             sh -c 'echo $$ >/run/testbed/p-only{n}; exec sleep infinity'"
        );
        host.shell(&line)?.ok()?;
        let ping = format!("ping -n -c 1 -W 1 {address}");
        wait_until(SOON, "its own network alone reaches it", || {
            let there = where_it_works(host, count, &ping)?;
            ensure!(there == [n], "{address} of net{n} answers in {there:?}");
            Ok(())
        })?;
        host.mesh(&[
            "detach",
            "--net",
            &format!("net{n}"),
            &id_of(host, &format!("only{n}"))?,
        ])?
        .ok()?;
    }
    Ok(())
}

/// Returns the id of a process by its name.
fn id_of(host: &TestbedHost, name: &str) -> Result<String> {
    let rows = host.ps()?;
    let row = rows.into_iter().find(|row| row.name == name);
    Ok(row.with_context(|| format!("no {name}"))?.container)
}

/// Checks that a host with as many networks as it can use says so, and makes nothing of one more.
fn refuse_one_more(host: &TestbedHost) -> Result<()> {
    host.mesh(&["network", "create", "more", "--subnet", "10.0.0.0/24"])?
        .ok()?;
    let before = Held::of(host)?;
    let line = [
        "run",
        "--runtime",
        "process",
        "--net",
        "more",
        "10.0.0.1",
        "--",
        "true",
    ];
    let error = host.mesh(&line)?.refused()?;
    ensure!(
        error.contains(&MOST.to_string()) && error.contains("more"),
        "{error}"
    );
    ensure!(Held::of(host)?.bridges == before.bridges, "half-made");
    host.mesh(&["network", "rm", "more"])?.ok().map(drop)
}

/// Waits until both hosts hold what they held before: no device, no descriptor and no thread more.
fn nothing_is_left(hosts: [&TestbedHost; 2], before: [Held; 2]) -> Result<()> {
    for (host, before) in hosts.into_iter().zip(before) {
        let what = format!("nothing of the networks is left on {}", host.name());
        wait_until(GONE, &what, || {
            let now = Held::of(host)?;
            let is_clean = now.bridges == 0
                && now.threads < before.threads + POOL
                && now.descriptors <= before.descriptors + SHARED;
            ensure!(is_clean, "before {before:?}, now {now:?}");
            let links = host.exec(&["ip", "-o", "link", "show"])?.ok()?;
            ensure!(!links.contains(": mn"), "{links}");
            Ok(())
        })?;
        let listed = host.mesh(&["network", "ls", "--json"])?.ok()?;
        let listed: Vec<serde_json::Value> = serde_json::from_str(&listed)?;
        ensure!(listed.len() == 1, "{listed:?}");
    }
    Ok(())
}
