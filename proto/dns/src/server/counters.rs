//! Counters of the DNS server.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($name:ident: $about:literal,)*) => {
        /// Counters that tasks of the server share.
        #[derive(Debug, Default)]
        pub struct DnsCounters {
            $(#[doc = $about] pub $name: AtomicU64,)*
        }

        /// Totals since the start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct DnsCounts {
            $(#[doc = $about] pub $name: u64,)*
        }

        impl DnsCounters {
            /// Returns the totals now.
            pub fn read(&self) -> DnsCounts {
                DnsCounts {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                }
            }
        }
    };
}

counters! {
    answered: "Queries answered from the names of the mesh, errors included.",
    forwarded: "Queries for which others were asked.",
    failed: "Of those, how many got no answer in time.",
    overflowed: "Queries refused as too many were being asked of others.",
    dropped: "Messages that are no queries.",
    strangers: "Messages from somebody who is not served.",
    unsent: "Answers that the system had no room for.",
}

/// Adds one to a counter.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
