//! Forwarding table of the fast path: required entries, present entries, and the steps between them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesh_proto::fastpath::{FastPeer, FastPeers};
use mesh_proto::fdb::{FdbEntry, Owner};
use mesh_proto::ids::{Mac, PeerId};
use mesh_proto::limits::MAX_FDB;
use mesh_sys::netlink::{FdbContent, FdbRow, Remote};

/// Next hop of frames to an address of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KernelNextHop {
    /// The router's port.
    Router,
    /// VXLAN to a remote.
    Vxlan(Remote),
}

/// Next hops of all addresses behind peers; bounded like the router's MAC table.
pub(super) type NextHops = BTreeMap<Mac, KernelNextHop>;

/// One change of the kernel's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) mac: Mac,
    pub(super) from: Option<KernelNextHop>,
    pub(super) to: Option<KernelNextHop>,
}

/// Returns the required entries for the router's MAC table; VXLAN only to remotes for which `can` holds.
///
/// An address in `held` that the MAC table does not know keeps its VXLAN entry while that leads to a fast peer: after a
/// restart of this router or the peer the MAC table is incomplete.
pub(super) fn wanted(
    entries: &[FdbEntry],
    held: &NextHops,
    peers: &FastPeers,
    can: impl Fn(&Remote) -> bool,
) -> NextHops {
    let fast = peers.iter().filter(|(_, peer)| peer.fast);
    let remotes: BTreeMap<&PeerId, Remote> = fast
        .map(|(id, peer)| (id, remote(peer)))
        .filter(|(_, remote)| can(remote))
        .collect();
    let exit = |peer| {
        remotes
            .get(peer)
            .map_or(KernelNextHop::Router, |r| KernelNextHop::Vxlan(*r))
    };
    let of_peers = entries.iter().filter_map(|entry| match &entry.owner {
        Owner::Peer(peer) => Some((entry.mac, exit(peer))),
        Owner::Local => None,
    });
    let mut wanted: NextHops = of_peers.collect();
    let known: BTreeSet<Mac> = entries.iter().map(|entry| entry.mac).collect();
    let fast: BTreeSet<&Remote> = remotes.values().collect();
    let stays = |(mac, exit): &(&Mac, &KernelNextHop)| match exit {
        KernelNextHop::Vxlan(remote) => fast.contains(remote) && !known.contains(*mac),
        KernelNextHop::Router => false,
    };
    let room = MAX_FDB.saturating_sub(wanted.len());
    wanted.extend(held.iter().filter(stays).take(room));
    wanted
}

/// Returns the VXLAN remote of a peer.
pub(super) fn remote(peer: &FastPeer) -> Remote {
    Remote {
        address: peer.address,
        port: peer.port,
        vni: peer.vni,
    }
}

/// Returns the steps from one table to another. Removals from VXLAN come first: a peer may no longer be allowed to see
/// frames.
pub(super) fn steps(from: &NextHops, to: &NextHops) -> Vec<Step> {
    let macs: BTreeSet<&Mac> = from.keys().chain(to.keys()).collect();
    let step = |mac: &Mac| Step {
        mac: *mac,
        from: from.get(mac).copied(),
        to: to.get(mac).copied(),
    };
    let mut steps: Vec<Step> = macs.into_iter().map(step).collect();
    steps.retain(|step| step.from != step.to);
    steps.sort_by_key(|step| !matches!(step.from, Some(KernelNextHop::Vxlan(_))));
    steps
}

/// Relevant interfaces, by index.
#[derive(Clone, Debug)]
pub(super) struct FastPathInterfaces {
    /// Port of the router.
    pub(super) router: u32,
    /// VXLAN devices.
    pub(super) vxlan: Vec<u32>,
    /// UDP port and VNI of the devices.
    pub(super) own: (u16, u32),
}

/// Entries found in the kernel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Entries that a program installed.
    pub(super) table: NextHops,
    /// VXLAN entries (device, address) that no bridge entry leads to.
    pub(super) orphans: Vec<(u32, Mac)>,
    /// Addresses that the bridge learnt on other ports: of local containers, and of the host itself.
    pub(super) elsewhere: BTreeSet<Mac>,
    /// Addresses to which frames were sent by VXLAN recently.
    pub(super) used: BTreeSet<Mac>,
}

/// Classifies the rows of the kernel's tables; `within` is the time that counts as recent.
pub(super) fn found(rows: &[FdbRow], links: &FastPathInterfaces, within: Duration) -> Found {
    let mut found = Found::default();
    let mut remotes: BTreeMap<(u32, Mac), Remote> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.mac.is_group()) {
        if let FdbContent::Vxlan { address, port, vni } = row.known
            && links.vxlan.contains(&row.link)
        {
            let remote = Remote {
                address,
                port: port.unwrap_or(links.own.0),
                vni: vni.unwrap_or(links.own.1),
            };
            remotes.insert((row.link, row.mac), remote);
            if row.used <= within {
                found.used.insert(row.mac);
            }
        }
    }
    for row in rows {
        let FdbContent::Bridge { external, local } = row.known else {
            continue;
        };
        let is_ours = row.link == links.router || links.vxlan.contains(&row.link);
        if local || !is_ours {
            found.elsewhere.insert(row.mac);
        } else if row.link == links.router && external {
            found.table.insert(row.mac, KernelNextHop::Router);
        } else if let Some(remote) = remotes.remove(&(row.link, row.mac)) {
            found.table.insert(row.mac, KernelNextHop::Vxlan(remote));
        }
    }
    found.orphans = remotes.into_keys().collect();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerId = PeerId([0xa; 16]);
    const B: PeerId = PeerId([0xb; 16]);
    const LINKS: fn() -> FastPathInterfaces = || FastPathInterfaces {
        router: 10,
        vxlan: vec![20, 21],
        own: (6784, 5),
    };

    fn mac(last: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, last])
    }

    fn to(last: u8) -> Remote {
        Remote {
            address: [10, 0, 0, last].into(),
            port: 6784,
            vni: 5,
        }
    }

    fn peers(fast_b: bool) -> FastPeers {
        let peer = |last, fast| FastPeer {
            address: [10, 0, 0, last].into(),
            port: 6784,
            vni: 5,
            fast,
        };
        [(A, peer(1, true)), (B, peer(2, fast_b))].into()
    }

    fn entries() -> Vec<FdbEntry> {
        [(1, Owner::Peer(A)), (2, Owner::Peer(B)), (3, Owner::Local)]
            .map(|(last, owner)| FdbEntry {
                mac: mac(last),
                owner,
                idle: Duration::ZERO,
            })
            .to_vec()
    }

    #[test]
    fn only_addresses_of_fast_peers_leave_by_vxlan() {
        let table = wanted(&entries(), &NextHops::new(), &peers(false), |_| true);
        let expected = [
            (mac(1), KernelNextHop::Vxlan(to(1))),
            (mac(2), KernelNextHop::Router),
        ];
        assert_eq!(table, expected.into());
        let table = wanted(&entries(), &NextHops::new(), &peers(true), |r| *r == to(2));
        let expected = [
            (mac(1), KernelNextHop::Router),
            (mac(2), KernelNextHop::Vxlan(to(2))),
        ];
        assert_eq!(table, expected.into());
    }

    #[test]
    fn what_the_router_forgot_stays_by_vxlan_while_its_peer_is_fast() {
        let held: NextHops = [
            (mac(3), KernelNextHop::Vxlan(to(1))),
            (mac(4), KernelNextHop::Vxlan(to(1))),
            (mac(5), KernelNextHop::Vxlan(to(2))),
            (mac(6), KernelNextHop::Router),
        ]
        .into();
        let table = wanted(&entries(), &held, &peers(false), |_| true);
        assert_eq!(table.get(&mac(3)), None, "it is local now");
        assert_eq!(table.get(&mac(4)), Some(&KernelNextHop::Vxlan(to(1))));
        assert_eq!(table.get(&mac(5)), None, "its peer is not fast");
        assert_eq!(table.get(&mac(6)), None);
        let table = wanted(&entries(), &held, &peers(false), |_| false);
        assert_eq!(table.get(&mac(4)), None, "nobody can be reached");
    }

    #[test]
    fn what_comes_off_vxlan_comes_first() {
        let from = [
            (mac(2), KernelNextHop::Vxlan(to(1))),
            (mac(4), KernelNextHop::Router),
        ]
        .into();
        let next = [
            (mac(1), KernelNextHop::Vxlan(to(1))),
            (mac(2), KernelNextHop::Router),
            (mac(4), KernelNextHop::Router),
        ]
        .into();
        let steps = steps(&from, &next);
        let macs: Vec<Mac> = steps.iter().map(|s| s.mac).collect();
        assert_eq!(macs, [mac(2), mac(1)]);
        assert_eq!(steps[0].to, Some(KernelNextHop::Router));
    }

    #[test]
    fn the_kernels_rows_are_understood() {
        let bridge = |link, last, external, local| FdbRow {
            link,
            mac: mac(last),
            known: FdbContent::Bridge { external, local },
            used: Duration::MAX,
        };
        let vxlan = |link, last, port, used| FdbRow {
            link,
            mac: mac(last),
            known: FdbContent::Vxlan {
                address: [10, 0, 0, last].into(),
                port,
                vni: None,
            },
            used: Duration::from_secs(used),
        };
        let mut group = vxlan(20, 0, None, 0);
        group.mac = mesh_proto::fastpath::BEAT_GROUP;
        let rows = [
            group,
            bridge(20, 1, true, false),
            vxlan(20, 1, None, 3),
            vxlan(21, 2, Some(7), 300),
            bridge(10, 3, true, false),
            bridge(10, 4, false, false),
            bridge(30, 5, false, false),
            bridge(20, 6, false, true),
            bridge(20, 7, true, false),
        ];
        let found = found(&rows, &LINKS(), Duration::from_secs(8));
        let table = [
            (mac(1), KernelNextHop::Vxlan(to(1))),
            (mac(3), KernelNextHop::Router),
        ];
        assert_eq!(found.table, table.into());
        assert_eq!(found.orphans, [(21, mac(2))]);
        assert_eq!(found.elsewhere, [mac(5), mac(6)].into());
        assert_eq!(found.used, [mac(1)].into());
    }
}
