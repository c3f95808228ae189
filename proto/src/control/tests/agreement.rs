//! Settings that must be the same on all routers.

use super::*;
use crate::topology::settings::{DEFAULT_SUBNET, DNS_DOMAIN, MTU, Settings};

fn say(net: &mut Net, n: usize, settings: &Settings) {
    let now = net.now;
    let control = &mut net.nodes[n].control;
    control
        .announce(Topic::SETTINGS, settings.encode(), now)
        .unwrap();
}

fn warnings(net: &Net, n: usize) -> Vec<String> {
    net.nodes[n]
        .control
        .parts
        .status(net.now)
        .setting_warnings()
}

#[test]
fn each_router_names_those_that_differ_from_it_and_what() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2), open_mesh(3)]);
    let of = |mtu| {
        Settings::default()
            .with(MTU, mtu)
            .with(DNS_DOMAIN, "mesh.local")
    };
    for (n, mtu) in [(0, "8876"), (1, "1376"), (2, "1376")] {
        say(&mut net, n, &of(mtu));
    }
    net.connect(0, 1);
    net.connect(2, 1);
    net.run(5 * SECOND);
    let name = |n: usize| {
        net.nodes[0]
            .control
            .parts
            .gossip
            .display(&net.nodes[n].control.me())
    };
    let at_first = warnings(&net, 0);
    assert_eq!(at_first.len(), 1, "{at_first:?}");
    assert!(at_first[0].starts_with("--mtu is 8876 here and 1376 on "));
    assert!(at_first[0].contains(&name(1)) && at_first[0].contains(&name(2)));
    for n in [1, 2] {
        let here = warnings(&net, n);
        assert_eq!(here.len(), 1, "{here:?}");
        let begins = format!("--mtu is 1376 here and 8876 on {}", name(0));
        assert!(here[0].starts_with(&begins), "{here:?}");
    }
    // Who agrees again is named no more, and what is new to us is no matter.
    say(
        &mut net,
        0,
        &of("1376")
            .with("newer", "1")
            .with(DEFAULT_SUBNET, "10.32.0.0/16"),
    );
    net.run(5 * SECOND);
    assert!((0..3).all(|n| warnings(&net, n).is_empty()));
}
