//! Invariants that must hold in every run, one file each.
//!
//! | file | invariant | checked |
//! |---|---|---|
//! | `addresses` | I1: no address twice; I2: one owner per slice; I13: confirmed addresses survive; S6: no space leaks | always; S6 when quiet |
//! | `agreement` | I3: all routers of a component hold the same records | when quiet |
//! | `forward_once` | I4: no router forwards a frame or datagram twice | always |
//! | `deliver_once` | I5: no frame enters a bridge twice or modified | always |
//! | `delivery` | I6: all routers reach each other, in few hops | when quiet |
//! | `ways` | I6: each hop brings a frame nearer, where routers have the same view | always |
//! | `follow` | I7: traffic follows a moved MAC address at once | always |
//! | `secrecy` | I8: no frame in clear text on any wire | always |
//! | `nonce` | I9: no counter used twice under one key | always |
//! | `isolation` | I14: no frame enters another network than its own | always |
//! | `names` | D1: names are correct; D2: names of unreachable routers are hidden | when quiet; always |
//! | `bounds` | I10: no table beyond its bound | always |
//!
//! I12 (no input panics) needs no file: the runner catches a panic and reports the seed.

pub(crate) mod addresses;
pub(crate) mod agreement;
pub(crate) mod bounds;
pub(crate) mod deliver_once;
pub(crate) mod delivery;
pub(crate) mod follow;
pub(crate) mod forward_once;
pub(crate) mod isolation;
pub(crate) mod names;
pub(crate) mod nonce;
pub(crate) mod secrecy;
pub(crate) mod ways;

use std::fmt;

/// A violated invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Number and name of the invariant.
    pub invariant: &'static str,
    /// Observation that violates it.
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

/// Result of a check.
pub(crate) type Check = Result<(), Violation>;
