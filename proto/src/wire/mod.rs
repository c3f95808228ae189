//! Bytes on the wire.

pub mod datagram;
