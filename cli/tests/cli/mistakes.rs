//! Messages about mistakes, and the small verbs.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use crate::support::Lab;

#[test]
fn no_router() {
    let lab = Lab::new();
    let socket = lab.socket();
    for line in [
        "status",
        "ps",
        "report",
        "connect a",
        "forget a",
        "attach 10.2.1.1/24 c",
        "detach c",
        "dns-add c -h x",
        "dns-lookup x",
        "dns-args",
        "status dns",
        "network create web",
        "network ls",
        "network inspect web",
        "network rm web",
    ] {
        let said = lab.mesh(line);
        said.failed(1, "(no such file); try `mesh launch`");
        said.failed(1, socket.to_str().unwrap());
    }
    drop(UnixListener::bind(&socket).unwrap());
    lab.mesh("status").failed(1, "nobody listens there");
}

#[test]
fn a_router_that_speaks_otherwise() {
    let lab = Lab::with_router();
    lab.answer("/report", 200, "{}");
    lab.mesh("status").failed(1, "same version");
    lab.answer("/report", 200, "not json");
    lab.mesh("report").failed(1, "same version");
    lab.answer("/report", 500, "boom");
    lab.mesh("status").failed(1, "500");
    lab.answer(
        "/connect",
        400,
        r#"{"Error": "cannot resolve 'nosuch'; check the name"}"#,
    );
    lab.mesh("connect nosuch")
        .failed(1, "cannot resolve 'nosuch'; check the name");
}

#[test]
fn connect_and_forget() {
    let lab = Lab::with_router();
    // A name that does not resolve is reported in a line; that is not a failure.
    let said = lab.mesh("connect --replace 192.0.2.1 no-such-host.invalid:7");
    assert_eq!(said.status, 0);
    assert!(said.err.contains("no-such-host.invalid:7") && said.err.lines().count() == 1);
    assert_eq!(lab.mesh("forget a").ok(), "");
    assert_eq!(lab.mesh("connect --replace").ok(), "");
    let sent = lab.requests("/connect");
    assert_eq!(
        sent[0],
        serde_json::json!({"Peers": ["192.0.2.1", "no-such-host.invalid:7"], "Replace": true})
    );
    assert_eq!(sent[1]["Peers"], serde_json::json!([]));
    assert_eq!(lab.requests("/forget")[0]["Peers"][0], "a");
    assert_eq!(lab.mesh("connect").status, 2);
}

#[test]
fn usage() {
    let lab = Lab::new();
    for line in [
        "nosuch",
        "",
        "launch --mtu x",
        "launch --datapath pigeon",
        "launch --cipher rot13",
        "attach",
        "completions tcsh",
    ] {
        let said = lab.mesh(line);
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{line}");
        assert!(said.err.contains("--help"), "{line}: {}", said.err);
    }
}

#[test]
fn every_verb_has_help_with_an_example() {
    let lab = Lab::new();
    let top = lab.mesh("--help").ok();
    assert_eq!(lab.mesh("help").ok(), top);
    let verbs = "launch connect forget run start restart attach detach ps status report stop reset keygen version completions";
    for verb in verbs.split(' ') {
        assert!(top.contains(&format!("\n  {verb} ")), "{verb}");
        let help = lab.mesh(&format!("{verb} --help")).ok();
        assert!(
            help.contains("Example:\n  mesh ") && help.contains(verb),
            "{verb}: {help}"
        );
        assert_eq!(lab.mesh(&format!("help {verb}")).ok(), help);
    }
}

#[test]
fn json_is_an_option_of_whatever_prints_data() {
    let lab = Lab::new();
    let verbs =
        "run attach detach expose hide ps dns-lookup dns-args status topology report version";
    for verb in verbs.split(' ') {
        let help = lab.mesh(&format!("{verb} --help")).ok();
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("--json Print JSON"), "{help}");
    }
    for verb in ["run", "attach", "detach", "dns-args", "version"] {
        let help = lab.mesh(&format!("{verb} --help")).ok();
        let (_, example) = help.split_once("Example:\n").unwrap();
        assert!(example.contains(&format!("mesh {verb} --json")), "{help}");
    }
    let script = lab.mesh("completions fish").ok();
    for verb in verbs.split(' ') {
        let is_offered = |l: &str| l.contains(&format!(" {verb}\"")) && l.contains("-l json");
        assert!(script.lines().any(is_offered), "{verb}");
    }
}

#[test]
fn a_nickname_is_called_so_everywhere() {
    let lab = Lab::new();
    for (verb, told) in [
        ("launch", "Nickname of this router"),
        ("status", "name, nickname, identity or address"),
        ("rmpeer", "Names, nicknames or identities"),
    ] {
        let help = lab.mesh(&format!("{verb} --help")).ok();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains(told), "{help}");
        assert!(!help.to_lowercase().contains("human"), "{help}");
    }
}

#[test]
fn completion_scripts() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Lab::new().mesh(&format!("completions {shell}")).ok();
        assert!(
            script.contains("mesh") && script.contains("restart"),
            "{shell}"
        );
    }
}

#[test]
fn keygen_makes_a_private_file_once() {
    let lab = Lab::new();
    let key = lab.path("key");
    assert_eq!(lab.mesh_words(&["keygen", key.to_str().unwrap()]).ok(), "");
    let text = std::fs::read_to_string(&key).unwrap();
    assert!(text.len() == 65 && text.trim_end().bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    lab.mesh_words(&["keygen", key.to_str().unwrap()])
        .failed(1, "not overwritten");
    assert_eq!(std::fs::read_to_string(&key).unwrap(), text);
    let other = lab.mesh("keygen").ok();
    assert!(other.len() == 65 && other != text);
    let dangling = lab.path("dangling");
    symlink(lab.path("nowhere"), &dangling).unwrap();
    lab.mesh_words(&["keygen", dangling.to_str().unwrap()])
        .failed(1, "not overwritten");
}
