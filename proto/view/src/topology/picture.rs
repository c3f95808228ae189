//! The mesh as a picture: DOT for Graphviz, and SVG with all routers on a circle.

use std::f64::consts::TAU;
use std::fmt::Write as _;

use super::graph::{GraphRouter, MeshGraph};

/// Least distance in pixels between two routers on the circle, and around it.
const ROOM: f64 = 36.0;
const MARGIN: f64 = 160.0;
const LEAST_RADIUS: f64 = 120.0;

/// Returns DOT source (<https://graphviz.org/doc/info/lang.html>). Links that are not established are dashed.
pub fn dot(graph: &MeshGraph) -> String {
    let mut out = String::from("graph mesh {\n  node [shape=box];\n");
    for router in &graph.routers {
        let bold = if router.is_self { ", style=bold" } else { "" };
        let label = format!("{}\n{}", router.nick_name, router.name);
        let _ = writeln!(
            out,
            "  {} [label={}{bold}];",
            quoted(&router.name),
            quoted(&label)
        );
    }
    for link in &graph.links {
        let [a, b] = [link.a, link.b].map(|n| quoted(&graph.routers[n].name));
        let style = if link.established {
            ""
        } else {
            " [style=dashed]"
        };
        let _ = writeln!(out, "  {a} -- {b}{style};");
    }
    out.push_str("}\n");
    out
}

/// Quotes a DOT string: quotes and backslashes are escaped, a newline becomes `\n`.
fn quoted(text: &str) -> String {
    let text = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{text}\"")
}

/// Returns a self-contained SVG picture.
pub fn svg(graph: &MeshGraph) -> String {
    let radius = (as_f64(graph.routers.len()) * ROOM / TAU).max(LEAST_RADIUS);
    let size = 2.0 * (radius + MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{size:.0}\" height=\"{size:.0}\" \
         viewBox=\"0 0 {size:.0} {size:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let at = |place: usize, radius: f64| {
        let angle = as_f64(place) * TAU / as_f64(graph.routers.len().max(1)) - TAU / 4.0;
        (
            size / 2.0 + radius * angle.cos(),
            size / 2.0 + radius * angle.sin(),
        )
    };
    for link in &graph.links {
        let ((x1, y1), (x2, y2)) = (at(link.a, radius), at(link.b, radius));
        let style = match link.established {
            true => "stroke=\"#4a6\"",
            false => "stroke=\"#b44\" stroke-dasharray=\"4\"",
        };
        let _ = writeln!(
            out,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>"
        );
    }
    for (place, router) in (0..).zip(&graph.routers) {
        let ((x, y), (tx, ty)) = (at(place, radius), at(place, radius + 12.0));
        let fill = match (router.is_self, router.path.as_str()) {
            (true, _) => "#26c",
            (false, "none") => "#b44",
            (false, _) => "#4a6",
        };
        let anchor = match tx - size / 2.0 {
            x if x.abs() < 10.0 => "middle",
            x if x > 0.0 => "start",
            _ => "end",
        };
        let _ = writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\" fill=\"{fill}\"><title>{}</title></circle>\n\
             <text x=\"{tx:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escaped(&title(router)),
            ty + 4.0,
            escaped(&router.nick_name)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn title(router: &GraphRouter) -> String {
    format!(
        "{} ({}), {}, {} attached",
        router.nick_name, router.name, router.path, router.attached
    )
}

/// Escapes a text for XML. Names come from other hosts, so they must not end a text or an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Converts exactly: the number of routers fits into 32 bits.
fn as_f64(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::graph::tests::mesh;
    use super::*;

    #[test]
    fn dot_is_as_graphviz_reads_it() {
        let mut graph = mesh(&[("self", "bC"), ("direct", "a"), ("none", "")]);
        graph.routers[1].nick_name = "b\"\\".to_owned();
        let expected = r#"graph mesh {
  node [shape=box];
  "7a:00:00:00:00:00" [label="a\n7a:00:00:00:00:00", style=bold];
  "7a:00:00:00:00:01" [label="b\"\\\n7a:00:00:00:00:01"];
  "7a:00:00:00:00:02" [label="c\n7a:00:00:00:00:02"];
  "7a:00:00:00:00:00" -- "7a:00:00:00:00:01";
  "7a:00:00:00:00:00" -- "7a:00:00:00:00:02" [style=dashed];
}
"#;
        assert_eq!(dot(&graph), expected);
    }

    #[test]
    fn svg_has_every_router_and_link_and_no_markup_of_others() {
        let mut graph = mesh(&[("self", "bC"), ("direct", "a"), ("none", "")]);
        graph.routers[2].nick_name = "</text><script>\"&".to_owned();
        let svg = svg(&graph);
        assert_eq!(svg.matches("<circle").count(), 3);
        assert_eq!(svg.matches("<line").count(), 2);
        assert_eq!(svg.matches("stroke-dasharray").count(), 1);
        assert!(!svg.contains("<script") && svg.contains("&lt;/text&gt;&lt;script&gt;&quot;&amp;"));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
