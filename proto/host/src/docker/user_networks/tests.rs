use std::time::Duration;

use mesh_proto::time::Instant;

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn wanted(subnet: &str) -> WantedPool {
    WantedPool {
        subnet: Some(net(subnet)),
        ..WantedPool::default()
    }
}

fn network(subnet: &str) -> NewUserNetwork {
    NewUserNetwork {
        pools: vec![(net(subnet), None)],
        ..NewUserNetwork::default()
    }
}

/// Returns the only pool of a network.
fn pool_of(table: &UserNetworkTable, network: &str) -> Option<String> {
    let mut pools = table.pools_of(network);
    let first = pools.next().map(|(id, _)| id.to_owned());
    assert!(pools.next().is_none());
    first
}

#[test]
fn a_network_has_a_pool_of_each_family() {
    let mut table = UserNetworkTable::default();
    let (v4, v6) = (net("10.40.0.0/16"), net("fd00:40::/64"));
    table
        .request_pool("p4", v4, wanted("10.40.0.0/16"))
        .unwrap();
    let wanted = WantedPool {
        ip_range: Some(net("fd00:40::100/120")),
        is_v6: true,
        ..wanted("fd00:40::/64")
    };
    table.request_pool("p6", v6, wanted).unwrap();
    let gateway = "fd00:40::1".parse().unwrap();
    table.reserve("p6", gateway, true).unwrap();
    let two = NewUserNetwork {
        pools: vec![(v6, None), (net("fd00:41::/64"), None)],
        ..NewUserNetwork::default()
    };
    let refused = table.create_network("n0", two);
    assert_eq!(refused, Err(UserNetworkError::TwoSubnets));
    let new = NewUserNetwork {
        pools: vec![(v4, None), (v6, None)],
        ..NewUserNetwork::default()
    };
    table.create_network("n1", new).unwrap();
    let pools: Vec<&str> = table.pools_of("n1").map(|(id, _)| id).collect();
    assert_eq!(pools, ["p4", "p6"]);
    let network = table.network("n1").unwrap();
    let ipv6 = UserSubnet {
        subnet: Some(v6),
        gateway: Some(gateway),
        ip_range: Some(net("fd00:40::100/120")),
    };
    assert_eq!(
        (network.subnet, network.ipv6.as_ref()),
        (Some(v4), Some(&ipv6))
    );
    let wish = network.wish("web", Vec::new());
    let nets: Vec<IpNet> = wish.subnets.iter().map(|subnet| subnet.net).collect();
    assert_eq!((nets, wish.ipv6), (vec![v4, v6], true));
    for (pool, address, owner) in [("p4", "10.40.0.2", "a"), ("p6", "fd00:40::102", "b")] {
        let address = address.parse().unwrap();
        table.give(pool, address, owner);
        assert_eq!(table.owner_of("n1", address), Some(owner));
    }
    drop(table.delete_network("n1"));
    assert!(
        table
            .pools
            .values()
            .all(|pool| pool.link == PoolLink::Orphan)
    );
}

#[test]
fn a_pool_belongs_to_the_network_that_is_created_next_with_its_subnet() {
    let mut table = UserNetworkTable::default();
    let web = net("10.40.0.0/16");
    table
        .request_pool("p1", web, wanted("10.40.0.0/16"))
        .unwrap();
    let again = table.request_pool("p2", web, wanted("10.40.0.0/16"));
    assert_eq!(again, Err(UserNetworkError::Busy(web)));
    let (gateway, other) = (IpAddr::from([10, 40, 0, 1]), IpAddr::from([10, 41, 0, 1]));
    assert!(table.reserve("p1", other, true).is_err());
    table.reserve("p1", gateway, true).unwrap();
    table.reserve("p1", [10, 40, 0, 9].into(), false).unwrap();
    table.create_network("n0", network("10.50.0.0/16")).unwrap();
    assert!(
        pool_of(&table, "n0").is_none(),
        "Docker's own IPAM gave that subnet"
    );
    table.create_network("n1", network("10.40.0.0/16")).unwrap();
    assert_eq!(pool_of(&table, "n1").as_deref(), Some("p1"));
    assert_eq!(table.network("n1").unwrap().gateway, Some(gateway));
    assert_eq!(table.auxiliary_owners().count(), 1);
    table
        .request_pool("p2", web, wanted("10.40.0.0/16"))
        .unwrap();
    table.give("p1", other, "owner");
    assert_eq!(table.owner_of("n1", other), Some("owner"));
    assert_eq!(table.take_back("p1", other).as_deref(), Some("owner"));
    assert!(table.take_back("p1", other).is_none());
    table.give_up_open(web);
    table.create_network("n2", network("10.40.0.0/16")).unwrap();
    assert!(pool_of(&table, "n2").is_none(), "it was given up");
}

#[test]
fn tables_are_bounded() {
    let mut table = UserNetworkTable::default();
    for n in 0..MAX_DOCKER_POOLS {
        table
            .request_pool(&n.to_string(), UNKNOWN_POOL, WantedPool::default())
            .unwrap();
        table.give_up_open(UNKNOWN_POOL);
    }
    let more = table.request_pool("x", UNKNOWN_POOL, WantedPool::default());
    assert_eq!(more, Err(UserNetworkError::TooManyPools));
    for n in 0..MAX_DOCKER_NETWORKS {
        table
            .create_network(&n.to_string(), NewUserNetwork::default())
            .unwrap();
    }
    let more = table.create_network("x", NewUserNetwork::default());
    assert_eq!(more, Err(UserNetworkError::TooManyNetworks));
    assert_eq!(table.create_network("7", NewUserNetwork::default()), Ok(()));
}

fn listed(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[test]
fn what_docker_has_no_more_is_forgotten() {
    let mut table = UserNetworkTable::default();
    let mut presence = DockerPresence::default();
    let at = |s| Instant::ZERO + Duration::from_secs(s);
    let web = net("10.40.0.0/16");
    table
        .request_pool("p1", web, wanted("10.40.0.0/16"))
        .unwrap();
    table.create_network("n1", network("10.40.0.0/16")).unwrap();
    presence.settle(&mut table, &listed(&["n1"]), at(1));
    table.create_network("n2", network("10.50.0.0/16")).unwrap();
    presence.settle(&mut table, &listed(&[]), at(2));
    assert!(table.pool("p1").is_err() && table.network("n1").is_none());
    assert!(table.network("n2").is_some(), "Docker may list it soon");
    presence.settle(&mut table, &listed(&[]), at(61));
    assert!(table.network("n2").is_some());
    presence.settle(&mut table, &listed(&[]), at(62));
    assert!(table.network("n2").is_none(), "it never came");
}

/// A look that falls into the creation of a network finds a pool without a network, then a network that is not listed.
#[test]
fn a_network_under_creation_is_kept_with_its_pool() {
    let mut table = UserNetworkTable::default();
    let mut presence = DockerPresence::default();
    let at = |s| Instant::ZERO + Duration::from_secs(s);
    let subnet = net("10.40.0.0/16");
    table
        .request_pool("p1", subnet, wanted("10.40.0.0/16"))
        .unwrap();
    presence.settle(&mut table, &listed(&[]), at(1));
    table.create_network("n1", network("10.40.0.0/16")).unwrap();
    presence.settle(&mut table, &listed(&[]), at(2));
    presence.settle(&mut table, &listed(&[]), at(3));
    presence.settle(&mut table, &listed(&["n1"]), at(70));
    assert_eq!(pool_of(&table, "n1").as_deref(), Some("p1"));
    table
        .request_pool("p2", subnet, wanted("10.40.0.0/16"))
        .unwrap();
    table.give_up_open(subnet);
    presence.settle(&mut table, &listed(&["n1"]), at(100));
    presence.settle(&mut table, &listed(&["n1"]), at(160));
    assert!(table.pool("p1").is_ok());
    assert!(table.pool("p2").is_err(), "its network never came");
}

#[test]
fn the_name_decides_unless_an_option_does() {
    let mut network = UserNetwork::default();
    let ours = |name: &str| name == "mesh";
    assert_eq!(network.target(ours), None);
    for (name, want) in [
        ("mesh", MeshTarget::Default),
        ("default", MeshTarget::Default),
        ("web", MeshTarget::Named("web")),
    ] {
        network.name = Some(name.into());
        assert_eq!(network.target(ours), Some(want), "{name}");
    }
    network.mesh_network = Some("db".into());
    assert_eq!(network.target(ours), Some(MeshTarget::Existing("db")));
}

/// Any order of calls, some of them lost: a network never has the pool of another, and no two pools with one subnet wait.
#[test]
fn a_pool_never_belongs_to_two_networks() {
    let mut seed = 7_u64;
    let mut next = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % bound
    };
    let subnets = [UNKNOWN_POOL, net("10.40.0.0/16"), net("10.41.0.0/16")];
    let mut table = UserNetworkTable::default();
    // The pool that each subnet was asked for last, as long as it waits.
    let mut waits: BTreeMap<IpNet, String> = BTreeMap::new();
    for step in 0..20_000 {
        let subnet = subnets[usize::try_from(next(3)).unwrap()];
        let id = format!("{}", next(12));
        match next(6) {
            0 | 1 => {
                let id = format!("p{step}");
                let asked = table.request_pool(&id, subnet, WantedPool::default());
                assert_eq!(asked.is_ok(), !waits.contains_key(&subnet));
                waits.entry(subnet).or_insert(id);
            }
            2 => {
                let new = NewUserNetwork {
                    pools: vec![(subnet, None)],
                    ..NewUserNetwork::default()
                };
                let is_new = table.network(&id).is_none();
                table.create_network(&id, new).unwrap();
                if is_new {
                    let has = pool_of(&table, &id);
                    assert_eq!(has, waits.remove(&subnet));
                }
            }
            3 => {
                let pool = pool_of(&table, &id);
                drop(table.delete_network(&id));
                assert!(pool_of(&table, &id).is_none());
                drop(pool.and_then(|pool| table.release_pool(&pool)));
            }
            4 => {
                table.give_up_open(subnet);
                waits.remove(&subnet);
            }
            _ => {
                if let Some(pool) = waits.remove(&subnet) {
                    drop(table.release_pool(&pool));
                }
            }
        }
        if table.pools.len() > 500 {
            table.pools.retain(|_, pool| pool.link != PoolLink::Orphan);
        }
    }
    let stored = serde_json::to_string(&table).unwrap();
    let read: UserNetworkTable = serde_json::from_str(&stored).unwrap();
    assert_eq!(read, table);
}
