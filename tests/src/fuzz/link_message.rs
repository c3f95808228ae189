//! Messages between neighbours.

use mesh_proto::ids::{PeerId, Version};
use mesh_proto::limits::{
    MAX_BYE_REASON, MAX_RECORD, MAX_RECORDS_PER_MESSAGE, MAX_RECORDS_PER_REQUEST, MAX_SUMMARY,
};
use mesh_proto::wire::digest_tree::{CHILDREN, DigestNode};
use mesh_proto::wire::message::{DigestEntry, Hashes, LinkMessage, Summary};
use mesh_proto::wire::topic::{RecordKey, Topic};

use super::{record, unicast};

/// A parsed message is within its bounds, and survives encoding.
pub(super) fn target(data: &[u8]) {
    let Ok(message) = LinkMessage::decode(data) else {
        return;
    };
    check_bounds(&message);
    if let LinkMessage::Unknown(tag) = message {
        assert_eq!(data[0], tag);
        assert!(message.encode().is_err());
        return;
    }
    let bytes = message.encode().expect("what was read can be written");
    // Numbers may have been encoded longer than necessary, never shorter.
    assert!(bytes.len() <= data.len());
    assert_eq!(LinkMessage::decode(&bytes), Ok(message));
}

fn check_bounds(message: &LinkMessage) {
    match message {
        LinkMessage::Records(records) => {
            assert!(records.len() <= MAX_RECORDS_PER_MESSAGE);
            assert!(records.iter().all(|record| record.len() <= MAX_RECORD));
        }
        LinkMessage::Unicast { bytes, .. } => assert!(bytes.len() <= MAX_RECORD),
        LinkMessage::Summary(summary) => assert!(summary.entries.len() <= MAX_SUMMARY),
        LinkMessage::Request(keys) => assert!(keys.len() <= MAX_RECORDS_PER_REQUEST),
        LinkMessage::IHave(records) => assert!(records.len() <= MAX_RECORDS_PER_REQUEST),
        LinkMessage::Bye { reason } => assert!(reason.len() <= MAX_BYE_REASON),
        _ => {}
    }
}

/// Returns one message of each kind.
pub(super) fn samples() -> Vec<LinkMessage> {
    let key = |n| RecordKey::new(PeerId([n; 16]), Topic::LINKS);
    let entry = |n: u64| DigestEntry {
        key: key(u8::try_from(n % 250).unwrap_or(0)),
        reachable: n > 4,
        version: Version { epoch: n, seq: 300 },
        fingerprint: [1, 2, 3, 4],
    };
    vec![
        LinkMessage::Ping { nonce: 7 },
        LinkMessage::Pong { nonce: u64::MAX },
        LinkMessage::Records(Vec::new()),
        LinkMessage::Records(record::seeds()),
        LinkMessage::Digest([5; 16]),
        LinkMessage::Summary(Summary {
            first: PeerId([0; 16]),
            last: PeerId([0xff; 16]),
            entries: (1..9).map(entry).collect(),
        }),
        LinkMessage::Request(vec![key(9); 3]),
        LinkMessage::KeepLink(false),
        LinkMessage::IHave(vec![(key(9), entry(7).version); 3]),
        LinkMessage::Hashes(Hashes {
            node: DigestNode::ROOT,
            sums: [[7; 8]; CHILDREN],
        }),
        LinkMessage::Unicast {
            hops: 16,
            bytes: unicast::seeds().swap_remove(0),
        },
        LinkMessage::Observed(([10, 0, 0, 1], 6783).into()),
        LinkMessage::Observed("[fd00::1]:6783".parse().expect("an address")),
        LinkMessage::Bye {
            reason: "that router was stopped".to_owned(),
        },
    ]
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = samples()
        .iter()
        .filter_map(|message| message.encode().ok())
        .collect();
    seeds.push(vec![99, 1, 2, 3]);
    seeds
}
