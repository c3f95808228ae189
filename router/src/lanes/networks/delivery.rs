//! Delivery of frames to the ports of networks, by any lane.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use mesh_proto::network::NetworkId;
use mesh_proto::offload::VirtioHeader;
use mesh_proto::wire::datagram::InnerFrame;
use mesh_sys::port::{FrameWriter, Offloads};

use super::super::inject::{FramePreparation, write};
use super::NetworkPorts;

/// Preparations that a lane keeps for its next batches; each may hold a super-frame for several flows.
const MAX_KEPT: usize = 4;

/// Writing half of the port of a network.
pub(super) struct WritingPort {
    network: NetworkId,
    offloads: Offloads,
    writer: Mutex<Box<dyn FrameWriter>>,
}

/// Writing halves by network, replaced as a whole.
pub(super) type WritingPorts = BTreeMap<NetworkId, Arc<WritingPort>>;

impl WritingPort {
    pub(super) fn new(network: NetworkId, writer: Box<dyn FrameWriter>) -> Self {
        Self {
            network,
            offloads: writer.offloads(),
            writer: Mutex::new(writer),
        }
    }

    /// Locked for one frame or super-frame: no lane holds a network's port while it waits for anything else.
    fn write(&self, header: &VirtioHeader, bytes: &[u8]) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut **writer, header, bytes);
    }
}

/// Access of one lane to the ports of networks. It costs nothing in a batch without frames for them.
pub(crate) struct NetworkDelivery {
    ports: NetworkPorts,
    /// All ports, from the first frame of a batch to its end.
    loaded: Option<Arc<WritingPorts>>,
    /// Ports that got frames in this batch; the last is that of the last new network.
    touched: Vec<TouchedPort>,
    kept: Vec<FramePreparation>,
}

struct TouchedPort {
    port: Arc<WritingPort>,
    preparation: FramePreparation,
}

impl NetworkDelivery {
    pub(crate) fn new(ports: NetworkPorts) -> Self {
        Self {
            ports,
            loaded: None,
            touched: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Takes a frame, which may be held until [`NetworkDelivery::flush`]. It is dropped if the network has no port here.
    pub(crate) fn inject(&mut self, network: NetworkId, frame: InnerFrame<'_>) {
        let is_its = |touched: &TouchedPort| touched.port.network == network;
        let at = match self.touched.iter().rposition(is_its) {
            Some(at) => at,
            None => match self.touch(network) {
                Some(at) => at,
                None => return,
            },
        };
        if let Some(TouchedPort { port, preparation }) = self.touched.get_mut(at) {
            preparation.push(frame, &mut |header, bytes| port.write(header, bytes));
        }
    }

    /// Writes all held frames: the end of a batch.
    pub(crate) fn flush(&mut self) {
        self.loaded = None;
        for TouchedPort {
            port,
            mut preparation,
        } in self.touched.drain(..)
        {
            preparation.flush(&mut |header, bytes| port.write(header, bytes));
            if self.kept.len() < MAX_KEPT {
                self.kept.push(preparation);
            }
        }
    }

    fn touch(&mut self, network: NetworkId) -> Option<usize> {
        let all = self
            .loaded
            .get_or_insert_with(|| self.ports.writing_ports());
        let Some(port) = all.get(&network).cloned() else {
            tracing::trace!("a frame of network {network}, which has no port here");
            return None;
        };
        let fits = |kept: &FramePreparation| kept.offloads() == port.offloads;
        let preparation = match self.kept.iter().position(fits) {
            Some(at) => self.kept.swap_remove(at),
            None => FramePreparation::new(port.offloads),
        };
        self.touched.push(TouchedPort { port, preparation });
        Some(self.touched.len() - 1)
    }
}
