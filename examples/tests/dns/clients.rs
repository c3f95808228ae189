//! Third-party DNS clients.

use std::process::Command;

use domain::base::iana::{Rcode, Rtype};

use crate::support::{Server, query, read, run};

fn server() -> Server {
    let mut words = vec![
        "web=10.32.0.1",
        "web=10.32.0.2",
        "web=fd00::1",
        "db=10.32.0.3",
    ];
    let many: Vec<String> = (1..=50).map(|n| format!("crowd=10.32.1.{n}")).collect();
    words.extend(many.iter().map(String::as_str));
    Server::start(&words)
}

/// Returns the output of dig as sorted lines.
fn dig(server: &Server, words: &[&str]) -> Option<Vec<String>> {
    let at = format!("@{}", server.address.ip());
    let port = server.address.port().to_string();
    let mut all = vec![at.as_str(), "-p", &port, "+tries=1", "+time=3"];
    all.extend(words);
    let text = run("dig", &all)?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    Some(lines)
}

#[test]
fn dig_finds_addresses_names_and_services() {
    let server = server();
    let Some(found) = dig(&server, &["+short", "web.mesh.local"]) else {
        return;
    };
    assert_eq!(found, ["10.32.0.1", "10.32.0.2"]);
    for (words, expected) in [
        (&["AAAA", "WEB.Mesh.Local"][..], &["fd00::1"][..]),
        (&["web"], &["10.32.0.1", "10.32.0.2"]),
        (&["-x", "10.32.0.3"], &["db.mesh.local."]),
        (&["-x", "fd00::1"], &["web.mesh.local."]),
        (
            &["SRV", "_http._tcp.db.mesh.local"],
            &["0 0 80 10-32-0-3.db.mesh.local."],
        ),
        (&["10-32-0-3.db.mesh.local"], &["10.32.0.3"]),
    ] {
        let words = [&["+short"], words].concat();
        assert_eq!(dig(&server, &words).unwrap(), expected, "{words:?}");
    }
}

#[test]
fn dig_is_told_what_is_not_there() {
    let server = server();
    for (words, expected) in [
        (&["nobody.mesh.local"][..], "status: NXDOMAIN"),
        (&["AAAA", "db.mesh.local"], "status: NOERROR"),
        (&["CH", "TXT", "version.bind"], "status: REFUSED"),
        (&["+opcode=update", "web.mesh.local"], "status: NOTIMP"),
        (
            &["+edns=1", "+noednsneg", "web.mesh.local"],
            "status: BADVERS",
        ),
        (&["+dnssec", "web.mesh.local"], "status: NOERROR"),
        (&["+tcp", "web.mesh.local"], "status: NOERROR"),
    ] {
        let Some(said) = dig(&server, words) else {
            return;
        };
        let said = said.join("\n");
        assert!(said.contains(expected), "{words:?}: {said}");
        assert!(!said.contains("malformed"), "{said}");
    }
}

#[test]
fn dig_gets_long_answers_by_tcp() {
    let server = server();
    let Some(found) = dig(&server, &["+short", "+noedns", "crowd.mesh.local"]) else {
        return;
    };
    let addresses = |lines: &[String]| lines.iter().filter(|l| l.starts_with("10.")).count();
    assert_eq!(addresses(&found), 50);
    let cut = dig(&server, &["+ignore", "+noedns", "crowd.mesh.local"])
        .unwrap()
        .join("\n");
    assert!(cut.contains("flags: qr aa tc rd ra"), "{cut}");
    let whole = dig(&server, &["+ignore", "+bufsize=1232", "crowd.mesh.local"]).unwrap();
    assert!(whole.join("\n").contains("ANSWER: 50"));
}

#[test]
fn many_queries_on_one_connection() {
    let server = server();
    let mut stream = server.connect();
    for n in 0..20 {
        let name = if n % 2 == 0 {
            "web.mesh.local"
        } else {
            "nobody.mesh.local"
        };
        crate::support::write_message(&mut stream, &query(name, Rtype::A));
        let reply = crate::support::read_message(&mut stream).unwrap();
        let code = if n % 2 == 0 {
            Rcode::NOERROR
        } else {
            Rcode::NXDOMAIN
        };
        assert_eq!(read(&reply).0, code);
    }
}

/// The C library's resolver, in a network namespace in which the server has port 53.
#[test]
fn the_c_library_finds_names() {
    let dir = tempfile::tempdir().unwrap();
    let resolv = dir.path().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 127.0.0.1\nsearch mesh.local\n").unwrap();
    let script = format!(
        "ip link set lo up && mount --bind {} /etc/resolv.conf || exit 77
        mkfifo {dir}/in; {} 127.0.0.1:53 web=10.32.0.1 web=fd00::1 db=10.32.0.3 <{dir}/in >{dir}/out & exec 3>{dir}/in
        for i in 1 2 3 4 5 6 7 8 9 10; do grep -q answers {dir}/out && break; sleep 0.1; done
        getent -s dns ahosts web.mesh.local; getent -s dns ahosts db; getent -s dns hosts 10.32.0.3
        getent -s dns hosts nobody || echo none",
        resolv.display(),
        env!("CARGO_BIN_EXE_dns-server"),
        dir = dir.path().display(),
    );
    let words = [
        "--user",
        "--map-root-user",
        "--net",
        "--mount",
        "sh",
        "-c",
        &script,
    ];
    let done = Command::new("unshare").args(words).output();
    let Some(done) = done.ok().filter(|d| d.status.success()) else {
        println!("skipped: no network of our own here");
        return;
    };
    let said = String::from_utf8(done.stdout).unwrap();
    for expected in ["10.32.0.1", "fd00::1", "10.32.0.3", "db.mesh.local", "none"] {
        assert!(said.contains(expected), "{expected} is not in: {said}");
    }
}
