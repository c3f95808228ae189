//! Two routers on a TCP link whose bytes are split anywhere, and modified as the input says.

use mesh_proto::entropy::SeededEntropy;
use mesh_proto::limits::{MAX_LINK_RECORD, MAX_LINK_SEND_QUEUE};
use mesh_proto::link::{AlertCode, Link, LinkEvent, LinkRole};
use mesh_proto::wire::message::LinkMessage;

use super::fixture::{self, START};
use super::input::{Input, Script};
use super::link_message;

const STEPS: usize = 48;

struct Side {
    link: Link,
    /// Bytes in flight to this side.
    stream: Vec<u8>,
    sent: Vec<LinkMessage>,
    heard: Vec<LinkMessage>,
    up: bool,
    closed: bool,
}

/// Messages arrive unmodified, completely and in order; a modified stream ends or stalls the link.
pub(super) fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let mut entropy = SeededEntropy::new(9);
    let mut sides = [(LinkRole::Dialler, 0), (LinkRole::Acceptor, 1)].map(|(role, n)| Side {
        link: Link::new(role, &fixture::link_config(n), START, &mut entropy),
        stream: Vec::new(),
        sent: Vec::new(),
        heard: Vec::new(),
        up: false,
        closed: false,
    });
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        let choice = input.byte();
        step(
            choice & 0x0f,
            usize::from(choice >> 7),
            &mut sides,
            &mut input,
            &mut entropy,
        );
    }
    for side in 0..2 {
        let (there, here) = (&sides[1 - side].sent, &sides[side].heard);
        assert!(
            there.starts_with(here),
            "{here:?} is not a start of {there:?}"
        );
    }
}

fn step(
    operation: u8,
    side: usize,
    sides: &mut [Side; 2],
    input: &mut Input<'_>,
    entropy: &mut SeededEntropy,
) {
    match operation {
        0 => sides[side].send(input),
        1 => {
            let (at, mask) = (usize::from(input.byte()), input.byte());
            let stream = &mut sides[side].stream;
            let at = at % stream.len().max(1);
            if let Some(byte) = stream.get_mut(at) {
                *byte ^= mask;
            }
        }
        2 => {
            let (at, bytes) = (usize::from(input.byte()), input.chunk());
            let stream = &mut sides[side].stream;
            let at = at % (stream.len() + 1);
            stream.splice(at..at, bytes.iter().copied());
        }
        3 => sides[side].refuse(AlertCode::from_byte(input.byte())),
        4..8 => {
            let size = usize::from(input.byte());
            deliver(side, size, sides, entropy);
        }
        _ => deliver(side, usize::MAX, sides, entropy),
    }
    for n in 0..2 {
        let bytes = sides[n].link.poll_transmit().unwrap_or_default();
        assert!(bytes.len() <= 2 * MAX_LINK_SEND_QUEUE + MAX_LINK_RECORD);
        sides[1 - n].stream.extend(bytes);
    }
}

fn deliver(side: usize, size: usize, sides: &mut [Side; 2], entropy: &mut SeededEntropy) {
    let side = &mut sides[side];
    let size = size.min(side.stream.len());
    let bytes: Vec<u8> = side.stream.drain(..size).collect();
    side.link.handle_bytes(&bytes, START, entropy);
    side.pump();
}

impl Side {
    fn send(&mut self, input: &mut Input<'_>) {
        let samples = link_message::samples();
        let message = match input.below(samples.len() + 1) {
            0 => LinkMessage::Records(vec![vec![input.byte(); usize::from(input.u16())]]),
            n => samples[n - 1].clone(),
        };
        let taken = self.link.send(&message);
        assert!(self.up && !self.closed || !taken, "sent before admission");
        if taken {
            self.sent.push(message);
        }
    }

    fn refuse(&mut self, code: AlertCode) {
        self.link.refuse(code);
        self.pump();
        assert!(self.closed);
    }

    fn pump(&mut self) {
        while let Some(event) = self.link.poll_event() {
            assert!(!self.closed, "{event:?} after the last event");
            match event {
                LinkEvent::Authenticated { record, .. } => {
                    assert!(record.introduces().is_ok());
                    self.link.accept();
                }
                LinkEvent::Up => self.up = true,
                LinkEvent::Message(message) => {
                    assert!(self.up, "a message before admission");
                    self.heard.push(message);
                }
                LinkEvent::Closed(_) => self.closed = true,
            }
        }
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    const THERE: u8 = 0x80;
    let turn = [8, THERE | 8];
    let up = [turn; 4].concat();
    let samples = u8::try_from(link_message::samples().len()).unwrap_or(1);
    let all: Vec<u8> = (1..=samples).flat_map(|n| [THERE * (n % 2), n]).collect();
    let long = [0, 0, 0xff, 0xff, THERE | 8, 8];
    let bytewise: Vec<u8> = (0..46).flat_map(|n| [4 + THERE * (n % 2), 31]).collect();
    let after = |more: &[u8]| [&up[..], more].concat();
    vec![
        up.clone(),
        after(&all),
        after(&[&all[..], &turn].concat()),
        after(&long),
        bytewise,
        after(&[0, 1, 0, 2, THERE | 1, 3, 4, THERE | 8]),
        after(&[0, 1, THERE | 2, 0, 2, 0, 5, THERE | 8]),
        after(&[0, 1, THERE | 5, 7, THERE | 8, 3, 7, THERE | 8]),
        [&[8, THERE | 1, 70, 1][..], &turn, &turn].concat(),
        Script::new()
            .put(&[THERE | 2, 0])
            .chunk(b"HTTP/1")
            .put(&turn)
            .done(),
        [&turn[..], &[3, 1], &turn].concat(),
    ]
}
