//! Sockets with the options that std does not have. Those of the data plane are in [`crate::udp`].

pub mod loopback;
pub mod packet;
pub mod tcp;
pub mod unix;
