//! The mesh as text: a summary, the tree of shortest paths from this router, then everything outside the tree.

use std::fmt::Write as _;

use mesh_proto::limits::MAX_HOPS;

use super::graph::{GraphLink, GraphRouter, MeshGraph};

/// Links outside the tree that fit on one line.
const PER_LINE: usize = 4;

/// Returns the drawing.
pub fn text(graph: &MeshGraph) -> String {
    let tree = graph.tree();
    let mut children = vec![Vec::new(); graph.routers.len()];
    let mut in_tree = vec![false; graph.routers.len()];
    for place in &tree {
        in_tree[place.router] = true;
        if let Some(parent) = place.parent {
            children[parent].push(place.router);
        }
    }
    let mut out = summary(graph, tree.len());
    if let Some(root) = tree.first() {
        let _ = writeln!(out, "\n{}", line(&graph.routers[root.router]));
        branch(&mut out, graph, &children, (root.router, 0), "");
    }
    let is_of_tree = |link: &&GraphLink| {
        children[link.a].contains(&link.b) || children[link.b].contains(&link.a)
    };
    let more: Vec<&GraphLink> = graph.links.iter().filter(|l| !is_of_tree(l)).collect();
    list(
        &mut out,
        "Other links",
        graph,
        more.iter().filter(|l| l.established),
    );
    list(
        &mut out,
        "Links that are established at one end only, or at none",
        graph,
        more.iter().filter(|l| !l.established),
    );
    let lost = (0..)
        .zip(&graph.routers)
        .filter(|(n, _)| !in_tree.get(*n).is_some_and(|is| *is));
    let lost: Vec<String> = lost
        .map(|(_, router)| format!("  {}\n", line(router)))
        .collect();
    if !lost.is_empty() {
        let _ = write!(out, "\nOut of reach:\n{}", lost.concat());
    }
    out
}

fn summary(graph: &MeshGraph, reached: usize) -> String {
    let all = graph.routers.len();
    let up = graph.links.iter().filter(|l| l.established).count();
    let reach = match all - reached {
        0 => "all within reach".to_owned(),
        lost => format!("{lost} out of reach"),
    };
    let half = match graph.links.len() - up {
        0 => String::new(),
        half => format!(" and {half} that are not established"),
    };
    format!(
        "{}, {}{half}; {reach}\n",
        count(all, "router"),
        count(up, "link")
    )
}

fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// Draws the routers below one, recursively, down to the hop limit of frames.
fn branch(
    out: &mut String,
    graph: &MeshGraph,
    children: &[Vec<usize>],
    of: (usize, u8),
    indent: &str,
) {
    let (below, depth) = (&children[of.0], of.1);
    if depth == MAX_HOPS && !below.is_empty() {
        let _ = writeln!(out, "{indent}└─ … further than frames go");
        return;
    }
    for (n, child) in (1..).zip(below) {
        let (joint, further) = match n == below.len() {
            true => ("└─", "   "),
            false => ("├─", "│  "),
        };
        let _ = writeln!(out, "{indent}{joint} {}", line(&graph.routers[*child]));
        branch(
            out,
            graph,
            children,
            (*child, depth + 1),
            &format!("{indent}{further}"),
        );
    }
}

fn line(router: &GraphRouter) -> String {
    let way = match router.path.as_str() {
        "self" => "this router",
        "none" => "no way",
        path => path,
    };
    let containers = match router.attached {
        0 => String::new(),
        n => format!(", {}", count(n, "container")),
    };
    format!("{}({}): {way}{containers}", router.name, router.nick_name)
}

fn list<'a>(
    out: &mut String,
    title: &str,
    graph: &MeshGraph,
    links: impl Iterator<Item = &'a &'a GraphLink>,
) {
    let nick = |n: usize| &graph.routers[n].nick_name;
    let links: Vec<String> = links
        .map(|l| format!("{} -- {}", nick(l.a), nick(l.b)))
        .collect();
    if links.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}:");
    for row in links.chunks(PER_LINE) {
        let _ = writeln!(out, "  {}", row.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::tests::mesh;
    use super::*;

    #[test]
    fn a_tree_and_what_is_beside_it() {
        let graph = mesh(&[
            ("self", "bc"),
            ("direct 10.0.0.2:6783", "acd"),
            ("direct 10.0.0.3:6783", "ab"),
            ("via 7a:00:00:00:00:01(b)", "b"),
            ("none", "A"),
        ]);
        let expected = "\
5 routers, 4 links and 1 that are not established; 1 out of reach

7a:00:00:00:00:00(a): this router
├─ 7a:00:00:00:00:01(b): direct 10.0.0.2:6783, 1 container
│  └─ 7a:00:00:00:00:03(d): via 7a:00:00:00:00:01(b), 3 containers
└─ 7a:00:00:00:00:02(c): direct 10.0.0.3:6783, 2 containers

Other links:
  b -- c

Links that are established at one end only, or at none:
  a -- e

Out of reach:
  7a:00:00:00:00:04(e): no way, 4 containers
";
        assert_eq!(text(&graph), expected);
    }

    #[test]
    fn a_long_line_ends_where_frames_do() {
        let letters: Vec<String> = (b'a'..=b'y')
            .map(|b| {
                [b.wrapping_sub(1), b + 1]
                    .iter()
                    .map(|b| char::from(*b))
                    .filter(|c| ('a'..='y').contains(c))
                    .collect()
            })
            .collect();
        let mut routers: Vec<(&str, &str)> = letters.iter().map(|l| ("x", l.as_str())).collect();
        routers[0].0 = "self";
        let text = text(&mesh(&routers));
        assert_eq!(text.matches("└─ 7a").count(), usize::from(MAX_HOPS));
        assert!(text.ends_with("└─ … further than frames go\n"), "{text}");
    }

    #[test]
    fn one_router_alone() {
        let graph = mesh(&[("self", "")]);
        let expected = "1 router, 0 links; all within reach\n\n7a:00:00:00:00:00(a): this router\n";
        assert_eq!(text(&graph), expected);
    }
}
