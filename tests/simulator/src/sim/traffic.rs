//! Traffic of stations during the disruptions: frames, super-frames, and steady traffic.

use std::time::Duration;

use mesh_proto::ids::Mac;
use mesh_proto::offload::VirtioHeader;

use super::frames::{FrameId, Ledger, Station};
use super::hosts::Hosts;
use super::invariants::delivery::Expectation;
use super::network::HostId;
use super::offloads::{SegmentFlow, super_frame};
use super::rng::Rng;

/// Interval of frames.
pub(crate) const PACE: Duration = Duration::from_millis(60);
/// Segments of a super-frame, and bytes of payload of each: small enough for all paths, so that none is fragmented.
const SEGMENTS: usize = 40;
const SEGMENT: usize = 400;
/// Longest frame in bytes, less than the mesh's MTU with the Ethernet header.
const LONGEST: usize = 1_300;
/// Source addresses of a MAC flood.
const FLOODED_MACS: u64 = 3_000;

/// A super-frame, and the frames that it is for its receiver.
pub(crate) struct SuperFrame {
    pub(crate) header: VirtioHeader,
    pub(crate) bytes: Vec<u8>,
    pub(crate) frames: Vec<Vec<u8>>,
}

/// State of the traffic.
#[derive(Debug)]
pub(crate) struct StationTraffic {
    /// True while stations send frames.
    talking: bool,
    /// True while steady traffic flows, of which no frame may be lost.
    steady: bool,
    promised: Vec<Expectation>,
}

impl StationTraffic {
    pub(crate) fn new() -> Self {
        Self {
            talking: true,
            steady: false,
            promised: Vec::new(),
        }
    }

    pub(crate) fn is_talking(&self) -> bool {
        self.talking
    }

    pub(crate) fn stop(&mut self) {
        self.talking = false;
    }

    pub(crate) fn begin_steady(&mut self) {
        self.steady = true;
    }

    /// Takes the expectations of the steady traffic.
    pub(crate) fn take_promised(&mut self) -> Vec<Expectation> {
        std::mem::take(&mut self.promised)
    }

    /// Returns the next frame of the steady traffic and its sender; it must arrive.
    pub(crate) fn steady_frame(
        &mut self,
        hosts: &Hosts,
        ledger: &mut Ledger,
        rng: &mut Rng,
    ) -> Option<(HostId, Vec<u8>)> {
        if !self.steady {
            return None;
        }
        let running = hosts.running();
        let from = running[rng.below(running.len())];
        let to = running[rng.below(running.len())];
        let (frame, bytes) = frame_between(from, to, 100, hosts, ledger)?;
        // Until the destination is learnt everywhere, the frame may be flooded to others.
        let promise = Expectation::new(frame, from, [to]).or_more();
        self.promised.push(promise);
        Some((from, bytes))
    }
}

/// Returns one to three frames of stations on a host.
pub(crate) fn any_frames(
    from: HostId,
    hosts: &Hosts,
    ledger: &mut Ledger,
    rng: &mut Rng,
) -> Vec<Vec<u8>> {
    (0..=rng.below(3))
        .filter_map(|_| any_frame(from, hosts, ledger, rng))
        .collect()
}

fn any_frame(from: HostId, hosts: &Hosts, ledger: &mut Ledger, rng: &mut Rng) -> Option<Vec<u8>> {
    let stations = &hosts[from].stations;
    let source = stations.get(rng.below(stations.len()))?;
    let kind = rng.below(10);
    if kind < 2 {
        return Some(announcement(from, source, ledger).1);
    }
    let to = match kind {
        2..5 => Mac::BROADCAST,
        _ => any_station(hosts, rng)?.mac,
    };
    let size = 60 + rng.below(LONGEST - 60);
    Some(ledger.frame(from, source.mac, to, size).1)
}

fn any_station<'a>(hosts: &'a Hosts, rng: &mut Rng) -> Option<&'a Station> {
    let there = &hosts[rng.below(hosts.len())].stations;
    there.get(rng.below(there.len()))
}

/// Returns a super-frame from a station on a host to another station.
pub(crate) fn any_super_frame(
    from: HostId,
    hosts: &Hosts,
    ledger: &mut Ledger,
    rng: &mut Rng,
) -> Option<SuperFrame> {
    let stations = &hosts[from].stations;
    let source = stations.get(rng.below(stations.len()));
    let (source, target) = source.zip(any_station(hosts, rng))?;
    let flow = SegmentFlow {
        source: (source.mac, source.ip),
        target: (target.mac, target.ip),
    };
    let count = u16::try_from(2 + rng.below(SEGMENTS - 2)).unwrap_or(2);
    let size = 60 + rng.below(SEGMENT - 60);
    let (payloads, frames) = ledger.burst(from, &flow, count, size);
    let (header, bytes) = super_frame(&flow, &payloads);
    Some(SuperFrame {
        header,
        bytes,
        frames,
    })
}

/// Returns a frame of `size` bytes between the first stations of two hosts.
pub(crate) fn frame_between(
    from: HostId,
    to: HostId,
    size: usize,
    hosts: &Hosts,
    ledger: &mut Ledger,
) -> Option<(FrameId, Vec<u8>)> {
    let (source, target) = hosts[from].first_mac().zip(hosts[to].first_mac())?;
    (from != to).then(|| ledger.frame(from, source, target, size))
}

/// Returns a frame to `mac` from another station, and its sender.
pub(crate) fn frame_to(
    mac: Mac,
    hosts: &Hosts,
    ledger: &mut Ledger,
    rng: &mut Rng,
) -> Option<(HostId, Vec<u8>)> {
    let running = hosts.running();
    if running.is_empty() {
        return None;
    }
    let from = running[rng.below(running.len())];
    let mut sources = hosts[from].stations.iter().map(|station| station.mac);
    let source = sources.find(|source| *source != mac)?;
    Some((from, ledger.frame(from, source, mac, 100).1))
}

/// Returns a gratuitous ARP announcement of a station.
pub(crate) fn announcement(
    from: HostId,
    source: &Station,
    ledger: &mut Ledger,
) -> (FrameId, Vec<u8>) {
    ledger.announcement(from, source.mac, source.ip.octets())
}

/// Returns frames with a very large number of source addresses.
pub(crate) fn mac_flood(from: HostId, ledger: &mut Ledger, rng: &mut Rng) -> Vec<Vec<u8>> {
    let frame = |_| {
        let mut mac = [0; 6];
        mac.copy_from_slice(&rng.number().to_be_bytes()[..6]);
        mac[0] = (mac[0] | 2) & !1;
        let to = Mac([0x02, 0, 0, 0, 0, 1]);
        ledger.frame(from, Mac(mac), to, 60).1
    };
    (0..FLOODED_MACS).map(frame).collect()
}
