//! Address allocation: announcements of other routers, and the journal.

use core::time::Duration;

use mesh_ipam::{
    AddressRequest, Denial, ForeignClaim, Ipam, IpamConfig, IpamMessage, IpamOutput, IpamStatement,
    Pin, RequestId, SliceRun, Slicing,
};
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::time::Instant;

use super::input::Input;

const ME: PeerId = PeerId([1; 16]);
const OTHER: PeerId = PeerId([2; 16]);

fn start<'a>(journal: impl IntoIterator<Item = &'a [u8]>) -> Option<Ipam> {
    let range = "10.32.0.0/24".parse().expect("a range");
    let config = IpamConfig {
        me: ME,
        epoch: 1,
        slicing: Slicing::new(range).expect("a range"),
        auto_reclaim: None,
    };
    Ipam::new(config, journal, Instant::ZERO).ok()
}

/// Anything parsed is encoded so that it parses the same; nothing panics; the journal restores the same map.
pub(super) fn target(data: &[u8]) {
    if let Ok(statement) = IpamStatement::decode(data) {
        assert_eq!(IpamStatement::decode(&statement.encode()), Ok(statement));
    }
    if let Ok(message) = IpamMessage::decode(data) {
        assert_eq!(IpamMessage::decode(&message.encode()), Ok(message));
    }
    let mut ipam = start([]).expect("a new journal");
    let mut journal = Vec::new();
    let mut input = Input::new(data);
    let mut now = Instant::ZERO;
    for n in 0..32 {
        if input.is_empty() {
            break;
        }
        now += Duration::from_millis(u64::from(input.byte()));
        let peer = PeerId([input.byte() & 3; 16]);
        match input.byte() & 7 {
            0 | 1 => drop(ipam.handle_statement(peer, input.long_chunk(), true, now)),
            2 | 3 => drop(ipam.handle_message(peer, input.long_chunk(), now)),
            4 => ipam.set_reachable(peer, input.flag(), now),
            5 => drop(ipam.remove(peer, input.flag(), now)),
            6 => {
                let subnet = "10.32.0.0/28".parse().expect("a subnet");
                drop(ipam.allocate(RequestId(n), "c", subnet, now, now));
            }
            // An arbitrary journal entry after valid ones.
            _ => {
                let entry = input.long_chunk();
                let all = journal.iter().map(Vec::as_slice);
                drop(start(all.chain([entry])));
            }
        }
        ipam.handle_timeout(now);
        while let Some(output) = ipam.poll_output() {
            if let IpamOutput::Persist { position, entry } = output {
                journal.push(entry);
                ipam.persisted(position, now);
            }
        }
    }
    let again = start(journal.iter().map(Vec::as_slice)).expect("our own journal");
    assert_eq!(again.digest(), ipam.digest());
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let run = SliceRun {
        first: 3,
        count: 4,
        ver: 2,
    };
    let pin = Pin {
        addr: [10, 32, 0, 50].into(),
        router: None,
        epoch: 1,
        number: 0,
    };
    let statement = statement(run, pin).encode();
    let messages = messages(run, pin);
    let messages: Vec<Vec<u8>> = messages.iter().map(IpamMessage::encode).collect();
    // A neighbour states its space, a container asks for an address, and the neighbour says each thing in turn.
    let step = |what: u8, bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).expect("a short message");
        [&[200, 2, what], &length.to_be_bytes()[..], bytes].concat()
    };
    let mut story = step(0, &statement);
    story.extend([200, 2, 6]);
    for message in &messages {
        story.extend(step(2, message));
    }
    story.extend([200, 2, 4, 0, 200, 2, 5, 1]);
    let mut seeds = vec![statement, story];
    seeds.extend(messages);
    seeds.push(Vec::new());
    seeds
}

fn statement(run: SliceRun, pin: Pin) -> IpamStatement {
    IpamStatement {
        version: Version { epoch: 1, seq: 1 },
        range: "10.32.0.0/24".parse().expect("a range"),
        settled: 1,
        live: true,
        free: 2,
        own: vec![run],
        others: vec![ForeignClaim { owner: ME, run }],
        pins: vec![pin],
        fences: vec![(OTHER, Version { epoch: 1, seq: 1 })],
        conflicts: Vec::new(),
    }
}

fn messages(run: SliceRun, pin: Pin) -> [IpamMessage; 6] {
    let (epoch, number) = (1, 1);
    let subnet = "10.32.0.0/24".parse().expect("a subnet");
    let addr = [10, 32, 0, 50].into();
    [
        IpamMessage::Request {
            epoch,
            number,
            request: AddressRequest::Subnet(subnet),
            slices: 1,
        },
        IpamMessage::Leased {
            epoch,
            number,
            addr,
        },
        IpamMessage::Denied {
            epoch,
            number,
            why: Denial::InUse("web".to_owned()),
        },
        IpamMessage::Grant {
            runs: vec![run],
            pins: vec![pin],
        },
        IpamMessage::Agree {
            number,
            runs: vec![run],
        },
        IpamMessage::Agreed {
            number,
            over: Vec::new(),
            pins: vec![pin],
        },
    ]
}
