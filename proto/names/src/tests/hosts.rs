//! Names of one host.

use std::collections::BTreeSet;

use super::super::local::LocalNames;
use super::*;
use mesh_proto::limits::{
    MAX_HOST_NAME_PAIRS, MAX_HOST_NAMES, MAX_MANUAL_NAMES, MAX_NAME_ADDRESSES,
};

/// Returns the entries as text, in alphabetical order.
fn listed(local: &LocalNames) -> Vec<String> {
    let text = |e: &NameEntry| {
        let addresses: Vec<String> = e.addresses.iter().map(ToString::to_string).collect();
        format!("{} {} {}", e.name, e.container, addresses.join(","))
    };
    let mut texts: Vec<String> = local.entries().iter().map(|(_, e)| text(e)).collect();
    texts.sort();
    texts
}

fn web() -> LocalNames {
    let mut local = LocalNames::default();
    assert!(local.set_containers(vec![container(
        "0123456789abcdef",
        &["web", "www"],
        &["10.32.0.2", "10.32.0.1", "10.32.0.2"],
    )]));
    local
}

fn added(container: &str, text: &str, addresses: &[&str]) -> ManualName {
    ManualName {
        network: NetworkId::DEFAULT,
        container: container.to_owned(),
        name: name(text),
        addresses: addresses.iter().map(|a| ip(a)).collect(),
    }
}

const ID: &str = "0123456789abcdef";

#[test]
fn a_container_has_all_its_names_with_all_its_addresses() {
    let mut local = web();
    assert_eq!(
        listed(&local),
        [
            "web 0123456789ab 10.32.0.1,10.32.0.2",
            "www 0123456789ab 10.32.0.1,10.32.0.2"
        ]
    );
    assert_eq!(decode(local.statement()).as_ref(), Ok(local.entries()));
    let before = local.statement().to_vec();
    assert!(!local.set_containers(vec![container(
        ID,
        &["web", "www"],
        &["10.32.0.1", "10.32.0.2"]
    )]));
    assert_eq!(
        local.statement(),
        before,
        "order of addresses does not matter"
    );
    assert!(local.set_containers(Vec::new()));
    assert_eq!(listed(&local), Vec::<String>::new());
}

#[test]
fn names_are_added_and_removed_by_hand() {
    let mut local = web();
    assert_eq!(local.add(added(ID, "extra", &[])), Ok(true));
    assert_eq!(local.add(added(ID, "one", &["10.32.0.2"])), Ok(true));
    assert_eq!(local.add(added("", "far", &["192.0.2.1"])), Ok(true));
    assert_eq!(local.add(added("", "far", &["192.0.2.2"])), Ok(true));
    assert_eq!(local.add(added("", "far", &["192.0.2.2"])), Ok(false));
    assert_eq!(
        listed(&local),
        [
            "extra 0123456789ab 10.32.0.1,10.32.0.2",
            "far  192.0.2.1,192.0.2.2",
            "one 0123456789ab 10.32.0.2",
            "web 0123456789ab 10.32.0.1,10.32.0.2",
            "www 0123456789ab 10.32.0.1,10.32.0.2",
        ]
    );
    let some = [ip("192.0.2.1")].into();
    assert_eq!(
        local.remove((NetworkId::DEFAULT, ""), Some(&name("far")), &some),
        Ok(1)
    );
    assert_eq!(
        local.remove((NetworkId::DEFAULT, ""), Some(&name("far")), &some),
        Ok(0)
    );
    assert_eq!(
        local.remove((NetworkId::DEFAULT, ""), Some(&name("nobody")), &[].into()),
        Ok(0)
    );
    assert_eq!(
        local.remove((NetworkId::DEFAULT, ""), None, &[].into()),
        Ok(1)
    );
    assert_eq!(
        local.remove((NetworkId::DEFAULT, ID), Some(&name("www")), &[].into()),
        Ok(1)
    );
    assert_eq!(listed(&local).len(), 3);
    assert_eq!(
        local.remove((NetworkId::DEFAULT, ID), None, &[].into()),
        Ok(3)
    );
    assert_eq!(listed(&local), Vec::<String>::new());
    assert_eq!(local.add(added(ID, "web", &[])), Ok(true), "back again");
}

#[test]
fn manual_changes_outlive_a_restart_and_end_with_the_container() {
    let mut local = web();
    local.add(added(ID, "extra", &[])).unwrap();
    local.add(added("", "far", &["192.0.2.1"])).unwrap();
    local
        .remove((NetworkId::DEFAULT, ID), Some(&name("www")), &[].into())
        .unwrap();
    let json = serde_json::to_string(local.manual()).unwrap();

    let mut again = LocalNames::new(serde_json::from_str(&json).unwrap());
    assert_eq!(listed(&again), ["far  192.0.2.1"]);
    again.set_containers(vec![container(ID, &["web", "www"], &["10.32.0.9"])]);
    assert_eq!(
        listed(&again),
        [
            "extra 0123456789ab 10.32.0.9",
            "far  192.0.2.1",
            "web 0123456789ab 10.32.0.9"
        ]
    );
    assert!(!again.retain(|id| id == ID));
    assert!(again.retain(|_| false));
    assert_eq!(again.manual().added.len(), 1);
    assert!(again.manual().removed.is_empty());
}

#[test]
fn mistakes_are_refused_and_change_nothing() {
    let mut local = LocalNames::default();
    assert_eq!(
        local.add(added("", "web", &[])),
        Err(AddError::Nowhere(name("web")))
    );
    assert_eq!(
        local.add(added("", "web", &["127.0.0.1"])),
        Err(AddError::NotAnAddress(ip("127.0.0.1")))
    );
    let wide = ManualName {
        addresses: (0..=MAX_NAME_ADDRESSES)
            .map(|n| IpAddr::from((0x0a20_0000 + u32::try_from(n).unwrap()).to_be_bytes()))
            .collect(),
        ..added("", "web", &[])
    };
    assert!(matches!(
        local.add(wide),
        Err(AddError::TooManyAddresses(_))
    ));
    for n in 0..MAX_MANUAL_NAMES {
        local
            .add(added("", &format!("n{n}"), &["10.32.0.1"]))
            .unwrap();
    }
    assert_eq!(
        local.add(added("", "more", &["10.32.0.1"])),
        Err(AddError::Full)
    );
    assert_eq!(local.entries().count(), MAX_MANUAL_NAMES);
}

/// Returns the addresses from 10.32.`block`.0, as many as one name may have.
fn block(block: usize) -> BTreeSet<IpAddr> {
    let first = 0x0a20_0000 + 256 * u32::try_from(block).unwrap();
    let all = (first..).take(MAX_NAME_ADDRESSES);
    all.map(|a| IpAddr::from(a.to_be_bytes())).collect()
}

#[test]
fn a_name_has_room_for_many_addresses_and_all_names_of_a_host_for_a_bound() {
    let mut local = LocalNames::default();
    let wide = |n: usize| ManualName {
        network: NetworkId::DEFAULT,
        container: String::new(),
        name: name(&format!("n{n}")),
        addresses: block(n),
    };
    let most = MAX_HOST_NAME_PAIRS / MAX_NAME_ADDRESSES;
    for n in 0..most {
        assert_eq!(local.add(wide(n)), Ok(true));
    }
    assert_eq!(local.entries().count(), most);
    let beyond = MAX_HOST_NAME_PAIRS + MAX_NAME_ADDRESSES;
    let refused = Err(AddError::TooManyPairs(beyond));
    assert_eq!(local.add(wide(most)), refused);
    assert_eq!(local.manual().added.len(), most, "nothing is changed");
}

#[test]
fn a_name_for_which_the_statement_has_no_room_is_refused() {
    let mut local = LocalNames::default();
    let most = MAX_HOST_NAME_PAIRS / MAX_NAME_ADDRESSES;
    let full = |n: usize| Container {
        addresses: block(n).into_iter().collect(),
        ..container(&format!("{n:012}"), &[&format!("n{n}")], &[])
    };
    local.set_containers((0..most).map(full).collect());
    let more = added("", "more", &["10.33.0.1"]);
    assert_eq!(local.add(more), Err(AddError::NoRoom(name("more"))));
    assert!(local.manual().added.is_empty() && local.left_out() == 0);
}

#[test]
fn names_come_in_the_order_in_which_an_address_is_to_be_called() {
    let mut local = LocalNames::default();
    local.set_containers(vec![container(
        ID,
        &["zeta", "alpha", "zeta"],
        &["10.32.0.9"],
    )]);
    local.add(added(ID, "aaa", &[])).unwrap();
    local.add(added(ID, "alpha", &[])).unwrap();
    let names: Vec<&str> = local
        .entries()
        .iter()
        .map(|(_, e)| e.name.as_str())
        .collect();
    assert_eq!(names, ["zeta", "alpha", "aaa"], "each once");
    assert!(local.denied().is_empty());
    local
        .remove((NetworkId::DEFAULT, ID), Some(&name("alpha")), &[].into())
        .unwrap();
    assert_eq!(local.denied(), [(NetworkId::DEFAULT, name("alpha"))].into());
    local.set_containers(Vec::new());
    assert!(local.denied().is_empty(), "its container is not here");
}

#[test]
fn a_full_host_states_what_fits_and_counts_the_rest() {
    let mut local = LocalNames::default();
    let many = (0..MAX_HOST_NAMES + 10).map(|n| {
        let id = format!("{n:012}");
        container(&id, &[&format!("name-{n}")], &["10.32.0.1"])
    });
    local.set_containers(many.collect());
    let stated = decode(local.statement()).unwrap();
    assert_eq!(stated.count() + local.left_out(), MAX_HOST_NAMES + 10);
    assert!(local.left_out() >= 10);
}
