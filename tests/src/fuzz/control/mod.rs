//! The whole control plane: any order of connections, members' messages, datagrams, timers and commands of the host.

mod members;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_proto::api;
use mesh_proto::control::JoinedNetwork;
use mesh_proto::control::targets::DialTo;
use mesh_proto::forward::{LaneEvent, NetworkKeys, PeerLabel, Via};
use mesh_proto::ids::{PeerId, SessionIndex};
use mesh_proto::limits::{MAX_ATTACHED, MAX_HALF_OPEN, MAX_LINKS, MAX_NETWORKS_HERE};
use mesh_proto::link::LinkRole;
use mesh_proto::network::{NetworkId, NetworkLabel};
use mesh_proto::topology::bodies::Attached;
use mesh_proto::wire::datagram::Kind;
use serde_json::Value;

use self::world::{MEMBERS, RouterUnderTest};
use super::fixture;
use super::input::{Input, Script};

const STEPS: usize = 64;
/// Connections that strangers open in one step.
const CROWD: usize = MAX_LINKS + 44;

/// No table exceeds its bound, no queue grows without limit, every timer advances, and no text contains control
/// characters.
pub(super) fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let setup = input.byte();
    let mut world = RouterUnderTest::new(setup & 1 == 1, setup & 2 == 0);
    world.carry_out();
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        step(&mut world, &mut input);
        world.carry_out();
        check_tables(&world);
    }
    check_report(&world);
    world.wait(Duration::from_secs(1));
    check_tables(&world);
    world.control.shut_down(world.now);
    world.carry_out();
}

fn step(world: &mut RouterUnderTest, input: &mut Input<'_>) {
    match input.below(16) {
        0 => accept(world, None),
        1 => {
            let member = input.below(usize::from(MEMBERS));
            accept(world, Some(member));
        }
        2 => connect(world, input),
        3 => dials_succeed(world, input),
        4 => dial_fails(world),
        5 => {
            if let Some((conn, _)) = pick(world, input) {
                world.arrive(conn, input.long_chunk());
            }
        }
        6 | 7 => members_speak(world, input),
        8 => {
            if let Some((conn, _)) = pick(world, input) {
                world.close(conn);
                world.control.handle_closed(conn, "closed", world.now);
            }
        }
        9 => stall(world, input),
        10 => lane_event(world, input),
        11 => session(world, input),
        12 => world.wait(Duration::from_millis(u64::from(input.u16()))),
        13 => host(world, input),
        14 => {
            let to = fixture::mac(input.byte() % 8);
            world.frame_in(&fixture::frame(input.byte(), to, input.chunk()));
        }
        _ => crowd(world, input),
    }
}

fn accept(world: &mut RouterUnderTest, member: Option<usize>) {
    let from = match member {
        Some(m) => fixture::address(world.members[m].n),
        None => ([172, 16, 0, 1], 40_000).into(),
    };
    let conn = world.control.handle_accepted(from, world.now);
    if let Some(conn) = conn {
        world.opened(conn, member, LinkRole::Dialler);
    }
}

/// Picks a connection, and the member at its other end, if any.
fn pick(
    world: &RouterUnderTest,
    input: &mut Input<'_>,
) -> Option<(mesh_proto::ids::ConnId, Option<usize>)> {
    let n = usize::from(input.byte());
    let conn = world.conns.get(n.checked_rem(world.conns.len())?)?;
    Some((conn.id, conn.member))
}

fn connect(world: &mut RouterUnderTest, input: &mut Input<'_>) {
    let replace = input.flag();
    let targets: Vec<String> = match input.below(8) {
        0 => vec![String::from_utf8_lossy(input.chunk()).into_owned()],
        1 => vec!["host".to_owned(), "10.0.0.1".to_owned()],
        n => vec![fixture::address(u8::try_from(n - 1).unwrap_or(1)).to_string()],
    };
    // An invalid target is refused with an error.
    let _ = world.control.connect(&targets, replace, world.now);
}

fn dials_succeed(world: &mut RouterUnderTest, input: &mut Input<'_>) {
    let alone = input.flag();
    for (conn, to) in core::mem::take(&mut world.dials) {
        let DialTo::Address(address) = to else {
            world
                .control
                .handle_closed(conn, "cannot resolve", world.now);
            continue;
        };
        let member = (0..world.members.len())
            .find(|m| !alone && fixture::address(world.members[*m].n) == address);
        world.control.handle_connected(conn, address, world.now);
        world.opened(conn, member, LinkRole::Acceptor);
        world.carry_out();
    }
}

fn dial_fails(world: &mut RouterUnderTest) {
    if let Some((conn, _)) = world.dials.pop() {
        world
            .control
            .handle_closed(conn, "connection refused", world.now);
    }
}

/// Sends a member's message, perhaps many times.
fn members_speak(world: &mut RouterUnderTest, input: &mut Input<'_>) {
    let times = usize::from(Some(input.byte()).filter(|n| *n < 32).unwrap_or(0));
    let Some((conn, Some(m))) = pick(world, input) else {
        return;
    };
    let choice = input.clone();
    // Each stranger's record costs a signature.
    let cheap = !members::is_dear(&choice);
    for _ in 0..=if cheap { 8 * times } else { times } {
        *input = choice.clone();
        let RouterUnderTest {
            members,
            identity,
            entropy,
            ..
        } = world;
        let message = members::message(input, &members[m], identity, entropy);
        let bytes = world.members[m].say(conn, &message);
        world.arrive(conn, &bytes);
        world.carry_out();
    }
}

fn stall(world: &mut RouterUnderTest, input: &mut Input<'_>) {
    let Some((id, _)) = pick(world, input) else {
        return;
    };
    let Some(conn) = world.conns.iter_mut().find(|conn| conn.id == id) else {
        return;
    };
    conn.stalled = !conn.stalled;
    let written = core::mem::take(&mut conn.unwritten);
    if !conn.stalled && written > 0 {
        world.control.handle_written(id, written, world.now);
    }
}

fn lane_event(world: &mut RouterUnderTest, input: &mut Input<'_>) {
    let member = &world.members[input.below(usize::from(MEMBERS))];
    let peer = if input.flag() {
        member.identity.id()
    } else {
        PeerId([input.byte(); 16])
    };
    let via = if input.flag() {
        Via::Direct(fixture::address(input.byte()))
    } else {
        Via::Relay(peer)
    };
    let index = SessionIndex(u32::from(input.byte()));
    let event = match input.below(6) {
        0 => LaneEvent::NeedSession(peer),
        1 => LaneEvent::Handshake {
            via,
            bytes: input.chunk().to_vec(),
        },
        2 => LaneEvent::UnknownIndex { via, index },
        3 => LaneEvent::Probe {
            peer,
            via,
            index,
            body: input.chunk().to_vec(),
        },
        4 => LaneEvent::EndpointSeen {
            peer,
            address: fixture::address(input.byte()),
        },
        _ => LaneEvent::Confirmed { peer, index },
    };
    world.control.handle_lane(event, world.now);
}

/// Starts a session of a member, or sends datagrams in the existing one.
fn session(world: &mut RouterUnderTest, input: &mut Input<'_>) {
    let m = input.below(usize::from(MEMBERS));
    let from = fixture::address(world.members[m].n);
    let datagrams = match Kind::from_number(input.byte() & 7) {
        Some(kind @ (Kind::Data | Kind::Flood | Kind::Probe)) => {
            let body = input.chunk();
            let sealed = world.members[m].sealed(&world.victim, kind, body, world.now);
            Vec::from_iter(sealed)
        }
        _ => world.members[m].begin_session(&world.victim, world.now, &mut world.entropy),
    };
    world.lane_in(from, &datagrams);
}

fn host(world: &mut RouterUnderTest, input: &mut Input<'_>) {
    match input.below(4) {
        0 => {
            let count = usize::from(input.u16()) % (MAX_ATTACHED + 9);
            let attached = Attached {
                mac: fixture::mac(1),
                addr: "10.2.1.1/24".parse().expect("an address"),
                container: String::from_utf8_lossy(input.chunk()).into_owned(),
                moves: 0,
                network: network(input),
            };
            world
                .control
                .set_attached(&vec![attached; count], world.now);
        }
        1 => {
            let endpoints = (0..input.below(32)).map(|_| fixture::address(input.byte()));
            world.control.set_endpoints(endpoints.collect(), world.now);
        }
        2 => {
            let joined = (0..input.below(MAX_NETWORKS_HERE + 9)).map(|_| joined(world, input));
            let joined = joined.collect();
            world.control.set_networks(joined, world.now);
        }
        _ => {
            let name = world.members[0].identity.id().derived_name().to_string();
            let target = fixture::address(1).to_string();
            world.control.forget(&[name, target]);
        }
    }
}

/// Returns one of a few networks, `default` among them.
fn network(input: &mut Input<'_>) -> NetworkId {
    NetworkId([input.byte() & 3; 16])
}

/// Returns a membership with members of the mesh; its network and label may be those of another one.
fn joined(world: &RouterUnderTest, input: &mut Input<'_>) -> JoinedNetwork {
    let label = |input: &mut Input<'_>| NetworkLabel(u16::from(input.byte() & 7));
    let mut peers = BTreeMap::new();
    for member in &world.members {
        if input.flag() {
            let (label, epoch) = (label(input), u64::from(input.byte()));
            peers.insert(member.identity.id(), PeerLabel { label, epoch });
        }
    }
    JoinedNetwork {
        network: network(input),
        label: label(input),
        peers,
        keys: NetworkKeys::default(),
    }
}

/// Opens hundreds of strangers' connections, or adds as many targets.
fn crowd(world: &mut RouterUnderTest, input: &mut Input<'_>) {
    if input.flag() {
        for _ in 0..CROWD {
            accept(world, None);
        }
        return;
    }
    let targets: Vec<String> = (0..CROWD)
        .map(|n| format!("10.1.{}.{}", n / 250, n % 250 + 1))
        .collect();
    let _ = world.control.connect(&targets, true, world.now);
}

fn check_tables(world: &RouterUnderTest) {
    for (name, entries, bound) in world.control.tables() {
        assert!(
            entries <= bound,
            "{entries} {name}, at most {bound} are allowed"
        );
    }
    assert!(
        world.conns.len() <= MAX_LINKS + MAX_HALF_OPEN,
        "connections the router forgot"
    );
}

fn check_report(world: &RouterUnderTest) {
    let control = world.control.report(world.now);
    let report = api::RouterReport::new(control, api::DatapathReport::default());
    let value = serde_json::to_value(&report).expect("a report can be written");
    check_texts(&value);
}

fn check_texts(value: &Value) {
    match value {
        Value::String(text) => assert!(!text.chars().any(char::is_control), "{text:?}"),
        Value::Array(values) => values.iter().for_each(check_texts),
        Value::Object(members) => members.values().for_each(check_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns the report of a router with one neighbour.
pub(super) fn sample_report() -> api::Report {
    let mut world = RouterUnderTest::new(true, true);
    accept(&mut world, Some(0));
    world.carry_out();
    world.wait(Duration::from_secs(1));
    api::Report {
        ready: true,
        version: "0.1.0".to_owned(),
        router: api::RouterReport::new(
            world.control.report(world.now),
            api::DatapathReport::default(),
        ),
        attachments: Vec::new(),
        ipam: Some(api::ipam::IpamReport::default()),
        dns: Some(api::DnsSummary::default()),
        networks: Some(api::NetworksSummary::default()),
        host: Some(api::HostReport::default()),
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    const SECOND: [u8; 3] = [12, 3, 232];
    // Setup of an open mesh with discovery; a link of member 0, its session and direct path.
    let linked = [&[1, 1, 0][..], &SECOND].concat();
    let after = |more: &[u8]| [&linked[..], more].concat();
    let say = |message: &[u8]| [&[6, 0, 0][..], message].concat();
    let many = |message: &[u8]| [&[6, 31, 0][..], message].concat();
    let record = |version: [u8; 2], links: u8| {
        let record = Script::new().put(&[2]).put(&version).put(&[links, 1, 5]);
        say(&record.chunk(b"member").done())
    };
    let bye = |reason: &[u8]| say(&Script::new().put(&[9]).chunk(reason).done());
    vec![
        linked.clone(),
        after(&[1, 1, 1, 2, 12, 0x20, 0]),
        after(&[&record([1, 2], 0xff)[..], &SECOND, &[14, 3, 1, 0]].concat()),
        after(&[&record([0xff, 0xff], 1)[..], &SECOND].concat()),
        after(&[&say(&[4, 0, 15])[..], &say(&[4, 1, 15]), &SECOND, &SECOND].concat()),
        after(&[&[9, 0][..], &many(&[5, 1])].concat()),
        after(&[&[9, 0][..], &many(&[0])].concat()),
        after(&[&[9, 0][..], &many(&[7, 0x0f, 0xff]), &SECOND].concat()),
        after(
            &[
                &many(&[4, 0, 15])[..],
                &[9, 0],
                &many(&[5, 1]),
                &many(&[7, 0x0f, 0xff]),
            ]
            .concat(),
        ),
        after(&say(&[6, 0, 0xff, 0x0f, 0xff])),
        after(&bye(b"that router was stopped")),
        after(&bye(b"\x1b]0;owned\x07")),
        after(&say(&[10, 9, 9, 1, 0, 0])),
        after(&say(&[10, 0xff, 0xff, 1, 0, 0])),
        after(&[11, 0, 0, 11, 0, 7, 0, 11, 0, 4, 9, 0, 60, 1]),
        after(&[&[12, 0x13, 0x88][..]; 5].concat()),
        after(&[
            14, 4, 1, 3, 1, 2, 3, 10, 0, 1, 1, 2, 7, 0, 10, 0, 1, 1, 2, 7, 4, 9,
        ]),
        after(&[13, 0, 0, 9, 3, b'w', b'e', b'b', 13, 1, 3, 1, 2, 3, 13, 2]),
        [&[1, 2, 0, 2, 3, 0][..], &SECOND, &SECOND].concat(),
        [&[1, 2, 0, 1, 3, 0][..], &SECOND, &SECOND, &[4]].concat(),
        [&[1, 15, 1][..], &SECOND, &[15, 1, 12, 0x14, 0]].concat(),
        [&[1, 15, 0, 3, 0][..], &SECOND, &[3, 0]].concat(),
        [&[0, 1, 1, 1, 2][..], &SECOND].concat(),
        [
            &[3, 0][..],
            &Script::new()
                .put(&[5, 0])
                .long_chunk(b"GET / HTTP/1.1\r\n")
                .done(),
        ]
        .concat(),
    ]
}
