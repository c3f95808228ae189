//! Interface of a process on a host: a router, or a malicious member.

use std::net::SocketAddr;

use mesh_proto::ids::ConnId;
use mesh_proto::time::Instant;

use super::effect::Effect;

/// A process with a UDP and a TCP socket. The caller drains its effects after each call.
pub(crate) trait Process {
    fn accepted(&mut self, from: SocketAddr, now: Instant) -> Option<ConnId>;
    fn connected(&mut self, conn: ConnId, to: SocketAddr, now: Instant);
    fn bytes(&mut self, conn: ConnId, bytes: &[u8], now: Instant);
    fn written(&mut self, conn: ConnId, bytes: usize, now: Instant);
    fn closed(&mut self, conn: ConnId, error: &str, now: Instant);
    fn datagram(&mut self, from: SocketAddr, bytes: Vec<u8>, now: Instant);
    fn timeout(&mut self, now: Instant);
    fn next_deadline(&self) -> Instant;
    fn drain(&mut self) -> Vec<Effect>;
}
