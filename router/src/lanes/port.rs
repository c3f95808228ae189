//! The router's port on its bridge: opened in the fastest way that works, and reopened when it was deleted or set down.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use mesh_proto::forward::GroupLimits;
use mesh_proto::limits::{GROUP_BURST_EACH, RESOLUTION_RATE_EACH};
use mesh_proto::offload::VirtioHeader;
use mesh_sys::bridge::{self, BridgeConfig, PortKind};
use mesh_sys::ifname;
use mesh_sys::port::{
    FrameBatch, FramePort, FrameReader, FrameWriter, LostFrames, Offloads, PcapPort, PortError,
    StormLimits, TapPort, TapSpec,
};

use mesh_options::Datapath;

/// Frames that may queue in the kernel per egress lane; at 100,000 frames per second that is 2.5 ms.
const QUEUE: u32 = 256;
/// Interval of attempts to reopen a port: the host side restores the interface within seconds.
const PAUSE: Duration = Duration::from_millis(100);

/// The chosen port, not yet on the bridge.
pub struct Chosen {
    /// Device that joins the router to its bridge.
    pub kind: PortKind,
    /// Reason for the choice.
    pub reason: String,
    tap: Vec<TapPort>,
    limits: GroupLimits,
}

impl Chosen {
    /// Returns the name of the datapath, as users know it.
    pub fn name(&self) -> &'static str {
        match self.kind {
            PortKind::Tap => "tap",
            PortKind::Veth => "pcap",
        }
    }
}

/// Chooses the port: a TAP device with offloads, unless pcap is requested or TAP does not work here.
///
/// # Errors
/// TAP is requested and does not work.
pub fn choose(
    asked: Datapath,
    bridge: &str,
    lanes: usize,
    limits: GroupLimits,
) -> anyhow::Result<Chosen> {
    let pcap = |reason| Chosen {
        kind: PortKind::Veth,
        reason,
        tap: Vec::new(),
        limits,
    };
    let tap = |reason: &str, tap| Chosen {
        kind: PortKind::Tap,
        reason: match lanes {
            1 => reason.to_owned(),
            _ => format!("{reason}; {lanes} lanes each way"),
        },
        tap,
        limits,
    };
    let open = || open_tap(bridge, lanes, limits);
    match asked {
        Datapath::Pcap => Ok(pcap("asked for".to_owned())),
        Datapath::Tap => Ok(tap(
            "asked for",
            open().context("cannot use --datapath tap")?,
        )),
        Datapath::Auto => Ok(match open() {
            Ok(ports) => tap("the fastest that works here", ports),
            Err(error) => pcap(format!("no TAP device: {error}")),
        }),
    }
}

fn open_tap(
    bridge: &str,
    lanes: usize,
    limits: GroupLimits,
) -> Result<Vec<TapPort>, mesh_sys::SysError> {
    let name = ifname::tap_port(bridge);
    TapPort::open(&TapSpec {
        name: &name,
        queues: lanes,
        queue_len: Some(QUEUE),
        storm: Some(storm_limits(limits)),
    })
}

/// Returns the limits on what one interface may send to groups.
pub(super) fn storm_limits(limits: GroupLimits) -> StormLimits {
    StormLimits {
        broadcasts: limits.broadcasts,
        multicasts: limits.multicasts,
        questions: RESOLUTION_RATE_EACH,
        burst: GROUP_BURST_EACH,
    }
}

/// Halves of the port, one pair per lane.
pub type Halves = Vec<(ReopeningReader, ReopeningWriter)>;

/// Opens the chosen port. The bridge must exist.
///
/// # Errors
/// The interface cannot be captured on.
pub fn open(chosen: Chosen, bridge: BridgeConfig) -> Result<Halves, PortError> {
    let limits = chosen.limits;
    let (port, pairs) = match chosen.kind {
        PortKind::Tap => {
            let port = OpenPort::new(
                ifname::tap_port(&bridge.name),
                bridge,
                chosen.tap.len(),
                limits,
            );
            let pairs: Vec<Pair> = chosen.tap.into_iter().map(split).collect();
            (port, pairs)
        }
        PortKind::Veth => {
            let port = OpenPort::new(ifname::port_pair(&bridge.name).1, bridge, 1, limits);
            let pair = split(PcapPort::open(&port.interface)?);
            (port, vec![pair])
        }
    };
    let port = Arc::new(port);
    let halves = pairs.into_iter().enumerate().map(|(lane, (r, w))| {
        let reader = ReopeningReader {
            offloads: r.offloads(),
            port: port.clone(),
            lane,
            half: Some(r),
        };
        let writer = ReopeningWriter {
            offloads: w.offloads(),
            port: port.clone(),
            lane,
            half: Some(w),
            not_before: Instant::now(),
        };
        (reader, writer)
    });
    Ok(halves.collect())
}

/// Halves of one port.
pub(super) type Pair = (Box<dyn FrameReader>, Box<dyn FrameWriter>);

/// Splits a port into its halves.
pub(super) fn split<P>(port: P) -> Pair
where
    P: FramePort,
    P::Reader: 'static,
    P::Writer: 'static,
{
    let (reader, writer) = port.split();
    (Box::new(reader), Box::new(writer))
}

/// State for reopening the port. The first half that finds it gone reopens all of it, and leaves the others' halves
/// here.
struct OpenPort {
    interface: String,
    bridge: BridgeConfig,
    limits: GroupLimits,
    fresh: Mutex<Vec<Fresh>>,
}

#[derive(Default)]
struct Fresh {
    reader: Option<Box<dyn FrameReader>>,
    writer: Option<Box<dyn FrameWriter>>,
}

impl OpenPort {
    fn new(interface: String, bridge: BridgeConfig, lanes: usize, limits: GroupLimits) -> Self {
        Self {
            interface,
            bridge,
            limits,
            fresh: Mutex::new((0..lanes).map(|_| Fresh::default()).collect()),
        }
    }

    /// Takes a half that another lane has reopened, or reopens the port for all lanes.
    fn renew<T>(&self, take: impl Fn(&mut Vec<Fresh>) -> Option<T>) -> Result<T, PortError> {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(half) = take(&mut fresh) {
            return Ok(half);
        }
        let pairs = self.reopen(fresh.len())?;
        for (place, (reader, writer)) in fresh.iter_mut().zip(pairs) {
            place.reader = Some(reader);
            place.writer = Some(writer);
        }
        take(&mut fresh).ok_or_else(|| PortError::Down(self.interface.clone()))
    }

    fn reopen(&self, lanes: usize) -> Result<Vec<Pair>, PortError> {
        let failed = |reason: String| PortError::Other {
            interface: self.interface.clone(),
            reason,
        };
        match self.bridge.port {
            PortKind::Veth => Ok(vec![split(PcapPort::open(&self.interface)?)]),
            PortKind::Tap => {
                let ports = open_tap(&self.bridge.name, lanes, self.limits)
                    .map_err(|e| failed(e.to_string()))?;
                bridge::ensure_tap_port(&self.bridge).map_err(|e| failed(e.to_string()))?;
                tracing::info!("{} was opened again", self.interface);
                Ok(ports.into_iter().map(split).collect())
            }
        }
    }
}

/// Reading half of one lane.
pub struct ReopeningReader {
    port: Arc<OpenPort>,
    lane: usize,
    half: Option<Box<dyn FrameReader>>,
    offloads: Offloads,
}

impl FrameReader for ReopeningReader {
    fn recv(&mut self, batch: &mut FrameBatch, wait: Duration) -> Result<(), PortError> {
        let half = match &mut self.half {
            Some(half) => half,
            None => {
                let mine = |fresh: &mut Vec<Fresh>| fresh.get_mut(self.lane)?.reader.take();
                self.half.insert(self.port.renew(mine)?)
            }
        };
        let result = half.recv(batch, wait);
        if is_gone(&result) {
            self.half = None;
        }
        result
    }

    fn losses(&mut self) -> LostFrames {
        let half = self.half.as_mut();
        half.map_or_else(LostFrames::default, |half| half.losses())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.half.as_ref()?.descriptor()
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }
}

/// Writing half of one lane.
pub struct ReopeningWriter {
    port: Arc<OpenPort>,
    lane: usize,
    half: Option<Box<dyn FrameWriter>>,
    offloads: Offloads,
    not_before: Instant,
}

impl FrameWriter for ReopeningWriter {
    fn send(&mut self, header: &VirtioHeader, frame: &[u8]) -> Result<(), PortError> {
        if self.half.is_none() && Instant::now() < self.not_before {
            return Err(PortError::Down(self.port.interface.clone()));
        }
        let half = match &mut self.half {
            Some(half) => half,
            None => {
                self.not_before = Instant::now() + PAUSE;
                let mine = |fresh: &mut Vec<Fresh>| fresh.get_mut(self.lane)?.writer.take();
                self.half.insert(self.port.renew(mine)?)
            }
        };
        let result = half.send(header, frame);
        if is_gone(&result) {
            self.half = None;
        }
        result
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }
}

fn is_gone(result: &Result<(), PortError>) -> bool {
    matches!(result, Err(PortError::Down(_) | PortError::Other { .. }))
}
