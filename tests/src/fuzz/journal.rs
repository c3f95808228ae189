//! The journal file of allocated addresses.

use mesh_allocator::journal::file::{entries, file};
use mesh_ipam::{Ipam, IpamConfig, IpamOutput, RequestId, Slicing};
use mesh_proto::ids::PeerId;
use mesh_proto::time::Instant;

fn config() -> IpamConfig {
    let range = "10.32.0.0/24".parse().expect("a range");
    IpamConfig {
        me: PeerId([1; 16]),
        epoch: 1,
        slicing: Slicing::new(range).expect("a range"),
        auto_reclaim: None,
    }
}

/// A file that can be parsed can be written again, and restores a state or is rejected.
pub(super) fn target(data: &[u8]) {
    let Ok(all) = entries(data) else {
        return;
    };
    assert_eq!(entries(&file(&all)).as_ref(), Ok(&all));
    let replayed = Ipam::new(config(), all.iter().map(Vec::as_slice), Instant::ZERO);
    if let Ok(ipam) = replayed {
        let short = ipam.snapshot();
        let again = Ipam::new(config(), short.iter().map(Vec::as_slice), Instant::ZERO);
        assert_eq!(again.expect("our own").digest(), ipam.digest());
    }
}

/// Returns a valid file, and one with an invalid entry at its end.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut ipam = Ipam::new(config(), [], Instant::ZERO).expect("a new journal");
    let subnet = "10.32.0.0/28".parse().expect("a subnet");
    let now = Instant::ZERO;
    for n in 0..3 {
        let container = format!("docker:web:{n}");
        ipam.allocate(RequestId(n), &container, subnet, now, now)
            .expect("room");
    }
    let mut all = Vec::new();
    while let Some(output) = ipam.poll_output() {
        if let IpamOutput::Persist { position, entry } = output {
            all.push(entry);
            ipam.persisted(position, now);
        }
    }
    let whole = file(&all);
    all.push(vec![1, 99]);
    vec![whole, file(&all), file(&[])]
}
