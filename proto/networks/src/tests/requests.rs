//! Requests of users, and the answers to bad ones.

use super::*;

/// Creates as the second host does, with these words.
fn again(networks: &mut Networks, new: &NewNetwork) -> Result<CreatedNetwork, CreateNetworkError> {
    let mut dice = SeededEntropy::new(99);
    networks.create(new, 2_000, &mut dice, START)
}

fn error(networks: &mut Networks, new: &NewNetwork) -> String {
    let before = networks.content(START);
    let error = again(networks, new).unwrap_err();
    assert_eq!(networks.content(START), before, "nothing half-made");
    let text = error.to_string();
    assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
    text
}

fn with_subnet(name: &str, subnet: &str) -> NewNetwork {
    NewNetwork {
        subnets: NetworkSubnet::arrange(&[net(subnet)], &[], &[]).unwrap(),
        ..wanted(name)
    }
}

#[test]
fn the_same_name_on_two_hosts_is_the_same_network() {
    let mut networks = networks(ME);
    let mut new = with_subnet("web", "10.40.0.0/16");
    new.subnets[0].gateway = Some([10, 40, 0, 1].into());
    new.labels = vec![UserLabel {
        key: "k".into(),
        value: "v".into(),
    }];
    let first = again(&mut networks, &new).unwrap();
    assert!(first.is_new);
    let outputs = drain(&mut networks);
    assert!(matches!(
        &outputs[..],
        [
            NetworksOutput::Added(_),
            NetworksOutput::Persist,
            NetworksOutput::State(_)
        ]
    ));
    let same = CreatedNetwork {
        id: first.id,
        is_new: false,
    };
    for new in [
        new.clone(),
        wanted("web"),
        with_subnet("web", "10.40.0.0/16"),
    ] {
        assert_eq!(again(&mut networks, &new), Ok(same.clone()));
    }
    assert_eq!(drain(&mut networks), []);
    let differs = "the network web exists with the subnet 10.40.0.0/16, and the subnet 10.41.0.0/16 was asked for; leave \
                   it out to use the network, or choose another name";
    assert_eq!(
        error(&mut networks, &with_subnet("web", "10.41.0.0/16")),
        differs
    );
    let out = "; leave the option out to use the network, or choose another name";
    let mut gateway = with_subnet("web", "10.40.0.0/16");
    gateway.subnets[0].gateway = Some([10, 40, 0, 2].into());
    let mut range = with_subnet("web", "10.40.0.0/16");
    range.subnets[0].ip_range = Some(net("10.40.1.0/24"));
    let ipv6 = NewNetwork {
        ipv6: true,
        ..wanted("web")
    };
    let internal = NewNetwork {
        internal: true,
        ..wanted("web")
    };
    let mtu = NewNetwork {
        mtu: Some(1300),
        ..wanted("web")
    };
    for (new, text) in [
        (gateway, "the gateway 10.40.0.1, and the gateway 10.40.0.2"),
        (range, "no range, and the range 10.40.1.0/24"),
        (ipv6, "no IPv6 subnet, and one"),
        (internal, "routes to elsewhere, and an internal network"),
        (mtu, "no MTU, and the MTU 1300"),
        (with_subnet("web", "fd00::/64"), ""),
    ] {
        let got = error(&mut networks, &new);
        match text {
            "" => assert!(
                got.contains("exists with no subnet, and the subnet fd00::/64"),
                "{got}"
            ),
            _ => assert_eq!(
                got,
                format!("the network web exists with {text} was asked for{out}")
            ),
        }
    }
}

#[test]
fn subnets_are_chosen_apart_from_what_is_there() {
    let mut networks = networks(ME);
    let chosen = |networks: &Networks, id: &NetworkId| -> Vec<IpNet> {
        let definition = networks.get(id).unwrap();
        definition.subnets.iter().map(|s| s.net).collect()
    };
    let web = create(&mut networks, "web", 1);
    let first = chosen(&networks, &web)[0];
    assert_eq!(first.prefix_len(), 16);
    let mut other = super::networks(B);
    let avoiding = NewNetwork {
        avoid: vec![first],
        ipv6: true,
        ..wanted("web")
    };
    let id = again(&mut other, &avoiding).unwrap().id;
    let second = chosen(&other, &id);
    assert!(second[0] != first && second[1].addr().is_ipv6());
    let mut third = super::networks(C);
    let id = again(
        &mut third,
        &NewNetwork {
            ipv6: true,
            ..wanted("web")
        },
    )
    .unwrap()
    .id;
    assert_eq!(
        chosen(&third, &id),
        [first, second[1]],
        "alike on every host"
    );
    // Networks may overlap if users say so.
    again(&mut networks, &with_subnet("x", &first.to_string())).unwrap();
    let only6 = NewNetwork {
        ipv4: false,
        ipv6: true,
        ..wanted("six")
    };
    let id = again(&mut networks, &only6).unwrap().id;
    assert_eq!(chosen(&networks, &id).len(), 1);
    let full = NewNetwork {
        avoid: vec![net("10.0.0.0/8")],
        ..wanted("full")
    };
    let text = "no subnet is free for the network full; choose one with --subnet";
    assert_eq!(error(&mut networks, &full), text);
}

#[test]
fn bad_input_is_named_in_one_line() {
    let mut networks = networks(ME);
    let overlapping = NewNetwork {
        subnets: vec![
            NetworkSubnet::new(net("10.1.0.0/16")),
            NetworkSubnet::new(net("10.1.4.0/24")),
        ],
        ..wanted("web")
    };
    let overlap = "the subnets 10.1.0.0/16 and 10.1.4.0/24 overlap; give subnets of one network that are apart";
    assert_eq!(error(&mut networks, &overlapping), overlap);
    let mut outside = with_subnet("web", "10.1.0.0/16");
    outside.subnets[0].gateway = Some([10, 2, 0, 1].into());
    let text = "the gateway 10.2.0.1 is outside the subnet 10.1.0.0/16; give an address of it";
    assert_eq!(error(&mut networks, &outside), text);
    let text = "the network 'default' always exists; choose another name";
    assert_eq!(error(&mut networks, &wanted("default")), text);
    let text = "'a b' cannot name a network: use letters, digits, '_', '.' and '-', a letter or digit first";
    assert_eq!(error(&mut networks, &wanted("a b")), text);
    let long = "a".repeat(64);
    let text = "the name 'aaaaaaaaaaaaaaaa…' has 64 characters, a network's 63 at most; choose a shorter one";
    assert_eq!(error(&mut networks, &wanted(&long)), text);
    let narrow = NewNetwork {
        mtu: Some(500),
        ..wanted("web")
    };
    let text = "an MTU of 500 is not possible; give one of 576 to 9000";
    assert_eq!(error(&mut networks, &narrow), text);
    let narrow6 = NewNetwork {
        mtu: Some(1000),
        ipv6: true,
        ..wanted("web")
    };
    let text = "an MTU of 1000 is not possible; give one of 1280 to 9000";
    assert_eq!(error(&mut networks, &narrow6), text);
    // An existing network does not hide them.
    create(&mut networks, "web", 1);
    assert_eq!(error(&mut networks, &overlapping), overlap);
    for name in ["wob", "", "00", &id(9).to_string()] {
        let meant = if name == "wob" {
            "is 'web' meant? "
        } else {
            ""
        };
        let text = format!("there is no network '{name}'; {meant}`mesh network ls` lists all");
        let removed = networks.remove(name, true, START).unwrap_err();
        assert_eq!(removed.to_string(), text);
    }
    for name in ["default", &NetworkId::DEFAULT.to_string()] {
        assert_eq!(networks.resolve(name), Ok(NetworkId::DEFAULT));
        let removed = networks.remove(name, true, START).unwrap_err();
        assert_eq!(removed, RemoveNetworkError::Default);
    }
    assert_eq!(
        networks.join(NetworkId::DEFAULT, START),
        Err(JoinNetworkError::Default)
    );
    let text = format!(
        "there is no network with the id {}; create it, or name another one",
        id(9)
    );
    assert_eq!(networks.join(id(9), START).unwrap_err().to_string(), text);
}

#[test]
fn a_network_in_use_is_not_removed_without_force() {
    let mut networks = networks(ME);
    let statement = NetworksStatement {
        definitions: vec![definition(5, B)],
        memberships: vec![membership(5, 77)],
        ..NetworksStatement::default()
    };
    networks
        .handle_statement(B, &statement.encode(), START)
        .unwrap();
    networks.set_reachable(B, true, START);
    let label = networks.join(id(5), START).unwrap();
    let members = networks.members(&id(5));
    let member = |router, label| NetworkMember {
        router,
        label,
        is_idle: false,
        is_reachable: true,
    };
    let theirs = NonZeroU16::new(77).unwrap();
    assert_eq!(members, [member(ME, label), member(B, theirs)]);
    networks.set_reachable(B, false, START);
    assert!(!networks.members(&id(5))[1].is_reachable);
    drain(&mut networks);
    let error = networks.remove("n5", false, START).unwrap_err();
    let text = format!(
        "the network n5 has containers on {}, {}; detach them there, or use --force",
        ME.derived_name(),
        B.derived_name()
    );
    assert_eq!(error.to_string(), text);
    assert_eq!(drain(&mut networks), []);
    networks.remove("n5", true, START).unwrap();
    let outputs = drain(&mut networks);
    let removed = NetworksOutput::Removed {
        definition: Arc::new(definition(5, B)),
        by: ME,
        was_member: true,
    };
    assert!(outputs.contains(&removed));
    let statement = stated(&outputs).unwrap();
    assert!(statement.memberships.is_empty() && statement.definitions.is_empty());
    assert_eq!(statement.removals, [removal(5, ME)]);
    // Without members it needs no force.
    create(&mut networks, "n5", 8);
    assert!(networks.remove("n5", false, START).is_ok());
}

#[test]
fn members_state_the_network() {
    let mut networks = networks(ME);
    let statement = NetworksStatement {
        definitions: vec![definition(5, B)],
        ..NetworksStatement::default()
    };
    networks.set_reachable(B, true, START);
    networks
        .handle_statement(B, &statement.encode(), START)
        .unwrap();
    pass(&mut networks, START, 60);
    assert_eq!(stated(&drain(&mut networks)), None, "B states it");
    networks.join(id(5), START).unwrap();
    let says = stated(&drain(&mut networks)).unwrap();
    assert_eq!(says.definitions, [definition(5, B)]);
    assert!(networks.leave(&id(5), START));
    assert!(!networks.leave(&id(5), START));
    let says = stated(&drain(&mut networks)).unwrap();
    assert_eq!(says, NetworksStatement::default());
}

#[test]
fn a_clock_that_is_behind_takes_no_name() {
    let mut networks = networks(ME);
    let mut dice = SeededEntropy::new(1);
    networks
        .create(&wanted("a"), 5_000, &mut dice, START)
        .unwrap();
    let late = networks.create(&wanted("b"), 3, &mut dice, START).unwrap();
    assert_eq!(networks.get(&late.id).unwrap().stamp, 5_001);
}

#[test]
fn a_statement_that_is_refused_ends_the_former_one() {
    let mut networks = networks(ME);
    let statement = NetworksStatement {
        definitions: vec![definition(5, B)],
        memberships: vec![membership(5, 77)],
        ..NetworksStatement::default()
    };
    networks
        .handle_statement(B, &statement.encode(), START)
        .unwrap();
    drain(&mut networks);
    assert!(networks.handle_statement(B, &[7, 7], START).is_err());
    assert_eq!(networks.members(&id(5)), []);
    assert_eq!(drain(&mut networks), [NetworksOutput::Members(id(5))]);
    assert!(networks.get(&id(5)).is_some(), "what was learnt stays");
    assert_eq!(networks.figures().refused, 1);
    // The own record, as others store it, says nothing new.
    networks.handle_statement(ME, &[7, 7], START).unwrap();
}

#[test]
fn a_stored_file_is_read_or_refused() {
    let mut networks = networks(ME);
    let web = create(&mut networks, "web", 1);
    networks.join(web, START).unwrap();
    create(&mut networks, "old", 2);
    networks.remove("old", false, START).unwrap();
    let content = networks.content(START);
    let mut again = super::networks(ME);
    again.restore(&content, START).unwrap();
    assert_eq!(again.get(&web), networks.get(&web));
    assert_eq!(again.figures().removed, 1);
    // The membership is not joined yet, so only the label differs from what was stored: nothing.
    assert_eq!(again.content(START), content);
    let ends: Vec<usize> = (0..content.len()).collect();
    let mut whole = 0;
    for end in ends {
        let mut cut = super::networks(ME);
        whole += usize::from(cut.restore(&content[..end], START).is_ok());
    }
    assert_eq!(
        whole, 4,
        "at the ends of entries, which the checksum of the file excludes"
    );
    for bit in 0..8 * content.len() {
        let mut changed = content.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let _ = super::networks(ME).restore(&changed, START);
    }
    let text =
        "the stored networks are of format 9, which is not known: use the version that wrote them";
    let error = super::networks(ME).restore(&[9], START).unwrap_err();
    assert_eq!(error.to_string(), text);
    let error = super::networks(ME)
        .restore(&content[..9], START)
        .unwrap_err();
    let text = "the stored networks are damaged at byte 1";
    assert_eq!(error.to_string(), text);
}
