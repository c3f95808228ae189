//! Networks, as far as one host's containers are in them: addresses in a network, and which networks are used.
//!
//! What is in the network `default` is stored, tagged and printed as if there were no networks.

pub mod addresses;
pub mod hex;
pub mod scoped;
pub mod usage;
pub mod view;
