//! `mesh network`.

use serde_json::json;

use crate::support::Lab;

const NETWORKS: &str = include_str!("../../../proto/view/tests/networks.json");
const CREATED: &str = r#"{"Id": "3f2a91c04d55e6b700112233445566aa", "Name": "db", "IsNew": true}"#;

fn one(n: usize) -> String {
    let all: serde_json::Value = serde_json::from_str(NETWORKS).unwrap();
    all[n].to_string()
}

#[track_caller]
fn golden(name: &str, text: &str) {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/view/tests/golden");
    let file = format!("{dir}/{name}.txt");
    assert_eq!(text, std::fs::read_to_string(&file).unwrap(), "{file}");
}

#[test]
fn create_prints_the_id() {
    let lab = Lab::with_router();
    lab.answer("/networks/create", 200, CREATED);
    let line = "network create db --subnet 10.40.0.0/16 --gateway 10.40.0.1 --internal --label a=b";
    assert_eq!(lab.mesh(line).ok(), "3f2a91c04d55e6b700112233445566aa\n");
    let expected = json!({
        "Name": "db", "Subnets": ["10.40.0.0/16"], "Gateways": ["10.40.0.1"], "IpRanges": [],
        "Internal": true, "Labels": ["a=b"],
    });
    assert_eq!(lab.requests("/networks/create"), [expected]);
    let printed = lab.mesh("network create --json db").ok();
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["IsNew"], true);
}

#[test]
fn a_network_that_exists_is_a_success_that_says_so() {
    let lab = Lab::with_router();
    lab.answer("/networks/create", 200, &CREATED.replace("true", "false"));
    let said = lab.mesh("network create db");
    assert_eq!(said.status, 0);
    assert_eq!(said.out, "3f2a91c04d55e6b700112233445566aa\n");
    assert_eq!(
        said.err,
        "mesh: the network db exists already, as asked for\n"
    );
    lab.answer(
        "/networks/create",
        400,
        r#"{"Error": "it has another MTU"}"#,
    );
    lab.mesh("network create db")
        .failed(1, "it has another MTU");
}

#[test]
fn networks_are_listed_and_shown() {
    let lab = Lab::with_router();
    lab.answer("/networks", 200, NETWORKS);
    for line in ["network ls", "network list"] {
        golden("networks", &lab.mesh(line).ok());
    }
    let listed: serde_json::Value =
        serde_json::from_str(&lab.mesh("network ls --json").ok()).unwrap();
    assert_eq!(listed[1]["Name"], "db");
    lab.answer("/networks/web", 200, &one(2));
    lab.answer("/networks/c0ffee", 200, &one(3));
    golden(
        "networks-inspect",
        &lab.mesh("network inspect web c0ffee").ok(),
    );
    let shown = lab.mesh("network inspect --json web").ok();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown[0]["Subnets"][0]["IPRange"], "10.40.5.0/24");
}

#[test]
fn what_is_found_is_shown_and_removed_whatever_else_is_named() {
    let lab = Lab::with_router();
    lab.answer("/networks/web", 200, &one(2));
    let unknown = r#"{"Error": "there is no network 'nope'; `mesh network ls` lists all"}"#;
    lab.answer("/networks/nope", 400, unknown);
    let said = lab.mesh("network inspect nope web");
    assert_eq!(said.status, 1);
    assert!(said.out.contains("Name: web\n"), "{said:?}");
    assert_eq!(said.err.lines().count(), 1, "{said:?}");
    lab.mesh("network inspect nope")
        .failed(1, "no network 'nope'");
    lab.answer("/networks/remove", 200, r#"{"Id": "3f2a"}"#);
    assert_eq!(lab.mesh("network rm db web").ok(), "db\nweb\n");
    assert_eq!(lab.mesh("network remove --force db").ok(), "db\n");
    let expected = [("db", false), ("web", false), ("db", true)];
    let expected = expected.map(|(name, force)| json!({"Network": name, "Force": force}));
    assert_eq!(lab.requests("/networks/remove"), expected);
    let used =
        r#"{"Error": "the network db has containers on host2; detach them there, or use --force"}"#;
    lab.answer("/networks/remove", 400, used);
    lab.mesh("network rm db").failed(1, "on host2");
}

#[test]
fn without_a_verb_all_are_named() {
    let lab = Lab::new();
    let said = lab.mesh("network");
    assert_eq!(said.status, 2);
    assert!(said.err.contains("create, ls"), "{said:?}");
    for verb in ["create", "ls", "inspect", "rm"] {
        let help = lab.mesh(&format!("network {verb} --help")).ok();
        assert!(
            help.contains(&format!("Example:\n  mesh network {verb}")),
            "{help}"
        );
    }
    assert_eq!(lab.mesh("network inspect").status, 2);
    assert_eq!(lab.mesh("network rm").status, 2);
}
