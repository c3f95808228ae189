//! Options with a fixed set of values.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Device through which frames enter and leave the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Datapath {
    /// The fastest that works on this host
    Auto,
    /// TAP device on the bridge: 64 KiB at a time, containers keep their offloads
    Tap,
    /// libpcap on a veth pair into the bridge; works everywhere
    Pcap,
}

/// Times at which CPUs are kept out of deep idle states: shorter round trips, but more power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LatencyMode {
    /// While frames flow at a low rate
    #[default]
    Auto,
    /// Always
    On,
    /// Never
    Off,
}

/// Ciphers that the router accepts for data sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Cipher {
    /// AES-256-GCM if both CPUs have instructions for it, else ChaCha20-Poly1305
    #[serde(rename = "auto")]
    Auto,
    /// ChaCha20-Poly1305 and no other
    #[value(name = "chacha20-poly1305")]
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
    /// AES-256-GCM and no other
    #[value(name = "aes-256-gcm")]
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
}
