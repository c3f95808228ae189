//! TCP connections: one reader and one writer task each, and the dials that open them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use mesh_proto::control::targets::DialTo;
use mesh_proto::ids::ConnId;
use mesh_sys::tcp::limit_unsent;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::dial::{dial, plain};

/// What happened on a connection.
#[derive(Debug)]
pub(super) enum ConnEvent {
    /// A dial succeeded.
    Connected {
        conn: ConnId,
        stream: TcpStream,
        to: SocketAddr,
    },
    /// Bytes arrived.
    Bytes { conn: ConnId, bytes: Vec<u8> },
    /// So many bytes were written.
    Written { conn: ConnId, bytes: usize },
    /// A dial failed or the connection ended.
    Closed { conn: ConnId, error: String },
}

/// Events that may wait for the control plane; beyond that, readers stop reading and TCP pushes back.
const EVENTS: usize = 256;
/// Bytes read at once.
const READ: usize = 16 * 1024;
/// Time a closed connection has to deliver what was written to it.
const LINGER: Duration = Duration::from_secs(2);

/// The tasks of all connections.
pub(super) struct Conns {
    events: mpsc::Sender<ConnEvent>,
    open: HashMap<ConnId, Conn>,
    closing: Vec<JoinHandle<()>>,
}

struct Conn {
    /// Bounded by the control plane, which counts what is not written yet.
    to_write: mpsc::UnboundedSender<Vec<u8>>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Conns {
    pub(super) fn new() -> (Self, mpsc::Receiver<ConnEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        (
            Self {
                events,
                open: HashMap::new(),
                closing: Vec::new(),
            },
            receiver,
        )
    }

    /// Resolves and connects in the background.
    pub(super) fn dial(&mut self, conn: ConnId, to: DialTo) {
        let events = self.events.clone();
        tokio::spawn(async move {
            let event = match dial(&to).await {
                Ok((stream, to)) => ConnEvent::Connected { conn, stream, to },
                Err(error) => ConnEvent::Closed { conn, error },
            };
            drop(events.send(event).await);
        });
    }

    /// Starts reading and writing a stream.
    pub(super) fn adopt(&mut self, conn: ConnId, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("cannot set TCP_NODELAY: {error}");
        }
        if let Err(error) = limit_unsent(&stream) {
            tracing::debug!("{error}");
        }
        let (read, write) = stream.into_split();
        let (to_write, queue) = mpsc::unbounded_channel();
        let reader = tokio::spawn(read_all(conn, read, self.events.clone()));
        let writer = tokio::spawn(write_all(conn, write, queue, self.events.clone()));
        self.open.insert(
            conn,
            Conn {
                to_write,
                reader,
                writer,
            },
        );
    }

    pub(super) fn send(&mut self, conn: ConnId, bytes: Vec<u8>) {
        if let Some(open) = self.open.get(&conn) {
            // The writer is gone only when the socket failed, which it has reported.
            drop(open.to_write.send(bytes));
        }
    }

    /// What was written before still goes out.
    pub(super) fn close(&mut self, conn: ConnId) {
        if let Some(open) = self.open.remove(&conn) {
            self.closing.retain(|task| !task.is_finished());
            self.closing.push(tokio::spawn(wind_down(open)));
        }
    }

    /// The connection reported its own end.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.close(conn);
    }

    /// Waits until closed connections have delivered what they can.
    pub(super) async fn finish(self) {
        for task in self.closing {
            drop(task.await);
        }
    }
}

/// Lets the last bytes go out, and reads on until the other side has seen them: closing a socket with unread bytes
/// would reset it and swallow the alert that says why.
async fn wind_down(conn: Conn) {
    let Conn {
        to_write,
        mut reader,
        mut writer,
    } = conn;
    drop(to_write);
    if timeout(LINGER, async {
        drop((&mut writer).await);
        drop((&mut reader).await);
    })
    .await
    .is_err()
    {
        writer.abort();
        reader.abort();
    }
}

async fn read_all(conn: ConnId, mut read: OwnedReadHalf, events: mpsc::Sender<ConnEvent>) {
    let mut buffer = vec![0; READ];
    let error = loop {
        match read.read(&mut buffer).await {
            Ok(0) => break "that router closed the connection".to_owned(),
            Ok(n) => {
                if events
                    .send(ConnEvent::Bytes {
                        conn,
                        bytes: buffer[..n].to_vec(),
                    })
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Err(error) => break plain(&error),
        }
    };
    drop(events.send(ConnEvent::Closed { conn, error }).await);
}

async fn write_all(
    conn: ConnId,
    mut write: OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    events: mpsc::Sender<ConnEvent>,
) {
    while let Some(bytes) = queue.recv().await {
        if let Err(error) = write.write_all(&bytes).await {
            drop(
                events
                    .send(ConnEvent::Closed {
                        conn,
                        error: plain(&error),
                    })
                    .await,
            );
            return;
        }
        // Once closed nobody counts any more, and at the end nobody listens.
        if !queue.is_closed() {
            drop(
                events
                    .send(ConnEvent::Written {
                        conn,
                        bytes: bytes.len(),
                    })
                    .await,
            );
        }
    }
    drop(write.shutdown().await);
}
