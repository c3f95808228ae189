//! Traffic of containers during the disruptions.

use std::time::Duration;

use mesh_proto::ids::Mac;

use super::frames::FrameId;
use super::host::Station;
use super::network::HostId;
use super::offloads::{SegmentFlow, super_frame};
use super::fault::InjectedFault;
use super::run::expectation;
use super::world::{SimEvent, World};

/// Interval of frames.
const PACE: Duration = Duration::from_millis(60);
/// Segments of a super-frame, and bytes of payload of each: small enough for all paths, so that none is fragmented.
const SEGMENTS: usize = 40;
const SEGMENT: usize = 400;
/// Longest frame in bytes, less than the mesh's MTU with the Ethernet header.
const LONGEST: usize = 1_300;

impl World {
    /// Sends a frame from some container, and schedules the next one.
    pub(crate) fn traffic(&mut self) {
        self.queue.push(self.now + PACE, SimEvent::Traffic);
        if !self.talking {
            return;
        }
        let running = self.running();
        if running.is_empty() {
            return;
        }
        let from = running[self.rng.below(running.len())];
        let mut frames = Vec::new();
        for _ in 0..=self.rng.below(3) {
            if let Some((_, frame)) = self.any_frame(from) {
                frames.push(frame);
            }
        }
        self.speak(from, &frames);
        if self.rng.chance(250) {
            self.burst(from);
        }
        if self.steady {
            self.say_steadily();
        }
    }

    /// Sends a frame from one container to another host, which must arrive.
    fn say_steadily(&mut self) {
        let running = self.running();
        let from = running[self.rng.below(running.len())];
        let to = running[self.rng.below(running.len())];
        let mac = |h: HostId| self.hosts[h].containers.first().map(|c| c.mac);
        let (true, Some(source), Some(target)) = (from != to, mac(from), mac(to)) else {
            return;
        };
        let (frame, bytes) = self.ledger.frame(from, source, target, 100);
        self.speak(from, &[bytes]);
        let mut promise = expectation(frame, from, [to].into_iter());
        // Until the destination is learnt everywhere, the frame may be flooded to others.
        promise.only = false;
        self.promised.push(promise);
    }

    /// Sends a super-frame from a container to another one.
    fn burst(&mut self, from: HostId) {
        let here = self.hosts[from].containers.len();
        let at = self.rng.below(here);
        let source = self.hosts[from].containers.get(at).cloned();
        let (Some(source), Some(target)) = (source, self.any_container()) else {
            return;
        };
        let pair = SegmentFlow {
            source: (source.mac, source.ip),
            target: (target.mac, target.ip),
        };
        let count = u16::try_from(2 + self.rng.below(SEGMENTS - 2)).unwrap_or(2);
        let size = 60 + self.rng.below(SEGMENT - 60);
        let (payloads, frames) = self.ledger.burst(from, &pair, count, size);
        for frame in &frames {
            self.places.sent(from, frame, self.now);
        }
        let (header, bytes) = super_frame(&pair, &payloads);
        self.tell_router(from, |router, now| router.super_frame(header, &bytes, now));
    }

    fn any_frame(&mut self, from: HostId) -> Option<(FrameId, Vec<u8>)> {
        let here = self.hosts[from].containers.len();
        let source = self.hosts[from]
            .containers
            .get(self.rng.below(here))?
            .clone();
        let kind = self.rng.below(10);
        if kind < 2 {
            return Some(self.announcement(from, &source));
        }
        let to = match kind {
            2..5 => Mac::BROADCAST,
            _ => self.any_container()?.mac,
        };
        let size = 60 + self.rng.below(LONGEST - 60);
        Some(self.ledger.frame(from, source.mac, to, size))
    }

    fn any_container(&mut self) -> Option<Station> {
        let host = self.rng.below(self.hosts.len());
        let there = &self.hosts[host].containers;
        there.get(self.rng.below(there.len())).cloned()
    }

    /// Returns a gratuitous ARP announcement of a container.
    pub(crate) fn announcement(&mut self, from: HostId, source: &Station) -> (FrameId, Vec<u8>) {
        let ip = source.ip.octets();
        self.ledger.announcement(from, source.mac, ip)
    }

    /// Delivers frames from the bridge to a router.
    pub(crate) fn speak(&mut self, from: HostId, frames: &[Vec<u8>]) {
        if self.plant(from, InjectedFault::CleartextCopy)
            && let Some(frame) = frames.first()
        {
            self.leak(from, frame);
        }
        for frame in frames {
            self.places.sent(from, frame, self.now);
        }
        self.tell_router(from, |router, now| router.frames(frames, now));
    }
}
