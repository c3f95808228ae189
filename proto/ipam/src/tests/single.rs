//! One router, step by step.

use core::time::Duration;

use super::super::*;

const ME: PeerId = PeerId([1; 16]);
const NOW: Instant = Instant::from_nanos(1_000_000_000);
const LATER: Instant = Instant::from_nanos(9_000_000_000);

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

struct One {
    ipam: Ipam,
    journal: Vec<Vec<u8>>,
    serial: u64,
}

impl One {
    fn new() -> Self {
        Self::start("10.32.0.0/12", 1, Vec::new())
    }

    fn start(range: &str, epoch: u64, journal: Vec<Vec<u8>>) -> Self {
        Self::start_as(ME, range, epoch, journal)
    }

    fn start_as(me: PeerId, range: &str, epoch: u64, journal: Vec<Vec<u8>>) -> Self {
        let config = IpamConfig {
            me,
            epoch,
            slicing: Slicing::new(net(range)).unwrap(),
            auto_reclaim: None,
        };
        let ipam = Ipam::new(config, journal.iter().map(Vec::as_slice), NOW).unwrap();
        Self {
            ipam,
            journal,
            serial: 0,
        }
    }

    fn drain(&mut self) -> Vec<IpamOutput> {
        let mut outputs = Vec::new();
        while let Some(output) = self.ipam.poll_output() {
            match output {
                IpamOutput::Persist { position, entry } => {
                    self.journal.push(entry);
                    self.ipam.persisted(position, NOW);
                }
                other => outputs.push(other),
            }
        }
        outputs
    }

    fn ask(&mut self, container: &str, subnet: &str) -> Result<Ipv4Addr, AddressRefusal> {
        self.serial += 1;
        let id = RequestId(self.serial);
        self.ipam.allocate(id, container, net(subnet), LATER, NOW)?;
        self.answer()
    }

    fn claim(&mut self, container: &str, addr: &str) -> Result<Ipv4Addr, AddressRefusal> {
        self.serial += 1;
        let id = RequestId(self.serial);
        self.ipam.claim(id, container, net(addr), LATER, NOW)?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Ipv4Addr, AddressRefusal> {
        let outputs = self.drain().into_iter();
        let mut answers = outputs.filter_map(|output| match output {
            IpamOutput::Allocated { addr, .. } => Some(Ok(addr)),
            IpamOutput::Failed { why, .. } => Some(Err(why)),
            _ => None,
        });
        answers.next().unwrap()
    }
}

#[test]
fn the_lowest_free_address_and_the_same_again() {
    let mut one = One::new();
    let range = "10.32.0.0/24";
    assert_eq!(one.ask("a", range), Ok([10, 32, 0, 1].into()));
    assert_eq!(one.ask("b", range), Ok([10, 32, 0, 2].into()));
    assert_eq!(one.ask("a", range), Ok([10, 32, 0, 1].into()));
    assert_eq!(one.ask("a", "10.32.5.0/24"), Ok([10, 32, 5, 1].into()));
    one.ipam.release("a", NOW);
    assert_eq!(one.ask("c", range), Ok([10, 32, 0, 1].into()));
    assert_eq!(one.ask("c", "10.32.5.0/24"), Ok([10, 32, 5, 1].into()));
    assert_eq!(one.ipam.allocations().count(), 3);
}

#[test]
fn in_a_large_subnet_each_router_begins_elsewhere_and_takes_the_lowest_there() {
    let first = |me: u8| {
        let mut one = One::start_as(PeerId([me; 16]), "10.32.0.0/12", 1, Vec::new());
        let got: Vec<u32> = (0..300)
            .map(|n| one.ask(&n.to_string(), "10.32.0.0/12").unwrap().into())
            .collect();
        // One after the other from a .1, on into the next slice; .255 and .0 between them are left out.
        let step = |addr: u32| if addr % 256 == 254 { 3 } else { 1 };
        assert_eq!(got[0] % 256, 1);
        assert!(
            got.windows(2)
                .all(|pair| pair[1] == pair[0] + step(pair[0]))
        );
        one.ipam.release("7", NOW);
        let again = one.ask("again", "10.32.0.0/12").unwrap();
        assert_eq!(u32::from(again), got[7]);
        got[0] >> 8
    };
    let slices: std::collections::BTreeSet<u32> = (1..=20).map(first).collect();
    assert_eq!(slices.len(), 20, "{slices:?}");
    // At the end of the line it goes on at the beginning, until all is taken.
    let mut one = One::start("10.32.0.0/28", 1, Vec::new());
    let all = (0..14).map(|n| one.ask(&n.to_string(), "10.32.0.0/28").unwrap());
    assert_eq!(all.collect::<std::collections::BTreeSet<_>>().len(), 14);
    let full = one.ask("one more", "10.32.0.0/28");
    assert_eq!(
        full,
        Err(AddressRefusal::Exhausted(net("10.32.0.0/28").into()))
    );
}

#[test]
fn never_the_first_or_last_of_a_subnet_and_exhaustion_is_said() {
    let mut one = One::new();
    let small = "10.32.7.4/30";
    assert_eq!(one.ask("a", small), Ok([10, 32, 7, 5].into()));
    assert_eq!(one.ask("b", small), Ok([10, 32, 7, 6].into()));
    assert_eq!(
        one.ask("c", small),
        Err(AddressRefusal::Exhausted(net(small).into()))
    );
    assert!(matches!(
        one.ask("c", "10.32.7.4/31"),
        Err(AddressRefusal::TooSmall(_))
    ));
    assert!(matches!(
        one.ask("c", "10.2.0.0/24"),
        Err(AddressRefusal::OutsideRange(..))
    ));
}

/// In each range, and in subnets of it, all that is given out until nothing is left.
#[test]
fn what_looks_like_a_network_or_a_broadcast_address_is_not_given_out() {
    for (range, subnet, count) in [
        ("10.32.0.0/12", "10.32.4.0/22", 4 * 254),
        ("10.32.0.0/12", "10.32.4.0/23", 2 * 254),
        ("10.32.0.0/12", "10.32.4.0/24", 254),
        ("10.32.0.0/12", "10.32.4.128/25", 126),
        ("10.0.0.0/8", "10.5.16.0/22", 4 * 254),
        ("10.32.0.0/16", "10.32.0.0/21", 8 * 254),
        ("10.32.0.0/22", "10.32.0.0/22", 4 * 254),
        ("10.32.0.0/23", "10.32.0.0/23", 2 * 254),
    ] {
        for me in 1..3 {
            let mut one = One::start_as(PeerId([me; 16]), range, 1, Vec::new());
            let claim = "10.32.5.0/22";
            let claimed = subnet == "10.32.4.0/22" && one.claim("odd", claim).is_ok();
            let given = (0..).map_while(|n: u32| one.ask(&n.to_string(), subnet).ok());
            let given: std::collections::BTreeSet<Ipv4Addr> = given.collect();
            assert_eq!(given.len(), count, "{subnet} of {range}");
            let odd = |addr: &&Ipv4Addr| matches!(addr.octets()[3], 0 | 255);
            assert_eq!(given.iter().find(odd), None, "{subnet} of {range}");
            assert_eq!(
                one.ask("more", subnet),
                Err(AddressRefusal::Exhausted(net(subnet).into()))
            );
            if range == subnet {
                assert_eq!(one.ipam.space().free, 0, "{range}");
            }
            assert_eq!(claimed, subnet == "10.32.4.0/22", "a claim may have it");
        }
    }
}

#[test]
fn claims_are_kept_and_refused_with_the_holder() {
    let mut one = One::new();
    assert_eq!(one.claim("a", "10.32.0.1/24"), Ok([10, 32, 0, 1].into()));
    assert_eq!(one.claim("a", "10.32.0.1/24"), Ok([10, 32, 0, 1].into()));
    let refused = one.claim("b", "10.32.0.1/24").unwrap_err();
    assert_eq!(
        refused,
        AddressRefusal::InUse([10, 32, 0, 1].into(), "a".to_owned())
    );
    assert!(matches!(
        one.claim("b", "10.32.0.255/24"),
        Err(AddressRefusal::NotAHost(_))
    ));
    assert_eq!(one.ask("b", "10.32.0.0/24"), Ok([10, 32, 0, 2].into()));
}

#[test]
fn a_restart_keeps_what_was_answered_and_nothing_is_answered_before_it_is_synced() {
    let mut one = One::new();
    one.ask("a", "10.32.0.0/24").unwrap();
    let id = RequestId(77);
    one.ipam
        .allocate(id, "b", net("10.32.0.0/24"), LATER, NOW)
        .unwrap();
    let mut unsynced = 0;
    while let Some(output) = one.ipam.poll_output() {
        assert!(matches!(output, IpamOutput::Persist { .. }), "{output:?}");
        unsynced += 1;
    }
    assert!(unsynced > 0);
    let mut again = One::start("10.32.0.0/12", 2, one.journal);
    assert_eq!(again.ask("a", "10.32.0.0/24"), Ok([10, 32, 0, 1].into()));
    assert_eq!(again.ask("c", "10.32.0.0/24"), Ok([10, 32, 0, 2].into()));
}

#[test]
fn slices_follow_from_the_range() {
    for (range, count, size) in [
        ("10.0.0.0/8", 4_096, 4_096),
        ("10.32.0.0/12", 4_096, 256),
        ("10.32.0.0/16", 256, 256),
        ("10.32.0.0/20", 16, 256),
        ("10.32.0.0/24", 16, 16),
        ("10.32.0.0/28", 4, 4),
    ] {
        let slicing = Slicing::new(net(range)).unwrap();
        assert_eq!((slicing.count(), slicing.size()), (count, size), "{range}");
        let last = slicing.net(slicing.count() - 1);
        assert_eq!(last.broadcast(), net(range).broadcast());
        assert_eq!(
            slicing.slice_of(last.broadcast()),
            Some(slicing.count() - 1)
        );
        assert_eq!(slicing.slices_of(net(range)), 0..slicing.count());
    }
    for (subnet, count, size) in [
        ("10.1.0.0/30", 1, 4),
        ("10.1.0.8/29", 2, 4),
        ("10.1.0.0/24", 16, 16),
    ] {
        let slicing = Slicing::of_subnet(net(subnet).into()).unwrap();
        assert_eq!((slicing.count(), slicing.size()), (count, size), "{subnet}");
        assert_eq!(slicing.net(count - 1).broadcast(), net(subnet).broadcast());
    }
    assert!(Slicing::of_subnet(net("10.1.0.0/31").into()).is_err());
    assert!(Slicing::new(net("10.32.0.0/29")).is_err());
    assert!(Slicing::new(net("10.32.0.1/24")).is_err());
}

#[test]
fn who_waits_for_named_routers_is_told_until_when() {
    let mut one = One::new();
    one.ipam.set_expecting(true, NOW);
    let id = RequestId(1);
    one.ipam
        .allocate(id, "a", net("10.32.0.0/24"), LATER, NOW)
        .unwrap();
    let waiting: Vec<WaitingRequest<'_>> = one.ipam.waiting().collect();
    let until = NOW + Duration::from_secs(5);
    assert_eq!(waiting[0].why, &Wait::Others(until));
    one.ipam.handle_timeout(until);
    let _ = one.answer().unwrap();
}

#[test]
fn leaving_alone_ends_at_its_deadline() {
    let mut one = One::new();
    one.ask("a", "10.32.0.0/24").unwrap();
    one.ipam.leave(NOW);
    let left = one.drain();
    assert!(
        left.iter()
            .any(|o| matches!(o, IpamOutput::Left { orphaned: 4_096 }))
    );
    assert_eq!(one.ask("b", "10.32.0.0/24"), Err(AddressRefusal::Leaving));
}

#[test]
fn a_loan_is_taken_though_its_owner_has_not_stated_the_slice_yet() {
    let mut one = One::new();
    let founder = PeerId([0; 16]);
    let statement = IpamStatement {
        version: mesh_proto::ids::Version { epoch: 1, seq: 1 },
        range: net("10.32.0.0/12"),
        settled: 1,
        live: false,
        free: 0,
        own: Vec::new(),
        others: Vec::new(),
        pins: Vec::new(),
        fences: Vec::new(),
        conflicts: Vec::new(),
    };
    let stated = statement.encode();
    one.ipam
        .handle_statement(founder, &stated, true, NOW)
        .unwrap();
    one.ipam
        .allocate(RequestId(1), "a", net("10.32.5.0/24"), LATER, NOW)
        .unwrap();
    let is_asked = |o: &IpamOutput| matches!(o, IpamOutput::Send { to, .. } if *to == founder);
    assert!(one.drain().iter().any(is_asked));
    let addr = [10, 32, 5, 1].into();
    let lent = |number| {
        IpamMessage::Leased {
            epoch: 1,
            number,
            addr,
        }
        .encode()
    };
    // What nobody asked for is not taken.
    one.ipam.handle_message(founder, &lent(9), NOW).unwrap();
    assert_eq!(one.ipam.allocations().count(), 0);
    one.ipam.handle_message(founder, &lent(1), NOW).unwrap();
    assert_eq!(one.answer(), Ok(addr));
    // It is told to all as held in what is not this router's.
    one.ipam.handle_timeout(LATER);
    let pins = |o: IpamOutput| match o {
        IpamOutput::Statement(bytes) => IpamStatement::decode(&bytes).unwrap().pins,
        _ => Vec::new(),
    };
    let last = one.drain().into_iter().map(pins).next_back();
    assert_eq!(last.unwrap().first().map(|pin| pin.addr), Some(addr));
}

#[test]
fn a_raised_epoch_is_in_what_is_said_next() {
    let mut one = One::new();
    one.ask("web", "10.32.0.0/24").unwrap();
    let epoch = |one: &One| {
        let said = one.ipam.statement().unwrap();
        IpamStatement::decode(&said).unwrap().version.epoch
    };
    assert_eq!(epoch(&one), 1);
    one.ipam.raise_epoch(7, LATER);
    one.ipam.raise_epoch(3, LATER);
    assert_eq!(epoch(&one), 7);
}
