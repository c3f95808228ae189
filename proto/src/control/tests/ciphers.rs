//! Routers that take different ciphers.

use super::*;
use crate::crypto::aead::{Suite, Suites};

const AES: Suites = Suites::only(Suite::Aes256Gcm);

fn taking(seed: u8, suites: Suites) -> Setup {
    Setup {
        suites,
        ..open_mesh(seed)
    }
}

/// Cipher, state and error of each connection.
fn rows(net: &Net, n: usize) -> Vec<(String, ConnectionState, String)> {
    let report = net.nodes[n].control.report(net.now);
    let connections = report.connections.into_iter();
    connections.map(|c| (c.cipher, c.state, c.error)).collect()
}

#[test]
fn the_report_says_what_each_session_uses() {
    for (a, b, cipher) in [
        (Suites::AES_FIRST, Suites::AES_FIRST, "aes-256-gcm"),
        (Suites::AES_FIRST, Suites::CHACHA, "chacha20-poly1305"),
        (AES, Suites::AES_FIRST, "aes-256-gcm"),
    ] {
        let mut net = Net::new(vec![taking(1, a), taking(2, b)]);
        net.connect(0, 1);
        net.run(3 * SECOND);
        for n in 0..2 {
            let up = (
                cipher.to_owned(),
                ConnectionState::Established,
                String::new(),
            );
            assert_eq!(rows(&net, n), [up]);
        }
    }
}

#[test]
fn without_a_common_cipher_both_sides_say_so_and_none_gives_in() {
    let mut net = Net::new(vec![taking(1, AES), taking(2, Suites::CHACHA)]);
    net.connect(0, 1);
    // Longer than it takes to call UDP blocked, which it is not.
    net.run(15 * SECOND);
    let ours = ["aes-256-gcm", "chacha20-poly1305"];
    for (n, own) in ours.iter().enumerate() {
        let theirs = ours[1 - n];
        let told = format!(
            "no cipher in common: this router takes {own}, that one {theirs}; start both with --cipher auto"
        );
        assert_eq!(
            rows(&net, n),
            [(String::new(), ConnectionState::Pending, told)]
        );
        let counters = net.nodes[n].control.report(net.now).counters;
        let refused = counters.get("session handshakes refused: no cipher in common");
        assert!(refused.is_some_and(|n| *n >= 1), "{counters:?}");
    }
    net.send_frame(0, &frame([0xff; 6], 1, b"hello"));
    assert!(net.nodes[1].injected.is_empty());
}
