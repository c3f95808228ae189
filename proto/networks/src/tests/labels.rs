//! Labels are unique, and none means another network before its quarantine is over.

use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

use super::*;
use crate::labels::LabelError;
use mesh_proto::limits::{LABEL_QUARANTINE, MAX_RESTING_LABELS, MAX_USED_NETWORKS};

fn numbered(n: u16) -> NetworkId {
    let mut id = [1; 16];
    id[..2].copy_from_slice(&n.to_be_bytes());
    NetworkId(id)
}

#[derive(Clone, Debug)]
enum Step {
    Join(u16),
    Leave(u16),
    Wait(u64),
    Restart,
    /// The next label is one that was assigned before, as if the cursor were lost.
    Rewind(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..150u16).prop_map(Step::Join),
        5 => (0..150u16).prop_map(Step::Leave),
        3 => (0..2_000u64).prop_map(Step::Wait),
        1 => Just(Step::Restart),
        2 => (1..200u16).prop_map(Step::Rewind),
    ]
}

proptest! {
    #[test]
    fn labels_are_unique_and_rest(steps in vec(step(), 1..200), first in 1..200u16) {
        let mut table = LabelTable::new(first);
        let mut now = START;
        let mut used: BTreeMap<NetworkId, NonZeroU16> = BTreeMap::new();
        // The network that a label last meant, and the time in which the router ran since.
        let mut meant: BTreeMap<NonZeroU16, (NetworkId, Instant)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Join(n) => {
                    let joined = table.join(numbered(n), now);
                    let is_full = used.len() == MAX_USED_NETWORKS && !used.contains_key(&numbered(n));
                    prop_assert_eq!(joined == Err(LabelError::TooMany), is_full);
                    let Ok(label) = joined else { continue };
                    let others = used.iter().filter(|(id, _)| **id != numbered(n));
                    prop_assert!(others.into_iter().all(|(_, other)| *other != label));
                    if let Some((id, until)) = meant.get(&label) {
                        let rested = now.since(*until) >= LABEL_QUARANTINE;
                        prop_assert!(*id == numbered(n) || rested, "{label} is reused too early");
                    }
                    used.insert(numbered(n), label);
                    meant.insert(label, (numbered(n), now));
                }
                Step::Leave(n) => {
                    let label = used.remove(&numbered(n));
                    prop_assert_eq!(table.leave(&numbered(n), now), label.is_some());
                    if let Some(label) = label {
                        meant.insert(label, (numbered(n), now));
                    }
                }
                Step::Rewind(label) => table.set_next(NonZeroU16::new(label).unwrap()),
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
                Step::Restart => {
                    let stored: Vec<_> = table.stored(now).collect();
                    let next = table.next();
                    table = LabelTable::new(first);
                    table.set_next(next);
                    for (id, label, rested) in stored {
                        prop_assert!(table.restore(id, label, rested, now));
                    }
                    for (id, label) in &used {
                        meant.insert(*label, (*id, now));
                        prop_assert_eq!(table.join(*id, now), Ok(*label), "the same as before");
                    }
                }
            }
            prop_assert_eq!(table.used(), &used);
        }
    }
}

#[test]
fn labels_go_round_and_zero_is_none() {
    let mut table = LabelTable::new(0);
    assert_eq!(table.join(numbered(1), START).unwrap().get(), 1);
    let mut table = LabelTable::new(u16::MAX);
    assert_eq!(table.join(numbered(1), START).unwrap().get(), u16::MAX);
    assert_eq!(table.join(numbered(2), START).unwrap().get(), 1);
    table.set_next(NonZeroU16::MAX);
    assert_eq!(table.join(numbered(3), START).unwrap().get(), 2);
}

#[test]
fn when_too_many_labels_rest_only_known_networks_are_joined() {
    let mut table = LabelTable::new(1);
    let most = u16::try_from(MAX_RESTING_LABELS).unwrap();
    for n in 0..most {
        table.join(numbered(n), START).unwrap();
        assert!(table.leave(&numbered(n), START));
    }
    let late = START + Duration::from_secs(3_599);
    assert_eq!(table.join(numbered(most), late), Err(LabelError::Resting));
    assert_eq!(table.join(numbered(5), late).unwrap().get(), 6);
    let later = START + LABEL_QUARANTINE;
    assert!(table.join(numbered(most), later).is_ok());
}

#[test]
fn a_label_is_stored_before_it_is_stated() {
    let mut networks = networks(ME);
    let web = create(&mut networks, "web", 1);
    drain(&mut networks);
    let label = networks.join(web, START).unwrap();
    let outputs = drain(&mut networks);
    let persists = outputs.iter().position(|o| *o == NetworksOutput::Persist);
    let states = outputs
        .iter()
        .position(|o| matches!(o, NetworksOutput::State(_)));
    assert!(persists.is_some() && persists < states, "{outputs:?}");
    assert!(outputs.contains(&NetworksOutput::Members(web)));
    let statement = stated(&outputs).unwrap();
    assert_eq!(statement.memberships[0].label, label);
    let content = networks.content(START);
    let mut again = super::networks(ME);
    again.restore(&content, START).unwrap();
    assert_eq!(again.memberships().count(), 0);
    assert_eq!(again.join(web, START), Ok(label));
}
