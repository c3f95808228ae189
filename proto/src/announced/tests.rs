use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::ids::PeerId;

const A: Owner = Owner::Peer(PeerId([1; 16]));
const B: Owner = Owner::Peer(PeerId([2; 16]));

fn ip(n: u8) -> IpAddr {
    Ipv4Addr::new(10, 2, 1, n).into()
}

fn mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, n])
}

fn claim(n: u8, moves: u32) -> Claim {
    Claim {
        ip: ip(n),
        mac: mac(n),
        moves,
    }
}

fn at(owner: Owner, n: u8) -> Option<Place> {
    Some(Place { owner, mac: mac(n) })
}

const NOW: Instant = Instant::from_nanos(1_000_000_000);

#[test]
fn an_announced_address_is_there_until_it_is_withdrawn() {
    let table = Announcements::default();
    assert!(table.set(A, vec![claim(1, 0), claim(2, 0)], NOW));
    assert!(table.set(B, vec![claim(3, 0)], NOW));
    assert_eq!(table.place(ip(1), NOW), at(A, 1));
    assert_eq!(table.owner(mac(3), NOW), Some(B));
    assert_eq!(
        (table.place(ip(9), NOW), table.owner(mac(9), NOW)),
        (None, None)
    );
    assert!(table.set(A, vec![claim(2, 0)], NOW));
    assert_eq!(table.place(ip(1), NOW), None);
    assert_eq!(table.place(ip(2), NOW), at(A, 2));
    assert!(table.set(A, Vec::new(), NOW));
    assert_eq!(
        (table.place(ip(2), NOW), table.owner(mac(2), NOW)),
        (None, None)
    );
    assert_eq!(table.len(), 1);
}

#[test]
fn the_higher_sequence_number_of_one_mac_wins_while_a_move_settles() {
    let table = Announcements::default();
    table.set(A, vec![claim(1, 4)], NOW);
    table.set(B, vec![claim(1, 5)], NOW);
    assert_eq!(table.place(ip(1), NOW), at(B, 1));
    assert_eq!(table.owner(mac(1), NOW), Some(B));
    let late = NOW + limits::MOVE_SETTLES;
    assert_eq!(table.contests(9, NOW), []);
    assert_eq!(
        (table.place(ip(1), late), table.owner(mac(1), late)),
        (None, None)
    );
    let both = Contest {
        ip: ip(1),
        places: [A, B].iter().filter_map(|owner| at(*owner, 1)).collect(),
    };
    assert_eq!(table.contests(9, late), [both]);
    // Repeating a claim is no new move.
    table.set(B, vec![claim(1, 5), claim(2, 0)], late);
    assert_eq!(table.place(ip(1), late), None);
    table.set(A, vec![claim(1, 5)], late);
    assert_eq!(
        (table.place(ip(1), late), table.owner(mac(1), late)),
        (None, None)
    );
    table.set(B, Vec::new(), late);
    assert_eq!(table.place(ip(1), late), at(A, 1));
    table.set(Owner::Local, vec![claim(1, 6)], late);
    assert_eq!(table.owner(mac(1), late), Some(Owner::Local));
}

#[test]
fn between_two_macs_the_rightful_owner_wins() {
    let table = Announcements::default();
    table.set(A, vec![claim(1, 0)], NOW);
    let taken = Claim {
        mac: mac(66),
        ..claim(1, u32::MAX)
    };
    table.set(B, vec![taken], NOW);
    assert_eq!(table.place(ip(1), NOW), None);
    assert_eq!(table.contested(), [ip(1)]);
    table.settle(BTreeMap::from([(ip(1), A)]));
    assert_eq!(table.place(ip(1), NOW), at(A, 1));
    table.settle(BTreeMap::from([(ip(1), Owner::Peer(PeerId([3; 16])))]));
    assert_eq!(table.place(ip(1), NOW), None, "it does not announce it");
    table.set(B, Vec::new(), NOW);
    assert_eq!(table.place(ip(1), NOW), at(A, 1));
}

#[test]
fn a_contradiction_lasts_until_the_owner_is_heard_or_announces_again() {
    let table = Announcements::default();
    table.set(A, vec![claim(1, 0)], NOW);
    assert!(!table.saw(ip(1), (A, mac(1)), NOW), "it agrees");
    assert!(!table.saw(ip(9), (A, mac(9)), NOW), "nobody announces it");
    assert!(table.saw(ip(1), (B, mac(7)), NOW));
    assert_eq!(table.place(ip(1), NOW), None);
    // Neither the same announcement again nor the same MAC from another router changes anything.
    table.set(A, vec![claim(1, 0), claim(2, 0)], NOW);
    assert!(!table.saw(ip(1), (B, mac(1)), NOW));
    assert_eq!(table.place(ip(1), NOW), None);
    assert!(!table.saw(ip(1), (A, mac(1)), NOW));
    assert_eq!(table.place(ip(1), NOW), at(A, 1));

    assert!(table.saw(ip(1), (B, mac(7)), NOW));
    let late = NOW + limits::CONTRADICTED_FOR;
    assert_eq!(table.place(ip(1), late), at(A, 1));
    table.sweep(late);
    table.evidence().check();

    assert!(table.saw(ip(1), (B, mac(7)), late));
    table.set(A, Vec::new(), late);
    table.set(B, vec![claim(1, 1)], late);
    assert_eq!(table.place(ip(1), late), at(B, 1));
}

#[test]
fn a_repeated_request_puts_a_silent_owner_in_doubt() {
    let table = Announcements::default();
    table.set(A, vec![claim(1, 0)], NOW);
    let (asker, other) = (mac(20), mac(21));
    let soon = NOW + limits::ANSWER_WITHIN / 2;
    let again = NOW + 2 * limits::ANSWER_WITHIN;
    assert!(table.ask(ip(1), asker, NOW));
    assert!(table.ask(ip(1), asker, soon), "there is time yet");
    assert!(table.ask(ip(1), other, again), "somebody else's first");
    assert!(!table.ask(ip(1), asker, again));
    assert_eq!(table.place(ip(1), again), None);
    assert_eq!(table.place(ip(1), again + limits::UNANSWERED_FOR), at(A, 1));

    assert!(
        !table.saw(ip(1), (A, mac(1)), again),
        "it answers after all"
    );
    assert_eq!(table.place(ip(1), again), at(A, 1));
    assert!(table.ask(ip(1), asker, again));
    assert!(!table.saw(ip(1), (A, mac(1)), again));
    assert!(table.ask(ip(1), asker, again + limits::ANSWER_WITHIN));
    let old = again + limits::ANSWER_WITHIN + limits::RESOLUTION_MEMORY;
    assert!(table.ask(ip(1), asker, old), "long ago");
}

#[test]
fn a_repeated_contradiction_extends_the_doubt() {
    let table = Announcements::default();
    table.set(A, vec![claim(1, 0)], NOW);
    for n in 0..6 {
        let now = NOW + n * (limits::CONTRADICTED_FOR / 2);
        assert!(table.saw(ip(1), (B, mac(7)), now));
        assert_eq!(table.place(ip(1), now), None);
    }
}

#[test]
fn a_flapping_mac_stays_in_doubt_even_if_its_owner_is_heard() {
    let table = Announcements::default();
    table.set(A, vec![claim(1, 0)], NOW);
    table.doubt(mac(1), NOW);
    assert!(!table.saw(ip(1), (A, mac(1)), NOW));
    assert!(table.saw(ip(1), (B, mac(7)), NOW));
    assert!(!table.saw(ip(1), (A, mac(1)), NOW));
    assert_eq!(table.place(ip(1), NOW), None);
    let late = NOW + limits::CONTRADICTED_FOR;
    assert_eq!(table.place(ip(1), late), at(A, 1));
}

#[test]
fn claims_without_room_are_refused_and_others_stay() {
    let limits = AnnouncedLimits {
        claims: 3,
        doubted: 2,
        asked: 2,
    };
    let table = Announcements::with_limits(limits);
    assert!(table.set(A, vec![claim(1, 0), claim(2, 0)], NOW));
    assert!(!table.set(B, vec![claim(3, 0), claim(4, 0)], NOW));
    assert_eq!(table.len(), 2);
    assert_eq!(table.place(ip(3), NOW), None);
    assert!(
        table.set(B, vec![claim(3, 0), claim(3, 0)], NOW),
        "one address"
    );
    for n in 1..=3 {
        let now = NOW + core::time::Duration::from_secs(u64::from(n));
        assert!(table.saw(ip(n), (B, mac(7)), now));
        assert!(table.ask(ip(n), mac(20), now));
        table.evidence().check();
    }
    assert_eq!(table.place(ip(1), NOW), at(A, 1), "the oldest is forgotten");
    assert_eq!(
        (table.place(ip(2), NOW), table.place(ip(3), NOW)),
        (None, None)
    );
}

type Model = BTreeMap<Owner, Vec<Claim>>;

/// Returns the expected location of an address, computed from all claims.
fn expected(model: &Model, wanted: u8) -> Option<(Owner, u32)> {
    let claims = || {
        let all = model.iter();
        all.flat_map(|(owner, claims)| claims.iter().map(|c| (*owner, *c)))
            .filter(|(_, c)| c.ip == ip(wanted))
    };
    let most = claims().map(|(_, c)| c.moves).max()?;
    let mut best = claims().filter(|(_, c)| c.moves == most);
    let (owner, _) = best.next()?;
    best.next().is_none().then_some((owner, most))
}

proptest! {
    #[test]
    fn any_order_of_announcements_leads_to_the_last_of_each(
        steps in prop::collection::vec((0u8..4, prop::collection::btree_map(0u8..6, 0u32..3, 0..5)), 0..40),
    ) {
        let limits = AnnouncedLimits { claims: 12, doubted: 4, asked: 4 };
        let table = Announcements::with_limits(limits);
        let mut model = Model::new();
        for (owner, claims) in steps {
            let owner = match owner {
                0 => Owner::Local,
                n => Owner::Peer(PeerId([n; 16])),
            };
            let claims: Vec<Claim> = claims.into_iter().map(|(n, moves)| claim(n, moves)).collect();
            model.remove(&owner);
            let room = model.values().map(Vec::len).sum::<usize>() + claims.len() <= 12;
            prop_assert_eq!(table.set(owner, claims.clone(), NOW), room);
            if room {
                model.insert(owner, claims);
            }
            table.read().check();
            for n in 0..6 {
                let right = expected(&model, n).map(|(owner, _)| owner);
                prop_assert_eq!(table.place(ip(n), NOW).map(|p| p.owner), right);
                prop_assert_eq!(table.owner(mac(n), NOW), right);
            }
        }
    }
}
