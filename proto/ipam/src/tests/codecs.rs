//! What is written is read, and whatever else there is is refused without harm.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::durable::{
    AddressState, JournalEntry, SliceClaim, header, next, replay, snapshot,
};
use super::super::wire::*;
use super::super::*;
use mesh_proto::ids::Version;

fn peer() -> impl Strategy<Value = PeerId> {
    (0u8..6).prop_map(|b| PeerId([b; 16]))
}

fn addr() -> impl Strategy<Value = Ipv4Addr> {
    (0u8..40).prop_map(|b| Ipv4Addr::new(10, 32, 0, b))
}

fn version() -> impl Strategy<Value = Version> {
    (0u64..4, 0u64..300).prop_map(|(epoch, seq)| Version { epoch, seq })
}

fn run() -> impl Strategy<Value = SliceRun> {
    (
        0u16..20,
        1u16..9,
        prop_oneof![0u32..5, Just(u32::MAX), any::<u32>()],
    )
        .prop_map(|(first, count, ver)| SliceRun { first, count, ver })
}

fn pin() -> impl Strategy<Value = Pin> {
    (addr(), proptest::option::of(peer()), 0u64..3, 0u64..9).prop_map(
        |(addr, router, epoch, number)| Pin {
            addr,
            router,
            epoch,
            number,
        },
    )
}

fn foreign() -> impl Strategy<Value = ForeignClaim> {
    (peer(), run()).prop_map(|(owner, run)| ForeignClaim { owner, run })
}

prop_compose! {
    fn statement()(
        version in version(),
        (settled, live, free) in (any::<u64>(), any::<bool>(), any::<u8>()),
        own in vec(run(), 0..4),
        others in vec(foreign(), 0..4),
        pins in vec(pin(), 0..6),
        fences in vec((peer(), version()), 0..3),
        conflicts in vec((addr(), peer(), peer()), 0..3),
    ) -> IpamStatement {
        let conflicts = conflicts.into_iter();
        let conflicts = conflicts.map(|(addr, first, second)| Conflict { addr, first, second });
        IpamStatement {
            version, range: range(), settled, live, free, own, others, pins, fences,
            conflicts: conflicts.collect(),
        }
    }
}

fn want() -> impl Strategy<Value = AddressRequest> {
    prop_oneof![
        addr().prop_map(AddressRequest::Address),
        (8u8..=32)
            .prop_map(|n| AddressRequest::Subnet(Ipv4Net::new([10, 32, 0, 0].into(), n).unwrap()))
    ]
}

fn message() -> impl Strategy<Value = IpamMessage> {
    prop_oneof![
        (0u64..3, 0u64..9, want(), any::<u16>()).prop_map(|(epoch, number, request, slices)| {
            IpamMessage::Request {
                epoch,
                number,
                request,
                slices,
            }
        }),
        (0u64..3, 0u64..9, addr()).prop_map(|(epoch, number, addr)| IpamMessage::Leased {
            epoch,
            number,
            addr
        }),
        (0u64..9, "[a-z]{0,9}").prop_map(|(number, who)| {
            let (epoch, why) = (1, Denial::InUse(who));
            IpamMessage::Denied { epoch, number, why }
        }),
        (vec(run(), 0..4), vec(pin(), 0..4))
            .prop_map(|(runs, pins)| IpamMessage::Grant { runs, pins }),
        (0u64..3, vec(run(), 0..4)).prop_map(|(number, runs)| IpamMessage::Agree { number, runs }),
        (0u64..3, vec(foreign(), 0..4), vec(pin(), 0..4))
            .prop_map(|(number, over, pins)| IpamMessage::Agreed { number, over, pins }),
    ]
}

fn entry() -> impl Strategy<Value = JournalEntry> {
    let lend = (addr(), peer(), 0u64..3, 0u64..9);
    prop_oneof![
        (peer(), run()).prop_map(|(owner, run)| JournalEntry::Claim { owner, run }),
        (proptest::option::of(peer()), run())
            .prop_map(|(from, run)| JournalEntry::Own { from, run }),
        (peer(), run()).prop_map(|(to, run)| JournalEntry::Grant { to, run }),
        (0u16..20).prop_map(|slice| JournalEntry::Granted { slice }),
        (addr(), 8u8..30, any::<bool>(), "[a-c]").prop_map(
            |(addr, prefix, explicit, container)| JournalEntry::Lease {
                addr,
                prefix,
                explicit,
                container
            }
        ),
        addr().prop_map(|addr| JournalEntry::Release { addr }),
        lend.prop_map(|(addr, to, epoch, number)| JournalEntry::RemoteLease {
            addr,
            to,
            epoch,
            number
        }),
        addr().prop_map(|addr| JournalEntry::RemoteRelease { addr }),
        (0u16..20, peer()).prop_map(|(slice, rival)| JournalEntry::Contest { slice, rival }),
        (0u16..20, peer()).prop_map(|(slice, rival)| JournalEntry::Conceded { slice, rival }),
        (peer(), version()).prop_map(|(peer, version)| JournalEntry::Fence { peer, version }),
    ]
}

fn range() -> Ipv4Net {
    "10.32.0.0/24".parse().unwrap()
}

fn me() -> PeerId {
    PeerId([1; 16])
}

fn ipam() -> Ipam {
    let config = IpamConfig {
        me: me(),
        epoch: 1,
        slicing: Slicing::new(range()).unwrap(),
        auto_reclaim: None,
    };
    Ipam::new(config, [], Instant::ZERO).unwrap()
}

proptest! {
    #[test]
    fn statements_and_messages_read_back(statement in statement(), message in message()) {
        prop_assert_eq!(IpamStatement::decode(&statement.encode()), Ok(statement));
        prop_assert_eq!(IpamMessage::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in vec(any::<u8>(), 0..200)) {
        let mut with_format = vec![1];
        with_format.extend(&bytes);
        for bytes in [&bytes, &with_format] {
            let _ = IpamStatement::decode(bytes);
            let _ = IpamMessage::decode(bytes);
            let slicing = Slicing::new(range()).unwrap();
            let header = header(&AddressState::new(me(), slicing));
            let _ = replay(me(), slicing, [header.as_slice(), bytes.as_slice()]);
        }
    }

    #[test]
    fn a_cut_statement_is_refused(statement in statement(), cut: prop::sample::Index) {
        let bytes = statement.encode();
        prop_assert!(IpamStatement::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    /// Journal and snapshot lead to one state, whatever the entries; each beginning is a state.
    #[test]
    fn a_snapshot_says_what_the_journal_said(entries in vec(entry(), 0..40)) {
        let slicing = Slicing::new(range()).unwrap();
        let mut state = AddressState::new(me(), slicing);
        let mut journal = vec![header(&state)];
        for entry in &entries {
            state.apply(entry);
            journal.push(entry.encode());
        }
        let replayed = replay(me(), slicing, journal.iter().map(Vec::as_slice));
        prop_assert_eq!(replayed.as_ref(), Ok(&state));
        let short = snapshot(&state);
        let again = replay(me(), slicing, short.iter().map(Vec::as_slice)).unwrap();
        prop_assert_eq!(again.claims().all(), state.claims().all());
        prop_assert_eq!(again.leases().all_local(), state.leases().all_local());
        let owned = |state: &AddressState| -> Vec<_> {
            let claims = state.claims();
            claims.slices().map(|slice| claims.granter(slice)).collect()
        };
        prop_assert_eq!(owned(&again), owned(&state));
    }

    /// Merging is in any order, any number of times, the same.
    #[test]
    fn maps_merge_in_any_order(claims in vec(foreign(), 1..20), order in any::<u64>()) {
        let slicing = Slicing::new(range()).unwrap();
        let apply = |claims: &[ForeignClaim]| {
            let mut state = AddressState::new(me(), slicing);
            for ForeignClaim { owner, run } in claims {
                state.apply(&JournalEntry::Claim { owner: *owner, run: *run });
            }
            state.claims().all().to_vec()
        };
        let mut other = claims.clone();
        let n = other.len();
        other.rotate_left(usize::try_from(order).unwrap_or(0) % n);
        other.reverse();
        other.extend_from_slice(&claims);
        prop_assert_eq!(apply(&claims), apply(&other));
    }

    #[test]
    fn claims_have_one_order(a in (peer(), any::<u32>()), b in (peer(), any::<u32>())) {
        let a = SliceClaim { owner: a.0, ver: a.1 };
        let b = SliceClaim { owner: b.0, ver: b.1 };
        prop_assert_eq!(a.outranks(&b) || b.outranks(&a), a != b);
        prop_assert!(!(a.outranks(&b) && b.outranks(&a)));
        prop_assert!(next(a.ver) >= a.ver);
    }

    /// Whatever members say, in whatever order, nothing panics, and the journal says what the state is.
    #[test]
    fn hostile_members_do_no_harm(
        inputs in vec((peer(), statement(), message(), 0u8..6), 0..30)
    ) {
        let mut ipam = ipam();
        let mut now = Instant::ZERO;
        let mut journal = Vec::new();
        for (n, (from, statement, message, what)) in inputs.into_iter().enumerate() {
            now += Duration::from_millis(130);
            match what {
                0 | 1 => ipam.handle_statement(from, &statement.encode(), true, now).unwrap(),
                2 | 3 => ipam.handle_message(from, &message.encode(), now).unwrap(),
                4 => ipam.set_reachable(from, n % 2 == 0, now),
                _ => {
                    let id = RequestId(u64::try_from(n).unwrap());
                    ipam.allocate(id, &format!("c{n}"), range(), now, now).unwrap();
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
        let journal = journal.iter().map(Vec::as_slice);
        let state = replay(me(), *ipam.registry.slicing(), journal).unwrap();
        prop_assert_eq!(&state, ipam.registry.state());
    }
}

#[test]
fn a_statement_of_one_slice_is_small() {
    let statement = IpamStatement {
        version: Version { epoch: 9, seq: 300 },
        range: range(),
        settled: 4_000,
        live: true,
        free: 0,
        own: vec![SliceRun {
            first: 4_000,
            count: 1,
            ver: 1 << 31 | 7,
        }],
        others: vec![],
        pins: vec![],
        fences: vec![],
        conflicts: vec![],
    };
    assert!(statement.encode().len() < 40);
}

#[test]
fn journals_of_others_are_refused_with_the_remedy() {
    let slicing = Slicing::new(range()).unwrap();
    let header = header(&AddressState::new(me(), slicing));
    let wide = Slicing::new("10.0.0.0/8".parse().unwrap()).unwrap();
    let replay = |me, slicing, header: &[u8]| replay(me, slicing, [header]).err();
    let other = replay(me(), wide, &header).unwrap();
    assert!(
        other.to_string().contains("--ipalloc-range 10.32.0.0/24"),
        "{other}"
    );
    let foreign = replay(PeerId([9; 16]), slicing, &header);
    assert_eq!(foreign, Some(JournalError::Foreign(me())));
    let mut newer = header;
    newer[0] = 2;
    assert_eq!(replay(me(), slicing, &newer), Some(JournalError::Format(2)));
}
