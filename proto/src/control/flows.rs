//! A second UDP port for datagrams that do not arrive from the router's own.
//!
//! NAT boxes and firewalls remember a flow, two addresses and two ports, as long as datagrams of it pass. When what they
//! remember is no longer true (the outer address changed, the way out, or what stands behind a forwarded port), the
//! questions that are to find a way again are what keeps it. From another port they make a new flow; the old one rests.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::ids::PeerId;
use crate::limits::{FLOW_PATIENCE, FLOW_RENEW};
use crate::time::Instant;

use super::{Control, Output};

/// The spare port, as the host is to have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparePort {
    /// Another number is another port, any free one; 0: none is wanted.
    pub number: u64,
    /// Addresses to which all datagrams leave from it.
    pub to: BTreeSet<SocketAddr>,
}

/// What is known of the spare port.
#[derive(Debug, Default)]
pub(super) struct Flows {
    /// What the host was told last.
    told: Arc<SparePort>,
    opened: Option<Instant>,
    numbers: u64,
    /// When it was last sent from in search of a path.
    tried: Option<Instant>,
}

impl Control {
    /// A peer is probed and no address of it has answered yet: from the spare port one may.
    pub(super) fn try_spare(&mut self, peer: &PeerId, now: Instant) {
        if self.paths.searching(peer, now) < FLOW_PATIENCE {
            return;
        }
        self.flows.tried = Some(now);
        self.open_spare(now);
        for (to, probe) in self.paths.spare_probes(peer, now, &mut *self.entropy) {
            if !self.leads_out(to) {
                continue;
            }
            if let Some(bytes) = self.sealed(peer, &probe.encode(), now) {
                self.outputs.push_back(Output::SpareDatagram { to, bytes });
            }
        }
    }

    /// A handshake goes from the spare port, too, to a peer that was probed from there.
    pub(super) fn send_spare(&mut self, peer: &PeerId, to: SocketAddr, bytes: &[u8], now: Instant) {
        let is_stuck = self.paths.searching(peer, now) >= FLOW_PATIENCE;
        if self.flows.told.number > 0 && is_stuck && self.leads_out(to) {
            let bytes = bytes.to_vec();
            self.outputs.push_back(Output::SpareDatagram { to, bytes });
        }
    }

    /// Opens the spare port, or another one: a flow from it may be remembered wrong as well.
    fn open_spare(&mut self, now: Instant) {
        let is_old = self
            .flows
            .opened
            .is_none_or(|at| now.since(at) >= FLOW_RENEW);
        if is_old && self.paths.on_spare().next().is_none() {
            self.flows.opened = Some(now);
            self.flows.numbers += 1;
            self.tell_spare(self.flows.numbers);
        }
    }

    /// Tells the host which paths take the spare port; closes it once none does and nobody is searched for.
    pub(super) fn keep_spare(&mut self, now: Instant) {
        let number = self.flows.told.number;
        if number == 0 {
            return;
        }
        let searched = self
            .flows
            .tried
            .is_some_and(|at| now.since(at) < FLOW_RENEW);
        let used = self.paths.on_spare().next().is_some();
        if used || searched {
            self.tell_spare(number);
        } else {
            self.flows.opened = None;
            self.tell_spare(0);
        }
    }

    fn tell_spare(&mut self, number: u64) {
        let to = self.paths.on_spare().collect();
        let wanted = SparePort { number, to };
        if *self.flows.told != wanted {
            self.flows.told = Arc::new(wanted);
            let told = self.flows.told.clone();
            self.outputs.push_back(Output::SparePort(told));
        }
    }
}
