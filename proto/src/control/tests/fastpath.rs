//! Frames that go by the kernel: only with the consent of both, and only while it works.

use super::*;
use crate::fastpath::{Beat, Consent, Local};

fn beat_of(net: &Net, n: usize, nonce: u64) -> Beat {
    Beat {
        peer: net.nodes[n].control.me(),
        nonce,
    }
}

/// Whether rows of the report say that frames go by the kernel, and what else they say of it.
fn by_kernel(net: &Net, n: usize) -> (bool, String) {
    let report = net.nodes[n].control.report(net.now);
    let row = &report.connections[0];
    assert_eq!(row.encrypted, row.datapath != "kernel");
    (!row.encrypted, row.fast_path_doubt.clone())
}

#[test]
fn plain_vxlan_needs_the_offers_and_beats_of_both_and_is_reported() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    for (n, node) in net.nodes.iter_mut().enumerate() {
        node.control.set_fastpath(Local {
            consent: Consent::new(true, Vec::new()),
            port: 6784,
            vni: 5,
            nonce: n as u64 + 1,
        });
    }
    net.connect(0, 1);
    net.run(Duration::from_secs(3));
    let (fast, doubt) = by_kernel(&net, 0);
    assert!(!fast && doubt.contains("UDP port 6784"), "{doubt}");
    for second in 0..8 {
        // Beats come for five seconds only.
        if second < 5 {
            let beats = [beat_of(&net, 0, 1), beat_of(&net, 1, 2)];
            let now = net.now;
            net.nodes[0].control.handle_beat(beats[1], now);
            net.nodes[1].control.handle_beat(beats[0], now);
        }
        net.run(Duration::from_secs(1));
        if second == 4 {
            assert_eq!(by_kernel(&net, 0), (true, String::new()));
            assert_eq!(by_kernel(&net, 1), (true, String::new()));
        }
    }
    net.run(Duration::from_secs(1));
    assert!(!by_kernel(&net, 0).0 && !by_kernel(&net, 1).0);
    let notes = net.nodes[0].notes.join("\n");
    assert!(
        notes.contains("go by the kernel's VXLAN, unencrypted"),
        "{notes}"
    );
    assert!(notes.contains("go through the router again"), "{notes}");
}
