//! Keys of networks: agreement, changes, hostile members, and the bytes that travel.

mod codec;
mod hostile;
mod rounds;
mod stories;
mod world;

use super::*;
