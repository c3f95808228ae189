//! Actions of a scenario on the world.

use mesh_proto::ids::Mac;

use super::disk::Crash;
use super::frames::Station;
use super::network::{Conditions, HostId};

/// One action, at one moment.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Starts the host's router, with a raised epoch.
    Start(HostId),
    /// `kill -9`: the process is gone, and its host's kernel refuses traffic for it.
    Kill(HostId),
    /// Power failure: the host does not respond any more.
    PowerOff(HostId),
    /// The state directory is lost while the router is down: it restarts with a new identity.
    LoseState(HostId),
    /// The state directory is restored from an old backup, with an old epoch.
    RestoreBackup(HostId),
    /// Blocks all traffic in this direction.
    Cut(HostId, HostId),
    Heal(HostId, HostId),
    /// Blocks UDP in this direction; TCP passes.
    CutUdp(HostId, HostId),
    /// Reduces the MTU between two hosts. Longer datagrams are dropped silently (PMTU black hole).
    Narrow(HostId, HostId, u16),
    /// Removes all cuts, and makes the underlay reliable again.
    HealAll,
    Conditions(Conditions),
    /// Gives the host another underlay address.
    MoveHost(HostId),
    /// Stops a container; it moves to another host with its address.
    MoveContainer {
        from: HostId,
        to: HostId,
    },
    /// Starts a moved container at its new host.
    Arrive {
        at: HostId,
        station: Station,
    },
    /// Sends a frame to a container that moved.
    SayTo(Mac),
    /// Clones a machine: another host's router restarts with a copy of its key and state.
    Clone {
        of: HostId,
        to: HostId,
    },
    /// Checks that a holder of the duplicate key has noticed, and that all other routers still reach each other.
    CloneNoticed {
        of: HostId,
        copy: HostId,
    },
    /// Starts steady traffic, of which no frame may be lost.
    Steady,
    /// Checks that every key in use was replaced recently.
    Renewed,
    /// Sends random and damaged datagrams to the host.
    Garbage(HostId),
    /// A stranger connects to the host by TCP and writes random bytes.
    GarbageStream(HostId),
    /// Injects bytes into some TCP stream to the host.
    DamageStream(HostId),
    /// A container sends frames with a very large number of source addresses.
    MacFlood(HostId),
    /// Starts the host's router if it does not run.
    Revive(HostId),
    /// Crashes the host in the middle of a write to its journal, after `after` further writes.
    CrashAtWrite {
        host: HostId,
        after: usize,
        crash: Crash,
    },
    /// Disarms all pending crashes at writes.
    DisarmDisks,
    /// An operator removes the router of another host at one host: its lost identities, or, with `force`, its current
    /// one.
    Remove {
        at: HostId,
        host: HostId,
        force: bool,
    },
    /// In each component without an owner of the range, a container requests an address, so that a router takes it.
    Found,
    /// Starts or stops the churn of containers that request addresses.
    Workload(bool),
    /// From now on, addresses may be held twice, within the documented limits, but not without being reported.
    Overlap,
    /// Checks that both holders of every duplicate address report it; from now on there must be no new ones.
    Reported,
    /// Starts a hostile member at this host.
    Hostile(HostId),
}
