//! Endpoints, whose interfaces the engine moves into the container.

use super::*;

#[test]
fn an_endpoint_that_the_engine_moves_is_finished() {
    if needs_root("an_endpoint_that_the_engine_moves_is_finished") {
        return;
    }
    let f = Fixture::new();
    let mac = Mac([2, 0x6d, 10, 2, 1, 7]);
    let endpoint = Endpoint {
        bridge: "mesh",
        alias: "endpoint-1",
        mac,
        mtu: 1376,
        offloads_off: true,
    };
    let peer = f.host.run(|| make_endpoint(&endpoint).unwrap());
    let peer = f.host.run(|| {
        assert_eq!(make_endpoint(&endpoint).unwrap(), peer, "created again");
        peer
    });
    let path = f.container.netns.path().to_owned();
    let soon = Instant::now() + Duration::from_millis(50);
    let error = finish_endpoint(&path, mac, soon).unwrap_err();
    assert!(matches!(error, AttachError::Timeout(m) if m == mac));

    // Like libnetwork, a little later than the wait begins.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(30));
            f.host.run(|| {
                let mut netlink = Netlink::open().unwrap();
                let link = netlink.link().require(&peer).unwrap();
                netlink
                    .link()
                    .move_to_netns(link.index, &f.container.netns)
                    .unwrap();
            });
            f.container.run(|| {
                let mut netlink = Netlink::open().unwrap();
                let link = netlink.link().require(&peer).unwrap();
                netlink.link().rename(link.index, "eth0").unwrap();
                netlink
                    .address()
                    .add(link.index, "10.2.1.7/24".parse().unwrap())
                    .unwrap();
                netlink.link().set_up(link.index).unwrap();
            });
        });
        let deadline = Instant::now() + Duration::from_secs(5);
        assert_eq!(finish_endpoint(&path, mac, deadline).unwrap(), "eth0");
    });
    f.container.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let link = netlink.link().require("eth0").unwrap();
        // libnetwork sets its routes last, and fails if one exists already.
        let route = "224.0.0.0/4".parse().unwrap();
        assert!(netlink.route().add_on_link(link.index, route).unwrap());
        let reachable = get(SysctlGroup::Ipv4Neigh, "eth0", "base_reachable_time_ms").unwrap();
        assert_eq!(reachable, "5000");
    });
    assert_eq!(f.host.run(|| unplug("mesh", "endpoint-1").unwrap()), 1);
}

#[test]
fn a_failed_endpoint_leaves_nothing() {
    if needs_root("a_failed_endpoint_leaves_nothing") {
        return;
    }
    let f = Fixture::new();
    let before = f.state();
    let endpoint = Endpoint {
        bridge: "mesh",
        alias: "endpoint-1",
        mac: Mac([2, 0x6d, 10, 2, 1, 7]),
        mtu: 1376,
        offloads_off: true,
    };
    let mut steps = 0;
    while f
        .host
        .run(|| endpoint::make(&endpoint, &mut StepPlan::failing_at(steps)).is_err())
    {
        assert_eq!(f.state(), before, "step {steps}");
        steps += 1;
    }
    assert!(steps >= 7, "{steps}");
}
