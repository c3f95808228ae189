//! Entries of the journal, each of which is one change of the state.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::super::slices::SliceRun;
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::limits::MAX_CONTAINER_ID;
use mesh_proto::wire::bounded;

/// One change of the state. `docs/PROTOCOL.md` lists the tags, which follow the order here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum JournalEntry {
    /// A router owns these slices, as far as is known here.
    Claim { owner: PeerId, run: SliceRun },
    /// These slices are this router's beyond doubt; `from` granted them, if anybody did.
    Own { from: Option<PeerId>, run: SliceRun },
    /// This router granted these slices to another one.
    Grant { to: PeerId, run: SliceRun },
    /// The router that was granted a slice claims it.
    Granted { slice: u16 },
    /// A container of this router leases an address.
    Lease {
        addr: Ipv4Addr,
        prefix: u8,
        explicit: bool,
        #[serde(deserialize_with = "bounded::text::<_, MAX_CONTAINER_ID>")]
        container: String,
    },
    /// The lease of a container has ended.
    Release { addr: Ipv4Addr },
    /// Another router leases an address.
    RemoteLease {
        addr: Ipv4Addr,
        to: PeerId,
        epoch: u64,
        number: u64,
    },
    /// The lease of another router has ended.
    RemoteRelease { addr: Ipv4Addr },
    /// Another router claims a slice of this one.
    Contest { slice: u16, rival: PeerId },
    /// It does not any more, and the addresses that it leases there are known.
    Conceded { slice: u16, rival: PeerId },
    /// A router was removed, with all that it stated up to this version.
    Fence { peer: PeerId, version: Version },
}
