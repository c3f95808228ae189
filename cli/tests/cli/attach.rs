//! `attach`, `detach`, `start`, `restart`.

use crate::support::{CONTAINER, Lab};

#[test]
fn attach_and_detach_print_addresses_on_one_line() {
    let lab = Lab::with_router();
    let addresses = r#"{"Addresses": ["10.2.1.5", "10.3.1.5"]}"#;
    lab.answer("/attach", 200, addresses);
    lab.answer("/detach", 200, addresses);
    let line = "10.2.1.5 10.3.1.5\n";
    assert_eq!(lab.mesh("attach 10.2.1.5/24 10.3.1.5/24 web").ok(), line);
    assert_eq!(
        lab.mesh("attach --runtime podman --no-multicast-route 10.2.1.5/24 web")
            .ok(),
        line
    );
    assert_eq!(lab.mesh("detach web").ok(), line);
    let mut sent = lab.requests("/attach");
    assert!(sent[0]["CallerPid"].take().as_u64() > Some(1));
    assert_eq!(
        sent[0],
        serde_json::json!({"Container": "web", "Addresses": ["10.2.1.5/24", "10.3.1.5/24"], "Runtime": null,
            "MulticastRoute": true, "CallerPid": null, "WithoutDns": false, "NoRewriteHosts": false, "AddHost": [],
            "Timeout": null})
    );
    assert_eq!(
        (&sent[1]["Runtime"], &sent[1]["MulticastRoute"]),
        (&"podman".into(), &false.into())
    );
    assert_eq!(
        lab.requests("/detach")[0],
        serde_json::json!({"Container": "web", "Addresses": [], "Runtime": null})
    );
}

#[test]
fn json_says_the_container_and_its_addresses() {
    let lab = Lab::with_router();
    let answer = serde_json::json!({"Container": CONTAINER, "Name": "web", "Addresses": ["10.2.1.5", "fd00::5"]});
    lab.answer("/attach", 200, &answer.to_string());
    lab.answer("/detach", 200, &answer.to_string());
    for line in ["attach --json 10.2.1.5/24 web", "detach web --json"] {
        let printed: serde_json::Value = serde_json::from_str(&lab.mesh(line).ok()).unwrap();
        assert_eq!(printed, answer, "{line}");
    }
    let nothing = serde_json::json!({"Container": CONTAINER, "Name": "web", "Addresses": []});
    lab.answer("/detach", 200, &nothing.to_string());
    let printed: serde_json::Value =
        serde_json::from_str(&lab.mesh("detach --json web").ok()).unwrap();
    assert_eq!(printed, nothing);
    let refusal = r#"{"Error": "10.2.1.5 is used elsewhere"}"#;
    lab.answer("/attach", 400, refusal);
    lab.mesh("attach --json 10.2.1.5/24 web")
        .failed(1, "used elsewhere");
}

#[test]
fn mistakes() {
    let lab = Lab::with_router();
    for (line, part) in [
        ("attach web db", "only the last argument is a container"),
        ("attach 10.2.1.5/24", "no container"),
        (
            "attach 10.2.1.5/24 web db",
            "only the last argument is a container",
        ),
        (
            "attach web 10.2.1.5/24",
            "only the last argument is a container",
        ),
        ("attach 10.2.1.0/24 web", "network itself"),
        ("detach net:10.2.1.1/24 web", "host bits set"),
        ("start --runtime process web", "cannot be started again"),
        ("start web", "no container engine"),
    ] {
        lab.mesh(line).failed(1, part);
    }
    assert!(lab.requests("/attach").is_empty());
}

#[test]
fn without_an_address_the_router_finds_one() {
    let lab = Lab::with_router();
    lab.answer("/attach", 200, r#"{"Addresses": ["10.32.0.1"]}"#);
    assert_eq!(lab.mesh("attach --timeout 2.5 web").ok(), "10.32.0.1\n");
    assert_eq!(lab.mesh("attach net:10.32.5.0/24 web").ok(), "10.32.0.1\n");
    let sent = lab.requests("/attach");
    assert_eq!(
        (&sent[0]["Addresses"], &sent[0]["Timeout"]),
        (&serde_json::json!([]), &2.5.into())
    );
    assert_eq!(sent[1]["Addresses"][0], "net:10.32.5.0/24");
}

#[test]
fn all_verbs_that_give_addresses_take_the_same_flags() {
    let lab = Lab::with_router();
    lab.answer("/attach", 200, r#"{"Addresses": ["10.2.1.5"]}"#);
    let prepared = r#"{"Id": "p1", "Networks": ["name=mesh"], "Addresses": ["10.2.1.5"]}"#;
    lab.answer("/prepare", 200, prepared);
    lab.program("docker", "echo id");
    for (verb, request) in [
        ("run", "/prepare"),
        ("attach", "/attach"),
        ("start", "/attach"),
        ("restart", "/attach"),
    ] {
        lab.mesh(&format!(
            "{verb} --no-multicast-route --timeout 2.5 10.2.1.5/24 web"
        ))
        .ok();
        let sent = lab.requests(request).pop().unwrap();
        assert_eq!(sent["MulticastRoute"], false, "{verb}");
        assert_eq!(sent["Timeout"], 2.5, "{verb}");
    }
    assert_eq!(lab.requests("/attach").len(), 3);
}

#[test]
fn start_attaches_what_is_given() {
    let lab = Lab::with_router();
    lab.answer("/attach", 200, r#"{"Addresses": []}"#);
    lab.program("docker", "");
    assert_eq!(lab.mesh("start 10.2.1.5/24 web").ok(), "web\n");
    assert_eq!(lab.mesh("start web").ok(), "web\n");
    assert_eq!(lab.log()[1], "docker start web");
    let sent = lab.requests("/attach");
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (&sent[0]["Runtime"], &sent[0]["Addresses"][0]),
        (&"docker".into(), &"10.2.1.5/24".into())
    );
}

#[test]
fn restart_attaches_what_it_had() {
    let lab = Lab::with_router();
    lab.answer("/attach", 200, r#"{"Addresses": []}"#);
    lab.program("docker", "exit 1");
    lab.program("podman", "");
    assert_eq!(lab.mesh("restart db").ok(), "db\n");
    assert_eq!(lab.log().last().unwrap(), "podman restart db");
    assert_eq!(lab.mesh("restart 10.9.1.1/24 db").ok(), "db\n");
    let sent = lab.requests("/attach");
    assert_eq!(sent[0]["Addresses"], serde_json::json!(["10.2.1.2/24"]));
    assert_eq!(sent[1]["Addresses"], serde_json::json!(["10.9.1.1/24"]));
    assert_eq!(sent[0]["Runtime"], "podman");
}

#[test]
fn an_engine_that_fails_is_told_and_nothing_is_attached() {
    let lab = Lab::with_router();
    lab.program(
        "docker",
        "case $1 in start) echo Error: no >&2; exit 1;; container) exit 0;; esac",
    );
    let said = lab.mesh("start 10.2.1.5/24 web");
    assert_eq!(
        (said.status, said.err.as_str()),
        (
            1,
            "Error: no\nmesh: docker did not start 'web' (status 1)\n"
        )
    );
    assert!(lab.requests("/attach").is_empty());
    lab.program("docker", "exit 1");
    lab.mesh("restart web")
        .failed(1, "no container 'web' (asked docker)");
}
