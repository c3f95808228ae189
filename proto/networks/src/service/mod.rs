//! Networks as a part of the router, without its disk and its callers.
//!
//! | part | subject |
//! |---|---|
//! | [`desk`] | the state machine: inputs of control plane, disk and callers, effects for them |
//! | [`feed`] | effects of the control plane, handed to the networks |
//! | [`gate`] | effects that wait for the disk |
//! | [`usage`] | memberships that follow the containers of this host |
//! | [`answer`] | answers to callers |
//! | [`request`] | requests as users type them |
//! | [`notes`] | changes in words, for the log |
//! | [`reports`] | networks as the API reports them |
//! | [`config`] | facts about this router |
//! | [`directory`] | names and definitions, for other parts of the router |

pub(crate) mod answer;
pub(crate) mod config;
pub(crate) mod desk;
pub(crate) mod directory;
pub(crate) mod feed;
mod gate;
mod notes;
mod reports;
pub(crate) mod request;
#[cfg(test)]
mod tests;
pub(crate) mod usage;
