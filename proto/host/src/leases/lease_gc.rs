//! Leases of the range that routers share, and of networks, are free again when nobody can use their addresses any more.
//!
//! An address may be used by what is in the table, stopped or not; by a container that Docker keeps, running or not, whose
//! connections promise it; by a preparation whose caller lives. All of these are looked at again and again, so that
//! whatever a crash cut short is mended: leases of nobody are released, addresses in use without a lease are claimed.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;

/// A lease whose address was never seen in use since the start is free after this long: what uses it may not be up yet,
/// and not be known to its engine.
const GRACE: Duration = Duration::from_secs(30);

/// An address in its network.
pub type LeasedAddress = (NetworkId, IpAddr);

/// Addresses with the prefix length of their subnets, and the owners of their leases.
pub type LeaseOwners = BTreeMap<LeasedAddress, (IpNet, String)>;

/// The part of the router that may use a lease beyond the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseKind {
    /// A container that Docker keeps: it may be stopped, and be plugged by Docker again.
    Docker,
    /// The host itself.
    Host,
    /// Anything else.
    Other,
}

/// The lease of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLease {
    /// Its owner.
    pub owner: String,
    /// The part of the router that it belongs to.
    pub kind: LeaseKind,
}

/// All that is known of the leases of this host at one time. Gathered in the order of the fields: a preparation whose
/// caller has ended is a container by then, or nothing.
#[derive(Clone, Copy, Debug)]
pub struct LeaseFacts<'a> {
    /// The leases.
    pub held: &'a BTreeMap<LeasedAddress, HeldLease>,
    /// Owners that are preparations whose callers live.
    pub prepared: &'a BTreeSet<String>,
    /// Docker's promises to its containers; none when it cannot be asked.
    pub promised: Option<&'a LeaseOwners>,
    /// True while addresses of the host are being exposed or hidden.
    pub is_exposing: bool,
    /// The part of the range that the table uses.
    pub used: &'a LeaseOwners,
}

/// The garbage collector of leases.
#[derive(Debug, Default)]
pub struct LeaseGc {
    /// Addresses that were held before the start.
    inherited: BTreeSet<LeasedAddress>,
    /// Addresses that were used since the start.
    seen: BTreeSet<LeasedAddress>,
    /// Since when an address is not used.
    unused: BTreeMap<LeasedAddress, Instant>,
    /// Addresses in use that could not be claimed, as was told.
    unclaimable: BTreeSet<LeasedAddress>,
}

impl LeaseGc {
    /// Remembers the leases of before the start: no request of this run waits for them.
    pub fn set_inherited(&mut self, held: impl IntoIterator<Item = LeasedAddress>) {
        self.inherited = held.into_iter().collect();
    }

    /// Notes that an address was in use until now: its lease is free as soon as nobody else can use it.
    pub fn note_used(&mut self, addr: LeasedAddress) {
        self.seen.insert(addr);
    }

    /// Returns the leases that nobody can use any more, with their owners.
    pub fn sweep(&mut self, facts: LeaseFacts<'_>, now: Instant) -> Vec<(LeasedAddress, String)> {
        let mut free = Vec::new();
        for (addr, lease) in facts.held {
            if is_kept(*addr, lease, facts) {
                self.unused.remove(addr);
                if facts.used.contains_key(addr) {
                    self.seen.insert(*addr);
                }
                continue;
            }
            // Docker has told what it keeps.
            let is_known = facts.promised.is_some() && lease.kind == LeaseKind::Docker;
            if is_known && self.inherited.remove(addr) || self.is_free(*addr, now) {
                free.push((*addr, lease.owner.clone()));
            }
        }
        self.unused.retain(|addr, _| facts.held.contains_key(addr));
        free
    }

    /// Returns whether an address that is not used was used before in this run, or is unused for long.
    fn is_free(&mut self, addr: LeasedAddress, now: Instant) -> bool {
        let since = *self.unused.entry(addr).or_insert(now);
        self.seen.remove(&addr) || now.since(since) >= GRACE
    }

    /// Returns the addresses that are used and not held, with the owners that their leases should have; those that could
    /// not be claimed before come last.
    pub fn missing(&self, facts: LeaseFacts<'_>) -> Vec<(NetworkId, IpNet, String)> {
        let missing = facts.promised.into_iter().flatten().chain(facts.used);
        let missing = missing
            .filter(|(addr, (_, owner))| !facts.held.contains_key(addr) && !owner.is_empty());
        let (told, mut missing): (Vec<_>, Vec<_>) =
            missing.partition(|(addr, _)| self.unclaimable.contains(addr));
        missing.extend(told);
        missing
            .into_iter()
            .map(|((network, _), (net, owner))| (*network, *net, owner.clone()))
            .collect()
    }

    /// Notes that the lease of an address in use was claimed.
    pub fn claimed(&mut self, addr: LeasedAddress) {
        self.unclaimable.remove(&addr);
    }

    /// Notes that the lease of an address in use could not be claimed, and returns whether that is to be told.
    pub fn not_claimed(&mut self, addr: LeasedAddress) -> bool {
        self.unclaimable.insert(addr)
    }
}

fn is_kept(addr: LeasedAddress, lease: &HeldLease, facts: LeaseFacts<'_>) -> bool {
    facts.used.contains_key(&addr)
        || facts.prepared.contains(&lease.owner)
        || lease.kind == LeaseKind::Host && facts.is_exposing
        || match facts.promised {
            Some(promised) => promised.contains_key(&addr),
            None => lease.kind == LeaseKind::Docker,
        }
}

/// Docker's promises to its containers, as it said last. Also to those that run: one that is about to stop has lost its
/// endpoint already.
#[derive(Debug, Default)]
pub struct DockerPromises {
    /// The containers and the leases that it was asked about.
    asked: Option<(BTreeSet<String>, BTreeSet<LeasedAddress>)>,
    promised: LeaseOwners,
}

impl DockerPromises {
    /// Returns the leases of Docker's containers that nothing in the table uses.
    pub fn open(
        held: &BTreeMap<LeasedAddress, HeldLease>,
        used: &LeaseOwners,
    ) -> BTreeSet<LeasedAddress> {
        let open = held
            .iter()
            .filter(|(addr, lease)| lease.kind == LeaseKind::Docker && !used.contains_key(*addr));
        open.map(|(addr, _)| *addr).collect()
    }

    /// Returns whether it makes no difference what Docker promises.
    pub fn is_moot(&self, open: &BTreeSet<LeasedAddress>) -> bool {
        open.is_empty() && self.asked.is_some()
    }

    /// Returns the promises if Docker was asked last about the same containers and leases.
    pub fn known(
        &self,
        containers: &BTreeSet<String>,
        open: &BTreeSet<LeasedAddress>,
    ) -> Option<&LeaseOwners> {
        let (asked_containers, asked_open) = self.asked.as_ref()?;
        (asked_containers == containers && asked_open == open).then_some(&self.promised)
    }

    /// Remembers the answer of Docker to the question about these containers and leases.
    pub fn learn(
        &mut self,
        containers: BTreeSet<String>,
        open: BTreeSet<LeasedAddress>,
        promised: LeaseOwners,
    ) {
        self.asked = Some((containers, open));
        self.promised = promised;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ADDR: LeasedAddress = (NetworkId::DEFAULT, IpAddr::V4(Ipv4Addr::new(10, 32, 0, 1)));

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    fn held(kind: LeaseKind) -> BTreeMap<LeasedAddress, HeldLease> {
        let owner = "docker:web:1".to_owned();
        BTreeMap::from([(ADDR, HeldLease { owner, kind })])
    }

    fn owners(owner: &str) -> LeaseOwners {
        let net = IpNet::new(ADDR.1, 24).unwrap();
        BTreeMap::from([(ADDR, (net, owner.to_owned()))])
    }

    /// Facts that the tests change one by one: Docker answers and promises nothing.
    struct Facts {
        held: BTreeMap<LeasedAddress, HeldLease>,
        prepared: BTreeSet<String>,
        promised: Option<LeaseOwners>,
        is_exposing: bool,
        used: LeaseOwners,
    }

    impl Facts {
        fn of(kind: LeaseKind) -> Self {
            Self {
                held: held(kind),
                prepared: BTreeSet::new(),
                promised: Some(LeaseOwners::new()),
                is_exposing: false,
                used: LeaseOwners::new(),
            }
        }

        fn view(&self) -> LeaseFacts<'_> {
            LeaseFacts {
                held: &self.held,
                prepared: &self.prepared,
                promised: self.promised.as_ref(),
                is_exposing: self.is_exposing,
                used: &self.used,
            }
        }
    }

    fn is_free(gc: &mut LeaseGc, facts: &Facts, now: Instant) -> bool {
        !gc.sweep(facts.view(), now).is_empty()
    }

    #[test]
    fn what_was_used_is_free_at_once_and_what_was_not_in_time() {
        let mut gc = LeaseGc::default();
        let mut facts = Facts::of(LeaseKind::Other);
        assert!(!is_free(&mut gc, &facts, at(0)));
        assert!(!is_free(&mut gc, &facts, at(29)));
        assert!(is_free(&mut gc, &facts, at(30)));
        facts.used = owners("docker:web:1");
        assert!(!is_free(&mut gc, &facts, at(31)));
        facts.used.clear();
        assert!(is_free(&mut gc, &facts, at(32)));
        let mut gc = LeaseGc::default();
        gc.note_used(ADDR);
        assert!(is_free(&mut gc, &facts, at(0)), "it was used between looks");
    }

    #[test]
    fn what_somebody_may_use_is_kept() {
        let keep = |change: &dyn Fn(&mut Facts), kind: LeaseKind| {
            let mut gc = LeaseGc::default();
            gc.note_used(ADDR);
            let mut facts = Facts::of(kind);
            change(&mut facts);
            !is_free(&mut gc, &facts, at(100))
        };
        assert!(!keep(&|_| {}, LeaseKind::Docker));
        assert!(keep(
            &|f| _ = f.prepared.insert("docker:web:1".into()),
            LeaseKind::Docker
        ));
        assert!(keep(
            &|f| f.promised = Some(owners("docker:web:1")),
            LeaseKind::Docker
        ));
        assert!(keep(&|f| f.promised = None, LeaseKind::Docker));
        assert!(!keep(&|f| f.promised = None, LeaseKind::Other));
        assert!(keep(&|f| f.is_exposing = true, LeaseKind::Host));
        assert!(!keep(&|f| f.is_exposing = true, LeaseKind::Other));
    }

    #[test]
    fn what_was_inherited_is_free_once_docker_does_not_know_it() {
        let mut gc = LeaseGc::default();
        gc.set_inherited([ADDR]);
        let mut facts = Facts::of(LeaseKind::Docker);
        facts.promised = None;
        assert!(!is_free(&mut gc, &facts, at(0)));
        facts.promised = Some(LeaseOwners::new());
        assert!(is_free(&mut gc, &facts, at(1)));
        assert!(!is_free(&mut gc, &facts, at(2)), "it was acquired since");
    }

    #[test]
    fn what_is_used_without_a_lease_is_claimed_and_told_once() {
        let mut gc = LeaseGc::default();
        let mut facts = Facts::of(LeaseKind::Docker);
        facts.used = owners("docker:web:1");
        assert!(gc.missing(facts.view()).is_empty());
        facts.held.clear();
        // The same address in another network is another.
        let other = (NetworkId([7; 16]), ADDR.1);
        let net = IpNet::new(other.1, 24).unwrap();
        let promised = LeaseOwners::from([(other, (net, "docker:db:2".to_owned()))]);
        facts.promised = Some(promised);
        let order = |gc: &LeaseGc| -> Vec<String> {
            let missing = gc.missing(facts.view()).into_iter();
            missing.map(|(_, _, owner)| owner).collect()
        };
        assert_eq!(order(&gc), ["docker:db:2", "docker:web:1"]);
        assert!(gc.not_claimed(other) && !gc.not_claimed(other));
        assert_eq!(order(&gc), ["docker:web:1", "docker:db:2"]);
        gc.claimed(other);
        assert_eq!(order(&gc), ["docker:db:2", "docker:web:1"]);
    }

    #[test]
    fn docker_is_asked_again_only_when_there_is_something_new() {
        let mut promises = DockerPromises::default();
        let open = DockerPromises::open(&held(LeaseKind::Docker), &LeaseOwners::new());
        assert_eq!(open, BTreeSet::from([ADDR]));
        let used = owners("docker:web:1");
        assert!(DockerPromises::open(&held(LeaseKind::Docker), &used).is_empty());
        assert!(DockerPromises::open(&held(LeaseKind::Other), &LeaseOwners::new()).is_empty());
        assert!(!promises.is_moot(&BTreeSet::new()), "it was never asked");
        let containers = BTreeSet::from(["c".to_owned()]);
        assert!(promises.known(&containers, &open).is_none());
        promises.learn(containers.clone(), open.clone(), used.clone());
        assert_eq!(promises.known(&containers, &open), Some(&used));
        assert!(promises.known(&BTreeSet::new(), &open).is_none());
        assert!(promises.is_moot(&BTreeSet::new()) && !promises.is_moot(&open));
    }
}
