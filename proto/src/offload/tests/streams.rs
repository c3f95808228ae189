//! Several flows at once, with all events that may occur: every flow comes out unchanged.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::frames::{ACK, CWR, ECE, FIN, MAX, PSH, RST, SYN, Shape, payload};
use super::merge::{Emitted, merged};
use crate::offload::{Segments, VirtioHeader, finish_checksum};

/// Next event of a flow.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A segment with this number of bytes, and these flags besides ACK.
    Data(usize, u8),
    Acknowledgement,
    /// A different sequence number.
    Jump,
    /// A change of TTL, TOS, window, VLAN or options.
    Change(u8),
    Damaged,
    Padded,
    Fragment,
}

fn events() -> impl Strategy<Value = Event> {
    let flags = prop::sample::select(vec![PSH, FIN, CWR, ECE, SYN, RST, PSH | FIN]);
    prop_oneof![
        20 => Just(Event::Data(600, 0)),
        2 => (1usize..900).prop_map(|len| Event::Data(len, 0)),
        2 => flags.prop_map(|flags| Event::Data(600, flags)),
        1 => Just(Event::Acknowledgement),
        1 => Just(Event::Jump),
        1 => (0u8..5).prop_map(Event::Change),
        1 => Just(Event::Damaged),
        1 => Just(Event::Padded),
        1 => Just(Event::Fragment),
    ]
}

fn flows() -> Vec<Shape> {
    let udp6 = Shape::udp4().v6();
    let no_df = Shape {
        df: false,
        ports: [1, 2],
        ..Shape::tcp4()
    };
    let tagged = Shape {
        vlans: vec![7],
        ports: [3, 4],
        ..Shape::tcp4()
    };
    let fixed_id = Shape {
        ports: [5, 6],
        ..Shape::udp4()
    };
    let extended = Shape {
        ports: [7, 8],
        ..Shape::tcp4()
    };
    let tcp6 = Shape::tcp4().v6();
    let all = vec![Shape::tcp4(), Shape::udp4(), tcp6, udp6, no_df];
    [all, vec![tagged, fixed_id, extended.extended()]].concat()
}

/// Returns the next frame of a flow, and true if it is partial.
fn next(shape: &mut Shape, event: Event, partial: bool) -> (Vec<u8>, bool) {
    let (len, flags) = match event {
        Event::Data(len, flags) => (len, flags),
        Event::Acknowledgement => (0, 0),
        _ => (600, 0),
    };
    match event {
        Event::Jump => shape.sequence = shape.sequence.wrapping_sub(1_200),
        Event::Change(0) => shape.ttl ^= 1,
        Event::Change(1) => shape.tos ^= 2,
        Event::Change(2) => shape.window ^= 3,
        Event::Change(3) => {
            shape.vlans = if shape.vlans.is_empty() {
                vec![9]
            } else {
                vec![]
            }
        }
        Event::Change(_) => shape.options = payload(12 - shape.options.len()),
        _ => {}
    }
    shape.flags = ACK | flags;
    let data = payload(len);
    // Damage would go unnoticed in a frame whose checksum is computed later.
    let partial = partial && !matches!(event, Event::Damaged | Event::Fragment);
    let mut frame = match partial {
        true => shape.partial(&data),
        false => shape.frame(&data),
    };
    match event {
        Event::Damaged => frame[shape.payload_at() + 5] ^= 1,
        Event::Padded => frame.extend([0; 5]),
        Event::Fragment if !shape.v6 => frame[shape.network_at() + 6] |= 0x20,
        _ => {}
    }
    let ids = if shape.ports == [5, 6] { 0 } else { 1 };
    *shape = shape.later(ids, len);
    (frame, partial)
}

/// Returns ordinary complete frames, as a receiver gets them, by flow.
fn by_flow(emitted: &Emitted) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let mut flows: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (header, frame) in emitted {
        for frame in ordinary(header, frame) {
            let ip = 12
                + frame[12..]
                    .iter()
                    .step_by(4)
                    .take_while(|b| **b == 0x81)
                    .count()
                    * 4
                + 2;
            let v6 = frame[ip] >> 4 == 6;
            let transport = ip
                + if v6 {
                    40
                } else {
                    usize::from(frame[ip] & 15) * 4
                };
            let protocol = frame[ip + if v6 { 6 } else { 9 }];
            let key = [&[v6.into(), protocol], &frame[transport..transport + 4]].concat();
            flows.entry(key).or_default().push(normal(frame, ip, v6));
        }
    }
    flows
}

fn ordinary(header: &VirtioHeader, frame: &[u8]) -> Vec<Vec<u8>> {
    if header.is_plain() {
        return vec![frame.to_vec()];
    }
    let segments = Segments::new(frame, header, MAX).unwrap();
    assert!(segments.is_partial());
    let one = |n| {
        let mut out = Vec::new();
        segments.write(n, &mut out);
        finish_checksum(&mut out).unwrap();
        out
    };
    (0..segments.len()).map(one).collect()
}

/// Returns the frame without padding, and without an identification that has no meaning (RFC 6864).
fn normal(mut frame: Vec<u8>, ip: usize, v6: bool) -> Vec<u8> {
    let field = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let end = ip
        + if v6 {
            40 + field(ip + 4)
        } else {
            field(ip + 2)
        };
    frame.truncate(end);
    if !v6 && frame[ip + 6] == 0x40 {
        frame[ip + 4..ip + 6].fill(0);
        frame[ip + 10..ip + 12].fill(0);
    }
    frame
}

proptest! {
    #[test]
    fn every_flow_comes_out_unchanged(
        script in prop::collection::vec((0usize..8, events(), prop::bool::weighted(0.3)), 1..300),
        all_flows: bool,
    ) {
        let mut flows = flows();
        let mut frames = Vec::new();
        for (flow, event, partial) in script {
            let flow = if all_flows { flow } else { flow % 2 };
            frames.push(next(&mut flows[flow], event, partial));
        }
        let finished: Emitted = frames
            .iter()
            .map(|(frame, partial)| {
                let mut frame = frame.clone();
                if *partial {
                    finish_checksum(&mut frame).unwrap();
                }
                (VirtioHeader::PLAIN, frame)
            })
            .collect();
        prop_assert_eq!(by_flow(&merged(&frames)), by_flow(&finished));
    }

    #[test]
    fn no_frames_panic(frames in prop::collection::vec(
        (0usize..8, 0usize..200, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), any::<bool>()),
        0..20,
    )) {
        let flows = flows();
        let frames: Vec<_> = frames
            .into_iter()
            .map(|(flow, len, changes, partial)| {
                let mut frame = flows[flow].partial(&payload(len));
                for (at, byte) in changes {
                    let at = at.index(frame.len());
                    frame[at] = byte;
                }
                (frame, partial)
            })
            .collect();
        let bytes = |frames: &[Vec<u8>]| frames.iter().map(Vec::len).sum::<usize>();
        let emitted: Vec<Vec<u8>> = merged(&frames).into_iter().map(|(_, frame)| frame).collect();
        let pushed: Vec<Vec<u8>> = frames.into_iter().map(|(frame, _)| frame).collect();
        prop_assert!(bytes(&emitted) <= bytes(&pushed));
        prop_assert!(emitted.len() <= pushed.len());
    }
}

#[test]
fn a_burst_of_many_flows_costs_few_writes() {
    let mut flows = flows();
    flows.pop();
    let frames: Vec<_> = (0..40 * flows.len())
        .map(|n| {
            let flow = n % flows.len();
            next(&mut flows[flow], Event::Data(600, 0), n % 3 == 0)
        })
        .collect();
    assert_eq!(merged(&frames).len(), flows.len());
}
