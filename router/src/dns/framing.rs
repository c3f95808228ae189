//! Framing of DNS messages over TCP: a length of two bytes, then the message (RFC 1035 section 4.2.2).

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Reads one message into the start of `into`; an error if it does not fit.
pub(super) async fn read_message(stream: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    let len = usize::from(stream.read_u16().await?);
    let Some(into) = into.get_mut(..len) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    stream.read_exact(into).await
}

/// Writes a message with its length prefix in one call.
pub(super) async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let len = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream
        .write_all(&[&len.to_be_bytes(), message].concat())
        .await
}
