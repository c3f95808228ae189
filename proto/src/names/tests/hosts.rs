//! The names of one host.

use super::super::local::LocalNames;
use super::*;
use crate::limits::{MAX_HOST_NAMES, MAX_KEPT_NAMES, MAX_NAME_ADDRESSES};

fn listed(local: &LocalNames) -> Vec<String> {
    let text = |e: &Entry| {
        let addresses: Vec<String> = e.addresses.iter().map(ToString::to_string).collect();
        format!("{} {} {}", e.name, e.container, addresses.join(","))
    };
    local.entries().iter().map(text).collect()
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

fn added(container: &str, text: &str, addresses: &[&str]) -> Added {
    Added {
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
    assert_eq!(decode(local.statement()).unwrap(), local.entries());
    let before = local.statement().to_vec();
    assert!(!local.set_containers(vec![container(
        ID,
        &["www", "web"],
        &["10.32.0.1", "10.32.0.2"]
    )]));
    assert_eq!(local.statement(), before, "order does not matter");
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
    assert_eq!(local.remove("", Some(&name("far")), &some), Ok(1));
    assert_eq!(local.remove("", Some(&name("far")), &some), Ok(0));
    assert_eq!(local.remove("", Some(&name("nobody")), &[].into()), Ok(0));
    assert_eq!(local.remove("", None, &[].into()), Ok(1));
    assert_eq!(local.remove(ID, Some(&name("www")), &[].into()), Ok(1));
    assert_eq!(listed(&local).len(), 3);
    assert_eq!(local.remove(ID, None, &[].into()), Ok(3));
    assert_eq!(listed(&local), Vec::<String>::new());
    assert_eq!(local.add(added(ID, "web", &[])), Ok(true), "back again");
}

#[test]
fn what_was_changed_by_hand_outlives_a_restart_and_ends_with_the_container() {
    let mut local = web();
    local.add(added(ID, "extra", &[])).unwrap();
    local.add(added("", "far", &["192.0.2.1"])).unwrap();
    local.remove(ID, Some(&name("www")), &[].into()).unwrap();
    let json = serde_json::to_string(local.kept()).unwrap();

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
    assert_eq!(again.kept().added.len(), 1);
    assert!(again.kept().removed.is_empty());
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
    let wide = Added {
        addresses: (0..=MAX_NAME_ADDRESSES)
            .map(|n| IpAddr::from([10, 32, 1, u8::try_from(n).unwrap()]))
            .collect(),
        ..added("", "web", &[])
    };
    assert!(matches!(
        local.add(wide),
        Err(AddError::TooManyAddresses(_))
    ));
    for n in 0..MAX_KEPT_NAMES {
        local
            .add(added("", &format!("n{n}"), &["10.32.0.1"]))
            .unwrap();
    }
    assert_eq!(
        local.add(added("", "more", &["10.32.0.1"])),
        Err(AddError::Full)
    );
    assert_eq!(local.entries().len(), MAX_KEPT_NAMES);
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
    assert_eq!(stated.len() + local.left_out(), MAX_HOST_NAMES + 10);
    assert!(local.left_out() >= 10);
}
