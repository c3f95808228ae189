//! Frames to one peer: directly, through others, and while there is no session yet.

use super::net::*;
use crate::forward::*;
use crate::ids::{Mac, SessionIndex};
use crate::limits::{MAX_HOPS, MAX_PENDING_FRAMES};
use crate::wire::datagram::{Header, Kind};

const LINE: [(usize, usize); 3] = [(0, 1), (1, 2), (2, 3)];

fn ping(from: usize, to: usize) -> Vec<u8> {
    frame(mac(from), mac(to), b"ping, in clear text")
}

#[test]
fn direct() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.knows(0, 1, 1);
    net.send(0, &[ping(0, 1)]);
    assert_eq!(net.taken(1), [ping(0, 1)]);
    // The first frame taught the return path, so the reply needs no broadcast.
    net.send(1, &[ping(1, 0)]);
    assert_eq!(net.taken(0), [ping(1, 0)]);
    assert_eq!(net.log.len(), 2);
    assert!(
        net.log
            .iter()
            .all(|(_, _, d)| Header::parse(d).unwrap().kind == Kind::Data)
    );
}

#[test]
fn through_one_and_two_others() {
    for hops in 2..=3 {
        let mut net = Net::wire(4, &LINE);
        net.knows(0, 9, hops);
        net.send(0, &[ping(0, 9)]);
        assert_eq!(net.taken(hops), [ping(0, 9)]);
        assert_eq!(net.log.len(), hops);
        for (n, (from, to, datagram)) in net.log.iter().enumerate() {
            let header = Header::parse(datagram).unwrap();
            assert_eq!((*from, *to, header.kind), (n, n + 1, Kind::Relay));
            assert_eq!(usize::from(header.hop_limit), usize::from(MAX_HOPS) - n);
        }
        for between in 1..hops {
            assert_eq!(net.taken(between), Vec::<Vec<u8>>::new());
            assert_eq!(net.count(between, Counter::Relayed), 1);
        }
        net.send(hops, &[ping(9, 0)]);
        assert_eq!(net.taken(0), [ping(9, 0)]);
    }
}

#[test]
fn no_datagram_shows_its_frames() {
    let mut net = Net::wire(4, &LINE);
    net.knows(0, 9, 3);
    let source = mac(0x5a);
    let frames = [mac(9), Mac::BROADCAST].map(|to| frame(source, to, b"in clear text"));
    net.send(0, &frames);
    assert_eq!(net.taken(3).len(), 2);
    let clear = |d: &[u8]| {
        d.windows(13).any(|w| w == b"in clear text") || d.windows(6).any(|w| w == source.0)
    };
    assert!(!net.log.iter().any(|(_, _, d)| clear(d)));
}

#[test]
fn frames_for_one_peer_share_datagrams_in_order() {
    let mut net = Net::wire(3, &[(0, 1), (0, 2)]);
    net.knows(0, 1, 1);
    net.knows(0, 2, 2);
    let to = |peer: usize, n: u8| frame(mac(0), mac(peer), &[n; 300]);
    let frames: Vec<_> = (0..10)
        .map(|n| to(1, n))
        .chain([to(2, 10), to(1, 11)])
        .collect();
    net.send(0, &frames);
    assert_eq!(net.taken(1), [&frames[..10], &frames[11..]].concat());
    assert_eq!(net.taken(2), frames[10..11]);
    // A body of 1,392 bytes holds 4 frames of 314 and 2 bytes: 4 + 4 + 2, then one for the other peer, then one more.
    assert_eq!(net.log.len(), 5);
    assert_eq!(net.count(0, Counter::DataSent), 5);
}

#[test]
fn the_largest_relayed_datagram_fits_an_underlay_of_1500() {
    let mut net = Net::wire(3, &[(0, 1), (1, 2)]);
    net.knows(0, 9, 2);
    let full = frame(mac(0), mac(9), &vec![1; usize::from(MTU)]);
    net.send(
        0,
        &[
            full.clone(),
            full.clone(),
            frame(mac(0), Mac::BROADCAST, &vec![1; usize::from(MTU)]),
        ],
    );
    assert_eq!(net.taken(2).len(), 3);
    assert_eq!(
        net.log.iter().map(|(_, _, d)| d.len()).max(),
        Some(1500 - 20 - 8)
    );
}

#[test]
fn frames_wait_for_a_session_and_leave_in_order() {
    let mut net = Net::new(2);
    net.path(0, 1, Path::Direct(address(1)));
    net.knows(0, 1, 1);
    let frames: Vec<_> = (0..3).map(|n| frame(mac(0), mac(1), &[n])).collect();
    net.send(0, &frames[..2]);
    assert_eq!(net.events(0), [LaneEvent::NeedSession(id(1))]);
    assert!(net.log.is_empty());
    net.wait(1_000);
    net.link(0, 1);
    net.egress(0, &frames[2..]);
    net.flush(0);
    net.run();
    assert_eq!(net.taken(1), frames);
    assert_eq!(net.count(0, Counter::FramesPended), 2);
    assert_eq!(net.dropped(0), []);
}

#[test]
fn frames_flushed_by_control_leave_packed() {
    let mut net = Net::new(2);
    net.path(0, 1, Path::Direct(address(1)));
    net.knows(0, 1, 1);
    let frames: Vec<_> = (0..10).map(|n| frame(mac(0), mac(1), &[n; 300])).collect();
    net.send(0, &frames);
    net.link(0, 1);
    net.flush(0);
    net.flush(0);
    net.run();
    assert_eq!(net.taken(1), frames);
    assert_eq!(net.log.len(), 3);
}

#[test]
fn the_queue_is_bounded_and_the_oldest_frames_are_kept() {
    let mut net = Net::new(2);
    net.path(0, 1, Path::Direct(address(1)));
    net.knows(0, 1, 1);
    let frames: Vec<_> = (0..40).map(|n| frame(mac(0), mac(1), &[n])).collect();
    net.send(0, &frames);
    net.link(0, 1);
    net.flush(0);
    net.run();
    assert_eq!(net.taken(1), frames[..MAX_PENDING_FRAMES]);
    assert_eq!(net.dropped(0), [("pending_full", 8)]);
}

#[test]
fn frames_do_not_wait_for_ever() {
    let mut net = Net::new(2);
    net.path(0, 1, Path::Direct(address(1)));
    net.knows(0, 1, 1);
    net.send(0, &[ping(0, 1), ping(0, 1)]);
    net.wait(2_000);
    net.nodes[0].forwarder.sweep(net.now);
    net.link(0, 1);
    net.flush(0);
    assert!(net.log.is_empty());
    assert_eq!(net.dropped(0), [("pending_expired", 2)]);
}

#[test]
fn a_missing_session_is_requested_at_most_ten_times_a_second() {
    let mut net = Net::new(2);
    net.path(0, 1, Path::Direct(address(1)));
    net.knows(0, 1, 1);
    for _ in 0..1_000 {
        net.send(0, &[ping(0, 1)]);
        net.wait(1);
    }
    assert_eq!(net.events(0).len(), 10);
}

#[test]
fn a_missing_session_with_the_next_hop_is_requested() {
    let mut net = Net::wire(3, &[(0, 1), (1, 2)]);
    net.knows(0, 9, 2);
    net.nodes[0].snap.peers.get_mut(&id(1)).unwrap().transport = None;
    net.send(0, &[ping(0, 9)]);
    assert_eq!(net.events(0), [LaneEvent::NeedSession(id(1))]);
    net.session(0, 1);
    net.flush(0);
    net.run();
    assert_eq!(net.taken(2), [ping(0, 9)]);
}

#[test]
fn frames_for_a_vanished_peer_are_dropped_and_counted() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.knows(0, 9, 7);
    net.send(0, &[ping(0, 9), ping(0, 9)]);
    assert_eq!(net.dropped(0), [("no_route", 2)]);
    assert!(net.log.is_empty() && net.events(0).is_empty());
}

#[test]
fn an_expired_session_counts_as_none() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.wait(180_000);
    net.knows(0, 1, 1);
    net.send(0, &[ping(0, 1)]);
    assert_eq!(net.events(0), [LaneEvent::NeedSession(id(1))]);
}

#[test]
fn a_container_that_moves_is_found_after_its_first_frame() {
    let mut net = Net::wire(3, &[(0, 1), (0, 2)]);
    net.knows(0, 9, 1);
    net.send(0, &[ping(0, 9)]);
    net.send(2, &[frame(mac(9), Mac::BROADCAST, b"here now")]);
    net.taken(0);
    net.send(0, &[ping(0, 9)]);
    assert_eq!((net.taken(1).len(), net.taken(2)), (2, vec![ping(0, 9)]));
    assert_eq!(net.count(0, Counter::FdbMoved), 1);
}

#[test]
fn control_sends_by_the_best_path() {
    let mut net = Net::wire(3, &[(0, 1), (1, 2)]);
    let init = [
        &Header {
            kind: Kind::Init,
            hop_limit: 0,
            label: crate::network::NetworkLabel::DEFAULT,
            receiver: SessionIndex(0),
            counter: 0,
        }
        .encode()[..],
        b"hello",
    ]
    .concat();
    for (to, expected) in [(1, Via::Direct(address(0))), (2, Via::Relay(id(1)))] {
        net.with(0, |node, now, out| {
            node.forwarder
                .send_to_peer(&node.snap, id(to), &init, now, out)
                .unwrap();
            node.forwarder
                .send_probe(&node.snap, id(to), b"probe", now, out)
                .unwrap();
        });
        net.run();
        let events = net.events(to);
        assert_eq!(
            events[0],
            if to == 1 {
                LaneEvent::Handshake {
                    via: expected,
                    bytes: init.clone(),
                }
            } else {
                LaneEvent::Confirmed {
                    peer: id(1),
                    index: SessionIndex(4),
                }
            }
        );
        assert!(events.contains(&LaneEvent::Handshake {
            via: expected,
            bytes: init.clone()
        }));
        assert!(
            events
                .iter()
                .any(|e| matches!(e, LaneEvent::Probe { peer, via, body, .. }
            if *peer == id(0) && *via == expected && body == b"probe"))
        );
    }
    let flood = Header {
        kind: Kind::Flood,
        hop_limit: 1,
        label: crate::network::NetworkLabel::DEFAULT,
        receiver: SessionIndex(1),
        counter: 0,
    }
    .encode();
    let refused = net.with(0, |node, now, out| {
        node.forwarder
            .send_to_peer(&node.snap, id(1), &flood, now, out)
    });
    assert_eq!(refused, Err(SendError::Malformed));
    let unknown = net.with(0, |node, now, out| {
        node.forwarder
            .send_to_peer(&node.snap, id(9), &init, now, out)
    });
    assert_eq!(
        unknown,
        Err(SendError::Unreachable(Unreachable::UnknownPeer(id(9))))
    );
}

#[test]
fn a_new_endpoint_is_reported_once_and_for_the_newest_datagram_only() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.knows(0, 1, 1);
    for _ in 0..3 {
        net.egress(0, &[ping(0, 1)]);
    }
    let flights: Vec<_> = net.flying.drain(..).map(|(_, _, d)| d).collect();
    net.arrive(1, address(0), &flights[1]);
    net.events(1);
    net.arrive(1, address(5), &flights[0]);
    assert_eq!(net.events(1), []);
    net.arrive(1, address(5), &flights[2]);
    let seen = LaneEvent::EndpointSeen {
        peer: id(0),
        address: address(5),
    };
    assert_eq!(net.events(1), [seen]);
    net.arrive(1, address(6), &flights[2]);
    assert_eq!(net.events(1), [], "a replay moves nothing");
}

#[test]
fn a_session_is_confirmed_once() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.knows(0, 1, 1);
    net.send(0, &[ping(0, 1)]);
    net.send(0, &[ping(0, 1)]);
    let index = *net.nodes[1].snap.by_index.keys().next().unwrap();
    assert_eq!(net.events(1), [LaneEvent::Confirmed { peer: id(0), index }]);
}
