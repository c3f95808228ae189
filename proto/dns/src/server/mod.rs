//! Decisions of the DNS server: its clients, the upstream servers for other names, and what operators see.

pub mod clients;
pub mod counters;
pub mod firewall;
pub mod forwarding;
pub mod permits;
pub mod report;
pub mod resolv_conf;
