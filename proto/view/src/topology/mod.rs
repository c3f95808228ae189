//! `mesh topology`: the mesh as this router knows it, drawn as text, DOT or SVG.

mod graph;
mod picture;
mod text;

pub use graph::MeshGraph;
pub use picture::{dot, svg};
pub use text::text;
