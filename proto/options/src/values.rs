//! Options with a fixed set of values.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Way by which frames enter and leave the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Datapath {
    /// The fastest that works on this host
    Auto,
    /// A TAP device on the bridge: 64 KiB at a time, containers keep their offloads
    Tap,
    /// libpcap on a veth into the bridge; works everywhere
    Pcap,
}

/// Times at which the kernel is asked for quick wake-ups: shorter round trips for more power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LatencyMode {
    /// While frames flow and are sparse
    #[default]
    Auto,
    /// As long as the router runs
    On,
    /// Never
    Off,
}

/// Ciphers that the router takes for data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Cipher {
    /// AES-256-GCM where both processors have instructions for it, else ChaCha20-Poly1305
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
