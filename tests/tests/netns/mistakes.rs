//! User mistakes: each gets one line that names it, a non-zero exit status, and leaves nothing behind.

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{HostObjects, TestbedHost, TestbedLayout, with_testbed};

/// A command, and a text that its message must contain.
type Mistake<'a> = (&'a [&'a str], &'a str);

fn each_is_refused(host: &TestbedHost, mistakes: &[Mistake<'_>]) -> Result<()> {
    let before = HostObjects::take(host)?;
    for (args, word) in mistakes {
        let message = host.mesh(args)?.refused()?;
        let named = message.to_lowercase().contains(&word.to_lowercase());
        ensure!(
            named,
            "`mesh {}` does not say '{word}': {message}",
            args.join(" ")
        );
        HostObjects::take(host)?
            .same_as(&before)
            .with_context(|| format!("after `mesh {}`", args.join(" ")))?;
    }
    Ok(())
}

#[test]
fn addresses() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        host.run("10.2.1.1/24")?;
        let run = |address| ["run", "--runtime", "process", address, "--", "true"];
        each_is_refused(
            host,
            &[
                (&run("10.2.1.300/24"), "10.2.1.300"),
                (&run("10.2.1.1/33"), "10.2.1.1/33"),
                (&run("10.2.1.9"), "10.2.1.9"),
                (&run("10.2.1.0/24"), "10.2.1.0"),
                (&run("10.2.1.255/24"), "10.2.1.255"),
                (&run("224.0.0.1/24"), "224.0.0.1"),
                (&run("10.2.1.1/24"), "10.2.1.1"),
                (
                    &[
                        "run",
                        "--runtime",
                        "process",
                        "10.2.1.5/24",
                        "--",
                        "/no/such/program",
                    ],
                    "/no/such/program",
                ),
                (&["run", "--runtime", "process", "10.2.1.5/24"], "command"),
                (&["detach", "no-such-container"], "no-such-container"),
            ],
        )
    })
}

#[test]
fn networks() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        host.mesh(&["network", "create", "--subnet", "10.40.0.0/16", "web"])?
            .ok()?;
        let (long, create) = ("n".repeat(64), ["network", "create"]);
        let cases: [(&[&str], &str); 16] = [
            (
                &["--subnet", "10.41.0.0", "a"],
                "'10.41.0.0' is not a subnet",
            ),
            (&["--subnet", "10.41.0.1/16", "a"], "10.41.0.0/16"),
            (&["--subnet", "224.0.0.0/16", "a"], "224.0.0.0/16"),
            (
                &["--subnet", "10.41.0.0/16", "--subnet", "10.41.2.0/24", "a"],
                "overlap",
            ),
            (
                &["--subnet", "10.41.0.0/16", "--gateway", "10.42.0.1", "a"],
                "10.42.0.1 is outside the subnet 10.41.0.0/16",
            ),
            (
                &[
                    "--subnet",
                    "10.41.0.0/16",
                    "--ip-range",
                    "10.42.0.0/24",
                    "a",
                ],
                "10.42.0.0/24 is outside the subnet 10.41.0.0/16",
            ),
            (&["--gateway", "10.42.0.1", "a"], "10.42.0.1"),
            (&["--mtu", "9000", "a"], "9000 is more than"),
            (&["--mtu", "100", "a"], "an MTU of 100"),
            (&["--mtu", "70000", "a"], "70000"),
            (&["--label", "=x", "a"], "'=x' cannot be a label"),
            (&[&long], "63"),
            (&["a b"], "'a b' cannot name a network"),
            (&[""], "'' cannot name a network"),
            (&["default"], "always exists"),
            (&["--subnet", "10.41.0.0/16", "web"], "10.40.0.0/16"),
        ];
        let lines: Vec<(Vec<&str>, &str)> = cases
            .iter()
            .map(|(args, word)| ([&create, *args].concat(), *word))
            .collect();
        let mistakes: Vec<Mistake<'_>> = lines.iter().map(|(a, w)| (a.as_slice(), *w)).collect();
        each_is_refused(host, &mistakes)?;
        each_is_refused(
            host,
            &[
                (&["network", "inspect", "nope"], "no network 'nope'"),
                (&["network", "inspect", ""], "no network ''"),
                (&["network", "inspect", "../ps"], "no network '../ps'"),
                (&["network", "rm", "nope"], "no network 'nope'"),
                (&["network", "rm", "default"], "'default' cannot be removed"),
                (
                    &["network", "rm", "--force", "default"],
                    "'default' cannot be removed",
                ),
            ],
        )?;
        let all = host.mesh(&["network", "ls"])?.ok()?;
        ensure!(all.lines().count() == 3, "nothing half-made: {all}");
        Ok(())
    })
}

#[test]
fn an_address_in_use_on_another_host() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        crate::full_mesh(bed, &[])?;
        let a = bed.host(1).run("10.2.1.1/24")?;
        let b = bed.host(2).run("10.2.1.2/24")?;
        b.reaches(&a)?;
        each_is_refused(
            bed.host(2),
            &[(
                &["run", "--runtime", "process", "10.2.1.1/24", "--", "true"],
                "host1",
            )],
        )
    })
}

#[test]
fn a_router_that_does_not_run() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        each_is_refused(
            host,
            &[
                (&["status"], "not running"),
                (&["connect", "host1"], "not running"),
                (&["forget", "host1"], "not running"),
                (&["ps"], "not running"),
                (&["report"], "not running"),
                (
                    &["run", "--runtime", "process", "10.2.1.1/24", "--", "true"],
                    "not running",
                ),
            ],
        )?;
        ensure!(
            host.mesh(&["version"])?.code == Some(0),
            "version works without a router"
        );
        Ok(())
    })
}

#[test]
fn launches() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.shell(
            "echo abcd >/etc/mesh/short; echo short >/etc/mesh/weak; chmod 600 /etc/mesh/*
             echo 'prot = 7000' >/etc/mesh/unknown.toml; echo 'port = ' >/etc/mesh/broken.toml",
        )?
        .ok()?;
        let _listener = host.spawn(&["busybox", "nc", "-l", "-p", "7000"])?;
        mesh_tests::wait_until(
            std::time::Duration::from_secs(5),
            "port 7000 is taken",
            || {
                host.shell("grep -qi ':1B58 ' /proc/net/tcp /proc/net/tcp6")?
                    .ok()
            },
        )?;
        // The log of a failed launch is kept on purpose.
        host.shell("touch /var/lib/mesh/router.log")?.ok()?;
        each_is_refused(
            host,
            &[
                (&["launch", "no such host"], "no such host"),
                (&["launch", "--port", "7000"], "7000"),
                (
                    &["launch", "--key-file", "/etc/mesh/missing"],
                    "/etc/mesh/missing",
                ),
                (
                    &["launch", "--key-file", "/etc/mesh/short"],
                    "/etc/mesh/short",
                ),
                (&["launch", "--password-file", "/etc/mesh/weak"], "12"),
                (
                    &["launch", "--config", "/etc/mesh/missing.toml"],
                    "/etc/mesh/missing.toml",
                ),
                (&["launch", "--config", "/etc/mesh/unknown.toml"], "prot"),
                (
                    &["launch", "--config", "/etc/mesh/broken.toml"],
                    "/etc/mesh/broken.toml",
                ),
                (&["launch", "--mtu", "100"], "100"),
                (&["launch", "--bridge", "a/b"], "a/b"),
            ],
        )
    })
}

#[test]
fn a_second_launch_and_malformed_peers() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        each_is_refused(
            host,
            &[
                (&["launch"], "already running"),
                (&["connect", "no such host"], "no such host"),
                (&["connect", "host1:99999"], "host1:99999"),
                (&["status", "nonsense"], "nonsense"),
                (&["report", "-f", "{{.Nonsense"], "template"),
            ],
        )?;
        let targets = host.mesh(&["status", "targets"])?.ok()?;
        ensure!(targets.is_empty(), "a mistake became a target: {targets}");
        Ok(())
    })
}

#[test]
fn state_that_was_damaged_is_named_and_not_thrown_away() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        host.mesh(&["stop"])?.ok()?;
        let files = host
            .shell("find /var/lib/mesh -type f ! -name '*.log' ! -name '*lock*'")?
            .ok()?;
        ensure!(!files.is_empty(), "a router keeps its keys somewhere");
        for file in files.lines() {
            host.shell(&format!(
                "cp {file} /run/testbed/saved; echo rubbish >{file}"
            ))?
            .ok()?;
            // A router may run without some of the files, but must not change one that it could not read.
            let outcome = host.mesh(&["launch"])?;
            if outcome.code == Some(0) {
                host.mesh(&["stop"])?.ok()?;
            } else {
                let message = outcome.refused()?;
                ensure!(
                    message.contains(file),
                    "the message does not name {file}: {message}"
                );
                let kept = host.shell(&format!("cat {file}"))?.ok()?;
                ensure!(kept == "rubbish", "{file} was overwritten");
            }
            host.shell(&format!("cp /run/testbed/saved {file}"))?.ok()?;
        }
        host.launch(&[])
    })
}

#[test]
fn wrong_usage_names_the_mistake() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        for (args, word) in [
            (vec!["frobnicate"], "frobnicate"),
            (vec!["launch", "--frobnicate"], "--frobnicate"),
            (vec!["launch", "--port", "x"], "x"),
            (vec!["launch", "--resume", "host1"], "--resume"),
            (vec!["connect"], "PEER"),
        ] {
            let outcome = host.mesh(&args)?;
            ensure!(
                matches!(outcome.code, Some(1 | 2)) && outcome.stderr.contains(word),
                "{outcome}"
            );
        }
        Ok(())
    })
}

#[test]
fn names() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1), |bed| {
        let host = bed.host(1);
        host.launch(&["--dns-listen", "127.0.0.1"])?;
        host.run_named("10.2.1.1/24", "web")?;
        let second = [
            "--socket",
            "/run/second.sock",
            "launch",
            "--state-dir",
            "/run/second",
            "--bridge",
            "second",
            "--port",
            "7000",
        ];
        let listens = |address| [&second[..], &["--dns-listen", address]].concat();
        // Files in the router's own state directory do not count as traces.
        host.mesh(&listens("127.0.0.1"))?.refused()?;
        each_is_refused(
            host,
            &[
                (&listens("127.0.0.1"), "another dns server has it"),
                (&listens("eth0"), "--dns-listen eth0"),
                (
                    &[&second[..], &["--dns-domain", "a b"]].concat(),
                    "--dns-domain",
                ),
                (
                    &[&second[..], &["--dns-ttl", "100000"]].concat(),
                    "--dns-ttl",
                ),
                (
                    &["dns-add", "web", "-h", "web.example.org"],
                    "not in the domain mesh.local",
                ),
                (&["dns-add", "web", "-h", "a_b!"], "a_b!"),
                (
                    &["dns-add", "nobody", "-h", "x"],
                    "no container named nobody",
                ),
                (&["dns-add", "-h", "x"], "address"),
                (&["dns-add", "127.0.0.1", "-h", "x"], "127.0.0.1"),
                (&["dns-add", "10.2.1.1"], "neither a container nor a name"),
                (&["dns-remove", "web", "-h", "x"], "web"),
                (&["dns-remove", "nobody"], "nobody"),
                (&["dns-lookup", "nobody"], "nobody"),
                (&["dns-lookup", "www.example.org"], "not in the domain"),
                (&["dns-args"], "status dns"),
            ],
        )
    })
}
