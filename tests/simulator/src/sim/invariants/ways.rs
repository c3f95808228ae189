//! I6: with each hop a relayed frame gets nearer to its destination, as far as routers have the same view.
//!
//! Each router forwards by its own latest view. While links change, views differ, and a frame may legitimately take a
//! longer path than any router ever computed. But of two routers with the same view, the later one has fewer hops to
//! go: so in a stable mesh no frame takes more hops than its first router computed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use mesh_proto::topology::routes::Routes;

use super::forward_once::RelayKey;
use super::{Check, Violation};
use crate::sim::network::HostId;

const NAME: &str = "I6 ways";

/// View of a router when it sends a relayed datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteView {
    /// Hash from [`graph`].
    pub(crate) graph: u64,
    /// Hops to go; `None` if the destination is unreachable.
    pub(crate) to_go: Option<u16>,
}

/// Returns a hash of the reachable routers and the links between them.
pub(crate) fn graph(routes: &Routes) -> u64 {
    let mut hasher = DefaultHasher::new();
    routes.links().for_each(|link| link.hash(&mut hasher));
    hasher.finish()
}

/// Last sender of each relayed datagram, with its view.
#[derive(Debug, Default)]
pub(crate) struct HopProgress {
    last: HashMap<RelayKey, (HostId, RouteView)>,
    compared: u64,
}

impl HopProgress {
    /// Checks a relayed datagram that a router sends.
    pub(crate) fn sent(&mut self, from: HostId, key: RelayKey, view: RouteView) -> Check {
        let Some((before, seen)) = self.last.insert(key, (from, view)) else {
            return Ok(());
        };
        if seen.graph != view.graph {
            return Ok(());
        }
        self.compared += 1;
        let hops = |to_go: Option<u16>| to_go.map_or(usize::MAX, usize::from);
        if hops(view.to_go) < hops(seen.to_go) {
            return Ok(());
        }
        let detail = format!(
            "router {before} sent {key:?} on with {:?} hops to go, and router {from}, which sees the same mesh, with {:?}",
            seen.to_go, view.to_go
        );
        Err(Violation::new(NAME, detail))
    }

    /// Returns the number of hops that were compared with the previous one.
    pub(crate) fn compared(&self) -> u64 {
        self.compared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: RelayKey = ([1; 16], 2, 3);

    fn view(graph: u64, to_go: Option<u16>) -> RouteView {
        RouteView { graph, to_go }
    }

    /// Returns true if the last router of a path may forward the frame, and the number of compared hops.
    fn way(views: &[RouteView]) -> (bool, u64) {
        let mut ways = HopProgress::default();
        let sent = views.iter().enumerate();
        let checks: Vec<Check> = sent.map(|(h, v)| ways.sent(h, KEY, *v)).collect();
        let (last, before) = checks.split_last().unwrap();
        assert!(before.iter().all(Result::is_ok));
        (last.is_ok(), ways.compared())
    }

    #[test]
    fn detours_are_found_where_views_agree() {
        let three = view(1, Some(3));
        assert_eq!(way(&[three, view(1, Some(2)), view(1, Some(1))]), (true, 2));
        assert_eq!(way(&[three, view(1, Some(3))]), (false, 1));
        assert_eq!(way(&[three, view(1, None)]), (false, 1));
        assert_eq!(way(&[three, view(2, Some(3))]), (true, 0), "another view");
        let back = [three, view(2, Some(3)), view(2, Some(3))];
        assert_eq!(way(&back), (false, 1));
    }

    #[test]
    fn other_datagrams_are_other_ways() {
        let mut ways = HopProgress::default();
        let view = view(1, Some(3));
        assert!(ways.sent(0, KEY, view).is_ok());
        assert!(ways.sent(1, ([1; 16], 2, 4), view).is_ok());
        assert!(ways.sent(1, KEY, view).is_err());
    }
}
