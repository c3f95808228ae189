//! Thousands of random stories, and the proof that the checks can fail.

use core::time::Duration;
use std::net::Ipv4Addr;

use super::super::durable::Fault;
use super::super::*;
use super::world::World;

const RANGES: [&str; 4] = [
    "10.32.0.0/24",
    "10.32.0.0/26",
    "10.32.0.0/20",
    "10.32.0.0/28",
];

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn world(seed: u64, fault: Option<Fault>) -> World {
    let range = RANGES[usize::try_from(seed / 7 % 4).unwrap()];
    World::new(seed, range, fault)
}

/// One subnet of a network besides `default`.
fn network(seed: u64, fault: Option<Fault>) -> World {
    let range = ["10.32.0.0/24", "10.32.0.0/26", "10.32.0.0/29"];
    let range = range[usize::try_from(seed / 7 % 3).unwrap()];
    let mut w = World::new(seed, range, fault);
    w.is_network = true;
    w
}

fn want(w: &mut World) -> AddressRequest {
    let bits = w.range.prefix_len();
    match w.below(6) {
        0 => {
            let size = 1u64 << (32 - bits);
            let addr = u64::from(u32::from(w.range.network())) + w.below(size.min(64));
            AddressRequest::Address(Ipv4Addr::from(u32::try_from(addr).unwrap()))
        }
        1 => AddressRequest::Subnet(Ipv4Net::new(w.range.network(), (bits + 1).min(30)).unwrap()),
        2 => AddressRequest::Subnet(Ipv4Net::new(w.range.network(), bits.max(28)).unwrap()),
        _ => AddressRequest::Subnet(w.range),
    }
}

/// A container comes or goes somewhere.
fn life(w: &mut World) -> Result<(), String> {
    let up = w.running();
    let Some(id) = w.pick(&up) else { return Ok(()) };
    let names: Vec<String> = w.hosts[&id].containers.keys().cloned().collect();
    if !names.is_empty() && w.below(100) < 45 {
        let n = w.below(u64::try_from(names.len()).unwrap());
        return w.release(id, &names[usize::try_from(n).unwrap()]);
    }
    // Who never heard of a map would make one, which is another story.
    let has_map = !w.hosts[&id]
        .router
        .as_ref()
        .unwrap()
        .registry
        .state()
        .claims()
        .is_blank();
    if has_map {
        let want = want(w);
        w.request(id, want)?;
    }
    Ok(())
}

fn settle(w: &mut World, time: Duration) -> Result<(), String> {
    for id in w.ids() {
        w.set_group(id, 0);
        if w.hosts[&id].router.is_none() {
            w.start(id);
        }
    }
    w.reconnect();
    w.run(time)
}

fn begin(w: &mut World, n: u64) -> Result<(), String> {
    for _ in 0..n {
        w.add(0);
    }
    w.run(secs(2))?;
    // All at once: one of them takes the range for all.
    for id in w.ids() {
        let range = w.range;
        w.request(id, AddressRequest::Subnet(range))?;
    }
    w.run(secs(2))
}

/// A host goes in an orderly way.
fn leave(w: &mut World, id: PeerId) -> Result<(), String> {
    let names: Vec<String> = w.hosts[&id].containers.keys().cloned().collect();
    for name in names {
        w.release(id, &name)?;
    }
    w.act(id, Ipam::leave)?;
    for _ in 0..24 {
        w.run(ms(500))?;
        if w.hosts[&id].left {
            return Ok(());
        }
    }
    Err("leaving has no end".to_owned())
}

/// One mesh, with crashes, partitions, and hosts that are lost and replaced.
fn one_mesh(seed: u64, fault: Option<Fault>) -> Result<(), String> {
    troubled(world(seed, fault))
}

/// The same in a network.
fn one_network(seed: u64, fault: Option<Fault>) -> Result<(), String> {
    troubled(network(seed, fault))
}

fn troubled(mut w: World) -> Result<(), String> {
    let n = 2 + w.below(5);
    begin(&mut w, n)?;
    let mut dead: Vec<PeerId> = Vec::new();
    for _ in 0..60 {
        let ids = w.ids();
        let victim = w.pick(&ids).unwrap();
        match w.below(40) {
            0 | 1 if w.hosts[&victim].router.is_some() => w.crash(victim),
            2..=5 if w.hosts[&victim].router.is_none() => w.start(victim),
            6 => {
                let group = u8::try_from(w.below(3)).unwrap();
                w.set_group(victim, group);
                w.reconnect();
            }
            7 | 8 => {
                for id in ids {
                    w.set_group(id, 0);
                }
                w.reconnect();
            }
            9 if ids.len() > 3 => {
                w.destroy(victim);
                dead.push(victim);
            }
            14 if ids.len() > 3 && w.hosts[&victim].router.is_some() => {
                leave(&mut w, victim)?;
                w.destroy(victim);
                // A router that could not be given everything has to be removed.
                dead.push(victim);
            }
            10 if ids.len() < 8 => {
                w.add(0);
            }
            11..=13 if w.hosts.values().all(|h| h.group == 0) => {
                // From several hosts at once.
                for id in w.running() {
                    for gone in dead.clone() {
                        if w.below(2) == 0 {
                            w.act(id, |ipam, now| {
                                // Force is for not waiting here; who sees few others may be cut off.
                                let (reachable, all) = ipam.registry.majority();
                                if reachable * 2 > all {
                                    let _ = ipam.remove(gone, true, now);
                                }
                            })?;
                        }
                    }
                }
            }
            _ => life(&mut w)?,
        }
        let pause = 20 + w.below(150);
        w.run(ms(pause))?;
    }
    settle(&mut w, secs(12))?;
    for id in w.running() {
        for gone in dead.clone() {
            w.act(id, |ipam, now| {
                let _ = ipam.remove(gone, true, now);
            })?;
        }
    }
    w.run(secs(10))?;
    w.check_peace()?;
    let conflicts = w.hosts.values().filter_map(|h| h.router.as_ref());
    if let Some(r) = conflicts.into_iter().find(|r| !r.conflicts().is_empty()) {
        let conflicts = r.conflicts();
        return Err(format!("conflicts without duplicates: {conflicts:?}"));
    }
    for host in w.hosts.values() {
        let router = host.router.as_ref().unwrap();
        if let Some(owner) = router.owners().iter().find(|o| !o.reachable) {
            return Err(format!("space of {} is lost", owner.peer));
        }
    }
    Ok(())
}

/// Two or three meshes that all allocated, and meet.
fn joined(seed: u64, fault: Option<Fault>) -> Result<(), String> {
    let mut w = world(seed, fault);
    w.strict = false;
    w.loss = 5;
    let meshes = 2 + u8::try_from(w.below(2)).unwrap();
    for group in 0..meshes {
        for _ in 0..1 + w.below(3) {
            w.add(group);
        }
    }
    w.run(secs(2))?;
    for id in w.ids() {
        let range = w.range;
        if w.below(4) > 0 {
            w.request(id, AddressRequest::Subnet(range))?;
        }
    }
    for _ in 0..25 {
        w.run(ms(60))?;
        life(&mut w)?;
    }
    w.run(secs(9))?;
    for id in w.ids() {
        w.set_group(id, 0);
    }
    w.reconnect();
    for _ in 0..30 {
        w.run(ms(60))?;
        life(&mut w)?;
    }
    w.run(secs(5))?;
    w.check_reported()?;
    w.strict = true;
    w.excused = w.duplicates().iter().map(|d| d.0).collect();
    let excused = w.excused.clone();
    for _ in 0..40 {
        let pause = 20 + w.below(100);
        w.run(ms(pause))?;
        life(&mut w)?;
        if w.below(20) == 0 {
            let ids = w.ids();
            let id = w.pick(&ids).unwrap();
            let group = u8::try_from(w.below(2)).unwrap();
            w.set_group(id, group);
            w.reconnect();
        }
        if w.duplicates().iter().any(|d| !excused.contains(&d.0)) {
            return Err("a new duplicate after the meshes had met".to_owned());
        }
    }
    settle(&mut w, secs(12))?;
    w.check_reported()?;
    w.check_peace()
}

/// Routers that live behind a partition are removed by force, on either side, and come back.
fn forced(seed: u64, fault: Option<Fault>) -> Result<(), String> {
    removed_alive(world(seed, fault))
}

/// The same in a network.
fn forced_in_network(seed: u64, fault: Option<Fault>) -> Result<(), String> {
    removed_alive(network(seed, fault))
}

fn removed_alive(mut w: World) -> Result<(), String> {
    w.loss = 5;
    let n = 3 + w.below(4);
    begin(&mut w, n)?;
    for _ in 0..15 {
        life(&mut w)?;
        w.run(ms(80))?;
    }
    w.strict = false;
    let ids = w.ids();
    for id in &ids {
        let group = u8::try_from(w.below(2)).unwrap();
        w.set_group(*id, group);
    }
    w.reconnect();
    w.run(secs(2))?;
    for id in &ids {
        for other in &ids {
            if w.below(4) == 0 {
                w.act(*id, |ipam, now| {
                    let _ = ipam.remove(*other, true, now);
                })?;
            }
        }
    }
    for _ in 0..25 {
        life(&mut w)?;
        let pause = 50 + w.below(200);
        w.run(ms(pause))?;
    }
    for id in w.ids() {
        w.set_group(id, 0);
    }
    w.reconnect();
    w.run(secs(5))?;
    w.check_reported()?;
    w.run(secs(3))?;
    let excused: Vec<Ipv4Addr> = w.duplicates().iter().map(|d| d.0).collect();
    for _ in 0..20 {
        w.run(ms(60))?;
        life(&mut w)?;
        if w.duplicates().iter().any(|d| !excused.contains(&d.0)) {
            return Err("a new duplicate after the return".to_owned());
        }
    }
    w.run(secs(12))?;
    w.check_reported()?;
    w.check_peace()
}

/// Hosts of a network that use it before they ever met: no address is held twice, at any moment.
fn apart(seed: u64, fault: Option<Fault>) -> Result<(), String> {
    strangers(network(seed, fault))
}

fn strangers(mut w: World) -> Result<(), String> {
    w.loss = 5;
    let n = 2 + w.below(4);
    for _ in 0..n {
        let group = u8::try_from(w.below(2)).unwrap();
        let id = w.add(group);
        let range = w.range;
        w.request(id, AddressRequest::Subnet(range))?;
    }
    for _ in 0..20 {
        life(&mut w)?;
        let pause = 20 + w.below(200);
        w.run(ms(pause))?;
    }
    settle(&mut w, secs(3))?;
    for _ in 0..20 {
        life(&mut w)?;
        w.run(ms(60))?;
    }
    w.run(secs(12))?;
    w.check_peace()?;
    match w.duplicates().first() {
        Some(twice) => Err(format!("held twice: {twice:?}")),
        None if w.allocated == 0 => Err("nothing was allocated".to_owned()),
        None => Ok(()),
    }
}

type Story = fn(u64, Option<Fault>) -> Result<(), String>;
const STORIES: [(&str, Story); 6] = [
    ("one mesh", one_mesh),
    ("joined", joined),
    ("forced", forced),
    ("one network", one_network),
    ("forced in a network", forced_in_network),
    ("apart", apart),
];

fn seeds() -> u64 {
    let seeds = std::env::var("MESH_IPAM_SEEDS").ok();
    seeds.and_then(|n| n.parse().ok()).unwrap_or(400)
}

/// The first seed, if any, that finds something.
fn search(fault: Option<Fault>, seeds: u64) -> Option<(u64, &'static str, String)> {
    (0..seeds).find_map(|seed| {
        let mut stories = STORIES.iter();
        stories.find_map(|(name, story)| Some((seed, *name, story(seed, fault).err()?)))
    })
}

/// All that goes wrong, each with its seed.
fn failures(seeds: core::ops::Range<u64>) -> Vec<String> {
    let mut failures = Vec::new();
    for seed in seeds {
        for (name, story) in STORIES {
            if let Err(what) = story(seed, None) {
                failures.push(format!("MESH_IPAM_SEED={seed} ({name}): {what}"));
            }
        }
    }
    failures
}

#[test]
fn stories_end_well() {
    let one = std::env::var("MESH_IPAM_SEED").ok();
    let failures = match one.and_then(|seed| seed.parse::<u64>().ok()) {
        Some(seed) => failures(seed..seed + 1),
        None => std::thread::scope(|scope| {
            let n = seeds();
            let second = scope.spawn(move || failures(n / 2..n));
            let mut all = failures(0..n / 2);
            all.extend(second.join().unwrap());
            all
        }),
    };
    assert!(
        failures.is_empty(),
        "{} failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn planted_faults_are_found() {
    use Fault::*;
    let all = [
        NoSync,
        NoAgreement,
        NoPins,
        NoContest,
        KeepGranted,
        HastyRelease,
        EverybodyBootstraps,
        NoConcession,
    ];
    let found = std::thread::scope(|scope| {
        let searches = all.map(|fault| scope.spawn(move || search(Some(fault), 400)));
        searches.map(|search| search.join().unwrap())
    });
    for (fault, found) in all.iter().zip(found) {
        match found {
            Some((seed, story, what)) => println!("{fault:?}: seed {seed} ({story}): {what}"),
            None => panic!("{fault:?} was not found"),
        }
    }
}

/// Without one founder, networks have what `default` has: routers that did not meet take the same addresses.
#[test]
fn several_founders_are_found_out() {
    let found = (0..100).find_map(|seed| {
        let mut w = network(seed, None);
        w.all_found = true;
        Some((seed, strangers(w).err()?))
    });
    let (seed, what) = found.unwrap();
    println!("seed {seed}: {what}");
}

/// In a network an owner without containers keeps nothing back, so it may go.
#[test]
fn the_space_of_a_network_goes_to_the_first_that_asks() {
    let mut w = World::new(4, "10.32.0.0/24", None);
    w.is_network = true;
    w.loss = 0;
    let founder = w.add(0);
    w.run(secs(1)).unwrap();
    let first = w.add(0);
    w.run(secs(1)).unwrap();
    let any = AddressRequest::Subnet(w.range);
    w.request(first, any).unwrap();
    w.run(secs(3)).unwrap();
    assert_eq!(w.hosts[&first].containers.len(), 1);
    let owners = w.hosts[&first].router.as_ref().unwrap().owners();
    assert_eq!((owners.len(), owners[0].peer), (1, first));
    w.destroy(founder);
    w.run(secs(1)).unwrap();
    for _ in 0..253 {
        w.request(first, any).unwrap();
    }
    w.run(secs(9)).unwrap();
    assert_eq!(w.hosts[&first].containers.len(), 254);
}

#[test]
fn who_leaves_hands_over_and_others_use_it_at_once() {
    let mut w = World::new(3, "10.32.0.0/26", None);
    begin(&mut w, 3).unwrap();
    let founder = w.ids()[0];
    leave(&mut w, founder).unwrap();
    w.destroy(founder);
    w.run(secs(2)).unwrap();
    for id in w.running() {
        for _ in 0..20 {
            let range = w.range;
            w.request(id, AddressRequest::Subnet(range)).unwrap();
            w.run(ms(200)).unwrap();
        }
    }
    w.run(secs(3)).unwrap();
    w.check_peace().unwrap();
    assert!(w.hosts.values().all(|h| h.failures.is_empty()));
    let router = w.hosts.values().next().unwrap().router.as_ref().unwrap();
    assert!(router.owners().iter().all(|o| o.reachable));
}

/// Who is to have the space of a router that is removed may be asked before it has heard of that.
#[test]
fn space_that_is_about_to_change_hands_is_waited_for() {
    let mut asked_others = 0;
    for seed in 0..100 {
        let mut w = World::new(seed, "10.32.0.0/28", None);
        w.loss = 0;
        let ids: Vec<PeerId> = (0..3).map(|_| w.add(0)).collect();
        let any = AddressRequest::Subnet(w.range);
        w.run(secs(8)).unwrap();
        for _ in 0..14 {
            w.request(ids[0], any).unwrap();
            w.run(secs(1)).unwrap();
        }
        w.destroy(ids[0]);
        w.reconnect();
        w.run(secs(2)).unwrap();
        w.act(ids[1], |ipam, now| {
            let removal = ipam.remove(ids[0], true, now).unwrap();
            asked_others += usize::from(removal.successor != ids[1]);
        })
        .unwrap();
        w.request(ids[1], any).unwrap();
        w.run(secs(8)).unwrap();
        let host = &w.hosts[&ids[1]];
        assert!(host.failures.is_empty(), "seed {seed}: {:?}", host.failures);
        assert_eq!(host.containers.len(), 1, "seed {seed}");
    }
    assert!(asked_others > 20, "{asked_others}");
}

/// The rules of a removal: not of the living, not too soon, not by a minority; then by itself.
#[test]
fn removal_has_rules_and_happens_by_itself() {
    let mut w = World::new(5, "10.32.0.0/26", None);
    w.loss = 0;
    w.reclaim = Some(secs(700));
    begin(&mut w, 3).unwrap();
    let ids = w.ids();
    let (here, gone) = (ids[1], ids[0]);
    let removed = |w: &mut World, who: PeerId, force: bool| {
        let mut result = None;
        w.act(who, |ipam, now| {
            result = Some(ipam.remove(gone, force, now));
        })
        .unwrap();
        result.unwrap()
    };
    assert_eq!(removed(&mut w, gone, true), Err(RemoveError::Myself));
    assert_eq!(removed(&mut w, here, true), Err(RemoveError::Alive(gone)));
    w.destroy(gone);
    w.set_group(ids[2], 7);
    w.reconnect();
    w.run(secs(60)).unwrap();
    let soon = removed(&mut w, here, false);
    assert!(matches!(soon, Err(RemoveError::TooSoon(..))), "{soon:?}");
    w.run(secs(600)).unwrap();
    let minority = removed(&mut w, here, false);
    assert!(
        matches!(minority, Err(RemoveError::NoMajority(..))),
        "{minority:?}"
    );
    // An address of the dead router's space is refused with the remedy.
    w.request(here, AddressRequest::Address([10, 32, 0, 3].into()))
        .unwrap();
    w.run(secs(1)).unwrap();
    let failures = |w: &World| w.hosts[&here].failures.len();
    assert_eq!(failures(&w), 0, "it may be about to say that it is there");
    w.run(secs(2)).unwrap();
    let refused = w.hosts[&here].failures.last().unwrap().to_string();
    assert!(
        refused.contains(&format!("mesh rmpeer {gone}")),
        "{refused}"
    );
    w.set_group(ids[2], 0);
    w.reconnect();
    w.run(secs(60)).unwrap();
    let router = w.hosts[&here].router.as_ref().unwrap();
    assert!(
        router.owners().iter().all(|o| o.reachable),
        "by itself, with a majority"
    );
    assert!(
        removed(&mut w, here, false).is_ok(),
        "again, without effect"
    );
    w.check_peace().unwrap();
}

/// Needs no sync of its own for each: what is journalled for one allocation is one small entry.
#[test]
fn an_allocation_costs_one_small_entry() {
    let mut w = World::new(9, "10.32.0.0/12", None);
    let id = w.add(0);
    w.run(secs(1)).unwrap();
    let range = w.range;
    w.request(id, AddressRequest::Subnet(range)).unwrap();
    w.run(secs(1)).unwrap();
    let router = w.hosts[&id].router.as_ref().unwrap();
    let before = router.position();
    for _ in 0..100 {
        w.request(id, AddressRequest::Subnet(range)).unwrap();
    }
    w.run(secs(1)).unwrap();
    let router = w.hosts[&id].router.as_ref().unwrap();
    assert_eq!(router.position() - before, 100);
    assert_eq!(router.allocations().count(), 101);
    let entries = router.snapshot();
    assert!(entries.iter().all(|entry| entry.len() < 60));
}

#[test]
fn a_thousand_replacements_lose_no_space() {
    let mut w = World::new(1, "10.32.0.0/24", None);
    w.loss = 2;
    begin(&mut w, 3).unwrap();
    for round in 0..1_000 {
        let ids = w.ids();
        let victim = w.pick(&ids).unwrap();
        w.destroy(victim);
        w.add(0);
        w.run(ms(1_600)).unwrap();
        for id in w.running() {
            w.act(id, |ipam, now| {
                let _ = ipam.remove(victim, true, now);
            })
            .unwrap();
        }
        w.run(ms(1_900)).unwrap();
        life(&mut w).unwrap();
        if round % 50 == 49 {
            w.run(secs(6)).unwrap();
            w.check_peace()
                .unwrap_or_else(|what| panic!("round {round}: {what}"));
            let router = w.hosts.values().next().unwrap().router.as_ref().unwrap();
            assert!(router.owners().iter().all(|o| o.reachable), "round {round}");
        }
    }
}
