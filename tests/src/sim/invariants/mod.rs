//! What must hold in every run, one file each.
//!
//! | file | holds | checked |
//! |---|---|---|
//! | `addresses` | I1: no address twice; I2: one owner of each slice; I13: what was told is kept; S6: no space leaks | always; S6 when quiet |
//! | `agreement` | I3: all routers of a component say the same | when quiet |
//! | `forward_once` | I4: no router forwards a frame or datagram twice | always |
//! | `deliver_once` | I5: no frame enters a bridge twice, or changed | always |
//! | `delivery` | I6: everybody reaches everybody, in few hops | when quiet |
//! | `ways` | I6: with each hop a frame comes nearer, where routers see the same mesh | always |
//! | `follow` | I7: a MAC address that moved is followed at once | always |
//! | `secrecy` | I8: no frame in clear on any wire | always |
//! | `nonce` | I9: no counter used twice under one key | always |
//! | `names` | D1: names are true; D2: nothing is shown of routers out of reach | when quiet; always |
//! | `bounds` | I10: no table beyond its bound | always |
//!
//! I12 (no input panics) needs no file: the runner catches a panic and names the seed.

pub(crate) mod addresses;
pub(crate) mod agreement;
pub(crate) mod bounds;
pub(crate) mod deliver_once;
pub(crate) mod delivery;
pub(crate) mod follow;
pub(crate) mod forward_once;
pub(crate) mod names;
pub(crate) mod nonce;
pub(crate) mod secrecy;
pub(crate) mod ways;

use std::fmt;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's number and name.
    pub invariant: &'static str,
    /// What was seen.
    pub detail: String,
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, detail: String) -> Self {
        Self { invariant, detail }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

/// A check's result.
pub(crate) type Check = Result<(), Violation>;
