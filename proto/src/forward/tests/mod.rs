//! Whole networks of forwarders in memory, wired by hand.

mod abuse;
mod broadcast;
mod frames;
mod narrow;
mod net;
mod networks;
mod offload;
mod resolution;
mod underlay;
mod unicast;
