//! The bytes of records and messages when there are networks besides `default`.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::spaces::record;
use super::super::*;
use super::parts;
use mesh_proto::limits::{MAX_ADDRESS_SPACES, MAX_IPAM_BYTES};
use mesh_proto::network::NetworkId;
use mesh_proto::wire::bounded::Blob;

fn space(network: u8, subnet: u8) -> SpaceTag {
    SpaceTag {
        id: NetworkId([network; 16]),
        numbers: Ipv4Net::new([10, subnet, 0, 0].into(), 24).unwrap(),
    }
}

fn default_statement() -> IpamStatement {
    parts::statement(3, vec![parts::run(0, 4)])
}

fn body(default: Option<IpamStatement>, spaces: &[(SpaceTag, Vec<u8>)]) -> Vec<u8> {
    let stated = spaces.iter().map(|(space, bytes)| SpaceStatement {
        space: *space,
        statement: Blob(bytes),
    });
    let spaces = stated.collect();
    AddressRecord { default, spaces }.encode()
}

fn spaces() -> impl Strategy<Value = Vec<(SpaceTag, Vec<u8>)>> {
    let one = ((1u8..5, 0u8..4), vec(any::<u8>(), 1..40));
    vec(one, 0..6).prop_map(|all| {
        let all = all.into_iter().map(|((n, s), bytes)| (space(n, s), bytes));
        let sorted: std::collections::BTreeMap<SpaceTag, Vec<u8>> = all.collect();
        sorted.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn records_read_back(has_default: bool, spaces in spaces()) {
        let default = has_default.then(default_statement);
        let bytes = body(default.clone(), &spaces);
        let read = AddressRecord::decode(&bytes);
        if !has_default && spaces.is_empty() {
            prop_assert!(read.is_err());
            return Ok(());
        }
        let read = read.unwrap();
        prop_assert_eq!(&read.default, &default);
        let stated = read.spaces.iter().map(|s| (s.space, s.statement.0.to_vec()));
        prop_assert_eq!(stated.collect::<Vec<_>>(), spaces);
        prop_assert_eq!(&read.encode(), &bytes);
    }

    #[test]
    fn any_bytes_are_refused_or_read_the_same_again(bytes in vec(any::<u8>(), 0..200)) {
        let good = body(Some(default_statement()), &[]);
        for bytes in [bytes.clone(), [good, bytes.clone()].concat(), [vec![0], bytes].concat()] {
            if let Ok(record) = AddressRecord::decode(&bytes) {
                let again = record.encode();
                prop_assert_eq!(AddressRecord::decode(&again), Ok(record));
            }
            if let Ok(Some(message)) = SpaceMessage::decode(&bytes) {
                prop_assert_eq!(&message.encode(), &bytes);
            }
        }
    }

    #[test]
    fn the_version_of_a_statement_is_read_without_the_rest(epoch: u64, seq: u64, own in 0u16..9) {
        let version = mesh_proto::ids::Version { epoch, seq };
        let mut statement = parts::statement(1, vec![parts::run(0, own)]);
        statement.version = version;
        prop_assert_eq!(IpamStatement::peek_version(&statement.encode()), Some(version));
    }
}

#[test]
fn without_other_networks_the_record_is_the_statement() {
    let statement = default_statement();
    assert_eq!(body(Some(statement.clone()), &[]), statement.encode());
    let (bytes, left_out) = record::fit(Some(statement.encode()), core::iter::empty());
    assert_eq!((bytes, left_out), (statement.encode(), 0));
}

/// Cut anywhere, a record is refused, or it is the statement about `default` alone; with any byte changed it is refused or
/// another one.
#[test]
fn every_truncation_and_flipped_bit() {
    let all = [(space(1, 1), vec![7; 3]), (space(2, 1), vec![8; 2])];
    let bytes = body(Some(default_statement()), &all);
    let whole = AddressRecord::decode(&bytes).unwrap();
    for length in 0..bytes.len() {
        let is_default = bytes[..length] == default_statement().encode();
        let cut = AddressRecord::decode(&bytes[..length]);
        assert_eq!(cut.is_ok(), is_default, "cut at {length}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(AddressRecord::decode(&changed), Ok(whole.clone()), "{bit}");
    }
    let (space, message) = (space(1, 1), &[1, 2, 3][..]);
    let bytes = SpaceMessage { space, message }.encode();
    assert_eq!(SpaceMessage::decode(&bytes).unwrap().unwrap().space, space);
    for length in 1..22 {
        assert!(SpaceMessage::decode(&bytes[..length]).is_err(), "{length}");
    }
    assert_eq!(SpaceMessage::decode(&[1, 2]), Ok(None));
}

#[test]
fn bad_spaces_are_refused() {
    let good = space(1, 1);
    let host_bits = Ipv4Net::new([10, 1, 0, 1].into(), 24).unwrap();
    let tiny = Ipv4Net::new([10, 1, 0, 0].into(), 31).unwrap();
    let id = NetworkId::DEFAULT;
    for bad in [
        SpaceTag { id, ..good },
        SpaceTag {
            numbers: host_bits,
            ..good
        },
        SpaceTag {
            numbers: tiny,
            ..good
        },
    ] {
        let bytes = body(None, &[(bad, vec![1])]);
        assert!(AddressRecord::decode(&bytes).is_err(), "{bad:?}");
        let (space, message) = (bad, &[1][..]);
        let bytes = SpaceMessage { space, message }.encode();
        assert!(SpaceMessage::decode(&bytes).is_err(), "{bad:?}");
    }
    let one = |n| (space(n, 1), vec![1]);
    for disorder in [[one(2), one(1)], [one(1), one(1)]] {
        assert!(AddressRecord::decode(&body(None, &disorder)).is_err());
    }
    assert!(AddressRecord::decode(&body(None, &[(good, Vec::new())])).is_err());
    let many: Vec<(SpaceTag, Vec<u8>)> = (0..=MAX_ADDRESS_SPACES)
        .map(|n| {
            let mut network = [1; 16];
            network[..8].copy_from_slice(&u64::try_from(n).unwrap().to_be_bytes());
            let id = NetworkId(network);
            (SpaceTag { id, ..good }, vec![1])
        })
        .collect();
    assert!(AddressRecord::decode(&body(None, &many)).is_err());
    assert!(AddressRecord::decode(&body(None, &many[1..])).is_ok());
}

#[test]
fn what_has_no_room_is_left_out_and_default_never_is() {
    let long = vec![7; 10_000];
    let all: Vec<SpaceTag> = (1..=20).map(|n| space(n, 1)).collect();
    let stated = || all.iter().map(|id| (*id, &long[..]));
    let default = default_statement().encode();
    let (bytes, left_out) = record::fit(Some(default.clone()), stated().rev());
    assert!(bytes.len() <= MAX_IPAM_BYTES && left_out == 4, "{left_out}");
    let read = AddressRecord::decode(&bytes).unwrap();
    assert_eq!(read.default, Some(default_statement()));
    let ids: Vec<SpaceTag> = read.spaces.iter().map(|s| s.space).collect();
    assert_eq!(ids, all[4..], "the first ones given have room");
    let full = vec![1; MAX_IPAM_BYTES - 10];
    let (bytes, left_out) = record::fit(Some(full.clone()), stated());
    assert_eq!((bytes, left_out), (full, 20));
}
