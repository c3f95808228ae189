//! Verbs for containers that exist, and for the host itself: addresses and names.

pub(crate) mod attach;
pub(crate) mod dns;
pub(crate) mod expose;
pub(crate) mod ps;
