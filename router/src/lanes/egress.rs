//! Egress lane: frames from the port, and from the ports of the networks that are its own, to UDP.
//!
//! Without such networks the lane reads its port alone. With them it waits for all ports by epoll, and takes one batch
//! from each that has frames before it takes another from any.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mesh_proto::forward::Scratch;
use mesh_proto::network::NetworkId;
use mesh_proto::offload::PortFrame;
use mesh_sys::port::{FrameBatch, FrameReader, wait_for_either};

use super::inject::Injector;
use super::losses::Losses;
use super::networks::{LaneReaders, NetworkDelivery, ReadyPort};
use super::out::{LaneOut, PortSide, Sending};
use super::port::ReopeningReader;
use super::{LaneContext, WAIT};

/// Frames per batch: enough to share the cost of a wake-up, few enough to stay in the cache.
const FRAMES: usize = 64;
/// Interval of attempts to use a port that is gone.
const RETRY: Duration = Duration::from_millis(100);

/// Egress lane.
pub(super) struct Egress {
    pub(super) shared: LaneContext,
    pub(super) reader: ReopeningReader,
    /// Rarely used: for replies to the sender of a frame.
    pub(super) port: Arc<Mutex<Injector>>,
    pub(super) losses: Option<Losses>,
    /// Ports of networks that this lane reads.
    pub(super) networks: LaneReaders,
}

/// Buffers of the lane, one set for all ports.
struct EgressBuffers {
    scratch: Scratch,
    frames: FrameBatch,
    sending: Sending,
    delivery: NetworkDelivery,
}

impl Egress {
    pub(super) fn run(mut self) {
        let mut buffers = EgressBuffers {
            scratch: Scratch::default(),
            frames: FrameBatch::with_capacity(FRAMES),
            sending: Sending::new(&self.shared),
            delivery: NetworkDelivery::new(self.shared.networks.clone()),
        };
        // Time of the next attempt to use the main port while it is gone.
        let mut retry = None;
        let mut ready = Vec::new();
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.networks.follow();
            if self.networks.is_empty() {
                self.read_alone(&mut buffers);
                continue;
            }
            self.wait(retry, &mut ready);
            if retry.is_some_and(|at| Instant::now() >= at) {
                ready.push(ReadyPort::Main);
            }
            for port in &ready {
                match port {
                    ReadyPort::Main => retry = self.read_main(&mut buffers),
                    ReadyPort::Network(number) => self.read_network(*number, &mut buffers),
                }
            }
            let now = self.shared.clock.now();
            self.count_losses(now);
            self.networks.count_losses(&self.shared.forwarder, now);
        }
    }

    /// Reads the main port, and waits for it if it has no frames; a new network ends the wait.
    fn read_alone(&mut self, buffers: &mut EgressBuffers) {
        let mut read = self.reader.recv(&mut buffers.frames, Duration::ZERO);
        if read.is_ok()
            && buffers.frames.is_empty()
            && let Some(port) = self.reader.descriptor()
        {
            match wait_for_either(port, self.networks.waker(), WAIT) {
                Ok(()) => read = self.reader.recv(&mut buffers.frames, Duration::ZERO),
                Err(error) => tracing::debug!("{error}"),
            }
        }
        if let Err(error) = read {
            tracing::debug!("cannot read from the port: {error}");
            std::thread::sleep(RETRY);
            return;
        }
        self.count_losses(self.shared.clock.now());
        self.send(NetworkId::DEFAULT, buffers);
    }

    /// Waits until ports have frames, or the ports change.
    fn wait(&mut self, retry: Option<Instant>, ready: &mut Vec<ReadyPort>) {
        let wait = if retry.is_some() { RETRY } else { WAIT };
        let main = self.reader.descriptor();
        if let Err(error) = self.networks.wait(main, wait, ready) {
            // Without descriptors for epoll the ports are read in turn.
            tracing::debug!("{error}");
            std::thread::sleep(RETRY / 10);
            self.networks.all(ready);
        }
    }

    /// Reads one batch from the main port. Returns the time of the next attempt if it is gone.
    fn read_main(&mut self, buffers: &mut EgressBuffers) -> Option<Instant> {
        let was_gone = self.reader.descriptor().is_none();
        match self.reader.recv(&mut buffers.frames, Duration::ZERO) {
            Ok(()) => {
                if was_gone {
                    self.networks.forget_main();
                }
                self.send(NetworkId::DEFAULT, buffers);
                None
            }
            Err(error) => {
                tracing::debug!("cannot read from the port: {error}");
                self.networks.forget_main();
                Some(Instant::now() + RETRY)
            }
        }
    }

    /// Reads one batch from the port of a network.
    fn read_network(&mut self, number: u64, buffers: &mut EgressBuffers) {
        if let Some(network) = self.networks.recv(number, &mut buffers.frames) {
            self.send(network, buffers);
        }
    }

    /// Sends the frames of a batch, which entered at the port of `network`.
    fn send(&mut self, network: NetworkId, buffers: &mut EgressBuffers) {
        if buffers.frames.is_empty() {
            return;
        }
        let view = self.shared.snapshot.load();
        let mut port_frames = buffers
            .frames
            .iter()
            .map(|(header, bytes)| PortFrame { header, bytes });
        let mut out = LaneOut {
            sending: &mut buffers.sending,
            port: PortSide::Shared(&self.port),
            networks: Some(&mut buffers.delivery),
            shared: &self.shared,
            local: None,
        };
        self.shared.forwarder.egress(
            &view,
            network,
            &mut port_frames,
            self.shared.clock.now(),
            &mut buffers.scratch,
            &mut out,
        );
        buffers.delivery.flush();
        buffers.sending.flush(&view.sources);
        self.shared.frames_moved();
    }

    fn count_losses(&mut self, now: mesh_proto::time::Instant) {
        if let Some(losses) = &mut self.losses {
            losses.count(&mut self.reader, &self.shared.forwarder, now);
        }
    }
}
