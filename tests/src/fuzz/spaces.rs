//! Address allocation in networks besides `default`: records and messages of other routers, and the journal.

use core::time::Duration;
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_ipam::{
    AddressQuery, AddressRecord, AddressRequest, Ipam, IpamConfig, IpamMessage, IpamSet,
    IpamStatement, NetworkPlan, RequestId, SetOutput, SliceRun, Slicing, SpaceId, SpaceMessage,
    SpaceStatement, SpaceTag, SubnetPlan,
};
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::limits::{MAX_ADDRESS_SPACES, MAX_IPAM_BYTES};
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use mesh_proto::wire::bounded::Blob;

use super::input::Input;

const ME: PeerId = PeerId([1; 16]);
const OTHER: PeerId = PeerId([2; 16]);
/// Networks that this router and another one founded.
const NETWORKS: [(NetworkId, PeerId); 2] = [(NetworkId([7; 16]), ME), (NetworkId([8; 16]), OTHER)];

/// Returns the subnet of a network, with its gateway: one has IPv4, the other IPv6.
fn subnet_of(network: &NetworkId) -> (IpNet, IpAddr) {
    let (subnet, gateway) = match *network == NETWORKS[0].0 {
        true => ("10.1.0.0/27", "10.1.0.1"),
        false => ("fd00::/123", "fd00::1"),
    };
    let gateway = gateway.parse().expect("an address");
    (subnet.parse().expect("a subnet"), gateway)
}

fn start<'a>(journal: impl IntoIterator<Item = &'a [u8]>) -> Option<IpamSet> {
    let config = IpamConfig {
        me: ME,
        epoch: 1,
        slicing: Slicing::new("10.32.0.0/24".parse().expect("a range")).expect("a range"),
        auto_reclaim: None,
    };
    let default = Ipam::new(config, [], Instant::ZERO).expect("a new journal");
    let mut set = IpamSet::new(&config, default, Instant::ZERO);
    let mut journal = journal.into_iter().peekable();
    if journal.peek().is_some() {
        set.restore(journal, Instant::ZERO).ok()?;
    }
    for (network, founder) in NETWORKS {
        let (subnet, gateway) = subnet_of(&network);
        let subnets = vec![SubnetPlan {
            subnet,
            range: subnet,
            gateway: Some(gateway),
        }];
        let plan = NetworkPlan {
            network,
            founder,
            subnets,
        };
        set.define(plan, Instant::ZERO);
    }
    Some(set)
}

/// Carries out the outputs; what this router tells can be read. Returns the new entries of the journal.
fn drain(set: &mut IpamSet, now: Instant) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    while let Some(output) = set.poll_output() {
        match output {
            SetOutput::Persist { position, .. } => set.persisted(position, now),
            SetOutput::PersistSpace { position, entry } => {
                entries.push(entry);
                set.spaces_persisted(position, now);
            }
            SetOutput::Record(bytes) => {
                assert!(bytes.len() <= MAX_IPAM_BYTES);
                assert!(AddressRecord::decode(&bytes).is_ok());
            }
            SetOutput::Send { bytes, .. } => match SpaceMessage::decode(&bytes) {
                Ok(Some(message)) => drop(message.read().expect("our own message")),
                other => assert!(other.is_ok() && IpamMessage::decode(&bytes).is_ok()),
            },
            SetOutput::Allocated { address, .. } => {
                let gateways = ["10.1.0.1", "fd00::1"].map(str::parse);
                assert!(!gateways.contains(&Ok(address.addr())), "a gateway");
            }
            SetOutput::Failed { .. } | SetOutput::Left { .. } => {}
        }
    }
    entries
}

fn digests(set: &IpamSet) -> Vec<(SpaceId, [u8; 32])> {
    set.spaces()
        .map(|(id, ipam)| (*id, ipam.digest()))
        .collect()
}

/// Anything parsed is encoded so that it parses the same; nothing panics; the journal restores the same maps.
pub(super) fn target(data: &[u8]) {
    if let Ok(record) = AddressRecord::decode(data) {
        assert!(record.spaces.len() <= MAX_ADDRESS_SPACES);
        let again = record.encode();
        assert_eq!(AddressRecord::decode(&again), Ok(record));
    }
    if let Ok(Some(message)) = SpaceMessage::decode(data) {
        assert_eq!(message.encode(), data);
    }
    let mut set = start([]).expect("no journal");
    let mut journal = drain(&mut set, Instant::ZERO);
    let mut input = Input::new(data);
    let mut now = Instant::ZERO;
    for n in 0..32 {
        if input.is_empty() {
            break;
        }
        now += Duration::from_millis(u64::from(input.byte()));
        let peer = PeerId([input.byte() & 3; 16]);
        let (network, _) = NETWORKS[usize::from(peer.0[0] & 1)];
        match input.byte() & 7 {
            0 | 1 => drop(set.handle_record(peer, input.long_chunk(), true, now)),
            2 | 3 => drop(set.handle_message(peer, input.long_chunk(), now)),
            4 => set.set_reachable([(peer, input.flag())].into_iter(), now),
            5 => match input.byte() & 7 {
                0 => set.remove_network(&network, now),
                1 => drop(set.remove(peer, true, now)),
                _ => set.withdraw(peer, now),
            },
            6 => {
                let (subnet, _) = subnet_of(&network);
                let want = AddressQuery::AnyOf(subnet);
                drop(set.request(&network, RequestId(n), "c", want, now, now));
            }
            // An arbitrary journal entry after valid ones.
            _ => {
                let entry = input.long_chunk();
                let all = journal.iter().map(Vec::as_slice);
                drop(start(all.chain([entry])));
            }
        }
        set.handle_timeout(now);
        journal.extend(drain(&mut set, now));
    }
    let again = start(journal.iter().map(Vec::as_slice)).expect("our own journal");
    assert_eq!(digests(&again), digests(&set));
    let (_, short) = set.spaces_snapshot();
    let again = start(short.iter().map(Vec::as_slice)).expect("our own snapshot");
    assert_eq!(digests(&again), digests(&set));
}

fn step(what: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a short message");
    [&[200, 2, what], &length.to_be_bytes()[..], bytes].concat()
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let run = SliceRun {
        first: 0,
        count: 2,
        ver: 1,
    };
    let statement = |range: &str| IpamStatement {
        version: Version { epoch: 1, seq: 1 },
        range: range.parse().expect("a range"),
        settled: 1,
        live: true,
        free: 2,
        own: vec![run],
        others: Vec::new(),
        pins: Vec::new(),
        fences: Vec::new(),
        conflicts: Vec::new(),
    };
    let theirs = ["10.1.0.0/27", "0.0.0.0/27"].map(|range| statement(range).encode());
    let space = |n: usize| {
        let network = NETWORKS[n].0;
        let (subnet, _) = subnet_of(&network);
        SpaceTag::of(&SpaceId { network, subnet })
    };
    let stated = |n: usize| SpaceStatement {
        space: space(n),
        statement: Blob(&theirs[n]),
    };
    let record = AddressRecord {
        default: Some(statement("10.32.0.0/24")),
        spaces: vec![stated(0), stated(1)],
    };
    let alone = AddressRecord {
        default: None,
        spaces: vec![stated(1)],
    };
    let (record, alone) = (record.encode(), alone.encode());
    let request = IpamMessage::Request {
        epoch: 1,
        number: 1,
        request: AddressRequest::Subnet("10.1.0.0/27".parse().expect("a subnet")),
        slices: 1,
    };
    let message = SpaceMessage {
        space: space(0),
        message: &request.encode(),
    }
    .encode();
    let story = [
        step(0, &record),
        vec![200, 2, 6, 200, 3, 6],
        step(2, &message),
        vec![200, 2, 4, 0, 200, 2, 5, 1, 200, 2, 5, 0],
    ]
    .concat();
    vec![record, alone, message, story, Vec::new()]
}
