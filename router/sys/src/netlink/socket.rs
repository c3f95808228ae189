//! Rtnetlink socket: a request, and its answers or its acknowledgement.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;

use crate::SysError;

/// Flag in an answer to a dump during which the table changed (linux/netlink.h).
const NLM_F_DUMP_INTR: u16 = 0x10;
/// Attempts of a dump whose table keeps changing; the last answer is then accepted.
const DUMP_ATTEMPTS: u32 = 5;

/// Rtnetlink socket, in the namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct RouteSocket {
    socket: Socket,
    sequence: u32,
}

impl RouteSocket {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open() -> Result<Self, SysError> {
        let failed = |e| SysError::new("open a netlink socket", e);
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Sends `message` and waits for its acknowledgement; `flags` are those besides REQUEST and ACK.
    pub(super) fn execute(
        &mut self,
        what: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), SysError> {
        self.exchange(message, flags | NLM_F_ACK, &mut |_| {})
            .map(|_| ())
            .map_err(|e| SysError::new(what, e))
    }

    /// Sends `message` and returns its single answer.
    pub(super) fn get(
        &mut self,
        what: &str,
        message: RouteNetlinkMessage,
    ) -> Result<RouteNetlinkMessage, SysError> {
        let mut answer = None;
        self.exchange(message, NLM_F_ACK, &mut |m| answer = Some(m))
            .and_then(|_| answer.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData)))
            .map_err(|e| SysError::new(what, e))
    }

    /// Sends `message` as a dump and returns all answers.
    pub(super) fn dump(
        &mut self,
        what: &str,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, SysError> {
        let mut answers = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            answers.clear();
            let consistent = self
                .exchange(message.clone(), NLM_F_DUMP, &mut |m| answers.push(m))
                .map_err(|e| SysError::new(what, e))?;
            if consistent {
                break;
            }
        }
        Ok(answers)
    }

    /// Sends one request and processes all answers. Returns true if the table did not change in the meantime.
    fn exchange(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        each: &mut dyn FnMut(RouteNetlinkMessage),
    ) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.send(&bytes)?;
        let mut consistent = true;
        loop {
            let datagram = self.receive()?;
            for part in Parts(&datagram) {
                let Ok(answer) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(part) else {
                    // A link of a kind unknown to the library must not hide the others.
                    tracing::debug!(
                        bytes = part.len(),
                        "netlink message not understood, skipped"
                    );
                    continue;
                };
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                consistent &= answer.header.flags & NLM_F_DUMP_INTR == 0;
                match answer.payload {
                    NetlinkPayload::Done(_) => return Ok(consistent),
                    NetlinkPayload::Error(e) if e.raw_code() == 0 => return Ok(consistent),
                    NetlinkPayload::Error(e) => return Err(e.to_io()),
                    NetlinkPayload::InnerMessage(inner) => each(inner),
                    _ => {}
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send(bytes, 0) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(|_| ()),
            }
        }
    }

    fn receive(&self) -> io::Result<Vec<u8>> {
        loop {
            match self.socket.recv_from_full() {
                Err(e) if e.raw_os_error() == Some(Errno::EINTR as i32) => {}
                other => return other.map(|(bytes, _)| bytes),
            }
        }
    }
}

/// Iterator over the netlink messages in a datagram, by the lengths in their headers.
struct Parts<'a>(&'a [u8]);

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_ne_bytes(*self.0.first_chunk()?)).ok()?;
        if length < 16 {
            return None;
        }
        let part = self.0.get(..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_cut_at_their_lengths() {
        let mut bytes = vec![0; 40];
        bytes[..4].copy_from_slice(&18u32.to_ne_bytes());
        bytes[20..24].copy_from_slice(&20u32.to_ne_bytes());
        let lengths: Vec<_> = Parts(&bytes).map(<[u8]>::len).collect();
        assert_eq!(lengths, [18, 20]);
    }

    #[test]
    fn a_bad_length_ends_the_datagram() {
        for length in [0u32, 15, 41, u32::MAX] {
            let mut bytes = vec![0; 40];
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(Parts(&bytes).count(), 0, "{length}");
        }
        assert_eq!(Parts(&[1, 2]).count(), 0);
    }
}
