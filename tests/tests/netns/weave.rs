//! Scripts written for Weave Net, run through `examples/weave`.

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{TestbedHost, CommandOutput, TestbedLayout, with_testbed};

/// Runs a line of such a script.
fn weave(host: &TestbedHost, line: &str) -> Result<CommandOutput> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/weave");
    host.shell(&format!("weave() {{ sh {program} \"$@\"; }}; {line}"))
}

#[test]
fn a_script_of_weave_runs_and_is_told_what_is_different() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        launches(one, two)?;
        shows(one)?;
        names(one)?;
        gives_back(one, two)?;
        says_what_is_not_there(one)?;
        weave(one, "weave stop")?.ok()?;
        weave(one, "weave reset --force")?.ok()?;
        Ok(())
    })
}

/// Flags and variables of both, and the remarks about ignored ones.
fn launches(one: &TestbedHost, two: &TestbedHost) -> Result<()> {
    let line = "WEAVE_MTU=1300 weave launch --password wfvAwt7sj9Zq --ipalloc-init consensus=2 --no-fastdp \
                --conn-limit 30 --trusted-subnets 192.168.78.2/24 --plugin=false";
    let refused = weave(one, line)?;
    ensure!(
        refused.code != Some(0),
        "--plugin=false is no flag of weave: {refused}"
    );
    let line = line.replace(" --plugin=false", "");
    let launched = weave(one, &line)?;
    for said in [
        "--ipalloc-init is ignored",
        "--datapath pcap",
        "--conn-limit is ignored",
    ] {
        ensure!(launched.stderr.contains(said), "{launched}");
    }
    ensure!(
        launched.code == Some(0) && launched.stdout.is_empty(),
        "{launched}"
    );
    let router = one.report()?.router;
    ensure!(
        router.datapath == "pcap" && router.mtu == 1300,
        "{router:?}"
    );
    ensure!(router.secret == "password", "{}", router.secret);

    let again = weave(two, "weave launch --awsvpc")?;
    ensure!(
        again.code != Some(0) && again.stderr.contains("--awsvpc"),
        "{again}"
    );
    let bare = two.mesh(&["launch", "--password", "wfvAwt7sj9Zq", "host1"])?;
    ensure!(
        bare.code != Some(0) && bare.stderr.contains("MESH_PASSWORD"),
        "{bare}"
    );
    let line = "WEAVE_PASSWORD=wfvAwt7sj9Zq weave launch -mtu 1300 host1";
    weave(two, line)?.ok()?;
    one.wait_connections(1)
}

fn shows(one: &TestbedHost) -> Result<()> {
    let status = weave(one, "weave status")?.ok()?;
    for line in ["Domain: mesh.local", "DefaultSubnet: 10.32.0.0/12"] {
        ensure!(status.contains(line), "{status}");
    }
    weave(one, "weave connect 192.168.77.99")?.ok()?;
    let connections = weave(one, "weave status connections")?.ok()?;
    ensure!(
        connections.contains(" 192.168.77.99:6783 "),
        "{connections}"
    );
    weave(one, "weave forget 192.168.77.99")?.ok()?;

    let domain = one
        .shell("mesh report -f '{{.DNS.Domain}}' | od -c")?
        .ok()?;
    ensure!(!domain.contains("\\n"), "a newline of its own: {domain}");
    let wrong = weave(one, "weave report -f '{{.Router.Nope}}'")?;
    let said = wrong.stderr.len() < 900 && wrong.stderr.contains("NickName");
    ensure!(wrong.code == Some(1) && said, "{wrong}");
    let summary = one
        .mesh(&["report", "--summary", "-f", "{{.DNS.Entries}}"])?
        .ok()?;
    summary.parse::<usize>().context(summary)?;
    Ok(())
}

fn names(one: &TestbedHost) -> Result<()> {
    let address = weave(one, "weave expose 10.2.1.254/24 -h gateway.mesh.local")?.ok()?;
    ensure!(address == "10.2.1.254", "{address}");
    weave(one, "weave dns-add 10.2.1.9 -h printer")?.ok()?;
    ensure!(weave(one, "weave dns-lookup printer")?.ok()? == "10.2.1.9");
    let none = weave(one, "weave dns-lookup nobody")?;
    ensure!(none.code == Some(0) && none.stdout.is_empty(), "{none}");
    ensure!(weave(one, "weave ps weave:expose")?.code != Some(0));
    let exposed = weave(one, "weave ps mesh:expose")?.ok()?;
    ensure!(exposed.contains("10.2.1.254/24"), "{exposed}");
    ensure!(weave(one, "weave hide 10.2.1.254/24")?.ok()? == "10.2.1.254");
    Ok(())
}

/// Commands that remove things work as in the documented list of differences.
fn gives_back(one: &TestbedHost, two: &TestbedHost) -> Result<()> {
    let taken = one.run_named("10.2.1.1/24", "taken")?;
    // Containers without an engine are given by id.
    let id = one.ps()?[0].container.clone();
    weave(one, &format!("weave attach 10.33.1.1/24 {id}"))?.ok()?;
    let left = weave(one, &format!("weave detach {id}"))?.ok()?;
    let left: Vec<&str> = left.split_whitespace().collect();
    ensure!(left == ["10.2.1.1", "10.33.1.1"], "{left:?}");
    ensure!(one.address_of("taken").is_err(), "it has an address");
    taken.kill()?;

    let line = format!("weave rmpeer {}", two.name());
    let refused = weave(one, &line)?;
    let said = refused.stderr.contains("can be reached");
    ensure!(refused.code == Some(1) && said, "{refused}");

    // The default is Docker's bridge, which the wrapper passes to mesh explicitly.
    let none = weave(one, "weave attach-bridge")?;
    let said = none.stderr.contains("docker0");
    ensure!(none.code == Some(1) && said, "{none}");
    one.shell("ip link add lan0 type bridge && ip link set lan0 up")?
        .ok()?;
    weave(one, "weave attach-bridge lan0")?.ok()?;
    let listed = weave(one, "weave status")?.ok()?;
    ensure!(listed.contains("lan0"), "{listed}");
    Ok(())
}

fn says_what_is_not_there(one: &TestbedHost) -> Result<()> {
    for (line, said) in [
        ("eval $(weave env)", "weave run"),
        ("docker $(weave config) ps", "weave run"),
        ("weave setup-cni", "no CNI plugin"),
        ("weave status proxy", "no proxy"),
        ("weave frobnicate", "no 'frobnicate'"),
        (
            "DOCKER_HOST=tcp://192.168.77.2:2375 weave run ubuntu",
            "another host",
        ),
        (
            "weave -H tcp://192.168.77.2:2375 attach web",
            "another host",
        ),
    ] {
        let outcome = weave(one, line)?;
        ensure!(outcome.stderr.contains(said), "{line}: {outcome}");
    }
    for line in [
        "weave launch-proxy",
        "weave setup",
        "weave prime",
        "weave version",
    ] {
        weave(one, line)?.ok()?;
    }
    ensure!(weave(one, "weave bridge-type")?.ok()? == "pcap");
    Ok(())
}
