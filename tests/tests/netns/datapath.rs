//! Both datapaths, with each other and with themselves: data arrives intact, and deleted interfaces are restored.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{
    TestbedHost, TestbedLayout, Testbed, Transfer, all_reach_all, tell, transfer, wait_until, with_testbed,
};

const BYTES: u64 = 20_000_000;
const DEADLINE: Duration = Duration::from_secs(30);

/// Launches routers with these datapaths, and connects them.
fn launch(bed: &Testbed, datapaths: [&str; 2]) -> Result<()> {
    for (host, datapath) in bed.hosts().iter().zip(datapaths) {
        host.launch(&["--datapath", datapath])?;
    }
    let second = bed.host(2).name();
    bed.host(1).mesh(&["connect", second])?.ok()?;
    bed.hosts().iter().try_for_each(|h| h.wait_connections(1))
}

/// Checks that the report names the datapath, and that it was requested.
fn says(host: &TestbedHost, datapath: &str) -> Result<()> {
    let router = host.report()?.router;
    let told = format!("{} ({})", router.datapath, router.datapath_reason);
    ensure!(told == format!("{datapath} (asked for)"), "{told}");
    Ok(())
}

fn bytes_arrive_both_ways(datapaths: [&'static str; 2]) -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        launch(bed, datapaths)?;
        let (a, b) = (
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(2).run("10.2.1.2/24")?,
        );
        a.reaches(&b)?;
        for (host, datapath) in bed.hosts().iter().zip(datapaths) {
            says(host, datapath)?;
        }
        for (from, to) in [(&a, &b), (&b, &a)] {
            let took = transfer(from, to, BYTES, DEADLINE)?;
            tell(&format!("{datapaths:?}: {BYTES} bytes whole in {took:?}"));
        }
        // Pings of 10,000 bytes arrive as fragments, which no port may merge.
        a.exec(&[
            "ping",
            "-c",
            "3",
            "-i",
            "0.2",
            "-W",
            "2",
            "-s",
            "10000",
            b.address(),
        ])?
        .ok()?;
        Ok(())
    })
}

#[test]
fn tap_to_tap() -> Result<()> {
    bytes_arrive_both_ways(["tap", "tap"])
}

#[test]
fn pcap_to_tap_and_back() -> Result<()> {
    bytes_arrive_both_ways(["pcap", "tap"])
}

#[test]
fn pcap_to_pcap() -> Result<()> {
    bytes_arrive_both_ways(["pcap", "pcap"])
}

#[test]
fn a_deleted_port_is_opened_again_whichever_it_is() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        launch(bed, ["pcap", "tap"])?;
        let (a, b) = (
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(2).run("10.2.1.2/24")?,
        );
        a.reaches(&b)?;
        for (host, damage) in [
            (1, "ip link del mesh-p"),
            (1, "ip link set mesh-r down"),
            (2, "ip link del mesh-t"),
            (2, "ip link set mesh-t down"),
        ] {
            bed.host(host).shell(damage)?.ok()?;
            wait_until(Duration::from_secs(5), &format!("mended: {damage}"), || {
                a.ping(b.address())?;
                b.ping(a.address())
            })?;
        }
        Ok(())
    })
}

#[test]
fn several_lanes_lose_nothing_and_keep_each_stream_in_order() -> Result<()> {
    for lanes in ["2", "4"] {
        with_testbed(&TestbedLayout::hosts(3), |bed| {
            for host in bed.hosts() {
                host.launch(&["--lanes", lanes])?;
                let told = host.report()?.router.datapath_reason;
                ensure!(told.ends_with(&format!("{lanes} lanes each way")), "{told}");
            }
            for other in [2, 3] {
                let name = bed.host(other).name();
                bed.host(1).mesh(&["connect", name])?.ok()?;
            }
            bed.hosts().iter().try_for_each(|h| h.wait_connections(2))?;
            let containers = bed
                .hosts()
                .iter()
                .zip(["10.2.1.1/24", "10.2.1.2/24", "10.2.1.3/24"])
                .map(|(host, address)| host.run(address))
                .collect::<Result<Vec<_>>>()?;
            all_reach_all(&containers)?;
            let streams = [(0, 1), (1, 0), (0, 2), (2, 1)];
            let begun: Vec<Transfer> = streams
                .iter()
                .zip(5_001..)
                .map(|((a, b), port)| {
                    Transfer::start(&containers[*a], &containers[*b], port, BYTES, 0)
                })
                .collect::<Result<_>>()?;
            for stream in begun {
                stream.finish(DEADLINE)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
