//! Sockets with the options that std does not have. Those of the data plane are in [`crate::udp`].

mod both;
pub mod loopback;
pub mod packet;
pub mod tcp;
pub mod unix;

pub use both::bind_both;
