//! Forwarding of names outside the mesh.

use std::time::{Duration, Instant};

use domain::base::iana::{Rcode, Rtype};

use crate::support::{Server, Upstream, answer_with, query, read};

fn example() -> Vec<u8> {
    query("www.example.org", Rtype::A)
}

#[test]
fn other_names_are_asked_of_others_and_only_those() {
    let upstream = Upstream::start(|query, _| Some(answer_with(query, 0, 2)));
    let server = Server::start(&["web=10.32.0.1", &upstream.address]);
    for reply in [server.ask(&example()), server.ask_by_tcp(&example())] {
        let reply = reply.unwrap();
        assert_eq!(reply[..2], [0xab, 0xcd]);
        let (code, cut, found) = read(&reply);
        assert_eq!((code, cut), (Rcode::NOERROR, false));
        assert_eq!(found, ["192.0.2.0", "192.0.2.1"]);
    }
    let asked = upstream.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    assert!(
        asked.iter().any(|q| q[..2] != [0xab, 0xcd]),
        "an id of its own"
    );
    for ours in ["nobody.mesh.local", "9.0.32.10.in-addr.arpa", "localhost"] {
        server.ask(&query(ours, Rtype::A)).unwrap();
    }
    assert_eq!(upstream.count(), 2);
    // A single-label name that the mesh lacks may be one of the site.
    server.ask(&query("nobody", Rtype::A)).unwrap();
    assert_eq!(upstream.count(), 3);
}

#[test]
fn what_a_server_denies_is_denied() {
    let upstream = Upstream::start(|query, _| Some(answer_with(query, 3, 0)));
    let server = Server::start(&[&upstream.address]);
    assert_eq!(read(&server.ask(&example()).unwrap()).0, Rcode::NXDOMAIN);
}

#[test]
fn the_next_server_is_asked_when_one_is_silent_or_cannot() {
    let silent = Upstream::start(|_, _| None);
    let unable = Upstream::start(|query, _| Some(answer_with(query, 2, 0)));
    let liar = Upstream::start(|query, _| {
        let mut reply = answer_with(query, 0, 1);
        reply[0] ^= 1;
        Some(reply)
    });
    let good = Upstream::start(|query, _| Some(answer_with(query, 0, 1)));
    for bad in [
        &silent.address,
        &unable.address,
        &liar.address,
        "127.0.0.1:9",
    ] {
        let server = Server::start(&[bad, &good.address]);
        let started = Instant::now();
        let (code, _, found) = read(&server.ask(&example()).unwrap());
        assert_eq!((code, found.len()), (Rcode::NOERROR, 1), "{bad}");
        assert!(started.elapsed() < Duration::from_secs(1), "{bad}");
    }
}

#[test]
fn without_an_answer_clients_are_told_within_two_seconds() {
    let silent = Upstream::start(|_, _| None);
    for servers in [&[silent.address.as_str()][..], &["127.0.0.1:9"], &[]] {
        let server = Server::start(servers);
        for by_tcp in [false, true] {
            let started = Instant::now();
            let reply = match by_tcp {
                true => server.ask_by_tcp(&example()),
                false => server.ask(&example()),
            };
            let (code, _, found) = read(&reply.unwrap());
            assert_eq!((code, found.len()), (Rcode::SERVFAIL, 0));
            assert!(
                started.elapsed() < Duration::from_millis(2_100),
                "{servers:?}"
            );
        }
    }
}

#[test]
fn long_answers_come_by_tcp() {
    let upstream = Upstream::start(|query, by_tcp| {
        let mut reply = answer_with(query, 0, if by_tcp { 100 } else { 1 });
        reply[2] |= if by_tcp { 0 } else { 2 };
        Some(reply)
    });
    let server = Server::start(&[&upstream.address]);
    let (code, cut, _) = read(&server.ask(&example()).unwrap());
    assert_eq!((code, cut), (Rcode::NOERROR, true));
    let (code, cut, found) = read(&server.ask_by_tcp(&example()).unwrap());
    assert_eq!((code, cut, found.len()), (Rcode::NOERROR, false, 100));
}

#[test]
fn a_server_never_asks_itself() {
    // The upstream's port is not known in advance, and a resolv.conf can name port 53 only: so it listens on port 53 of
    // another loopback address. If that is not allowed, nothing is tested.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("resolv.conf");
    std::fs::write(&file, "nameserver 127.0.53.1\n").unwrap();
    let words = ["127.0.53.1:53", file.to_str().unwrap()];
    let Some(server) = Server::start_on(words[0], &words[1..]) else {
        println!("skipped: port 53 is not ours to take");
        return;
    };
    let started = Instant::now();
    let reply = server.ask_from([127, 0, 53, 1].into(), &example(), Duration::from_secs(3));
    assert_eq!(read(&reply.unwrap()).0, Rcode::SERVFAIL);
    assert!(
        started.elapsed() < Duration::from_millis(500),
        "nobody was asked"
    );
}

#[test]
fn changes_of_resolv_conf_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("resolv.conf");
    std::fs::write(&file, "# nobody yet\n").unwrap();
    let server = Server::start(&[file.to_str().unwrap()]);
    let answer = |query: &[u8], _| Some(answer_with(query, 0, 1));
    let Some(upstream) = Upstream::start_on("127.0.53.2:53", answer) else {
        println!("skipped: port 53 is not ours to take");
        return;
    };
    assert_eq!(read(&server.ask(&example()).unwrap()).0, Rcode::SERVFAIL);
    std::fs::write(&file, "nameserver 127.0.53.2\n").unwrap();
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(read(&server.ask(&example()).unwrap()).2, ["192.0.2.0"]);
    assert_eq!(upstream.count(), 1);
    // Gone for a moment, as when a program replaces it.
    std::fs::remove_file(&file).unwrap();
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(read(&server.ask(&example()).unwrap()).0, Rcode::NOERROR);
}
