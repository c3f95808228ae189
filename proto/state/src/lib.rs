//! Files of a router's state directory, as text and bytes.
//!
//! | module | subject |
//! |---|---|
//! | [`files`] | names of the files |
//! | [`sealed`] | a small file with a checksum |
//! | [`identity`] | keys and boot epoch |
//! | [`content`] | content of the other files |
//! | [`changes`] | changes that wait for the disk |
//!
//! Nothing here opens a file: text goes in and comes out.

#![forbid(unsafe_code)]

pub mod changes;
pub mod content;
pub mod files;
pub mod identity;
pub mod sealed;
