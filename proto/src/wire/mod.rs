//! Bytes on the wire: what is laid out by hand (datagram headers) and what the serializer lays out (link messages,
//! records).

pub mod bounded;
pub mod codec;
pub mod datagram;
pub mod message;
