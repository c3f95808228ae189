//! Limits on numbers and sizes, and clients that are not served.

use std::time::{Duration, Instant};

use domain::base::iana::{Rcode, Rtype};

use crate::support::{Server, Upstream, query, read, read_message, write_message};

#[test]
fn strangers_get_nothing() {
    let server = Server::start(&["web=10.32.0.1"]);
    let web = query("web.mesh.local", Rtype::A);
    let brief = Duration::from_millis(300);
    // The example serves the loopback network and its own address; a stranger needs an address that is neither.
    let Some(stranger) = own_address() else {
        println!("skipped: this machine has the loopback interface only");
        return;
    };
    let Some(open) = Server::start_on("0.0.0.0:0", &["web=10.32.0.1"]) else {
        return;
    };
    assert!(server.ask(&web).is_some());
    assert_eq!(open.ask_at(stranger, &web, brief), None);
    assert!(open.ask(&web).is_some());
}

/// Returns an address of this machine that is not a loopback address; no packet is sent to find it.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

#[test]
fn responses_and_noise_are_not_answered() {
    let server = Server::start(&["web=10.32.0.1"]);
    let mut response = query("web.mesh.local", Rtype::A);
    response[2] |= 0x80;
    let brief = Duration::from_millis(200);
    let local = [127, 0, 0, 1].into();
    for noise in [&response[..], &[], &[0; 11], &[0xff; 1_100]] {
        assert_eq!(server.ask_from(local, noise, brief), None);
    }
    assert!(server.ask(&query("web.mesh.local", Rtype::A)).is_some());
    let mut stream = server.connect();
    write_message(&mut stream, &[0; 2_000]);
    assert_eq!(read_message(&mut stream), None, "closed");
}

#[test]
fn an_idle_connection_is_closed_and_many_do_not_shut_others_out() {
    let server = Server::start(&["web=10.32.0.1"]);
    let web = query("web.mesh.local", Rtype::A);
    let mut idle: Vec<_> = (0..16).map(|_| server.connect()).collect();
    std::thread::sleep(Duration::from_millis(100));
    let mut one_more = server.connect();
    assert_eq!(read_message(&mut one_more), None, "closed at once");
    assert!(server.ask(&web).is_some(), "UDP has other places");
    let started = Instant::now();
    assert_eq!(read_message(&mut idle[0]), None);
    assert!(started.elapsed() < Duration::from_secs(7));
    assert!(server.ask_by_tcp(&web).is_some());
}

#[test]
fn a_flood_of_names_of_others_holds_up_nobody() {
    let silent = Upstream::start(|_, _| None);
    let server = Server::start(&["web=10.32.0.1", &silent.address]);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server.address).unwrap();
    for n in 0..200 {
        let name = format!("n{n}.example.org");
        socket.send(&query(&name, Rtype::A)).unwrap();
    }
    let started = Instant::now();
    let (code, _, found) = read(&server.ask(&query("web.mesh.local", Rtype::A)).unwrap());
    assert_eq!((code, found.len()), (Rcode::NOERROR, 1));
    assert!(started.elapsed() < Duration::from_millis(500));
    // Clients beyond the limit are refused at once, the others get their answer at the deadline.
    let mut told = 0;
    let mut reply = [0; 600];
    let patience = Some(Duration::from_millis(2_500));
    socket.set_read_timeout(patience).unwrap();
    while told < 200 && socket.recv(&mut reply).is_ok() {
        told += 1;
    }
    assert_eq!(told, 200);
    assert!(silent.count() <= 64 * 3);
}
