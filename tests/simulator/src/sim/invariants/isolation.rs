//! I14: no frame enters another network than its own, nor a host without members there.

use std::collections::HashMap;

use mesh_proto::network::NetworkId;

use super::{Check, Violation};
use crate::sim::frames::FrameId;
use crate::sim::network::HostId;

const NAME: &str = "I14 networks apart";

/// Networks of the frames sent so far.
#[derive(Debug, Default)]
pub(crate) struct Isolation {
    /// Frames that were not sent in the network `default`.
    elsewhere: HashMap<FrameId, NetworkId>,
}

impl Isolation {
    /// Records that a frame was sent in a network other than `default`.
    pub(crate) fn sent(&mut self, network: NetworkId, frame: FrameId) {
        self.elsewhere.insert(frame, network);
    }

    /// Checks a frame that enters a network on a host, which has members there or not.
    pub(crate) fn injected(
        &self,
        (at, network, is_member): (HostId, NetworkId, bool),
        frame: FrameId,
    ) -> Check {
        let own = self.elsewhere.get(&frame).copied().unwrap_or_default();
        if own != network {
            let detail = format!("frame {frame} of network {own} entered {network} at router {at}");
            return Err(Violation::new(NAME, detail));
        }
        if !is_member {
            let detail = format!("frame {frame} entered {network} at router {at}, no member");
            return Err(Violation::new(NAME, detail));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_stays_in_its_network() {
        let (default, one) = (NetworkId::DEFAULT, NetworkId([1; 16]));
        let mut isolation = Isolation::default();
        isolation.sent(one, 7);
        assert!(isolation.injected((2, one, true), 7).is_ok());
        assert!(isolation.injected((2, default, true), 8).is_ok());
        assert!(isolation.injected((2, one, false), 7).is_err());
        assert!(isolation.injected((2, default, true), 7).is_err());
        assert!(isolation.injected((2, one, true), 8).is_err());
    }
}
