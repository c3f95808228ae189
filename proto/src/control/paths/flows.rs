//! A second UDP port for datagrams that do not arrive from the router's own.
//!
//! NAT boxes and firewalls remember a flow, two addresses and two ports, as long as datagrams of it pass. When what they
//! remember is no longer true (the outer address changed, the way out, or what stands behind a forwarded port), the
//! questions that are to find a way again are what keeps it. From another port they make a new flow; the old one rests.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::limits::FLOW_RENEW;
use crate::time::Instant;

/// The spare port, as the host is to have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparePort {
    /// Another number is another port, any free one; 0: none is wanted.
    pub number: u64,
    /// Addresses to which all datagrams leave from it.
    pub to: BTreeSet<SocketAddr>,
}

/// State of the spare port.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    /// The spare port as the host was told last.
    told: Arc<SparePort>,
    opened: Option<Instant>,
    numbers: u64,
    /// Time of the last probe from it in search of a path.
    tried: Option<Instant>,
}

impl Flows {
    /// Returns true if there is a spare port.
    pub(crate) fn is_open(&self) -> bool {
        self.told.number > 0
    }

    /// Opens the spare port for a search, or another one: a flow from it may be remembered wrong as well. `used` are the
    /// addresses whose paths take it. Returns the port if the host is to be told.
    pub(crate) fn search(
        &mut self,
        used: BTreeSet<SocketAddr>,
        now: Instant,
    ) -> Option<Arc<SparePort>> {
        self.tried = Some(now);
        let is_old = self.opened.is_none_or(|at| now.since(at) >= FLOW_RENEW);
        if !is_old || !used.is_empty() {
            return None;
        }
        self.opened = Some(now);
        self.numbers += 1;
        self.tell(self.numbers, used)
    }

    /// Closes the spare port once no path takes it and none is searched for. Returns the port if the host is to be told.
    pub(crate) fn refresh(
        &mut self,
        used: BTreeSet<SocketAddr>,
        now: Instant,
    ) -> Option<Arc<SparePort>> {
        let number = self.told.number;
        if number == 0 {
            return None;
        }
        let searched = self.tried.is_some_and(|at| now.since(at) < FLOW_RENEW);
        if !used.is_empty() || searched {
            return self.tell(number, used);
        }
        self.opened = None;
        self.tell(0, used)
    }

    fn tell(&mut self, number: u64, to: BTreeSet<SocketAddr>) -> Option<Arc<SparePort>> {
        let wanted = SparePort { number, to };
        (*self.told != wanted).then(|| {
            self.told = Arc::new(wanted);
            self.told.clone()
        })
    }
}
