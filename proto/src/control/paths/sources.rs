//! Source addresses: a datagram leaves from the address of this host that its receiver sent to.
//!
//! A host may have several addresses, and a firewall on the way lets answers pass that come from where the question went.
//! So a peer that sends to one of them is answered from there, and what is sent to it later leaves from there, too, as long as
//! datagrams come to it. Where nobody asked yet the kernel's routes choose.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::forward::{LaneEvent, Via};
use crate::limits::{DEAD_AFTER, MAX_SOURCES, PATH_DOUBT};
use crate::time::Instant;

/// The addresses of this host that others send to.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    used: BTreeMap<SocketAddr, Used>,
    shared: Arc<BTreeMap<SocketAddr, IpAddr>>,
    /// Remote address that is being answered, and the local one for it.
    answering: Option<(SocketAddr, IpAddr)>,
}

#[derive(Clone, Copy, Debug)]
struct Used {
    local: IpAddr,
    /// Time of the last datagram to it.
    last: Instant,
}

impl Sources {
    /// An authenticated datagram from `remote` came to `local`. Another address than before counts only when nothing
    /// comes to that one any more: a peer that tries several is not followed to each.
    pub(crate) fn came(&mut self, remote: SocketAddr, local: IpAddr, now: Instant) {
        if self.used.len() >= MAX_SOURCES && !self.used.contains_key(&remote) {
            return;
        }
        let used = self.used.entry(remote).or_insert(Used { local, last: now });
        if used.local == local || now.since(used.last) >= PATH_DOUBT {
            *used = Used { local, last: now };
        }
    }

    /// Forgets what fell silent. Returns true if the lanes are to be told of a change.
    pub(crate) fn refresh(&mut self, now: Instant) -> bool {
        self.used
            .retain(|_, used| now.since(used.last) < DEAD_AFTER);
        let is_same = self.used.len() == self.shared.len()
            && self
                .used
                .iter()
                .all(|(remote, used)| self.shared.get(remote) == Some(&used.local));
        if !is_same {
            let all = self.used.iter().map(|(remote, used)| (*remote, used.local));
            self.shared = Arc::new(all.collect());
        }
        !is_same
    }

    /// Sets the remote address that is being answered, and the local one that it sent to.
    pub(crate) fn answer(&mut self, asked: Option<(SocketAddr, IpAddr)>) {
        self.answering = asked;
    }

    /// Returns the address from which a datagram to `remote` leaves; none: the kernel chooses.
    pub(crate) fn of(&self, remote: SocketAddr) -> Option<IpAddr> {
        let asked = self.answering.filter(|(from, _)| *from == remote);
        asked
            .map(|(_, local)| local)
            .or_else(|| Some(self.used.get(&remote)?.local))
    }

    /// Returns the same for all, as lanes look it up.
    pub(crate) fn shared(&self) -> Arc<BTreeMap<SocketAddr, IpAddr>> {
        self.shared.clone()
    }
}

/// Returns the address that an event came from directly.
pub(crate) fn asker(event: &LaneEvent) -> Option<SocketAddr> {
    match event {
        LaneEvent::Handshake { via, .. }
        | LaneEvent::UnknownIndex { via, .. }
        | LaneEvent::Probe { via, .. } => match via {
            Via::Direct(address) => Some(*address),
            Via::Relay(_) => None,
        },
        LaneEvent::EndpointSeen { address, .. } => Some(*address),
        LaneEvent::NeedSession(_) | LaneEvent::Confirmed { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn the_address_that_is_asked_answers_until_nobody_asks_it_any_more() {
        let remote: SocketAddr = "192.0.2.9:6783".parse().unwrap();
        let [one, two]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let mut sources = Sources::default();
        let mut now = Instant::ZERO;
        assert_eq!(sources.of(remote), None);
        sources.came(remote, two, now);
        assert!(sources.refresh(now) && !sources.refresh(now));
        assert_eq!(sources.shared().get(&remote), Some(&two));
        // Others are tried, too, while it works.
        for _ in 0..5 {
            now += Duration::from_secs(1);
            sources.came(remote, one, now);
            sources.came(remote, two, now);
            assert_eq!(sources.of(remote), Some(two));
        }
        sources.answering = Some((remote, one));
        assert_eq!(sources.of(remote), Some(one), "an answer to the other");
        sources.answering = None;
        now += PATH_DOUBT;
        sources.came(remote, one, now);
        assert_eq!(sources.of(remote), Some(one));
        assert!(sources.refresh(now + DEAD_AFTER));
        assert_eq!(sources.of(remote), None);
        assert!(sources.shared().is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut sources = Sources::default();
        for n in 0..=u32::try_from(MAX_SOURCES).unwrap() {
            let remote = SocketAddr::from((n.to_be_bytes(), 1));
            sources.came(remote, IpAddr::from([127, 0, 0, 1]), Instant::ZERO);
        }
        assert_eq!(sources.used.len(), MAX_SOURCES);
    }
}
