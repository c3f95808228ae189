//! The sender: frames of every kind in turn, at a given rate.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mesh_sys::netlink::Netlink;
use mesh_sys::socket::packet::PacketSocket;

use super::build::{Cast, TestEndpoint};
use super::mark::{FrameKind, FrameMark};

/// Time limit, so that a leaked process ends by itself.
const LONGEST: Duration = Duration::from_secs(1_200);
/// Time between two bursts.
const PAUSE: Duration = Duration::from_millis(1);

/// Frames to send, with their interface and senders.
#[derive(Clone, Debug)]
pub struct Injection {
    /// Interface of this network namespace.
    pub interface: String,
    /// Network of the sender, as the test numbers it.
    pub network: u8,
    /// Host of the sender.
    pub host: u8,
    /// Number of frames.
    pub count: u64,
    /// Frames per second.
    pub rate: u64,
    /// The sender itself, then others of its network.
    pub own: Vec<TestEndpoint>,
    /// Containers of other networks.
    pub foreign: Vec<TestEndpoint>,
}

/// Sends the frames of all kinds in turn, to all endpoints in turn. Returns the number of those that the interface took.
///
/// # Errors
/// There is no such interface, the lists of endpoints are too short, or sending fails for another reason than a full
/// queue.
pub fn inject(what: &Injection) -> Result<u64> {
    ensure!(
        what.own.len() > 1 && !what.foreign.is_empty(),
        "too few endpoints"
    );
    let link = Netlink::open()?.link().require(&what.interface)?;
    let socket = PacketSocket::open(link.index, 0)?;
    let (mut sent, mut taken, began) = (0_u64, 0, Instant::now());
    while sent < what.count && began.elapsed() < LONGEST {
        let due = began.elapsed().as_micros() * u128::from(what.rate) / 1_000_000;
        let due = u64::try_from(due).unwrap_or(u64::MAX).min(what.count);
        while sent < due {
            taken += u64::from(socket.send(&what.frame(sent)?).is_ok());
            sent += 1;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(taken)
}

impl Injection {
    /// Returns frame `n`.
    fn frame(&self, n: u64) -> Result<Vec<u8>> {
        let n = usize::try_from(n)?;
        let (kind, turn) = (n % FrameKind::ALL.len(), n / FrameKind::ALL.len());
        let pick = |list: &[TestEndpoint], turn: usize| list.get(turn % list.len()).copied();
        let others = self.own.get(1..).context("no other endpoint")?;
        let cast = Cast {
            own: pick(&self.own, 0).context("no endpoint")?,
            peer: pick(others, turn).context("no other endpoint")?,
            foreign: pick(&self.foreign, turn).context("no foreign endpoint")?,
            second: pick(&self.foreign, turn + 1).context("no foreign endpoint")?,
        };
        let mark = FrameMark {
            network: self.network,
            host: self.host,
            kind: FrameKind::ALL[kind],
        };
        // Tags that could be taken for numbers of networks, and some that could not.
        let tag = u16::try_from(turn % 16).unwrap_or_default();
        Ok(cast.frame(mark, tag))
    }
}
