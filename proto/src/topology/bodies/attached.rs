//! Body of a record about attached containers.
//!
//! The interfaces in the network `default` come first, as a list. If there are others, a list of groups follows, one for
//! each network. One content has one encoding: groups are in ascending order of their ids, none of them is empty, and
//! numbers are in their shortest form.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{encoded, fit_to_print};
use crate::ids::Mac;
use crate::limits::{
    MAX_ATTACHED, MAX_CONTAINER_NAME, MAX_RECORD, MAX_USED_NETWORKS, RECORD_OVERHEAD,
};
use crate::network::NetworkId;
use crate::topology::error::RecordError;
use crate::wire::bounded;
use crate::wire::codec::{self, CodecError};

/// Network interface of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Network in which it is; encoded once for all interfaces of the network.
    #[serde(skip)]
    pub network: NetworkId,
    /// MAC address.
    pub mac: Mac,
    /// IP address and prefix length.
    pub addr: IpNet,
    /// Short name of the container, for display; empty if the record would exceed its bound.
    #[serde(deserialize_with = "bounded::text::<_, MAX_CONTAINER_NAME>")]
    pub container: String,
    /// MAC mobility sequence number (RFC 7432 section 15): number of moves to another router. Of two announcements of
    /// the address, the higher number wins.
    pub moves: u32,
}

/// Interfaces in one network.
#[derive(Serialize, Deserialize)]
struct AttachedList(
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_ATTACHED>")] Vec<Attached>,
);

#[derive(Serialize, Deserialize)]
struct AttachedGroup(NetworkId, AttachedList);

#[derive(Serialize, Deserialize)]
struct AttachedGroups(
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_USED_NETWORKS>")] Vec<AttachedGroup>,
);

/// Encodes the body of a record about [`crate::wire::topic::Topic::ATTACHED`]; interfaces in one network stay in their
/// order. Container names are truncated to their bound, and control characters are removed. If the record would be
/// longer than [`MAX_RECORD`], all names are left out.
pub fn encode_attached(attached: &[Attached]) -> Vec<u8> {
    let mut attached = attached.to_vec();
    attached.sort_by_key(|one| one.network);
    for one in &mut attached {
        one.container = presentable(&one.container);
    }
    let body = encode_sorted(&attached);
    if body.len() + RECORD_OVERHEAD <= MAX_RECORD {
        return body;
    }
    attached.iter_mut().for_each(|one| one.container.clear());
    encode_sorted(&attached)
}

/// Encodes interfaces in ascending order of networks.
fn encode_sorted(attached: &[Attached]) -> Vec<u8> {
    let others = attached.partition_point(|one| one.network.is_default());
    let (default, others) = attached.split_at(others);
    let mut body = encoded(&AttachedList(default.to_vec()));
    if !others.is_empty() {
        body.extend(encoded(&grouped(others)));
    }
    body
}

fn grouped(others: &[Attached]) -> AttachedGroups {
    let groups = others.chunk_by(|a, b| a.network == b.network);
    let group = |all: &[Attached]| {
        let first = all.first()?;
        Some(AttachedGroup(first.network, AttachedList(all.to_vec())))
    };
    AttachedGroups(groups.filter_map(group).collect())
}

/// Decodes the body of a record about [`crate::wire::topic::Topic::ATTACHED`], in ascending order of networks; an empty
/// body means no containers.
///
/// # Errors
/// [`RecordError`] if it is malformed, exceeds a bound, has control characters, or if its groups are not as
/// [`encode_attached`] makes them.
pub fn decode_attached(body: &[u8]) -> Result<Vec<Attached>, RecordError> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let (AttachedList(mut attached), rest) = codec::decode_first(body)?;
    if !rest.is_empty() {
        attached.extend(decode_groups(rest)?);
    }
    if attached.len() > MAX_ATTACHED {
        return Err(CodecError::Malformed.into());
    }
    attached
        .iter()
        .try_for_each(|one| fit_to_print(&one.container))?;
    Ok(attached)
}

fn decode_groups(bytes: &[u8]) -> Result<Vec<Attached>, RecordError> {
    let groups: AttachedGroups = codec::decode(bytes)?;
    let all = groups.0.iter();
    let ids: Vec<NetworkId> = all.map(|AttachedGroup(id, _)| *id).collect();
    // The network `default` has the lowest id.
    let is_sorted = ids.first() != Some(&NetworkId::DEFAULT) && ids.is_sorted_by(|a, b| a < b);
    if !is_sorted || encoded(&groups) != bytes {
        return Err(CodecError::Malformed.into());
    }
    let mut attached = Vec::new();
    for AttachedGroup(network, AttachedList(list)) in groups.0 {
        if list.is_empty() {
            return Err(CodecError::Malformed.into());
        }
        attached.extend(list.into_iter().map(|one| Attached { network, ..one }));
    }
    match attached.is_empty() {
        true => Err(CodecError::Malformed.into()),
        false => Ok(attached),
    }
}

fn presentable(name: &str) -> String {
    let clean: String = name.chars().filter(|c| !c.is_control()).collect();
    bounded::truncated(&clean, MAX_CONTAINER_NAME).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const REFUSED: Result<Vec<Attached>, RecordError> =
        Err(RecordError::Malformed(CodecError::Malformed));

    fn id(k: u8) -> NetworkId {
        NetworkId([k; 16])
    }

    fn attached(k: u8, n: u8) -> Attached {
        Attached {
            network: id(k),
            mac: Mac([2, 0, 0, 0, 0, n]),
            addr: ipnet::Ipv4Net::new_assert([10, 0, 0, n].into(), 24).into(),
            container: "web".into(),
            moves: (n % 100).into(),
        }
    }

    /// Encodes a body whose groups are as they are given.
    fn body(default: &[Attached], groups: &[(u8, &[Attached])]) -> Vec<u8> {
        let group =
            |(k, all): &(u8, &[Attached])| AttachedGroup(id(*k), AttachedList(all.to_vec()));
        let groups = AttachedGroups(groups.iter().map(group).collect());
        [encoded(&AttachedList(default.to_vec())), encoded(&groups)].concat()
    }

    #[test]
    fn without_other_networks_the_bytes_are_those_of_the_list() {
        let default = [attached(0, 1), attached(0, 2)];
        assert_eq!(
            encode_attached(&default),
            encoded(&AttachedList(default.to_vec()))
        );
        assert_eq!(encode_attached(&default)[..8], [2, 2, 0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn groups_follow_in_the_order_of_networks() {
        let mixed = [(7, 3), (0, 1), (2, 5), (7, 1), (0, 9)].map(|(k, n)| attached(k, n));
        let sorted = [(0, 1), (0, 9), (2, 5), (7, 3), (7, 1)].map(|(k, n)| attached(k, n));
        let bytes = encode_attached(&mixed);
        let groups: [(u8, &[Attached]); 2] = [(2, &sorted[2..3]), (7, &sorted[3..])];
        assert_eq!(bytes, body(&sorted[..2], &groups));
        assert_eq!(decode_attached(&bytes), Ok(sorted.to_vec()));
        let only = encode_attached(&mixed[..1]);
        assert_eq!(only[..3], [0, 1, 7], "no interface in `default`, one group");
        assert_eq!(decode_attached(&only), Ok(mixed[..1].to_vec()));
    }

    #[test]
    fn one_content_has_one_encoding() {
        let one = [attached(0, 1)];
        let refused: [&[(u8, &[Attached])]; 6] = [
            &[],
            &[(0, &one)],
            &[(1, &[])],
            &[(1, &one), (1, &one)],
            &[(2, &one), (1, &one)],
            &[(1, &one), (0, &one)],
        ];
        for groups in refused {
            let bytes = body(&one, groups);
            assert_eq!(decode_attached(&bytes), REFUSED, "{} groups", groups.len());
        }
        let good = body(&one, &[(1, &one)]);
        assert!(decode_attached(&good).is_ok());
        let lists = body(&one, &[]).len() - 1;
        // The number of groups, in three bytes.
        let mut longer = good.clone();
        longer.splice(lists..=lists, [0xfb, 0, 1]);
        assert_eq!(decode_attached(&longer), REFUSED);
    }

    #[test]
    fn the_bounds_are_those_of_all_networks_together() {
        let many = |k: u8, n: usize| vec![attached(k, 1); n];
        let decoded = |parts: &[Vec<Attached>]| decode_attached(&encode_attached(&parts.concat()));
        assert!(decoded(&[many(0, MAX_ATTACHED - 2), many(1, 1), many(2, 1)]).is_ok());
        assert_eq!(
            decoded(&[many(0, MAX_ATTACHED - 2), many(1, 1), many(2, 2)]),
            REFUSED
        );
        assert_eq!(decoded(&[many(1, MAX_ATTACHED + 1)]), REFUSED);
        let networks = |n: u8| (1..=n).map(|k| many(k, 1)).collect::<Vec<_>>();
        let most = u8::try_from(MAX_USED_NETWORKS).unwrap();
        assert!(decoded(&networks(most)).is_ok());
        assert_eq!(decoded(&networks(most + 1)), REFUSED);
    }

    #[test]
    fn the_fullest_body_fits_a_record() {
        let full = |n: usize| Attached {
            network: id(u8::try_from(n % (MAX_USED_NETWORKS + 1)).unwrap()),
            addr: "ffff::1/64".parse().unwrap(),
            container: "c".repeat(MAX_CONTAINER_NAME),
            moves: u32::MAX,
            ..attached(0, 1)
        };
        let bytes = encode_attached(&(0..MAX_ATTACHED).map(full).collect::<Vec<_>>());
        assert!(bytes.len() + RECORD_OVERHEAD <= MAX_RECORD);
        assert_eq!(
            decode_attached(&bytes).map(|all| all.len()),
            Ok(MAX_ATTACHED)
        );
    }

    proptest! {
        #[test]
        fn interfaces_survive_by_network(all in vec((0u8..4, any::<u8>()), 1..40)) {
            let mut all: Vec<Attached> = all.into_iter().map(|(k, n)| attached(k, n)).collect();
            let bytes = encode_attached(&all);
            all.sort_by_key(|one| one.network);
            prop_assert_eq!(decode_attached(&bytes), Ok(all));
        }

        #[test]
        fn every_truncation_is_refused_and_no_flipped_bit_has_a_second_encoding(
            all in vec((0u8..4, any::<u8>()), 1..6),
        ) {
            let all: Vec<Attached> = all.into_iter().map(|(k, n)| attached(k, n)).collect();
            let bytes = encode_attached(&all);
            // Cut before the groups, it is a body of the network `default`.
            let default = all.iter().filter(|one| one.network.is_default()).cloned();
            let default = encoded(&AttachedList(default.collect()));
            for len in 1..bytes.len() {
                let is_whole = len == default.len();
                prop_assert_eq!(decode_attached(&bytes[..len]).is_ok(), is_whole, "{}", len);
            }
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                if let Ok(read) = decode_attached(&flipped) {
                    prop_assert_eq!(encode_attached(&read), flipped, "bit {}", bit);
                }
            }
        }
    }
}
