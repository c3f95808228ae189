use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use ipnet::IpNet;
use mesh_proto::ids::Mac;

use super::*;
use crate::attach::{Plug, plug};
use crate::bridge::{BridgeConfig, Outcome, PortKind, ensure_bridge, ensure_tap_port, remove_all};
use crate::testing::{NamedNetns, needs_root, soon};

const WAIT: Duration = Duration::from_millis(500);
const DEADLINE: Duration = Duration::from_secs(30);
const MTU: u16 = 1376;

fn config() -> BridgeConfig {
    BridgeConfig {
        name: "mesh".to_owned(),
        mtu: MTU,
        mac: None,
        port: PortKind::Tap,
    }
}

fn spec(queues: usize, queue_len: Option<u32>) -> TapSpec<'static> {
    TapSpec {
        name: "mesh-t",
        queues,
        queue_len,
        storm: None,
    }
}

/// Host with a bridge, a TAP port, and a container with offloads.
struct Host {
    host: NamedNetns,
    container: NamedNetns,
}

impl Host {
    fn new(number: u8, spec: &TapSpec<'_>) -> (Self, Vec<TapPort>) {
        let host = NamedNetns::new();
        let ports = host.run(|| {
            ensure_bridge(&config()).unwrap();
            let ports = TapPort::open(spec).unwrap();
            assert_eq!(ensure_tap_port(&config()).unwrap(), Outcome::Created);
            ports
        });
        let container = add_container(&host, number);
        (Self { host, container }, ports)
    }
}

fn add_container(host: &NamedNetns, number: u8) -> NamedNetns {
    let container = NamedNetns::new();
    host.run(|| {
        let address: IpNet = format!("10.9.0.{number}/24").parse().unwrap();
        let request = Plug {
            bridge: "mesh",
            netns: &container.netns,
            ifname: None,
            mac: Mac([2, 0, 0, 0, 9, number]),
            mtu: MTU,
            address,
            second: None,
            multicast_route: false,
            alias: "c",
            offloads_off: false,
        };
        plug(&request).unwrap();
    });
    container
}

fn first(ports: Vec<TapPort>) -> (TapReader, TapWriter) {
    ports.into_iter().next().unwrap().split()
}

/// Observations of [`copy`].
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    frames: AtomicU64,
    bytes: AtomicU64,
    longest: AtomicU64,
}

/// Copies frames from one port to another with their headers, until told to stop.
fn copy(reader: &mut TapReader, writer: &mut TapWriter, seen: &Seen) {
    let mut batch = FrameBatch::with_capacity(64);
    while !seen.stop.load(Ordering::Relaxed) {
        reader.recv(&mut batch, Duration::from_millis(20)).unwrap();
        for (header, frame) in batch.iter() {
            let length = frame.len() as u64;
            seen.frames.fetch_add(1, Ordering::Relaxed);
            seen.bytes.fetch_add(length, Ordering::Relaxed);
            seen.longest.fetch_max(length, Ordering::Relaxed);
            writer.send(&header, frame).unwrap();
        }
    }
}

/// Returns bytes in which any loss, duplication or exchange shows.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn receive_all(listener: &TcpListener) -> Vec<u8> {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

fn send_all(to: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect_timeout(&to, DEADLINE).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(bytes).unwrap();
}

#[test]
fn a_stream_passes_two_taps_as_super_frames() {
    if needs_root("a_stream_passes_two_taps_as_super_frames") {
        return;
    }
    let (left, left_ports) = Host::new(1, &spec(1, None));
    let (right, right_ports) = Host::new(2, &spec(1, None));
    let (mut left_reader, mut left_writer) = first(left_ports);
    let (mut right_reader, mut right_writer) = first(right_ports);
    let (there, back) = (Seen::default(), Seen::default());
    let sent = pattern(50_000_000);
    let to: SocketAddr = "10.9.0.2:7000".parse().unwrap();
    let received = std::thread::scope(|threads| {
        threads.spawn(|| copy(&mut left_reader, &mut right_writer, &there));
        threads.spawn(|| copy(&mut right_reader, &mut left_writer, &back));
        let listener = right.container.run(|| TcpListener::bind(to).unwrap());
        let receiving = threads.spawn(move || receive_all(&listener));
        left.container.run(|| send_all(to, &sent));
        let received = receiving.join();
        for seen in [&there, &back] {
            seen.stop.store(true, Ordering::Relaxed);
        }
        received.unwrap()
    });
    assert!(received == sent, "{} of {}", received.len(), sent.len());
    let frames = there.frames.load(Ordering::Relaxed);
    let average = there.bytes.load(Ordering::Relaxed) / frames;
    let longest = there.longest.load(Ordering::Relaxed);
    println!("{frames} frames, average {average} bytes, longest {longest}");
    assert!(average > 10_000, "{average}");
}

#[test]
fn a_deleted_device_is_detected_and_one_set_up_again_works() {
    if needs_root("a_deleted_device_is_detected_and_one_set_up_again_works") {
        return;
    }
    NamedNetns::new().run(|| {
        let (mut reader, mut writer) = first(TapPort::open(&spec(1, None)).unwrap());
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.link().require("mesh-t").unwrap().index;
        let (plain, frame) = (VirtioHeader::PLAIN, [0xff; 60]);
        let paused = PortError::Paused("mesh-t".into());
        assert_eq!(writer.send(&plain, &frame), Err(paused));
        let mut batch = FrameBatch::with_capacity(8);
        assert_eq!(reader.recv(&mut batch, Duration::ZERO), Ok(()));
        netlink.link().set_up(index).unwrap();
        assert_eq!(writer.send(&plain, &frame), Ok(()));

        let begin = Instant::now();
        let result = std::thread::scope(|threads| {
            let waiting = threads.spawn(|| {
                loop {
                    // The stack's own frames, such as router solicitations, may come first; and the deletion of a
                    // device wakes its reader a moment before it is reported.
                    let result = reader.recv(&mut batch, DEADLINE);
                    if result.is_err() || begin.elapsed() > DEADLINE {
                        return result;
                    }
                }
            });
            netlink.link().delete(index).unwrap();
            waiting.join().unwrap()
        });
        let down = PortError::Down("mesh-t".into());
        assert_eq!(result, Err(down.clone()));
        assert!(begin.elapsed() < DEADLINE, "the wait ends with the device");
        assert_eq!(writer.send(&plain, &frame), Err(down));
        assert_eq!(reader.losses().dropped, 0);
        TapPort::open(&spec(1, None)).unwrap();
    });
}

#[test]
fn the_device_ends_with_its_last_half() {
    if needs_root("the_device_ends_with_its_last_half") {
        return;
    }
    NamedNetns::new().run(|| {
        let exists = || {
            let mut netlink = Netlink::open().unwrap();
            netlink.link().by_name("mesh-t").unwrap().is_some()
        };
        let (reader, writer) = first(TapPort::open(&spec(1, Some(50))).unwrap());
        let error = TapPort::open(&spec(1, None)).unwrap_err();
        assert_eq!(error.raw(), Some(Errno::EBUSY), "{error}");
        drop(reader);
        assert!(exists());
        drop(writer);
        assert!(soon(|| !exists()));
    });
}

#[test]
fn frames_not_read_in_time_are_counted() {
    if needs_root("frames_not_read_in_time_are_counted") {
        return;
    }
    let (host, ports) = Host::new(1, &spec(1, Some(16)));
    let (mut reader, _writer) = first(ports);
    let before = reader.losses().dropped;
    say(&host.container, [BROADCAST; 100]);
    let mut dropped = 0;
    assert!(soon(|| {
        // The counters of half a second ago may be given once more.
        dropped = reader.losses().dropped - before;
        dropped > 0
    }));
    assert!((80..=110).contains(&dropped), "{dropped}");
    let mut batch = FrameBatch::with_capacity(64);
    reader.recv(&mut batch, WAIT).unwrap();
    assert_eq!(batch.len(), 16);
}

const BROADCAST: &str = "10.9.0.255:9";
/// Length of a datagram of [`say`], and of its frame, in bytes.
const SAID: usize = 100;
const SAID_FRAME: usize = 14 + 20 + 8 + SAID;

fn say<'a>(container: &NamedNetns, to: impl IntoIterator<Item = &'a str> + Send) {
    container.run(|| {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_broadcast(true).unwrap();
        for to in to {
            socket.send_to(&[1; SAID], to).unwrap();
        }
    });
}

/// Counts the frames waiting at the port: those of [`say`], and ARP requests.
fn waiting(reader: &mut TapReader) -> (u64, u64) {
    let mut batch = FrameBatch::with_capacity(64);
    let (mut said, mut asked) = (0, 0);
    while reader.recv(&mut batch, Duration::ZERO).is_ok() && !batch.is_empty() {
        for (_, frame) in batch.iter() {
            said += u64::from(frame.len() == SAID_FRAME);
            asked += u64::from(frame[12..14] == [8, 6]);
        }
    }
    (said, asked)
}

#[test]
fn a_storm_of_one_interface_is_limited_before_the_queue_and_others_pass() {
    if needs_root("a_storm_of_one_interface_is_limited_before_the_queue_and_others_pass") {
        return;
    }
    let limits = StormLimits {
        broadcasts: 50,
        multicasts: 100,
        questions: 40,
        burst: 50,
    };
    let limited = TapSpec {
        storm: Some(limits),
        ..spec(1, None)
    };
    let (host, ports) = Host::new(1, &limited);
    let (mut reader, _writer) = first(ports);
    let quiet = add_container(&host.host, 2);
    /// Frames that the kernel itself sends when interfaces come up, at most.
    const OTHER: u64 = 20;

    let began = Instant::now();
    say(&host.container, [BROADCAST; 300]);
    let gained = (began.elapsed().as_secs() + 1) * u64::from(limits.broadcasts);
    let (said, _) = waiting(&mut reader);
    let losses = reader.losses();
    let storm = losses.storm;
    assert_eq!(losses.dropped, storm.total(), "the queue was never full");
    assert!((50 - OTHER..=50 + gained).contains(&said), "{said}");
    assert!((300..=300 + OTHER).contains(&(said + storm.broadcasts)));
    assert!(storm.multicasts + storm.questions <= OTHER, "{storm:?}");

    let nobody: Vec<String> = (100..200).map(|n| format!("10.9.0.{n}:9")).collect();
    say(&host.container, nobody.iter().map(String::as_str));
    let (_, asked) = waiting(&mut reader);
    assert!(
        (50 - OTHER..=90).contains(&asked),
        "questions have their own share: {asked}"
    );

    add_route(&host.container);
    say(&host.container, ["224.0.0.251:9"; 300]);
    let (said, _) = waiting(&mut reader);
    let multicasts = reader.losses().storm.multicasts;
    assert!(
        (50 - OTHER..290).contains(&said),
        "as have multicasts: {said}"
    );
    assert!((300..=300 + 2 * OTHER).contains(&(said + multicasts)));

    say(&quiet, [BROADCAST; 20]);
    assert_eq!(waiting(&mut reader).0, 20, "as has another interface");
}

/// Adds a route for groups.
fn add_route(container: &NamedNetns) {
    container.run(|| {
        let status = std::process::Command::new("ip")
            .args(["route", "add", "224.0.0.0/4", "dev", "mesh0"])
            .status();
        assert!(status.unwrap().success());
    });
}

#[test]
fn a_kind_without_a_limit_passes_at_any_rate() {
    if needs_root("a_kind_without_a_limit_passes_at_any_rate") {
        return;
    }
    let limited = TapSpec {
        storm: Some(StormLimits {
            broadcasts: 10,
            multicasts: 0,
            questions: 0,
            burst: 10,
        }),
        ..spec(1, None)
    };
    let (host, ports) = Host::new(1, &limited);
    let (mut reader, _writer) = first(ports);
    add_route(&host.container);
    say(&host.container, ["224.0.0.251:9"; 200]);
    assert_eq!(waiting(&mut reader).0, 200);
    let storm = reader.losses().storm;
    assert_eq!((storm.multicasts, storm.questions), (0, 0));
}

#[test]
fn a_port_opens_where_the_kernel_does_not_limit_storms() {
    let no_device = File::open("/dev/null").unwrap();
    let limits = StormLimits {
        broadcasts: 50,
        multicasts: 100,
        questions: 40,
        burst: 50,
    };
    assert!(limit_storms(&no_device, &limits).is_none());
}

#[test]
fn queues_share_the_flows_and_all_must_close() {
    if needs_root("queues_share_the_flows_and_all_must_close") {
        return;
    }
    let (host, ports) = Host::new(1, &spec(2, None));
    assert_eq!(ports.len(), 2);
    host.container.run(|| {
        for port in 1..=64 {
            let socket = std::net::UdpSocket::bind("10.9.0.1:0").unwrap();
            socket.set_broadcast(true).unwrap();
            socket.send_to(&[port; 100], ("10.9.0.255", 9)).unwrap();
        }
    });
    let mut halves: Vec<_> = ports.into_iter().map(FramePort::split).collect();
    let mut batch = FrameBatch::with_capacity(128);
    for (reader, _) in &mut halves {
        reader.recv(&mut batch, WAIT).unwrap();
        assert!(!batch.is_empty(), "{} of 64", batch.len());
    }
    let present = || {
        let mut netlink = Netlink::open().unwrap();
        netlink.link().by_name("mesh-t").unwrap().is_some()
    };
    halves.pop();
    assert!(host.host.run(present));
    halves.pop();
    assert!(host.host.run(|| soon(|| !present())));
}

#[test]
fn datagrams_of_one_send_come_as_one_super_frame() {
    if needs_root("datagrams_of_one_send_come_as_one_super_frame") {
        return;
    }
    let (host, ports) = Host::new(1, &spec(1, None));
    let (mut reader, _writer) = first(ports);
    if reader.offloads() < Offloads::TcpUdp {
        println!("skipped: the kernel has no USO");
        return;
    }
    host.container.run(|| {
        let udp = crate::udp::Udp::bind(Some(IpAddr::from([10, 9, 0, 1])), 0).unwrap();
        let run = crate::udp::Run {
            // A group address needs no neighbour entry.
            to: "224.0.0.251:9".parse().unwrap(),
            range: 0..3_500,
            segment: 1_000,
        };
        let _ = std::process::Command::new("ip")
            .args(["route", "add", "224.0.0.0/4", "dev", "mesh0"])
            .status();
        assert_eq!(udp.sender().send(&[7; 3_500], &[run]).sent, 4);
    });
    let mut batch = FrameBatch::with_capacity(64);
    let begin = Instant::now();
    let found = loop {
        reader.recv(&mut batch, WAIT).unwrap();
        let found = batch
            .iter()
            .find(|(h, _)| h.segmentation == Segmentation::Udp);
        if let Some((header, frame)) = found {
            break (header.segment_size, frame.len());
        }
        assert!(begin.elapsed() < DEADLINE);
    };
    assert_eq!(found, (1_000, 14 + 20 + 8 + 3_500));
}

#[test]
fn invalid_frames_are_refused_by_the_port() {
    if needs_root("invalid_frames_are_refused_by_the_port") {
        return;
    }
    NamedNetns::new().run(|| {
        let (_reader, mut writer) = first(TapPort::open(&spec(1, None)).unwrap());
        writer.queue.offloads = Offloads::None;
        let unfinished = VirtioHeader {
            needs_checksum: true,
            ..VirtioHeader::PLAIN
        };
        let frame = [0; MAX_SUPER_FRAME + 1];
        for (header, length) in [
            (unfinished, 60),
            (VirtioHeader::PLAIN, 13),
            (VirtioHeader::PLAIN, MAX_SUPER_FRAME + 1),
        ] {
            let result = writer.send(&header, &frame[..length]);
            assert_eq!(result, Err(PortError::Refused(length)));
        }
    });
}

#[test]
fn the_bridge_takes_the_tap_in_place_of_the_pair() {
    if needs_root("the_bridge_takes_the_tap_in_place_of_the_pair") {
        return;
    }
    NamedNetns::new().run(|| {
        let link = |name: &str| Netlink::open().unwrap().link().by_name(name).unwrap();
        assert!(ensure_tap_port(&config()).unwrap_err().is_not_found());
        let pair = BridgeConfig {
            port: PortKind::Veth,
            ..config()
        };
        ensure_bridge(&pair).unwrap();
        assert!(ensure_tap_port(&config()).unwrap_err().is_not_found());
        let ensured = ensure_bridge(&config()).unwrap();
        assert_eq!(ensured.port_interface, "mesh-t");
        assert_eq!((link("mesh-p"), link("mesh-r")), (None, None));

        let port = TapPort::open(&spec(1, None)).unwrap();
        assert_eq!(ensure_bridge(&config()).unwrap().port, Outcome::Created);
        assert_eq!(ensure_tap_port(&config()).unwrap(), Outcome::Existing);
        let tap = link("mesh-t").unwrap();
        assert!(tap.up && tap.forwarding && tap.mtu == u32::from(MTU));
        assert_eq!(tap.master, Some(link("mesh").unwrap().index));
        assert_eq!(remove_all("mesh").unwrap(), 2);
        assert_eq!(link("mesh-t"), None);
        drop(port);
    });
}
