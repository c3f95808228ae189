//! Wire format: datagram headers, laid out by hand, and link messages and records, laid out by the serializer.

pub mod bounded;
pub mod codec;
pub mod datagram;
pub mod digest_tree;
pub mod message;
pub mod topic;
pub mod via;
