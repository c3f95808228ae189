//! `--net NAME` of run, attach, detach, start, restart, expose, hide and attach-bridge; networks in `ps`.

use serde_json::json;

use crate::support::{CONTAINER, Lab};

/// A container in `default` and in `web`, and one that lost its network.
const PS: &str = r#"[
  {"Container": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "Name": "db", "Runtime": "docker",
   "Interfaces": [{"Name": "mesh0", "Mac": "02:6d:0a:02:01:01", "Address": "10.2.1.1/24"},
     {"Name": "mesh1", "Mac": "02:6d:0a:28:00:01", "Address": "10.40.0.1/16", "Network": "web"}]},
  {"Container": "0a1b", "Name": "gone", "Runtime": "process", "Interfaces": [],
   "Notes": ["the network old was removed, and with it the address 10.41.0.1"]}
]"#;

#[test]
fn each_verb_sends_its_network_and_addresses_without_prefix_lengths() {
    let lab = Lab::with_router();
    let addresses = r#"{"Addresses": ["10.40.0.1"]}"#;
    for path in ["/attach", "/detach", "/hide"] {
        lab.answer(path, 200, addresses);
    }
    lab.answer("/expose", 200, r#"{"Addresses": []}"#);
    lab.answer("/attach-bridge", 200, "{}");
    for (line, path) in [
        ("attach --net web 10.40.0.1 db", "/attach"),
        ("attach 10.40.0.1 --net=web db", "/attach"),
        ("detach --net web 10.40.0.1 db", "/detach"),
        ("expose --net web 10.40.0.1", "/expose"),
        ("hide --net web 10.40.0.1", "/hide"),
    ] {
        lab.mesh(line).ok();
        let sent = lab.requests(path).pop().unwrap();
        assert_eq!(sent["Network"], "web", "{line}");
        assert_eq!(sent["Addresses"], json!(["10.40.0.1"]), "{line}");
    }
    lab.mesh("attach-bridge --net web br0").ok();
    let sent = lab.requests("/attach-bridge").pop().unwrap();
    assert_eq!(sent, json!({"Bridge": "br0", "Network": "web"}));
    for line in [
        "attach 10.40.0.1 db",
        "attach --net default 10.40.0.1 db",
        "detach 10.40.0.1 db",
        "expose 10.40.0.1",
        "hide 10.40.0.1",
    ] {
        lab.mesh(line).failed(1, "no prefix length");
    }
    lab.mesh("attach --net web 10.40.0.300 db")
        .failed(1, "not an address");
}

#[test]
fn run_has_a_network_of_the_mesh_and_those_of_the_engine() {
    let lab = Lab::with_router();
    let prepared = r#"{"Id": "p1", "Networks": ["name=mesh.web,driver-opt=mesh.network=07"], "Addresses": ["10.40.0.1"]}"#;
    lab.answer("/prepare", 200, prepared);
    lab.program("docker", &format!("echo {CONTAINER}"));
    lab.mesh("run --net web 10.40.0.1 --net back --name app nginx")
        .ok();
    assert_eq!(
        lab.log()[1..3],
        [
            "docker create --net back --name app nginx".to_owned(),
            format!("docker network connect --driver-opt mesh.network=07 mesh.web {CONTAINER}"),
        ]
    );
    let sent = lab.requests("/prepare").pop().unwrap();
    assert_eq!(
        (&sent["Network"], &sent["Name"]),
        (&json!("web"), &json!("app"))
    );
    assert_eq!(sent["Addresses"], json!(["10.40.0.1"]));
    // What works without networks works as before, and sends the same.
    for line in [
        "run 10.2.1.1/24 --net back nginx",
        "run -d --net back nginx",
        "run --network back nginx",
        "run --net bridge nginx",
    ] {
        lab.mesh(line).ok();
        let sent = lab.requests("/prepare").pop().unwrap();
        assert_eq!(sent.get("Network"), None, "{line}");
        let network = if line.contains("bridge") {
            "bridge"
        } else {
            "back"
        };
        let created = lab
            .log()
            .into_iter()
            .rfind(|l| l.starts_with("docker create"));
        assert!(created.unwrap().contains(network), "{line}");
    }
    lab.mesh("run --net host nginx")
        .failed(1, "has no network of its own");
    lab.mesh("run --net container:x nginx")
        .failed(1, "has no network of its own");
}

#[test]
fn restart_attaches_to_each_network_what_was_in_it() {
    let lab = Lab::with_router();
    lab.answer("/ps", 200, PS);
    lab.answer("/attach", 200, r#"{"Addresses": []}"#);
    lab.program("docker", "");
    assert_eq!(lab.mesh("restart db").ok(), "db\n");
    let sent = lab.requests("/attach");
    let short: Vec<_> = sent
        .iter()
        .map(|one| {
            (
                one["Network"].as_str().unwrap_or_default(),
                &one["Addresses"][0],
            )
        })
        .collect();
    assert_eq!(
        short,
        [("", &json!("10.2.1.1/24")), ("web", &json!("10.40.0.1/16"))]
    );
    lab.mesh("restart --net web 10.40.0.2 db").ok();
    let last = lab.requests("/attach").pop().unwrap();
    assert_eq!(
        (&last["Network"], &last["Addresses"]),
        (&json!("web"), &json!(["10.40.0.2"]))
    );
}

#[test]
fn ps_shows_networks_and_what_happened() {
    let lab = Lab::with_router();
    lab.answer("/ps", 200, PS);
    assert_eq!(
        lab.mesh("ps").ok(),
        "0123456789ab 02:6d:0a:02:01:01 10.2.1.1/24 10.40.0.1/16@web\n\
         0a1b (the network old was removed, and with it the address 10.41.0.1)\n"
    );
    let printed: serde_json::Value = serde_json::from_str(&lab.mesh("ps --json").ok()).unwrap();
    assert_eq!(
        printed,
        serde_json::from_str::<serde_json::Value>(PS).unwrap()
    );
}
