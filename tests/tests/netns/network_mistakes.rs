//! Mistakes about networks: each is refused in one line that says what happened, to what, and what to do next, and leaves
//! nothing behind on any host.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{
    HostObjects, Testbed, TestbedHost, TestbedLayout, stays, wait_until, with_testbed,
};

use crate::full_mesh;

const SOON: Duration = Duration::from_secs(15);

/// Arguments of `mesh`, separated by spaces, and texts that the message must have.
type Mistake<'a> = (&'a str, &'a [&'a str]);

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn mesh(host: &TestbedHost, line: &str) -> Result<String> {
    host.mesh(&words(line))?.ok()
}

/// All that a half-made change would show in.
#[derive(Debug, PartialEq)]
struct Traces {
    networks: String,
    containers: String,
    links: String,
    objects: HostObjects,
}

impl Traces {
    fn take(host: &TestbedHost) -> Result<Self> {
        let links = host.exec(&["ip", "-br", "link"])?.ok()?;
        Ok(Self {
            networks: mesh(host, "network ls --json")?,
            containers: mesh(host, "ps --json")?,
            // The states of interfaces may change.
            links: links
                .lines()
                .filter_map(|l| l.split(' ').next())
                .collect::<Vec<_>>()
                .join(" "),
            objects: HostObjects::take(host)?,
        })
    }
}

/// Checks each mistake on the first host, and that neither host has changed after all of them.
fn each_is_refused(bed: &Testbed, mistakes: &[Mistake<'_>]) -> Result<()> {
    let take = || {
        bed.hosts()
            .iter()
            .map(Traces::take)
            .collect::<Result<Vec<_>>>()
    };
    // Members of networks are told to other hosts within a second.
    let before = wait_until(SOON, "all hosts know the same", || {
        let taken = take()?;
        stays(Duration::from_secs(2), "all hosts know the same", || {
            ensure!(take()? == taken, "something changed");
            Ok(())
        })?;
        Ok(taken)
    })?;
    for (line, texts) in mistakes {
        let message = bed.host(1).mesh(&words(line))?.refused()?;
        for text in *texts {
            ensure!(
                message.contains(text),
                "`mesh {line}` does not say '{text}': {message}"
            );
        }
        let has_remedy = message.contains("; ") || message.contains(": ");
        ensure!(
            has_remedy,
            "`mesh {line}` does not say what to do: {message}"
        );
        let now = Traces::take(bed.host(1))?;
        ensure!(
            now == before[0],
            "`mesh {line}` left something: {now:?}, was {:?}",
            before[0]
        );
    }
    let now = take().context("after all")?;
    ensure!(now == before, "{now:?}, was {before:?}");
    Ok(())
}

/// Two routers, networks of each kind, and containers in them on both hosts.
fn populated(bed: &Testbed) -> Result<()> {
    full_mesh(bed, &[])?;
    let (one, two) = (bed.host(1), bed.host(2));
    for line in [
        "network create web --subnet 10.40.0.0/24 --gateway 10.40.0.1 --ip-range 10.40.0.128/25",
        "network create six --subnet fd00:41::/64",
        "network create closed --subnet 10.42.0.0/24 --internal",
    ] {
        mesh(one, line)?;
    }
    wait_until(SOON, "the networks are known", || {
        ensure!(mesh(two, "network ls")?.contains("closed"), "not yet");
        Ok(())
    })?;
    one.run_free(&["--net", "web", "10.40.0.9"], "near")?;
    two.run_free(&["--net", "web", "10.40.0.8"], "far")?;
    one.shell("ip link add br-x type bridge && ip link set br-x up")?
        .ok()?;
    wait_until(SOON, "the first host knows where 10.40.0.8 is", || {
        let line = "run --runtime process --net web 10.40.0.8 -- true";
        let message = one.mesh(&words(line))?.refused()?;
        ensure!(message.contains("far"), "{message}");
        Ok(())
    })
}

#[test]
fn what_cannot_be_created_leaves_nothing() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        populated(bed)?;
        let long = format!("network create {}", "n".repeat(64));
        let nine: String = (1..=9)
            .map(|n| format!(" --subnet 10.{n}.0.0/16"))
            .collect();
        let nine = format!("network create x{nine}");
        let id = format!("network create {}", "0123456789abcdef".repeat(2));
        let create: [Mistake<'_>; 25] = [
            (
                "network create x --subnet 10.1.0.0/16 --subnet 10.1.2.0/24",
                &["10.1.0.0/16 and 10.1.2.0/24 overlap"],
            ),
            (
                "network create x --subnet 10.1.0.0/16 --gateway 10.2.0.1",
                &["gateway 10.2.0.1", "10.1.0.0/16"],
            ),
            (
                "network create x --subnet 10.1.0.0/16 --gateway 10.1.0.0",
                &["first or last address of 10.1.0.0/16"],
            ),
            (
                "network create x --subnet 10.1.0.0/16 --gateway x",
                &["'x' is not a gateway", "like 10.40.0.1"],
            ),
            (
                "network create x --gateway 10.1.0.1",
                &["10.1.0.1", "--subnet"],
            ),
            (
                "network create x --subnet 10.1.0.0/16 --ip-range 10.2.0.0/24",
                &["10.2.0.0/24", "10.1.0.0/16"],
            ),
            (
                "network create x --subnet 10.1.0.0/16 --ip-range 10.0.0.0/8",
                &["10.0.0.0/8", "10.1.0.0/16"],
            ),
            (
                "network create x --ip-range 10.1.0.0/24",
                &["10.1.0.0/24", "--subnet"],
            ),
            (
                "network create x --subnet 10.1.0.1/16",
                &["10.1.0.1/16", "write 10.1.0.0/16"],
            ),
            (
                "network create x --subnet 10.1.0.0/31",
                &["10.1.0.0/31", "like 10.40.0.0/16"],
            ),
            ("network create x --subnet 0.0.0.0/0", &["0.0.0.0/0"]),
            ("network create x --subnet 127.0.0.0/8", &["127.0.0.0/8"]),
            ("network create x --subnet fe80::/64", &["fe80::/64"]),
            ("network create x --mtu 9000", &["9000", "at most"]),
            ("network create x --mtu 10", &["MTU of 10", "give one of"]),
            (
                "network create x --subnet fd00::/64 --mtu 1000",
                &["MTU of 1000", "1280"],
            ),
            ("network create x --label =y", &["'=y'", "KEY=VALUE"]),
            (
                "network create x --label a=1 --label a=2",
                &["'a' is given twice"],
            ),
            ("network create ", &["'' cannot name a network"]),
            ("network create _x", &["'_x' cannot name a network"]),
            ("network create ä", &["'ä' cannot name a network"]),
            ("network create default", &["always exists", "another name"]),
            (&long, &["64 characters", "63 at most"]),
            (&nine, &["9 subnets", "8 at most"]),
            (&id, &["could be the id of a network"]),
        ];
        each_is_refused(bed, &create)?;
        let again: [Mistake<'_>; 6] = [
            (
                "network create web --subnet 10.99.0.0/16",
                &["10.40.0.0/24", "10.99.0.0/16", "another name"],
            ),
            (
                "network create web --subnet 10.40.0.0/24 --gateway 10.40.0.2",
                &["10.40.0.1", "10.40.0.2"],
            ),
            (
                "network create web --subnet 10.40.0.0/24 --ip-range 10.40.0.0/25",
                &["10.40.0.128/25", "10.40.0.0/25"],
            ),
            (
                "network create web --internal",
                &["internal network was asked for"],
            ),
            (
                "network create closed --mtu 1000",
                &["MTU 1000 was asked for"],
            ),
            ("network create web --mtu 70000", &["70000"]),
        ];
        each_is_refused(bed, &again)
    })
}

#[test]
fn what_cannot_be_used_leaves_nothing() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        populated(bed)?;
        let run: [Mistake<'_>; 13] = [
            (
                "run --runtime process --net wbe 10.40.0.5 -- true",
                &["no network 'wbe'", "is 'web' meant?", "`mesh network ls`"],
            ),
            (
                "run --runtime process --net nope 10.40.0.5 -- true",
                &["no network 'nope'", "`mesh network ls`"],
            ),
            (
                "run --runtime process --net web 10.40.0.9 -- true",
                &["10.40.0.9", "container near on this host"],
            ),
            (
                "run --runtime process --net web 10.40.0.8 -- true",
                &["10.40.0.8", "container far", "host2"],
            ),
            (
                "run --runtime process --net web 10.40.0.1 -- true",
                &["10.40.0.1", "gateway"],
            ),
            (
                "run --runtime process --net web 10.40.1.1 -- true",
                &["10.40.1.1", "10.40.0.0/24"],
            ),
            (
                "run --runtime process --net web 10.40.0.5/16 -- true",
                &["write 10.40.0.5/24"],
            ),
            (
                "run --runtime process --net web 10.40.0.255 -- true",
                &["first or last address"],
            ),
            (
                "run --runtime process --net web 10.40.0.300 -- true",
                &["'10.40.0.300'"],
            ),
            (
                "run --runtime process --net web fd00:41::5 -- true",
                &["fd00:41::5", "10.40.0.0/24"],
            ),
            (
                "run --runtime process --net six 10.40.0.5 -- true",
                &["10.40.0.5", "fd00:41::/64"],
            ),
            (
                "run --runtime process --net six fd00:41:: -- true",
                &["fd00:41::", "first or last address"],
            ),
            (
                "run --runtime process --net web net:10.32.0.0/16 -- true",
                &["web"],
            ),
        ];
        each_is_refused(bed, &run)?;
        let others: [Mistake<'_>; 17] = [
            ("attach --net nope 10.40.0.5 near", &["no network 'nope'"]),
            ("attach --net web 10.40.0.5 nobody", &["nobody"]),
            ("detach --net wbe near", &["is 'web' meant?"]),
            ("detach --net closed 10.42.0.5 near", &["10.42.0.5"]),
            ("expose --net nope 10.40.0.5", &["no network 'nope'"]),
            ("expose --net web 10.41.0.5", &["10.41.0.5", "10.40.0.0/24"]),
            ("expose --net web 10.40.0.9", &["container near"]),
            ("expose --net web 10.40.0.8", &["container far", "host2"]),
            (
                "expose --net closed 10.42.0.5",
                &["internal", "--without-masquerade"],
            ),
            ("hide --net nope", &["no network 'nope'"]),
            ("attach-bridge --net nope br-x", &["no network 'nope'"]),
            (
                "attach-bridge --net web br-y",
                &["br-y", "no such interface"],
            ),
            (
                "attach-bridge --net web mesh",
                &["mesh", "networks stay apart"],
            ),
            ("network rm web", &["web", "near", "host2", "--force"]),
            ("network rm default", &["'default' cannot be removed"]),
            ("network rm clsoed", &["is 'closed' meant?"]),
            ("network inspect 12", &["no network '12'"]),
        ];
        each_is_refused(bed, &others)?;
        // An unset variable does not mean the network default.
        let empty = [
            "run",
            "--runtime",
            "process",
            "--net",
            "",
            "10.32.0.5/12",
            "--",
            "true",
        ];
        let outcome = bed.host(1).mesh(&empty)?;
        ensure!(
            matches!(outcome.code, Some(1 | 2)) && outcome.stderr.contains("--net"),
            "{outcome}"
        );
        ensure!(
            mesh(bed.host(1), "ps --json")?.matches("mesh0").count() == 1,
            "half-made"
        );
        Ok(())
    })
}
