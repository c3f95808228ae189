//! `mesh run` with docker and podman replaced by shell scripts.

use crate::support::{CONTAINER, Lab};

const ONE: &str =
    r#"{"Id": "p1", "Networks": ["name=mesh,driver-opt=mesh.id=p1.0"], "Addresses": ["10.2.1.1"]}"#;
const TWO: &str = r#"{"Id": "p1", "Networks": ["name=mesh,driver-opt=a=0", "name=mesh-1,driver-opt=a=1"], "Addresses": ["10.2.1.1", "10.3.1.1"]}"#;
const NETNS: &str = r#"{"Id": "p1", "Netns": "/run/mesh/p1", "Addresses": ["10.2.1.1"]}"#;

fn docker_lab(prepared: &str, body: &str) -> Lab {
    let lab = Lab::with_router();
    lab.answer("/prepare", 200, prepared);
    lab.program("docker", body);
    lab
}

fn printing_id() -> String {
    format!("echo {CONTAINER}")
}

#[test]
fn docker_with_one_address() {
    let lab = docker_lab(ONE, &printing_id());
    let out = lab
        .mesh("run 10.2.1.1/24 --name web -ti nginx sh -c x -d")
        .ok();
    assert_eq!(out, format!("{CONTAINER}\n"));
    assert_eq!(
        lab.log()[1..],
        [
            "docker create --name web -ti nginx sh -c x -d".to_owned(),
            format!("docker network connect --driver-opt mesh.id=p1.0 mesh {CONTAINER}"),
            format!("docker start {CONTAINER}"),
        ]
    );
    let request = &lab.requests("/prepare")[0];
    assert_eq!(request["Runtime"], "docker");
    assert_eq!(request["Addresses"], serde_json::json!(["10.2.1.1/24"]));
    assert_eq!(request["MulticastRoute"], true);
    assert!(request["CallerPid"].as_u64().unwrap() > 1);
    assert!(lab.requests("/abandon").is_empty());
}

#[test]
fn docker_with_several_addresses() {
    let lab = docker_lab(TWO, &printing_id());
    let out = lab
        .mesh("run --no-multicast-route 10.2.1.1/24 ip:10.3.1.1/24 -dt nginx")
        .ok();
    assert_eq!(out, format!("{CONTAINER}\n"));
    assert_eq!(
        lab.log()[1..],
        [
            "docker create -t nginx".to_owned(),
            format!("docker network connect --driver-opt a=0 mesh {CONTAINER}"),
            format!("docker network connect --driver-opt a=1 mesh-1 {CONTAINER}"),
            format!("docker start {CONTAINER}"),
        ]
    );
    assert_eq!(lab.requests("/prepare")[0]["MulticastRoute"], false);
}

#[test]
fn docker_without_a_network_of_its_own() {
    let lab = docker_lab(TWO, &printing_id());
    lab.mesh("run 10.2.1.1/24 10.3.1.1/24 --rm --network none nginx")
        .ok();
    assert_eq!(
        lab.log()[1..],
        [
            "docker create --network name=mesh,driver-opt=a=0 --rm nginx".to_owned(),
            format!("docker network connect --driver-opt a=1 mesh-1 {CONTAINER}"),
            format!("docker start {CONTAINER}"),
        ]
    );
}

#[test]
fn what_docker_could_not_create_leaves_nothing() {
    let lab = docker_lab(
        ONE,
        "case $1 in create) echo no such image >&2; exit 125;; esac",
    );
    let said = lab.mesh("run 10.2.1.1/24 nginx");
    assert_eq!((said.status, said.out.as_str()), (125, ""));
    assert!(
        said.err
            .starts_with("no such image\nmesh: docker did not create"),
        "{said:?}"
    );
    assert_eq!(lab.log().len(), 2, "{:?}", lab.log());
    assert_eq!(lab.requests("/abandon").len(), 1);
}

#[test]
fn what_docker_could_not_start_is_removed() {
    let fails = format!(
        "case $1 in create) echo {CONTAINER};; start) echo docker: no such file >&2; exit 1;;\n\
         rm) echo Error: No such container: {CONTAINER} >&2; exit 1;; esac"
    );
    let lab = docker_lab(ONE, &fails);
    let said = lab.mesh("run 10.2.1.1/24 nginx nosuch");
    assert_eq!((said.status, said.out.as_str()), (1, ""));
    let told = "docker: no such file\nmesh: docker did not start the container (status 1)\n";
    assert_eq!(said.err, told, "nothing of its removal");
    assert_eq!(lab.log()[4], format!("docker rm -f -v {CONTAINER}"));
    assert_eq!(lab.requests("/abandon"), [serde_json::json!({"Id": "p1"})]);

    let fails = format!("case $1 in create) echo {CONTAINER};; network) exit 1;; esac");
    let lab = docker_lab(TWO, &fails);
    assert_eq!(lab.mesh("run 10.2.1.1/24 10.3.1.1/24 nginx").status, 1);
    assert_eq!(
        lab.log().last().unwrap(),
        &format!("docker rm -f -v {CONTAINER}")
    );
    assert_eq!(lab.requests("/abandon").len(), 1);
}

#[test]
fn podman_joins_the_namespace_and_is_adopted() {
    let body = format!("case $1 in run) echo {CONTAINER};; container) echo web;; esac");
    let lab = Lab::with_router();
    lab.answer("/prepare", 200, NETNS);
    lab.program("podman", &body);
    assert_eq!(
        lab.mesh("run 10.2.1.1/24 -ti nginx").ok(),
        format!("{CONTAINER}\n")
    );
    let log = lab.log();
    assert!(
        log[0].starts_with("podman run -d --network=ns:/run/mesh/p1 --cidfile="),
        "{log:?}"
    );
    assert!(log[0].ends_with(".cid -ti nginx"), "{log:?}");
    let adopted =
        serde_json::json!({"Id": "p1", "Container": CONTAINER, "Pid": null, "Name": "web"});
    assert_eq!(lab.requests("/adopt"), [adopted]);
    assert!(lab.requests("/abandon").is_empty());
}

#[test]
fn what_podman_could_not_start_is_removed() {
    // The last line runs for `run` only: it writes the id to the file named by the fourth argument.
    let body =
        format!("[ \"$1\" = run ] || exit 0\necho {CONTAINER} > \"${{4#--cidfile=}}\"; exit 125");
    let lab = Lab::with_router();
    lab.answer("/prepare", 200, NETNS);
    lab.program("podman", &body);
    lab.mesh("run --runtime podman 10.2.1.1/24 nginx")
        .failed(125, "podman did not start");
    assert_eq!(lab.log()[1], format!("podman rm -f -v {CONTAINER}"));
    assert_eq!(lab.requests("/abandon").len(), 1);
    lab.mesh("run --runtime podman 10.2.1.1/24 --net back nginx")
        .failed(1, "on the mesh only");
    assert_eq!(lab.log().len(), 2);
    let left = std::fs::read_dir(lab.path("")).unwrap();
    assert!(
        !left
            .flatten()
            .any(|f| f.file_name().to_string_lossy().ends_with(".cid"))
    );
}

#[test]
fn a_container_that_is_not_adopted_does_not_stay() {
    let lab = Lab::with_router();
    lab.answer("/prepare", 200, NETNS);
    lab.answer("/adopt", 404, r#"{"Error": "p1 is gone; run again"}"#);
    lab.program("podman", &printing_id());
    lab.mesh("run 10.2.1.1/24 nginx").failed(1, "p1 is gone");
    assert_eq!(
        lab.log().last().unwrap(),
        &format!("podman rm -f -v {CONTAINER}")
    );
    assert_eq!(lab.requests("/abandon").len(), 1);
}

/// Returns the output of `mesh`, parsed as JSON.
fn json_of(lab: &Lab, line: &str) -> serde_json::Value {
    serde_json::from_str(&lab.mesh(line).ok()).unwrap()
}

#[test]
fn json_says_the_container_and_its_addresses() {
    // Docker puts a slash in front of names.
    let body = format!("case $1 in create) echo {CONTAINER};; container) echo /calm_bose;; esac");
    let lab = docker_lab(TWO, &body);
    let mut expected = serde_json::json!({"Container": CONTAINER, "Name": "calm_bose", "Addresses": ["10.2.1.1", "10.3.1.1"]});
    assert_eq!(json_of(&lab, "run --json --rm nginx"), expected);
    let log = lab.log();
    let place = |word: &str| log.iter().position(|l| l.starts_with(word)).unwrap();
    let (asked, started) = (place("docker container inspect"), place("docker start"));
    assert!(asked < started, "it may end at once: {log:?}");
    assert!(lab.requests("/abandon").is_empty());

    let lab = Lab::with_router();
    lab.answer("/prepare", 200, NETNS);
    let body = format!("case $1 in run) echo {CONTAINER};; container) echo calm_bose;; esac");
    lab.program("podman", &body);
    expected["Addresses"] = serde_json::json!(["10.2.1.1"]);
    let line = "run --json --runtime podman 10.2.1.1/24 nginx";
    assert_eq!(json_of(&lab, line), expected);

    // An engine that does not tell the name.
    let lab = docker_lab(
        ONE,
        &format!("[ $1 != container ] || exit 1; echo {CONTAINER}"),
    );
    expected["Name"] = CONTAINER[..12].into();
    assert_eq!(json_of(&lab, "run --json nginx"), expected);
}

#[test]
fn json_changes_nothing_about_what_fails() {
    let body = format!("case $1 in create) echo {CONTAINER};; start) exit 127;; esac");
    let lab = docker_lab(ONE, &body);
    lab.mesh("run --json 10.2.1.1/24 nginx nosuch")
        .failed(127, "docker did not start");
    lab.program("docker", "case $1 in create) exit 125;; esac");
    lab.mesh("run --json 10.2.1.1/24 nginx")
        .failed(125, "docker did not create");
    assert_eq!(lab.requests("/abandon").len(), 2);

    let lab = Lab::with_router();
    lab.answer("/prepare", 200, NETNS);
    lab.program("podman", "exit 126");
    lab.mesh("run --json --runtime podman 10.2.1.1/24 nginx")
        .failed(126, "podman did not start");
    lab.program("podman", &printing_id());
    lab.answer("/adopt", 404, r#"{"Error": "p1 is gone; run again"}"#);
    lab.mesh("run --json --runtime podman 10.2.1.1/24 nginx")
        .failed(1, "p1 is gone");
}

#[test]
fn nothing_is_prepared_for_a_wrong_command_line() {
    let lab = docker_lab(ONE, &printing_id());
    for (line, part) in [
        ("run", "no image"),
        ("run net:default", "no image"),
        ("run --name web 10.2.1.1/24 nginx", "addresses come first"),
        (
            "run --runtime process -d 10.2.1.1/24 -- true",
            "addresses come first",
        ),
        ("run net:10.2.1.1/24 nginx", "host bits set"),
        ("run 10.2.1.1 nginx", "no prefix length"),
        ("run 10.2.1.300/24 nginx", "not an address"),
        ("run 10.2.1.1/24", "no image"),
        ("run 10.2.1.1/24 -d --name x", "no image"),
        (
            "run 10.2.1.1/24 --network host nginx",
            "--network host has no network of its own",
        ),
        (
            "run 10.2.1.1/24 --net=container:web nginx",
            "no network of its own",
        ),
        ("run --runtime process 10.2.1.1/24", "no command"),
        (
            "run --runtime podman 10.2.1.1/24 nginx",
            "no `podman` in PATH",
        ),
    ] {
        lab.mesh(line).failed(1, part);
    }
    assert!(lab.requests("/prepare").is_empty());
    // docker is run for its version at most.
    let asked = lab.log();
    assert!(
        asked.iter().all(|l| l.starts_with("docker version")),
        "{asked:?}"
    );
}

#[test]
fn the_engine_is_found() {
    let lab = Lab::with_router();
    lab.mesh("run 10.2.1.1/24 nginx")
        .failed(1, "--runtime process");
    lab.mesh("run --runtime docker 10.2.1.1/24 nginx")
        .failed(1, "no `docker` in PATH");

    lab.program(
        "docker",
        "echo Cannot connect to the Docker daemon >&2; exit 1",
    );
    lab.mesh("run 10.2.1.1/24 nginx")
        .failed(1, "daemon does not answer (Cannot connect");

    lab.answer("/prepare", 200, NETNS);
    lab.program("podman", &printing_id());
    assert_eq!(lab.mesh("run 10.2.1.1/24 nginx").status, 0);
    assert_eq!(lab.requests("/prepare")[0]["Runtime"], "podman");
    lab.mesh("run --runtime docker 10.2.1.1/24 nginx")
        .failed(1, "daemon does not answer");
}

#[test]
fn a_refusal_of_the_router_is_told() {
    let lab = docker_lab(ONE, &printing_id());
    lab.answer(
        "/prepare",
        409,
        r#"{"Error": "10.2.1.1 is in use by web; pick another"}"#,
    );
    lab.mesh("run 10.2.1.1/24 nginx")
        .failed(1, "10.2.1.1 is in use by web; pick another");
    assert_eq!(lab.log().len(), 1, "docker was only asked for its version");
}
