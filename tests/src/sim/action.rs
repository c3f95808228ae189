//! What a scenario does to the world.

use mesh_proto::ids::Mac;

use super::disk::Crash;
use super::host::Container;
use super::network::{Conditions, HostId};

/// One deed at one moment.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// The host's router starts, with a raised epoch.
    Start(HostId),
    /// `kill -9`: the process is gone, its host answers for it.
    Kill(HostId),
    /// Power failure: the process is gone and nobody answers.
    PowerOff(HostId),
    /// The state directory is lost while the router is down: it comes back as somebody else.
    LoseState(HostId),
    /// The state directory is an old one: the epoch of long ago comes back.
    RestoreBackup(HostId),
    /// Nothing passes in this direction.
    Cut(HostId, HostId),
    Heal(HostId, HostId),
    /// No datagram passes in this direction, TCP does.
    CutUdp(HostId, HostId),
    /// The MTU between two hosts is this from now on, and nobody says so.
    Narrow(HostId, HostId, u16),
    /// Every cut is gone and the underlay is clean.
    HealAll,
    Conditions(Conditions),
    /// The host gets another address.
    MoveHost(HostId),
    /// A container stops, to go to another host with its address.
    MoveContainer {
        from: HostId,
        to: HostId,
    },
    /// A container that moves starts again.
    Arrive {
        at: HostId,
        container: Container,
    },
    /// Somebody says something to a container that moved.
    SayTo(Mac),
    /// The machine is copied: another host's router comes back with its key and state.
    Clone {
        of: HostId,
        to: HostId,
    },
    /// By now a holder of a key in use twice has noticed, and all others still reach one another.
    CloneNoticed {
        of: HostId,
        copy: HostId,
    },
    /// From now on some traffic is steady, and none of it may be lost.
    Steady,
    /// By now every key in use was replaced lately.
    Renewed,
    /// Random and damaged datagrams arrive at the host.
    Garbage(HostId),
    /// A stranger dials the host and writes random bytes.
    GarbageStream(HostId),
    /// A byte on the way to the host is changed, on some stream.
    DamageStream(HostId),
    /// A container sends frames from a great many addresses.
    MacFlood(HostId),
    /// The host's router starts if it does not run.
    Revive(HostId),
    /// The host crashes in the middle of a write of its journal, `after` so many others.
    CrashAtWrite {
        host: HostId,
        after: usize,
        crash: Crash,
    },
    /// No host crashes at a write any more.
    DisarmDisks,
    /// An operator removes, at one host, the router of another one: the identities that it lost, or, by force, the one it
    /// has.
    Remove {
        at: HostId,
        host: HostId,
        force: bool,
    },
    /// Where nobody has the range yet, a container asks for an address, and a router takes it.
    Found,
    /// From now on containers come and go, or no more.
    Guests(bool),
    /// From now on addresses may be held twice, as said in the documents: but not without being reported.
    Overlap,
    /// By now both sides of every address that is held twice say so, and no more of them may come.
    Reported,
    /// A member that means harm joins at this host.
    Hostile(HostId),
}
