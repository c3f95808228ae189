//! Bytes of a stranger on a TCP link, in segments of any size.

use mesh_proto::entropy::SeededEntropy;
use mesh_proto::limits::MAX_PREAUTH_BUFFER;
use mesh_proto::link::{Link, LinkEvent, LinkRole};

use super::fixture::{self, START};
use super::input::Input;

/// A stranger gets no further than the handshake, and gets no more answers than the handshake has.
pub(super) fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let (piece, role) = (usize::from(input.byte()).max(1), input.byte());
    let role = if role & 1 == 0 {
        LinkRole::Acceptor
    } else {
        LinkRole::Dialler
    };
    let mut entropy = SeededEntropy::new(5);
    let mut link = Link::new(role, &fixture::link_config(0), START, &mut entropy);
    let mut closed = 0;
    let mut said = 0;
    for bytes in input.rest().chunks(piece) {
        link.handle_bytes(bytes, START, &mut entropy);
        said += link.poll_transmit().map_or(0, |bytes| bytes.len());
        while let Some(event) = link.poll_event() {
            assert_eq!(closed, 0, "an event after the last one");
            match event {
                LinkEvent::Closed(error) => {
                    assert!(!error.to_string().chars().any(char::is_control));
                    closed += 1;
                }
                other => panic!("a stranger achieved {other:?}"),
            }
        }
        assert!(said <= MAX_PREAUTH_BUFFER);
    }
    assert_eq!(link.next_deadline().is_some(), closed == 0);
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut entropy = SeededEntropy::new(6);
    let mut far = Link::new(
        LinkRole::Dialler,
        &fixture::link_config(1),
        START,
        &mut entropy,
    );
    let hello = far.poll_transmit().unwrap_or_default();
    let mut near = Link::new(
        LinkRole::Acceptor,
        &fixture::link_config(0),
        START,
        &mut entropy,
    );
    let theirs = near.poll_transmit().unwrap_or_default();
    far.handle_bytes(&theirs, START, &mut entropy);
    let first = far.poll_transmit().unwrap_or_default();
    near.handle_bytes(&[&hello[..], &first].concat(), START, &mut entropy);
    let second = near.poll_transmit().unwrap_or_default();
    let stream = |start: [u8; 2], parts: &[&[u8]]| [&start[..], &parts.concat()].concat();
    vec![
        stream([255, 0], &[&hello]),
        stream([1, 0], &[&hello, &first]),
        stream([7, 1], &[&theirs, &second]),
        stream([255, 1], &[&theirs, &[0xff, 0xff, 1, 0]]),
        stream([255, 0], &[&hello, &[0, 0]]),
        stream([255, 0], &[&hello, &[0x10, 0, 1]]),
        stream(
            [255, 1],
            b"HTTP/1.1 400 Bad Request\r\n"
                .chunks(1)
                .collect::<Vec<_>>()
                .as_slice(),
        ),
        stream([3, 1], &[b"SSH-2.0-OpenSSH"]),
        stream([255, 0], &[&[0x16, 3, 1, 0, 200, 1]]),
        stream([255, 0], &[b"mesh\x02\x03"]),
    ]
}
