//! Dials: which target when, and the backoff after a failure.

use super::*;
use crate::entropy::SeededEntropy;

const T0: Instant = Instant::ZERO;

fn key(s: &str) -> TargetKey {
    TargetKey::Explicit(s.to_owned())
}

#[test]
fn targets_parse() {
    let addr = |s: &str| DialTo::Address(s.parse().unwrap());
    assert_eq!(parse_target("10.0.0.1", 6783), Ok(addr("10.0.0.1:6783")));
    assert_eq!(parse_target("10.0.0.1:99", 6783), Ok(addr("10.0.0.1:99")));
    assert_eq!(parse_target("fd00::1", 6783), Ok(addr("[fd00::1]:6783")));
    assert_eq!(parse_target("[fd00::1]:99", 6783), Ok(addr("[fd00::1]:99")));
    assert_eq!(parse_target("[fd00::1]", 6783), Ok(addr("[fd00::1]:6783")));
    assert_eq!(
        parse_target("host-1.x:7", 6783),
        Ok(DialTo::Name {
            host: "host-1.x".into(),
            port: 7
        })
    );
    for bad in [
        "",
        ":",
        "host:",
        "host:0",
        "host:x",
        "ho st",
        "-host",
        "10.2.1.300",
        "10.2",
        "a/b",
        "10.0.0.1:0",
    ] {
        assert!(parse_target(bad, 6783).is_err(), "{bad}");
    }
}

#[test]
fn waits_grow_to_the_cap_and_shrink_after_success() {
    let mut entropy = SeededEntropy::new(1);
    let mut targets = Targets::default();
    targets.add_explicit(["a".to_owned()], T0);
    let mut now = T0;
    let mut last = Duration::ZERO;
    for i in 0..20 {
        assert_eq!(targets.due(now).len(), 1);
        targets.dialling(&key("a"), ConnId(i));
        assert!(targets.due(now).is_empty());
        targets.failed(ConnId(i), "refused", Retry::Later, now, &mut entropy);
        let at = targets.next_deadline().unwrap();
        last = at.since(now);
        assert!(last <= REDIAL_MAX_EXPLICIT * 5 / 4);
        now = at;
    }
    assert!(last >= REDIAL_MAX_EXPLICIT * 3 / 4, "{last:?}");
    targets.dialling(&key("a"), ConnId(99));
    let peer = PeerId([1; 16]);
    targets.satisfied(ConnId(99), peer, now);
    assert_eq!(targets.next_deadline(), None);
    targets.lost(peer, "closed", now, &mut entropy);
    assert!(targets.next_deadline().unwrap().since(now) <= REDIAL_MIN);
}

#[test]
fn an_answer_from_a_strange_place_is_doubted_again_and_again() {
    let mut targets = Targets::default();
    targets.add_explicit(["a".to_owned()], T0);
    let (peer, strange) = (PeerId([1; 16]), SocketAddr::from(([10, 0, 0, 9], 6783)));
    let mut now = T0;
    for i in 0..3 {
        targets.dialling(&key("a"), ConnId(i));
        targets.reached(ConnId(i), strange);
        targets.satisfied(ConnId(i), peer, now);
        targets.doubt(|_, _| false, now);
        assert!(targets.due(now).is_empty(), "not at once");
        now += REDIAL_MAX_EXPLICIT;
        targets.doubt(|p, a| (p, a) == (peer, strange), now);
        assert!(targets.due(now).is_empty(), "its own address");
        targets.doubt(|_, _| false, now);
        assert_eq!(targets.due(now).len(), 1);
    }
}

#[test]
fn discovered_targets_follow_the_mesh_and_explicit_ones_stay() {
    let mut entropy = SeededEntropy::new(1);
    let mut targets = Targets::default();
    targets.add_explicit(["a".to_owned(), "b".to_owned()], T0);
    let (p, q) = (PeerId([1; 16]), PeerId([2; 16]));
    targets.set_discovered(&[p, q], Duration::ZERO, T0, &mut entropy);
    assert_eq!(targets.iter().count(), 4);
    targets.set_discovered(&[q], Duration::ZERO, T0, &mut entropy);
    assert_eq!(targets.iter().count(), 3);
    targets.retain_explicit(&["b".to_owned()]);
    assert_eq!(targets.explicit().collect::<Vec<_>>(), ["b"]);
    assert!(targets.forget("b"));
    assert!(!targets.forget("b"));
}

#[test]
fn who_was_given_time_and_is_chosen_then_is_dialled_soon() {
    let mut entropy = SeededEntropy::new(1);
    let mut targets = Targets::default();
    let (now, delay) = (Instant::ZERO, Duration::from_secs(2));
    let peers = [PeerId([1; 16]), PeerId([2; 16])];
    targets.set_discovered(&peers, Duration::ZERO, now, &mut entropy);
    targets.delay_new(&peers, delay, now);
    assert_eq!(targets.next_deadline(), Some(now + delay));
    targets.hasten(|peer| *peer == peers[0], Duration::ZERO, now, &mut entropy);
    let due = targets.due(now).into_iter().map(|(key, _)| key);
    assert_eq!(due.collect::<Vec<_>>(), [TargetKey::Discovered(peers[0])]);
    // Once is enough: the delay does not come back.
    targets.delay_new(&peers, delay, now);
    assert_eq!(targets.due(now).len(), 1);
}

#[test]
fn a_target_given_up_is_dialled_again_when_asked() {
    let mut entropy = SeededEntropy::new(1);
    let mut targets = Targets::default();
    targets.add_explicit(["me".to_owned()], T0);
    targets.dialling(&key("me"), ConnId(1));
    targets.failed(
        ConnId(1),
        "connected to ourselves",
        Retry::Never,
        T0,
        &mut entropy,
    );
    assert_eq!(targets.next_deadline(), None);
    targets.add_explicit(["me".to_owned()], T0);
    assert_eq!(targets.due(T0).len(), 1);
}

#[test]
fn the_list_is_bounded() {
    let mut targets = Targets::default();
    let refused = targets.add_explicit((0..MAX_TARGETS + 7).map(|i| format!("h{i}")), T0);
    assert_eq!(refused, 7);
    assert_eq!(targets.explicit().count(), MAX_TARGETS);
}

#[test]
fn link_local_peers_need_their_interface() {
    let name = |host: &str, port| {
        Ok(DialTo::Name {
            host: host.to_owned(),
            port,
        })
    };
    assert_eq!(
        parse_target("fe80::1%eth0", 6783),
        name("fe80::1%eth0", 6783)
    );
    assert_eq!(
        parse_target("[fe80::1%eth0]", 6783),
        name("fe80::1%eth0", 6783)
    );
    assert_eq!(
        parse_target("[fe80::1%br-lan.7]:99", 6783),
        name("fe80::1%br-lan.7", 99)
    );
    let DialTo::Address(SocketAddr::V6(numbered)) = parse_target("[fe80::1%3]:99", 1).unwrap()
    else {
        panic!("a number needs no resolver");
    };
    assert_eq!((numbered.scope_id(), numbered.port()), (3, 99));
    for without in ["fe80::1", "[fe80::1]", "[fe80::1]:99", "febf::1"] {
        let error = parse_target(without, 6783).unwrap_err();
        assert!(error.contains("%eth0"), "{error}");
    }
    for bad in [
        "fe80::1%",
        "fe80::1%a/b",
        "fe80::1%eth0:99",
        "[fe80::1%eth0]99",
        "[fe80::1%eth0]:0",
        "[fe80::1%eth0]:x",
        "[fe80::1%eth0",
        "fe80::1%sixteen-letters-",
        "fd00::1%eth0",
        "10.0.0.1%eth0",
        "host%eth0",
        "[fd00::1]x",
    ] {
        assert!(parse_target(bad, 6783).is_err(), "{bad}");
    }
}
