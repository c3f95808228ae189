//! Random histories of several routers: whatever happens, those that meet agree, what exists is not lost, and what was
//! removed does not come back.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::mesh::{AGREED, Mesh};
use super::*;

const ROUTERS: u8 = 5;

/// Event; routers and networks are numbers modulo how many there are.
#[derive(Clone, Debug)]
enum Event {
    Create(usize, u8, u64),
    Remove(usize, usize, bool),
    Join(usize, usize),
    Leave(usize, usize),
    /// Groups of the routers, two bits each.
    Partition(u16),
    /// Routers exchange statements until all is settled.
    Meet,
    /// A single statement arrives.
    Deliver(usize, usize),
    /// A few seconds pass.
    Exchange(u64),
    Restart(usize),
    Reset(usize),
    /// Routers forget the records of those out of reach.
    Forget,
}

fn event() -> impl Strategy<Value = Event> {
    let router = 0..usize::from(ROUTERS);
    let both = (router.clone(), 0..20usize);
    prop_oneof![
        4 => (router.clone(), 0..3u8, 0..4u64).prop_map(|(r, n, s)| Event::Create(r, n, s)),
        3 => (router.clone(), 0..20usize, any::<bool>()).prop_map(|(r, n, f)| Event::Remove(r, n, f)),
        3 => both.clone().prop_map(|(r, n)| Event::Join(r, n)),
        2 => both.clone().prop_map(|(r, n)| Event::Leave(r, n)),
        3 => any::<u16>().prop_map(Event::Partition),
        3 => Just(Event::Meet),
        3 => (router.clone(), router.clone()).prop_map(|(a, b)| Event::Deliver(a, b)),
        1 => (1..15u64).prop_map(Event::Exchange),
        2 => router.clone().prop_map(Event::Restart),
        2 => router.prop_map(Event::Reset),
        1 => Just(Event::Forget),
    ]
}

/// Mesh, and what its routers cannot but know.
struct History {
    mesh: Mesh,
    /// Networks made so far, in order.
    made: Vec<NetworkId>,
    /// Routers that know the network; by their number.
    live: BTreeMap<NetworkId, BTreeSet<usize>>,
    /// Routers that know its removal.
    gone: BTreeMap<NetworkId, BTreeSet<usize>>,
    dice: SeededEntropy,
}

impl History {
    fn new() -> Self {
        Self {
            mesh: Mesh::new(ROUTERS),
            made: Vec::new(),
            live: BTreeMap::new(),
            gone: BTreeMap::new(),
            dice: SeededEntropy::new(5),
        }
    }

    fn run(&mut self, event: &Event) {
        let now = self.mesh.now;
        match *event {
            Event::Create(at, name, stamp) => {
                let node = &mut self.mesh.nodes[at];
                let new = wanted(&format!("name{name}"));
                let created = node.networks.create(&new, stamp, &mut self.dice, now);
                let created = created.unwrap();
                node.drain(now);
                if created.is_new {
                    self.made.push(created.id);
                    self.live.insert(created.id, BTreeSet::from([at]));
                }
            }
            Event::Remove(at, n, force) => {
                let Some(id) = self.network(n) else { return };
                let node = &mut self.mesh.nodes[at];
                let held = node.networks.members(&id);
                let known = node.networks.get(&id).is_some();
                let removed = node.networks.remove(&id.to_string(), force, now);
                assert_eq!(removed.is_ok(), known && (force || held.is_empty()));
                node.drain(now);
                if removed.is_ok() {
                    self.gone.entry(id).or_default().insert(at);
                }
            }
            Event::Join(at, n) => {
                let Some(id) = self.network(n) else { return };
                self.mesh.nodes[at].join(id, now);
            }
            Event::Leave(at, n) => {
                let Some(id) = self.network(n) else { return };
                self.mesh.nodes[at].leave(id, now);
            }
            Event::Partition(bits) => {
                for (n, node) in self.mesh.nodes.iter_mut().enumerate() {
                    node.group = u8::try_from(bits >> (2 * n) & 1).unwrap();
                }
            }
            Event::Meet => self.meet(),
            Event::Deliver(from, to) => self.mesh.deliver(from, to),
            Event::Exchange(seconds) => self.mesh.exchange(seconds),
            Event::Restart(at) => self.mesh.nodes[at].restart(now),
            Event::Reset(at) => {
                self.mesh.reset(at);
                let knowing = self.live.values_mut().chain(self.gone.values_mut());
                knowing.for_each(|routers| {
                    routers.remove(&at);
                });
            }
            Event::Forget => self.mesh.forget_unreachable(),
        }
    }

    fn network(&self, n: usize) -> Option<NetworkId> {
        let n = n.checked_rem(self.made.len())?;
        self.made.get(n).copied()
    }

    fn meet(&mut self) {
        self.mesh.exchange(AGREED);
        let groups: Vec<u8> = self.mesh.nodes.iter().map(|node| node.group).collect();
        for routers in self.live.values_mut().chain(self.gone.values_mut()) {
            let known: BTreeSet<u8> = routers.iter().map(|n| groups[*n]).collect();
            routers.extend((0..groups.len()).filter(|n| known.contains(&groups[*n])));
        }
    }

    fn check(&mut self) {
        self.mesh.nodes.iter_mut().for_each(|node| node.group = 0);
        self.meet();
        self.mesh.forget_unreachable();
        self.mesh.check_agreement();
        for id in &self.made {
            let removed = self.gone.get(id);
            let is_removed = removed.is_some_and(|routers| !routers.is_empty());
            for node in &self.mesh.nodes {
                let is_there = node.networks.get(id).is_some();
                assert!(!(is_removed && is_there), "{id} is back at {}", node.me);
                let must = removed.is_none() && !self.live[id].is_empty();
                assert!(is_there || !must, "{id} is lost at {}", node.me);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn those_that_meet_agree(events in vec(event(), 1..60)) {
        let mut history = History::new();
        for event in &events {
            history.run(event);
        }
        history.check();
    }
}

#[test]
fn a_statement_stays_small_in_a_mesh_at_rest() {
    let mut mesh = Mesh::new(20);
    for n in 0..20 {
        let mut dice = SeededEntropy::new(n);
        let at = usize::try_from(n).unwrap();
        let now = mesh.now;
        let node = &mut mesh.nodes[at];
        node.networks
            .create(&wanted(&format!("n{n}")), 1, &mut dice, now)
            .unwrap();
        node.drain(now);
    }
    mesh.exchange(AGREED);
    mesh.check_agreement();
    let told: usize = mesh.nodes.iter().map(|node| node.told.len()).sum();
    mesh.exchange(AGREED);
    assert_eq!(
        mesh.nodes.iter().map(|node| node.told.len()).sum::<usize>(),
        told
    );
    for row in mesh.nodes[0].networks.report() {
        assert_eq!(row.stated_by, [row.definition.version.author]);
    }
    // Halves that are cut off adopt what the other half states, and give it up when they meet again.
    for (n, node) in mesh.nodes.iter_mut().enumerate() {
        node.group = u8::try_from(n % 2).unwrap();
    }
    mesh.exchange(AGREED);
    let adopted = |mesh: &Mesh| -> Vec<usize> {
        let figures = mesh.nodes.iter().map(|node| node.networks.figures());
        figures.map(|figures| figures.adopted).collect()
    };
    assert_eq!(adopted(&mesh)[..3], [10, 10, 0], "the first of each half");
    mesh.nodes.iter_mut().for_each(|node| node.group = 0);
    mesh.exchange(5);
    assert_eq!(adopted(&mesh), [0; 20]);
    mesh.check_agreement();
    // Half of the routers end for good: each of their networks is stated by one other.
    mesh.nodes.truncate(10);
    mesh.exchange(AGREED);
    mesh.forget_unreachable();
    mesh.exchange(AGREED);
    mesh.check_agreement();
    let rows = mesh.nodes[9].networks.report();
    assert_eq!(rows.len(), 20);
    for row in rows {
        assert_eq!(row.stated_by.len(), 1, "{:?}", row.stated_by);
    }
    assert_eq!(adopted(&mesh), [10, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // The one that adopted them is cut off, and another one adopts them: when they meet, one goes on.
    mesh.nodes[0].group = 1;
    mesh.exchange(AGREED);
    mesh.nodes[0].group = 0;
    mesh.exchange(5);
    let total: usize = adopted(&mesh).iter().sum();
    assert_eq!(total, 10, "of two that adopted one gave up");
}
