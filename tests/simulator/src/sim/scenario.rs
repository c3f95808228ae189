//! Scenarios: the disruptions of a run and their schedule.

use std::time::Duration;

use mesh_proto::limits::REJECT_AFTER;

use super::action::Action;
use super::disk::Crash;
use super::layout::Layout;
use super::network::{Conditions, HostId};
use super::rng::Rng;

/// Kind of disruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// Routers join one after another.
    OneByOne,
    /// All routers start at once.
    AllAtOnce,
    /// Each router is killed and restarted in turn.
    RollingRestart,
    /// Many routers are killed and restarted together, several times.
    RestartStorm,
    /// Hosts lose power and come back.
    PowerCut,
    /// The underlay splits into two parts and heals.
    Partition,
    /// Links fail one by one and come back in another order.
    SwizzleClog,
    /// One link goes up and down every second or so.
    Flapping,
    /// Links work in one direction only for a while.
    AsymmetricCut,
    /// A pair has TCP and no UDP, permanently.
    UdpBlocked,
    /// The underlay drops, duplicates, delays and damages datagrams.
    Lossy,
    /// A router's host changes its address.
    Moved,
    /// The hosts' clocks are up to ten years apart.
    Clocks,
    /// A member sends garbage, forged records and false claims.
    Hostile,
    /// Strangers send random, damaged and replayed bytes.
    Garbage,
    /// A container uses thousands of source MAC addresses.
    MacFlood,
    /// Containers move between hosts.
    ContainersMove,
    /// A router comes back with a new key.
    LostState,
    /// A router comes back with an old epoch.
    OldBackup,
    /// Paths have various MTUs and silently drop longer datagrams.
    NarrowPath,
    /// Two hosts run routers with the same key, until one of them is reset.
    Clone,
    /// Keys are replaced by age, under steady traffic.
    Rekey,
    /// Hosts crash during writes to their journals, at any point.
    CrashAtWrite,
    /// Machines are lost and reinstalled one after another; operators remove the old routers, at several hosts at once.
    Replaced,
    /// Live routers are removed by force on both sides of a partition, and come back.
    ForcedRemoval,
    /// Two meshes that both allocated addresses are joined.
    Meet,
    /// A bad underlay, a partition, power failures and restarts, all at once.
    Everything,
}

/// Schedule of a run.
pub(crate) struct Schedule {
    pub(crate) actions: Vec<(Duration, Action)>,
    /// Time at which the last disruption is over.
    pub(crate) last_fault: Duration,
}

/// Probability per mille of keeping a slow scenario when it is drawn.
const RARE: u32 = 250;
/// Milliseconds within which one of two routers with the same key must notice.
const CLONE_NOTICED: u64 = 10_000;
/// Milliseconds for a mesh to start before the disruptions.
const WARM_UP: u64 = 8_000;
/// Milliseconds before the disruptions at which addresses are first requested.
const FOUND: u64 = 3_000;
/// Milliseconds from the loss of a machine to its removal by operators: by then all routers have noticed.
const REMOVED: u64 = 10_000;
/// Milliseconds from the healing of the underlay within which both holders of each duplicate address report it: redials
/// (8.25 s) and 5 s.
const REPORTED: u64 = 15_000;

impl Scenario {
    /// All scenarios.
    pub const ALL: [Scenario; 27] = [
        Scenario::OneByOne,
        Scenario::AllAtOnce,
        Scenario::RollingRestart,
        Scenario::RestartStorm,
        Scenario::PowerCut,
        Scenario::Partition,
        Scenario::SwizzleClog,
        Scenario::Flapping,
        Scenario::AsymmetricCut,
        Scenario::UdpBlocked,
        Scenario::Lossy,
        Scenario::Moved,
        Scenario::Clocks,
        Scenario::Hostile,
        Scenario::Garbage,
        Scenario::MacFlood,
        Scenario::ContainersMove,
        Scenario::LostState,
        Scenario::OldBackup,
        Scenario::NarrowPath,
        Scenario::Clone,
        Scenario::Rekey,
        Scenario::CrashAtWrite,
        Scenario::Replaced,
        Scenario::ForcedRemoval,
        Scenario::Meet,
        Scenario::Everything,
    ];

    /// Draws a scenario; slow ones are rare.
    pub(crate) fn drawn(rng: &mut Rng) -> Self {
        loop {
            let drawn = Self::ALL[rng.below(Self::ALL.len())];
            if drawn != Scenario::Rekey || rng.chance(RARE) {
                return drawn;
            }
        }
    }

    /// True if routers can reconnect after the scenario in this layout.
    pub(crate) fn suits(self, layout: Layout) -> bool {
        // In other layouts the clone separates its neighbours, which know only one of the two routers.
        if self == Scenario::Clone {
            return layout == Layout::Discovery;
        }
        // A pair without UDP splits a mesh whose links are all configured.
        !matches!(self, Scenario::UdpBlocked) || matches!(layout, Layout::Discovery | Layout::Ring)
    }

    /// True if targets must be names: after a move, a configured address is wrong.
    pub(crate) fn needs_names(self) -> bool {
        self == Scenario::Moved
    }

    /// Returns the largest offset between clocks.
    pub(crate) fn clocks(self) -> Duration {
        match self {
            Scenario::Clocks => Duration::from_secs(10 * 365 * 86_400),
            _ => Duration::from_secs(3_600),
        }
    }

    /// Returns the schedule for `n` routers; host `n` is free for a hostile member.
    pub(crate) fn schedule(self, n: usize, layout: Layout, rng: &mut Rng) -> Schedule {
        let mut schedule = Schedule {
            actions: Vec::new(),
            last_fault: Duration::ZERO,
        };
        let pace = match self {
            Scenario::OneByOne => 1_500,
            Scenario::AllAtOnce => 0,
            _ => 100,
        };
        for host in 0..n {
            schedule.add(pace * host as u64, Action::Start(host));
        }
        let start = schedule.end() + WARM_UP;
        match self {
            Scenario::OneByOne | Scenario::AllAtOnce | Scenario::Clocks => {}
            _ => {
                schedule.add(start - FOUND, Action::Found);
                schedule.add(start, Action::Found);
                schedule.add(start + 1_000, Action::Workload(true));
                self.trouble(&mut schedule, start, n, layout, rng);
            }
        }
        schedule.last_fault = Duration::from_millis(schedule.end());
        schedule
    }

    fn trouble(self, schedule: &mut Schedule, start: u64, n: usize, layout: Layout, rng: &mut Rng) {
        match self {
            Scenario::OneByOne | Scenario::AllAtOnce | Scenario::Clocks => {}
            Scenario::RollingRestart => rolling_restart(schedule, start, n, rng),
            Scenario::RestartStorm => restart_storm(schedule, start, n, rng),
            Scenario::PowerCut => power_cut(schedule, start, n, rng),
            Scenario::Partition => {
                let long = some(1_000, 25_000, rng);
                partition(schedule, start, n, long, rng);
            }
            Scenario::SwizzleClog => swizzle_clog(schedule, start, n, rng),
            Scenario::Flapping => flapping(schedule, start, n, rng),
            Scenario::AsymmetricCut => asymmetric_cut(schedule, start, n, rng),
            Scenario::UdpBlocked => udp_blocked(schedule, start, n, layout, rng),
            Scenario::Lossy => {
                schedule.add(0, Action::Conditions(Conditions::BAD));
                schedule.add(start + 15_000, Action::HealAll);
            }
            Scenario::NarrowPath => narrow_path(schedule, n, rng),
            Scenario::Moved => schedule.add(start, Action::MoveHost(rng.below(n))),
            Scenario::Hostile => schedule.add(start, Action::Hostile(n)),
            Scenario::Garbage => garbage(schedule, start, n, rng),
            Scenario::MacFlood => schedule.add(start, Action::MacFlood(rng.below(n))),
            Scenario::ContainersMove => containers_move(schedule, start, n, rng),
            Scenario::Clone => clone(schedule, start, n, rng),
            Scenario::Rekey => rekey(schedule, start),
            Scenario::Everything => everything(schedule, start, n, rng),
            Scenario::CrashAtWrite => crash_at_write(schedule, start, n, rng),
            Scenario::Replaced => replaced(schedule, start, n, rng),
            Scenario::ForcedRemoval => forced_removal(schedule, start, n, rng),
            Scenario::Meet => meet(schedule, start, n, rng),
            Scenario::LostState => {
                let host = come_back(schedule, start, n, rng, Action::LoseState);
                remove(schedule, start + REMOVED, host, n, rng);
            }
            Scenario::OldBackup => {
                // The epoch must be raised first, or the backup is not old.
                let host = rng.below(n);
                for round in 0..2 {
                    schedule.restart(start + round * 4_000, 500, host);
                }
                schedule.add(start + 8_000, Action::Kill(host));
                schedule.add(start + 8_100, Action::RestoreBackup(host));
                schedule.add(start + 9_000, Action::Start(host));
            }
        }
    }
}

impl Schedule {
    fn add(&mut self, at: u64, action: Action) {
        self.actions.push((Duration::from_millis(at), action));
    }

    /// Returns the time of the last action so far, in milliseconds.
    fn end(&self) -> u64 {
        let end = self.actions.iter().map(|(at, _)| at.as_millis()).max();
        u64::try_from(end.unwrap_or(0)).unwrap_or(u64::MAX)
    }

    fn restart(&mut self, at: u64, down: u64, host: HostId) {
        self.add(at, Action::Kill(host));
        self.add(at + down, Action::Start(host));
    }

    fn cut(&mut self, at: u64, a: HostId, b: HostId) {
        self.add(at, Action::Cut(a, b));
        self.add(at, Action::Cut(b, a));
    }

    fn heal(&mut self, at: u64, a: HostId, b: HostId) {
        self.add(at, Action::Heal(a, b));
        self.add(at, Action::Heal(b, a));
    }
}

fn some(low: u64, high: u64, rng: &mut Rng) -> u64 {
    let high = usize::try_from(high - low + 1).unwrap_or(1);
    low + rng.below(high) as u64
}

/// Returns two different hosts.
fn pair(n: usize, rng: &mut Rng) -> (HostId, HostId) {
    let a = rng.below(n);
    (a, (a + 1 + rng.below(n - 1)) % n)
}

fn rolling_restart(schedule: &mut Schedule, start: u64, n: usize, rng: &mut Rng) {
    for host in 0..n.min(8) {
        let at = start + 2_000 * host as u64;
        schedule.restart(at, some(50, 1_500, rng), host);
    }
}

fn restart_storm(schedule: &mut Schedule, start: u64, n: usize, rng: &mut Rng) {
    for round in 0..3 {
        for host in 0..n {
            if round == 2 || rng.chance(600) {
                let at = start + round * 4_000 + some(0, 300, rng);
                schedule.restart(at, some(10, 2_500, rng), host);
            }
        }
    }
}

fn power_cut(schedule: &mut Schedule, start: u64, n: usize, rng: &mut Rng) {
    let mut hosts: Vec<HostId> = (0..n).collect();
    rng.shuffle(&mut hosts);
    for host in &hosts[..n.div_ceil(3)] {
        schedule.add(start + some(0, 500, rng), Action::PowerOff(*host));
        let back = start + some(1_000, 15_000, rng);
        schedule.add(back, Action::Start(*host));
    }
}

fn partition(schedule: &mut Schedule, start: u64, n: usize, long: u64, rng: &mut Rng) {
    let left: Vec<bool> = (0..n).map(|_| rng.chance(500)).collect();
    for a in 0..n {
        for b in (0..a).filter(|b| left[*b] != left[a]) {
            schedule.cut(start, a, b);
            schedule.heal(start + long, a, b);
        }
    }
}

fn swizzle_clog(schedule: &mut Schedule, start: u64, n: usize, rng: &mut Rng) {
    let mut pairs: Vec<_> = (0..n).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
    rng.shuffle(&mut pairs);
    pairs.truncate(12);
    for (i, (a, b)) in pairs.iter().enumerate() {
        schedule.cut(start + 500 * i as u64, *a, *b);
    }
    rng.shuffle(&mut pairs);
    for (i, (a, b)) in pairs.iter().enumerate() {
        schedule.heal(start + 10_000 + 500 * i as u64, *a, *b);
    }
}

fn flapping(schedule: &mut Schedule, start: u64, n: usize, rng: &mut Rng) {
    let (a, b) = pair(n, rng);
    let mut at = start;
    for _ in 0..8 {
        schedule.cut(at, a, b);
        at += some(100, 4_500, rng);
        schedule.heal(at, a, b);
        at += some(100, 1_500, rng);
    }
}

fn asymmetric_cut(schedule: &mut Schedule, start: u64, n: usize, rng: &mut Rng) {
    for _ in 0..=rng.below(n) {
        let (a, b) = pair(n, rng);
        schedule.add(start + some(0, 1_000, rng), Action::Cut(a, b));
    }
    schedule.add(start + some(2_000, 20_000, rng), Action::HealAll);
}

fn udp_blocked(schedule: &mut Schedule, start: u64, n: usize, layout: Layout, rng: &mut Rng) {
    if n < 3 {
        return;
    }
    // In a ring only neighbours matter; it becomes a line.
    let (a, b) = match layout {
        Layout::Ring => (1, 0),
        _ => pair(n, rng),
    };
    let at = if rng.chance(500) { 0 } else { start };
    schedule.add(at, Action::CutUdp(a, b));
    if rng.chance(500) {
        schedule.add(at, Action::CutUdp(b, a));
    }
}

fn narrow_path(schedule: &mut Schedule, n: usize, rng: &mut Rng) {
    for a in 0..n {
        for b in 0..a {
            let mtu = [700, 1280, 1400, 1500][rng.below(4)];
            schedule.add(0, Action::Narrow(a, b, mtu));
        }
    }
}

fn garbage(schedule: &mut Schedule, start: u64, n: usize, rng: &mut Rng) {
    for round in 0..10 {
        let host = rng.below(n);
        let at = start + round * 500;
        schedule.add(at, Action::Garbage(host));
        schedule.add(at, Action::GarbageStream(host));
        if rng.chance(300) {
            schedule.add(at, Action::DamageStream(host));
        }
    }
}

fn containers_move(schedule: &mut Schedule, start: u64, n: usize, rng: &mut Rng) {
    for round in 0..4 {
        let (from, to) = pair(n, rng);
        schedule.add(start + 2_500 * round, Action::MoveContainer { from, to });
    }
}

fn clone(schedule: &mut Schedule, start: u64, n: usize, rng: &mut Rng) {
    let (of, copy) = pair(n, rng);
    schedule.add(start, Action::Kill(copy));
    schedule.add(start + 100, Action::Clone { of, to: copy });
    schedule.add(start + 1_000, Action::Start(copy));
    schedule.add(
        start + 1_000 + CLONE_NOTICED,
        Action::CloneNoticed { of, copy },
    );
    schedule.add(start + 12_000, Action::Kill(copy));
    schedule.add(start + 12_100, Action::LoseState(copy));
    schedule.add(start + 13_000, Action::Start(copy));
}

/// Waits until keys have been replaced and the old ones are rejected.
fn rekey(schedule: &mut Schedule, start: u64) {
    schedule.add(start, Action::Steady);
    let end = start + u64::try_from(REJECT_AFTER.as_millis()).unwrap_or(u64::MAX);
    schedule.add(end + 10_000, Action::Renewed);
}

fn everything(schedule: &mut Schedule, start: u64, n: usize, rng: &mut Rng) {
    schedule.add(0, Action::Conditions(Conditions::BAD));
    let long = some(1_000, 25_000, rng);
    partition(schedule, start, n, long, rng);
    power_cut(schedule, start + 3_000, n, rng);
    rolling_restart(schedule, start + 5_000, n, rng);
    schedule.add(schedule.end(), Action::HealAll);
    // Loss may leave one end of a session with keys that the other lacks; it notices by silence (`SESSION_SILENCE`).
    schedule.add(schedule.end() + 12_000, Action::HealAll);
}

fn come_back(
    schedule: &mut Schedule,
    start: u64,
    n: usize,
    rng: &mut Rng,
    how: fn(HostId) -> Action,
) -> HostId {
    let host = rng.below(n);
    schedule.add(start, Action::Kill(host));
    schedule.add(start + 100, how(host));
    schedule.add(start + some(200, 6_000, rng), Action::Start(host));
    host
}

/// Operators at several other hosts run `mesh rmpeer`, at almost the same time.
fn remove(schedule: &mut Schedule, at: u64, host: HostId, n: usize, rng: &mut Rng) {
    for other in (0..n).filter(|h| *h != host) {
        if other == (host + 1) % n || rng.chance(500) {
            let at = at + some(0, 3, rng) * 100;
            let force = false;
            schedule.add(
                at,
                Action::Remove {
                    at: other,
                    host,
                    force,
                },
            );
        }
    }
}

fn crash_at_write(schedule: &mut Schedule, start: u64, n: usize, rng: &mut Rng) {
    for round in 0..14 {
        let at = start + 1_000 * round;
        let host = rng.below(n);
        let after = rng.below(4);
        let crash = [Crash::Kill, Crash::Power][rng.below(2)];
        schedule.add(at, Action::CrashAtWrite { host, after, crash });
    }
    schedule.add(start + 16_000, Action::DisarmDisks);
    // The last crash is over.
    schedule.add(start + 18_000, Action::HealAll);
}

fn replaced(schedule: &mut Schedule, start: u64, n: usize, rng: &mut Rng) {
    for round in 0..3 {
        let at = start + round * (REMOVED + 3_000);
        let host = come_back(schedule, at, n, rng, Action::LoseState);
        remove(schedule, at + REMOVED, host, n, rng);
    }
}

fn forced_removal(schedule: &mut Schedule, start: u64, n: usize, rng: &mut Rng) {
    let cut = start + 3_000;
    schedule.add(cut, Action::Overlap);
    partition(schedule, cut, n, 14_000, rng);
    for at in 0..n {
        for host in (0..n).filter(|host| *host != at) {
            if rng.chance(250) {
                let when = cut + 6_000 + some(0, 10, rng) * 100;
                let force = true;
                schedule.add(when, Action::Remove { at, host, force });
            }
        }
    }
    schedule.add(cut + 14_000 + REPORTED, Action::Reported);
    schedule.add(cut + 14_000 + REPORTED + 3_000, Action::HealAll);
}

/// Keeps the halves apart until both have allocated addresses.
fn meet(schedule: &mut Schedule, start: u64, n: usize, rng: &mut Rng) {
    schedule.add(0, Action::Overlap);
    partition(schedule, 0, n, start + 5_000, rng);
    schedule.add(start + 5_000 + REPORTED, Action::Reported);
    schedule.add(start + 5_000 + REPORTED + 3_000, Action::HealAll);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_starts_all_routers_and_ends() {
        for (seed, scenario) in Scenario::ALL.into_iter().enumerate() {
            for n in 2..12 {
                let mut rng = Rng::new(seed as u64);
                let schedule = scenario.schedule(n, Layout::Discovery, &mut rng);
                let started = |h| {
                    let starts = |a: &Action| matches!(a, Action::Start(x) if *x == h);
                    schedule.actions.iter().any(|(_, a)| starts(a))
                };
                assert!((0..n).all(started), "{scenario:?}");
                assert!(
                    schedule.last_fault < Duration::from_secs(220),
                    "{scenario:?}"
                );
            }
        }
    }

    #[test]
    fn every_cut_is_healed_or_meant_to_stay() {
        for seed in 0..40 {
            let mut rng = Rng::new(seed);
            for scenario in [
                Scenario::Partition,
                Scenario::SwizzleClog,
                Scenario::Flapping,
            ] {
                let schedule = scenario.schedule(6, Layout::Ring, &mut rng);
                let count = |wanted: fn(&Action) -> bool| {
                    schedule.actions.iter().filter(|(_, a)| wanted(a)).count()
                };
                let cuts = count(|a| matches!(a, Action::Cut(..)));
                let heals = count(|a| matches!(a, Action::Heal(..)));
                assert_eq!(cuts, heals, "{scenario:?}");
            }
        }
    }
}
