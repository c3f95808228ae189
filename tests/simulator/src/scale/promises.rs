//! Checks after a scenario, by those of [`crate::sim`]: agreement (I3), delivery to everybody once (I5, I6), tables
//! within their bounds (I10). Panics (I12) are detected at any time.

use std::collections::BTreeSet;
use std::time::Duration;

use mesh_proto::ids::Mac;

use super::plan::attached;
use super::world::LargeMesh;
use crate::sim::invariants::agreement::{self, Belief};
use crate::sim::invariants::bounds;
use crate::sim::invariants::delivery::{self, Expectation};
use crate::sim::invariants::{Check, Violation};
use crate::sim::network::HostId;
use crate::sim::router::SimRouter;

/// Time after the last disruption within which all must agree, as in the small simulator: redials, handshakes,
/// dead-peer detection.
const QUIET: Duration = Duration::from_secs(15);
/// Time until broadcast trees are used again after the last change (2 s), sessions included.
const SETTLED: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(4);
const BROADCASTS: usize = 10;
const PAIRS: usize = 200;

impl LargeMesh {
    /// Checks everything. Returns the time that the running routers took to agree.
    pub(crate) fn keeps_its_promises(&mut self) -> Result<Duration, Violation> {
        let hosts = self.running();
        let agreed = self.until_agreed(&hosts, QUIET);
        self.unbroken()?;
        let Some(agreed) = agreed else {
            self.beliefs(&hosts)?;
            return Err(Violation::new(
                "I3 agreement",
                format!("not within {QUIET:?}"),
            ));
        };
        self.run(SETTLED);
        self.bounds(&hosts)?;
        let loss = std::mem::take(&mut self.underlay.loss);
        let mut expected = self.broadcasts(&hosts);
        expected.extend(self.unicast(&hosts));
        self.run(GRACE);
        self.underlay.loss = loss;
        self.unbroken()?;
        let everybody = hosts.iter().copied().collect();
        delivery::check(&expected, &self.deliveries, &everybody)?;
        self.beliefs(&hosts)?;
        Ok(agreed)
    }

    fn unbroken(&self) -> Check {
        match &self.broken {
            Some(violation) => Err(violation.clone()),
            None => Ok(()),
        }
    }

    fn beliefs(&self, hosts: &[HostId]) -> Check {
        let component: BTreeSet<HostId> = hosts.iter().copied().collect();
        let belief = |host: &HostId| {
            let router = self.router(*host)?;
            let reachable = router.reachable().into_iter();
            Some(Belief {
                router: *host,
                digest: router.digest(),
                // An unknown peer gets a number that is in no component.
                reachable: reachable
                    .map(|p| self.who.get(&p).copied().unwrap_or(HostId::MAX))
                    .collect(),
            })
        };
        let beliefs: Vec<Belief> = hosts.iter().filter_map(belief).collect();
        agreement::check(&component, &beliefs)
    }

    fn bounds(&self, hosts: &[HostId]) -> Check {
        for host in hosts {
            let tables = self.router(*host).map(SimRouter::tables);
            bounds::check(*host, &tables.unwrap_or_default())?;
        }
        Ok(())
    }

    fn broadcasts(&mut self, hosts: &[HostId]) -> Vec<Expectation> {
        let mut out = Vec::new();
        for _ in 0..BROADCASTS {
            let from = hosts[self.rng.below(hosts.len())];
            let source = attached(from).mac;
            let (frame, bytes) = self.ledger.frame(from, source, Mac::BROADCAST, 100);
            self.speak(from, &[bytes]);
            out.push(Expectation::new(frame, from, hosts.iter().copied()));
            self.run(Duration::from_millis(100));
        }
        out
    }

    /// Sends frames between containers that have announced themselves.
    fn unicast(&mut self, hosts: &[HostId]) -> Vec<Expectation> {
        let mut out = Vec::new();
        for _ in 0..PAIRS {
            let from = hosts[self.rng.below(hosts.len())];
            let to = hosts[self.rng.below(hosts.len())];
            if from == to {
                continue;
            }
            let (source, target) = (attached(from).mac, attached(to).mac);
            let (frame, bytes) = self.ledger.frame(from, source, target, 200);
            self.speak(from, &[bytes]);
            // An unknown destination is flooded.
            out.push(Expectation::new(frame, from, [to]).or_more());
            self.run(Duration::from_millis(10));
        }
        out
    }
}
