//! Verbs that show the state of the router and of the mesh.

pub(crate) mod report;
pub(crate) mod status;
pub(crate) mod topology;
pub(crate) mod version;
