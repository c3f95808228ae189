//! Words of mesh and words of the engine on one command line; words that cannot work; engines that do not answer.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{CONTAINER, Lab};

const ONE: &str = r#"{"Id": "p1", "Networks": ["name=mesh"], "Addresses": ["10.2.1.1"]}"#;
const NETNS: &str = r#"{"Id": "p1", "Netns": "/run/mesh/p1", "Addresses": ["10.2.1.1"]}"#;

fn lab(engine: &str, prepared: &str, body: &str) -> Lab {
    let lab = Lab::with_router();
    lab.answer("/prepare", 200, prepared);
    lab.program(engine, body);
    lab
}

/// Returns the log line that starts with `verb`, of a successful run.
#[track_caller]
fn told(engine: &str, prepared: &str, line: &str, verb: &str) -> String {
    let lab = lab(engine, prepared, &format!("echo {CONTAINER}"));
    lab.mesh(line).ok();
    let log = lab.log();
    let found = log.iter().find(|l| l.starts_with(verb));
    found.unwrap_or_else(|| panic!("{log:?}")).clone()
}

#[test]
fn words_of_the_engine_reach_the_engine() {
    for (line, created) in [
        (
            "-h db.mesh.local --name db nginx",
            "-h db.mesh.local --name db nginx",
        ),
        ("10.2.1.1/24 -h db nginx -h", "-h db nginx -h"),
        ("--runtime nvidia nginx", "--runtime nvidia nginx"),
        ("--runtime=runsc -t nginx", "--runtime=runsc -t nginx"),
        (
            "--runtime io.containerd.kata.v2 --runtime docker u",
            "--runtime io.containerd.kata.v2 u",
        ),
        ("10.2.1.1/24 --runtime docker u", "u"),
        ("--runtime=docker 10.2.1.1/24 --name n u", "--name n u"),
        (
            "10.2.1.1/24 -v /a:/b --runtime=docker --without-dns u",
            "-v /a:/b u",
        ),
        ("-v /a:/b -e --json u --json", "-v /a:/b -e --json u --json"),
        (
            "ubuntu ls -h --help --runtime x -- --socket y",
            "ubuntu ls -h --help --runtime x -- --socket y",
        ),
        (
            "ubuntu ip addr add 10.2.1.1/24",
            "ubuntu ip addr add 10.2.1.1/24",
        ),
        ("-ti --rm -- ubuntu -h", "-ti --rm ubuntu -h"),
    ] {
        let log = told("docker", ONE, &format!("run {line}"), "docker create");
        assert_eq!(log, format!("docker create {created}"), "{line}");
    }
    let log = told(
        "podman",
        NETNS,
        "run 10.2.1.1/24 --runtime podman --timeout 9 -h x u -h",
        "podman run",
    );
    assert!(log.ends_with(" --timeout 9 -h x u -h"), "{log}");
}

#[test]
fn words_of_mesh_reach_mesh() {
    let lab = lab("docker", ONE, &format!("echo {CONTAINER}"));
    for line in [
        "run --help",
        "run 10.2.1.1/24 --help",
        "run 10.2.1.1/24 -d --name x --help nginx",
        "help run",
    ] {
        let help = lab.mesh(line).ok();
        assert!(help.contains("Usage: mesh run"), "{help}");
    }
    assert!(lab.log().is_empty() && lab.requests("/prepare").is_empty());
    lab.mesh("run -h").failed(1, "no image");
    lab.mesh("run 10.2.1.1/24 --timeout 5 nginx")
        .failed(1, "before the first address");
    lab.mesh("run --timeout 5 --name a --no-multicast-route nginx")
        .ok();
    let request = &lab.requests("/prepare")[0];
    assert_eq!(
        (&request["Timeout"], &request["MulticastRoute"]),
        (&5.0.into(), &false.into())
    );
    let out = lab.mesh("run --name a --json nginx").ok();
    assert!(out.contains("\"Addresses\""), "{out}");
    for line in [
        "run --runtime",
        "run --runtime docker --runtime docker u",
        "run --timeout x u",
    ] {
        assert_eq!(lab.mesh(line).status, 2, "{line}");
    }
}

#[test]
fn what_cannot_work_with_podman_is_refused_with_what_to_do() {
    let lab = lab("podman", NETNS, &format!("echo {CONTAINER}"));
    for (flags, part) in [
        (
            "-p 80:80",
            "-p 80:80 cannot work; run it with podman and then `mesh attach`",
        ),
        ("-dtp80:80", "-dtp80:80 cannot work"),
        ("--publish=80", "--publish=80 cannot work"),
        ("-P", "-P cannot work"),
        ("-diP", "-diP cannot work"),
        ("--publish-all", "cannot work"),
        ("--pod p", "cannot work"),
        ("--network back", "on the mesh only"),
        ("--net=host", "on the mesh only"),
        ("--ip 10.88.0.9", "give its address on the mesh in front"),
        (
            "--mac-address 02:00:00:00:00:01",
            "the MAC follows from the address",
        ),
        ("--network-alias x", "mesh dns-add"),
    ] {
        lab.mesh(&format!("run 10.2.1.1/24 {flags} nginx"))
            .failed(1, part);
    }
    assert!(lab.log().is_empty() && lab.requests("/prepare").is_empty());
    lab.mesh("run 10.2.1.1/24 --network none -e p=1 -w /p nginx -p 80")
        .ok();
}

#[test]
fn what_cannot_work_without_dockers_network_is_refused() {
    let lab = lab("docker", ONE, &format!("echo {CONTAINER}"));
    for flags in [
        "-p 80:80",
        "-P",
        "--ip 172.17.0.9",
        "--network-alias x",
        "--link y",
    ] {
        let line = format!("run 10.2.1.1/24 --network none {flags} nginx");
        lab.mesh(&line).failed(1, "cannot work");
        lab.mesh(&line.replace("--network none ", "")).ok();
    }
    assert_eq!(lab.requests("/prepare").len(), 5);
}

#[test]
fn what_is_replaced_makes_room_before_its_address_is_asked_for() {
    let run = "run --runtime podman 10.2.1.1/24 --replace --name q -dv /a:/b nginx x";
    let lab = lab("podman", NETNS, &format!("echo {CONTAINER}"));
    lab.mesh(run).ok();
    let log = lab.log();
    assert_eq!(
        log[..4],
        [
            "podman container exists q".to_owned(),
            "podman create --network=none -v /a:/b nginx x".to_owned(),
            format!("podman rm -f -v {CONTAINER}"),
            "podman rm -f q".to_owned(),
        ]
    );
    assert!(
        log[4].ends_with(" --replace --name q -v /a:/b nginx x"),
        "{log:?}"
    );

    // A container that cannot be created does not cost the old one; a missing old one is no problem.
    let lab = self::lab("podman", NETNS, "[ $1 != create ] || exit 125");
    let said = lab.mesh(run);
    assert!(
        said.status == 1 && said.err.contains("q is not replaced"),
        "{said:?}"
    );
    assert!(
        !lab.log().iter().any(|l| l.starts_with("podman rm")),
        "{:?}",
        lab.log()
    );
    assert!(lab.requests("/prepare").is_empty());
    let lab = self::lab(
        "podman",
        NETNS,
        &format!("[ $2 != exists ] || exit 1; echo {CONTAINER}"),
    );
    lab.mesh(run).ok();
    assert!(lab.log()[1].starts_with("podman run"), "{:?}", lab.log());
}

#[test]
fn that_podman_is_taken_is_told() {
    let lab = lab("podman", NETNS, &format!("echo {CONTAINER}"));
    lab.mesh("run 10.2.1.1/24 nginx").ok();
    lab.program(
        "docker",
        "echo Cannot connect to the Docker daemon >&2; exit 1",
    );
    let said = lab.mesh("run 10.2.1.1/24 nginx");
    assert_eq!((said.status, said.err.lines().count()), (0, 1), "{said:?}");
    let told = "mesh: podman is taken: the docker daemon does not answer (Cannot connect";
    assert!(said.err.starts_with(told), "{said:?}");
}

/// A dockerd that hangs: its client waits forever.
#[test]
fn a_daemon_that_hangs_is_named_after_a_second_and_given_up() {
    let lab = lab("docker", ONE, "exec /bin/sleep 300");
    lab.program("podman", &format!("echo {CONTAINER}"));
    let attached = format!(r#"{{"Container": "{CONTAINER}", "Name": "web", "Addresses": []}}"#);
    lab.answer("/attach", 200, &attached);
    let lines = ["run 10.2.1.1/24 nginx", "start web", "restart web"];
    let mut running: Vec<_> = lines
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let mut command = lab.command(&words);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let began = Instant::now();
    for child in &mut running[..1] {
        let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = told.next().unwrap().unwrap();
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "before it is given up"
        );
        assert!(
            first.starts_with("mesh: waiting for the docker daemon"),
            "{first}"
        );
        let last = told.next().unwrap().unwrap();
        assert!(last.contains("has not answered for 20 s"), "{last}");
        assert!(told.next().is_none());
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }
    for mut child in running.drain(1..) {
        // podman has the container.
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    assert!(lab.requests("/prepare").is_empty());
}
