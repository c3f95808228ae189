//! Verbs that show the state of the router and of the mesh: text, tables, templates and pictures.

mod peers;
mod render;
pub(crate) mod report;
pub(crate) mod status;
mod template;
mod template_text;
pub(crate) mod topology;
pub(crate) mod version;
