//! Routers and the links between them, from each router's own record.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mesh_proto::api::PeerReport;
use serde::Serialize;

/// Graph of the mesh, as JSON shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MeshGraph {
    /// Routers, sorted by nickname.
    pub(super) routers: Vec<GraphRouter>,
    /// Links; `a` is the end that is first in the list of routers.
    pub(super) links: Vec<GraphLink>,
}

/// One router.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GraphRouter {
    /// MAC-shaped name.
    pub(super) name: String,
    /// Nickname.
    pub(super) nick_name: String,
    pub(super) is_self: bool,
    /// Path of frames to it: `self`, `direct <address>`, `via <name(nickname)>`, `none`.
    pub(super) path: String,
    /// Number of containers that it announces.
    pub(super) attached: usize,
}

/// One link; its ends are indexes into the list of routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GraphLink {
    pub(super) a: usize,
    pub(super) b: usize,
    /// True if both ends call it established. Frames pass over no other links.
    pub(super) established: bool,
}

/// Position of a router in the tree of shortest paths from this router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TreePlace {
    pub(super) router: usize,
    /// Next router towards this one; `None` for this router itself.
    pub(super) parent: Option<usize>,
}

impl MeshGraph {
    /// Builds the graph from reports. A link to a router without a report is left out.
    pub fn of(peers: &[PeerReport]) -> Self {
        let mut peers: Vec<&PeerReport> = peers.iter().collect();
        peers.sort_by_key(|p| (&p.nick_name, &p.name));
        let named = |p: &PeerReport| format!("{}({})", p.name, p.nick_name);
        let places: BTreeMap<String, usize> = (0..)
            .zip(&peers)
            .map(|(place, peer)| (named(peer), place))
            .collect();
        // For each pair of routers, the ends that call their link established.
        let mut said: BTreeMap<(usize, usize), BTreeSet<usize>> = BTreeMap::new();
        for (me, peer) in (0..).zip(&peers) {
            for connection in &peer.connections {
                let Some(other) = places.get(&connection.peer).copied() else {
                    continue;
                };
                let ends = said.entry((me.min(other), me.max(other))).or_default();
                if connection.established {
                    ends.insert(me);
                }
            }
        }
        let link = |((a, b), ends): ((usize, usize), BTreeSet<usize>)| GraphLink {
            a,
            b,
            established: ends.len() == 2,
        };
        Self {
            links: said.into_iter().map(link).collect(),
            routers: peers.into_iter().map(GraphRouter::of).collect(),
        }
    }

    /// Returns the neighbours of each router over established links, in order.
    fn neighbours(&self) -> Vec<Vec<usize>> {
        let mut neighbours = vec![Vec::new(); self.routers.len()];
        for link in self.links.iter().filter(|link| link.established) {
            neighbours[link.a].push(link.b);
            neighbours[link.b].push(link.a);
        }
        for list in &mut neighbours {
            list.sort_unstable();
        }
        neighbours
    }

    /// Returns the routers that established links lead to from this one: each once, nearest first.
    pub(super) fn tree(&self) -> Vec<TreePlace> {
        let neighbours = self.neighbours();
        let mut seen = vec![false; self.routers.len()];
        let mut tree = Vec::new();
        let mut next = VecDeque::new();
        if let Some(me) = self.routers.iter().position(|r| r.is_self) {
            seen[me] = true;
            next.push_back(TreePlace {
                router: me,
                parent: None,
            });
        }
        while let Some(place) = next.pop_front() {
            tree.push(place);
            for other in &neighbours[place.router] {
                if !std::mem::replace(&mut seen[*other], true) {
                    next.push_back(TreePlace {
                        router: *other,
                        parent: Some(place.router),
                    });
                }
            }
        }
        tree
    }
}

impl GraphRouter {
    fn of(peer: &PeerReport) -> Self {
        Self {
            name: peer.name.clone(),
            nick_name: peer.nick_name.clone(),
            is_self: peer.is_self,
            path: peer.path.clone(),
            attached: peer.attached,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use mesh_proto::api::PeerConnectionReport;

    use super::*;

    /// Builds a graph of routers `a`, `b`, … from the path and the announced links of each; a capital letter is a link
    /// that is not established.
    pub(in crate::topology) fn mesh(routers: &[(&str, &str)]) -> MeshGraph {
        let name = |n: usize| format!("7a:00:00:00:00:{n:02x}");
        let letter = |n: usize| char::from(b'a' + u8::try_from(n).unwrap()).to_string();
        let peer = |(n, (path, links)): (usize, &(&str, &str))| PeerReport {
            name: name(n),
            nick_name: letter(n),
            id: String::new(),
            epoch: 1,
            version: 1,
            is_self: *path == "self",
            path: (*path).to_owned(),
            attached: n,
            connections: links
                .bytes()
                .map(|b| {
                    let other = usize::from(b.to_ascii_lowercase() - b'a');
                    PeerConnectionReport {
                        peer: format!("{}({})", name(other), letter(other)),
                        outbound: true,
                        address: None,
                        established: b.is_ascii_lowercase(),
                    }
                })
                .collect(),
        };
        MeshGraph::of(&routers.iter().enumerate().map(peer).collect::<Vec<_>>())
    }

    #[test]
    fn a_link_counts_when_both_ends_call_it_established() {
        let graph = mesh(&[("self", "bc"), ("direct", "aC"), ("none", "z")]);
        let links: Vec<_> = graph
            .links
            .iter()
            .map(|l| (l.a, l.b, l.established))
            .collect();
        assert_eq!(links, [(0, 1, true), (0, 2, false), (1, 2, false)]);
        let tree: Vec<_> = graph.tree().iter().map(|p| (p.router, p.parent)).collect();
        assert_eq!(tree, [(0, None), (1, Some(0))]);
    }

    #[test]
    fn the_tree_holds_the_shortest_ways() {
        let graph = mesh(&[("x", "bc"), ("self", "ac"), ("x", "abd"), ("x", "c")]);
        let tree: Vec<_> = graph.tree().iter().map(|p| (p.router, p.parent)).collect();
        assert_eq!(tree, [(1, None), (0, Some(1)), (2, Some(1)), (3, Some(2))]);
        assert!(
            mesh(&[("none", "")]).tree().is_empty(),
            "no report of our own"
        );
    }
}
