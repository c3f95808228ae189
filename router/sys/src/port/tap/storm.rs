//! Storm control: frames to groups above the limit of one interface of the bridge are dropped by the kernel, before
//! they take a place in the common queue of all interfaces, and cost the router nothing.
//!
//! An eBPF program on the device keeps a time for each interface, up to which its frames are paid for (generic cell
//! rate algorithm, ITU-T I.371).

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::StormLimits;
use crate::SysError;
use crate::bpf::{Label, Map, MapKind, Program, Reg, Width, load_socket_filter};
use crate::port::Storm;

/// Interfaces times three kinds of frames with separate state; beyond that the longest silent one starts over.
const INTERFACES: u32 = 6_144;
const SECOND: u32 = 1_000_000_000;

/// Storm control of one device, or of several that share its memory (some 0.5 MB). An interface has the same limits
/// in both cases: it is a port of one bridge, so its frames pass one of the devices.
#[derive(Debug)]
pub struct StormControl {
    dropped: Map,
    program: OwnedFd,
}

impl StormControl {
    /// Loads it into the kernel, without effect on any device yet.
    ///
    /// # Errors
    /// EPERM without CAP_BPF and CAP_NET_ADMIN; ENOSYS or EINVAL if the kernel does not support it (Linux 4.16).
    pub fn load(limits: &StormLimits) -> Result<Self, SysError> {
        let paid = Map::create(MapKind::LruHash, INTERFACES)?;
        let dropped = Map::create(MapKind::Array, KINDS)?;
        let program = load_socket_filter(&program(limits, &paid, &dropped))?;
        Ok(Self { dropped, program })
    }

    /// Starts it on the device of this queue, for as long as the device exists.
    pub(super) fn attach(&self, queue: &File) -> Result<(), SysError> {
        set_filter(queue, &self.program).map_err(|e| SysError::errno("filter on a TAP device", e))
    }

    /// Returns the frames dropped since it was loaded, on all its devices.
    pub fn dropped(&self) -> Storm {
        let of = |kind: GroupKind| self.dropped.get(kind as u32).ok().flatten().unwrap_or(0);
        Storm {
            broadcasts: of(GroupKind::Broadcast),
            multicasts: of(GroupKind::Multicast),
            questions: of(GroupKind::Question),
        }
    }
}

/// Attaches the program, which the device keeps as long as it exists.
fn set_filter(queue: &File, program: &OwnedFd) -> Result<(), Errno> {
    let fd: libc::c_int = program.as_raw_fd();
    // SAFETY: TUNSETFILTEREBPF reads one `int`, which outlives the call.
    let result = unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETFILTEREBPF, &raw const fd) };
    Errno::result(result).map(|_| ())
}

const PASS: Label = Label("pass");
const DROP: Label = Label("drop");
const QUESTION: Label = Label("question");
const BROADCAST: Label = Label("broadcast");
const TAKE: Label = Label("take");
const KNOWN: Label = Label("known");
const PAID: Label = Label("paid");
const END: Label = Label("end");

const RESULT: Reg = Reg(0);
const CONTEXT: Reg = Reg(6);
/// Holds the interface first, then the time.
const WHO: Reg = Reg(7);
const NOW: Reg = Reg(7);
const EACH: Reg = Reg(8);
const BURST: Reg = Reg(9);
const STACK: Reg = Reg(10);
const A1: Reg = Reg(1);
const A2: Reg = Reg(2);
const A3: Reg = Reg(3);
const A4: Reg = Reg(4);

/// Stack offsets of a key and a value of a map.
const KEY: i16 = -4;
const VALUE: i16 = -16;
/// Stack offset of the kind of the frame.
const KIND: i16 = -8;

// Members of `struct __sk_buff`.
const LENGTH: i16 = 0;
const INGRESS_IFINDEX: i16 = 36;

// `enum bpf_func_id`.
const MAP_LOOKUP_ELEM: i32 = 1;
const MAP_UPDATE_ELEM: i32 = 2;
const KTIME_GET_NS: i32 = 5;

const ETHERTYPE: i32 = 12;
const ARP: i32 = 0x0806;
/// First three bytes of the groups of neighbour solicitations (RFC 4291 §2.7.1, RFC 2464 §7).
const SOLICITED: i32 = 0x3333_ff00;
const SOLICITED_MASK: i32 = 0xffff_ff00_u32.cast_signed();
/// First two bytes of a broadcast.
const ALL_ONES: i32 = 0xffff;
/// Distinguish the states of one interface; no interface has such a high index.
const QUESTION_BIT: i32 = i32::MIN;
const MULTICAST_BIT: i32 = 1 << 30;

/// Kind of frames with a limit and a counter of its own.
#[derive(Clone, Copy)]
#[repr(u32)]
enum GroupKind {
    Broadcast,
    Multicast,
    Question,
}

const KINDS: u32 = 3;

/// Builds the program, which returns the length of the frame to let it pass, and 0 to drop it.
fn program(limits: &StormLimits, paid: &Map, dropped: &Map) -> Program {
    let mut p = Program::default();
    classify(&mut p, limits);
    p.label(TAKE);
    take(&mut p, paid);
    p.label(PASS);
    p.load(Width::Word, RESULT, CONTEXT, LENGTH);
    p.exit();
    p.label(DROP);
    count(&mut p, dropped);
    p.label(END);
    p.set(RESULT, 0);
    p.exit();
    p
}

/// Lets unicast pass. For other frames, sets the key of the state and the cost of the frame.
fn classify(p: &mut Program, limits: &StormLimits) {
    p.copy(CONTEXT, A1);
    p.packet(Width::Byte, 0);
    p.and(RESULT, 1);
    p.jump_if_equal(RESULT, 0, PASS);
    p.load(Width::Word, WHO, CONTEXT, INGRESS_IFINDEX);
    p.packet(Width::Half, ETHERTYPE);
    p.jump_if_equal(RESULT, ARP, QUESTION);
    p.packet(Width::Word, 0);
    p.and(RESULT, SOLICITED_MASK);
    p.jump_if_equal(RESULT, SOLICITED, QUESTION);
    p.packet(Width::Half, 0);
    p.jump_if_equal(RESULT, ALL_ONES, BROADCAST);
    p.or(WHO, MULTICAST_BIT);
    price(p, GroupKind::Multicast, limits.multicasts, limits.burst);
    p.jump(TAKE);
    p.label(QUESTION);
    p.or(WHO, QUESTION_BIT);
    price(p, GroupKind::Question, limits.questions, limits.burst);
    p.jump(TAKE);
    p.label(BROADCAST);
    price(p, GroupKind::Broadcast, limits.broadcasts, limits.burst);
}

/// Sets the cost of one frame and the burst of an interface, in nanoseconds. Without a limit the frame passes.
fn price(p: &mut Program, kind: GroupKind, rate: u32, burst: u32) {
    if rate == 0 {
        p.jump(PASS);
        return;
    }
    p.store_number(Width::Word, STACK, KIND, kind as i32);
    let each = SECOND / rate.clamp(1, SECOND);
    let whole = each.saturating_mul(burst);
    p.set(EACH, each.cast_signed());
    p.set(BURST, i32::try_from(whole).unwrap_or(i32::MAX));
}

/// Pays for the frame and goes to [`PASS`], or goes to [`DROP`].
fn take(p: &mut Program, paid: &Map) {
    p.store(Width::Word, STACK, KEY, WHO);
    p.call(KTIME_GET_NS);
    p.copy(NOW, RESULT);
    point_to_key(p, paid);
    p.call(MAP_LOOKUP_ELEM);
    p.copy(A2, NOW);
    p.minus_reg(A2, BURST);
    p.copy(A1, A2);
    p.jump_if_not_equal(RESULT, 0, KNOWN);
    p.plus_reg(A1, EACH);
    p.store(Width::Double, STACK, VALUE, A1);
    point_to_key(p, paid);
    p.copy(A3, STACK);
    p.plus(A3, VALUE.into());
    p.set(A4, 0);
    p.call(MAP_UPDATE_ELEM);
    p.jump(PASS);
    // Two processors may read the same state; then one frame more passes.
    p.label(KNOWN);
    p.load(Width::Double, A1, RESULT, 0);
    p.jump_if_at_least(A1, A2, PAID);
    p.copy(A1, A2);
    p.label(PAID);
    p.jump_if_at_least(A1, NOW, DROP);
    p.plus_reg(A1, EACH);
    p.store(Width::Double, RESULT, 0, A1);
}

fn count(p: &mut Program, dropped: &Map) {
    p.load(Width::Word, A1, STACK, KIND);
    p.store(Width::Word, STACK, KEY, A1);
    point_to_key(p, dropped);
    p.call(MAP_LOOKUP_ELEM);
    p.jump_if_equal(RESULT, 0, END);
    p.set(A1, 1);
    p.atomic_add(RESULT, 0, A1);
}

fn point_to_key(p: &mut Program, map: &Map) {
    p.map(A1, map);
    p.copy(A2, STACK);
    p.plus(A2, KEY.into());
}
