//! Offloads: what a kernel leaves to the network card, done here instead.
//!
//! A port with the virtio header hands over TCP and UDP *super-frames* of up to 64 KiB whose checksums are unfinished,
//! and takes such frames. In between, on the wire of the mesh, travel ordinary frames of the mesh's MTU.

pub mod virtio;
