//! What was forgotten is not dialled, whatever discovery knows of it.

use super::*;
use crate::control::Forgot;

/// A pair, linked by the first, which the second would not dial by itself.
fn pair() -> Net {
    let mut net = Net::new(vec![open_mesh(1), without_discovery(2)]);
    net.connect(0, 1);
    net.run(3 * SECOND);
    assert_eq!(net.established(0), 1);
    net
}

/// All links of the first end, as when the other router restarts.
fn cut(net: &mut Net) {
    let now = net.now;
    let ends: Vec<_> = net.streams.iter().map(|(a, b)| (*a, *b)).collect();
    net.streams.clear();
    for ((n, conn), _) in ends {
        net.nodes[n].control.handle_closed(conn, "reset", now);
    }
}

#[test]
fn discovery_does_not_bring_back_what_was_forgotten() {
    for word in [address(1).to_string(), "host2".to_owned()] {
        let mut net = pair();
        assert_eq!(
            net.nodes[0].control.forget(std::slice::from_ref(&word)),
            [Forgot::Linked]
        );
        if word == "host2" {
            // Known by discovery only.
            net.nodes[0].control.forget(&[address(1).to_string()]);
        }
        net.run(10 * SECOND);
        assert_eq!(net.established(0), 1, "a live link stays");
        cut(&mut net);
        net.run(120 * SECOND);
        assert_eq!(net.established(0), 0, "{word}");
        net.connect(0, 1);
        net.run(3 * SECOND);
        assert_eq!(net.established(0), 1, "{word}");
        cut(&mut net);
        net.nodes[0]
            .control
            .parts
            .neighbours
            .forget_target(&address(1).to_string());
        net.run(60 * SECOND);
        assert_eq!(net.established(0), 1, "dialled by discovery again");
        assert!(
            net.nodes[0]
                .control
                .parts
                .neighbours
                .forgotten_words()
                .is_empty()
        );
    }
}

#[test]
fn without_forget_discovery_dials_it_again() {
    let mut net = pair();
    net.nodes[0]
        .control
        .parts
        .neighbours
        .forget_target(&address(1).to_string());
    cut(&mut net);
    net.run(60 * SECOND);
    assert_eq!(net.established(0), 1);
}

#[test]
fn what_became_of_each_word_is_told() {
    let mut net = Net::new(vec![open_mesh(1)]);
    let now = net.now;
    let control = &mut net.nodes[0].control;
    control.connect(&["a".into()], false, now).unwrap();
    let words = ["a", "b", "192.0.2.1", "host1"].map(str::to_owned);
    let expected = [Forgot::Done, Forgot::Unknown, Forgot::Done, Forgot::Unknown];
    assert_eq!(control.forget(&words), expected);
    assert_eq!(
        control.parts.neighbours.forgotten_words(),
        ["192.0.2.1", "a"]
    );
    assert_eq!(control.forget(&words[..2]), [Forgot::Done, Forgot::Unknown]);
    control
        .connect(&["192.0.2.1".into(), "a".into()], false, now)
        .unwrap();
    assert!(control.parts.neighbours.forgotten_words().is_empty());
}

#[test]
fn the_oldest_go_when_there_are_too_many() {
    let mut net = Net::new(vec![open_mesh(1)]);
    let control = &mut net.nodes[0].control;
    let words: Vec<String> = (0..limits::MAX_FORGOTTEN + 3)
        .map(|n| SocketAddr::from(([192, 0, 2, 1], u16::try_from(n + 1).unwrap())).to_string())
        .collect();
    control.forget(&words);
    let kept = control.parts.neighbours.forgotten_words();
    assert_eq!(kept.len(), limits::MAX_FORGOTTEN);
    assert!(!kept.contains(&words[2]) && kept.contains(&words[3]));
}
