//! `mesh dns-…`, `status dns`, and the DNS flags that `run` passes to engines.

use crate::support::{CONTAINER, Lab};

const CLIENT: &str = r#"{"Servers": ["172.17.0.1"], "Search": "mesh.local"}"#;
const INSIDE: &str =
    r#"{"Servers": ["172.17.0.1"], "Inside": "127.0.0.12", "Search": "mesh.local"}"#;
const REPORT: &str = r#"{"Enabled": true, "Domain": "mesh.local", "TTL": 1, "Listen": ["172.17.0.1:53"], "Inside": 2, "Upstreams": [],
    "Problems": ["DNS is hindered"], "Hidden": 2, "LeftOut": 0, "Counters": {"answered": 3}, "Entries": [
    {"Name": "shop", "Address": "10.2.1.1", "Container": "001122334455", "Peer": "7a:00:00:00:00:01(host1)"},
    {"Name": "web", "Address": "fd00::1", "Container": "", "Peer": "7a:00:00:00:00:02(host2)"}]}"#;

#[test]
fn changes_are_passed_on() {
    let lab = Lab::with_router();
    assert_eq!(lab.mesh("dns-add 10.2.1.7 web -h shop").ok(), "");
    assert_eq!(lab.mesh("dns-remove -h printer").ok(), "");
    let added = &lab.requests("/dns/add")[0];
    let expected =
        serde_json::json!({"Container": "web", "Name": "shop", "Addresses": ["10.2.1.7"]});
    assert_eq!(*added, expected);
    let removed = &lab.requests("/dns/remove")[0];
    assert_eq!(removed["Name"], "printer");
    lab.mesh("dns-add --net blue web -h shop").ok();
    let expected =
        serde_json::json!({"Container": "web", "Name": "shop", "Addresses": [], "Network": "blue"});
    assert_eq!(lab.requests("/dns/add")[1], expected);
    lab.mesh("dns-add 10.2.1.7")
        .failed(1, "neither a container");
    let help = lab.mesh("dns-add --help").ok();
    assert!(help.contains("Example:"), "{help}");
}

#[test]
fn a_lookup_prints_one_address_in_a_line() {
    let lab = Lab::with_router();
    let found = r#"{"Addresses": ["10.2.1.1", "10.2.1.2"]}"#;
    lab.answer("/dns/lookup", 200, found);
    assert_eq!(lab.mesh("dns-lookup web").ok(), "10.2.1.1\n10.2.1.2\n");
    let json = lab.mesh("dns-lookup --json web").ok();
    assert_eq!(json, "[\n  \"10.2.1.1\",\n  \"10.2.1.2\"\n]\n");
    assert_eq!(
        lab.requests("/dns/lookup")[0],
        serde_json::json!({"Name": "web"})
    );
    lab.mesh("dns-lookup --net blue web").ok();
    let asked = lab.requests("/dns/lookup").pop().unwrap();
    assert_eq!(asked, serde_json::json!({"Name": "web", "Network": "blue"}));
    let refusal = r#"{"Error": "web is not known"}"#;
    lab.answer("/dns/lookup", 400, refusal);
    lab.mesh("dns-lookup web").failed(1, "web is not known");
}

#[test]
fn the_table_is_on_standard_output_and_remarks_are_not() {
    let lab = Lab::with_router();
    lab.answer("/dns", 200, REPORT);
    let said = lab.mesh("status dns");
    assert_eq!(said.status, 0);
    let table = "shop         10.2.1.1        001122334455 7a:00:00:00:00:01(host1)\n\
                 web          fd00::1                      7a:00:00:00:00:02(host2)\n";
    assert_eq!(said.out, table);
    assert!(
        said.err.contains("hindered") && said.err.contains("2 names"),
        "{said:?}"
    );
    let inside = "answered within 2 containers";
    assert!(said.err.contains(inside), "{said:?}");
    assert!(
        lab.mesh("status dns --json")
            .out
            .contains("\"answered\": 3")
    );
}

#[test]
fn flags_for_docker() {
    let lab = Lab::with_router();
    lab.answer("/dns/client", 200, CLIENT);
    let flags = "--dns=172.17.0.1 --dns-search=mesh.local\n";
    assert_eq!(lab.mesh("dns-args").ok(), flags);
    lab.answer("/dns/client", 200, r#"{"Servers": [], "Search": ""}"#);
    assert_eq!(lab.mesh("dns-args").ok(), "");
    lab.answer(
        "/dns/client",
        200,
        r#"{"Servers": [], "Search": "mesh.local"}"#,
    );
    lab.mesh("dns-args").failed(1, "mesh status dns");
}

#[test]
fn flags_as_a_list() {
    let lab = Lab::with_router();
    lab.answer("/dns/client", 200, INSIDE);
    for (runtime, server) in [("docker", "172.17.0.1"), ("podman", "127.0.0.12")] {
        let printed = lab.mesh(&format!("dns-args --json --runtime {runtime}"));
        let printed: Vec<String> = serde_json::from_str(&printed.ok()).unwrap();
        let flags = [
            format!("--dns={server}"),
            "--dns-search=mesh.local".to_owned(),
        ];
        assert_eq!(printed, flags);
    }
    lab.answer("/dns/client", 200, r#"{"Servers": [], "Search": ""}"#);
    assert_eq!(lab.mesh("dns-args --json").ok(), "[]\n");
}

#[test]
fn flags_for_podman_lead_into_the_container() {
    let lab = Lab::with_router();
    lab.answer("/dns/client", 200, INSIDE);
    let flags = "--dns=127.0.0.12 --dns-search=mesh.local\n";
    assert_eq!(lab.mesh("dns-args --runtime podman").ok(), flags);
    lab.mesh("dns-args --runtime process")
        .failed(1, "/etc/resolv.conf");
    lab.answer("/dns/client", 200, r#"{"Servers": [], "Search": ""}"#);
    assert_eq!(lab.mesh("dns-args --runtime podman").ok(), "");
}

#[test]
fn podman_is_told_of_the_server_within_unless_somebody_says_otherwise() {
    let told = "--dns=127.0.0.12 --dns-search=mesh.local";
    for (line, end) in [
        ("u", format!("{told} u")),
        (
            "--dns-search x u",
            "--dns=127.0.0.12 --dns-search x u".to_owned(),
        ),
        ("--dns none u", "--dns none u".to_owned()),
    ] {
        let (ran, request) = podman_ran(&format!("run 10.2.1.1/24 {line}"), INSIDE);
        assert!(ran.ends_with(&format!(".cid {end}")), "{ran}");
        assert_eq!(request["WithoutDns"], false, "{line}");
    }
    // A router that runs no resolver in the container's namespace says so.
    let (ran, request) = podman_ran("run --without-dns 10.2.1.1/24 u", CLIENT);
    assert!(ran.ends_with(".cid u"), "{ran}");
    assert_eq!(request["WithoutDns"], true);
}

/// Returns the words that podman was run with, and the request to the router.
fn podman_ran(line: &str, dns: &str) -> (String, serde_json::Value) {
    let lab = Lab::with_router();
    let prepared = format!(
        r#"{{"Id": "p1", "Netns": "/run/netns/p1", "Addresses": ["10.2.1.1"], "Dns": {dns}}}"#
    );
    lab.answer("/prepare", 200, &prepared);
    lab.program("podman", &format!("echo {CONTAINER}"));
    lab.mesh(line).ok();
    (lab.log()[0].clone(), lab.requests("/prepare")[0].clone())
}

#[test]
fn containers_are_told_unless_somebody_says_otherwise() {
    for (line, create) in [
        ("u", "--dns=172.17.0.1 --dns-search=mesh.local u"),
        ("--dns-search x u", "--dns=172.17.0.1 --dns-search x u"),
        ("--dns 9.9.9.9 u", "--dns 9.9.9.9 u"),
    ] {
        assert_eq!(created(&format!("run 10.2.1.1/24 {line}")), create);
    }
    assert_eq!(created("run --without-dns 10.2.1.1/24 u"), "u");
    // On the mesh only: queries are still answered in the container's namespace.
    let alone = "--network name=mesh,driver-opt=a=0 --dns=172.17.0.1 --dns-search=mesh.local u";
    assert_eq!(created("run 10.2.1.1/24 --network none u"), alone);
}

/// Returns the words after `docker create`.
fn created(line: &str) -> String {
    let lab = Lab::with_router();
    let prepared = format!(
        r#"{{"Id": "p1", "Networks": ["name=mesh,driver-opt=a=0"], "Addresses": ["10.2.1.1"], "Dns": {CLIENT}}}"#
    );
    lab.answer("/prepare", 200, &prepared);
    lab.program("docker", &format!("echo {CONTAINER}"));
    lab.mesh(line).ok();
    let create = lab.log()[1].clone();
    create.trim_start_matches("docker create ").to_owned()
}
