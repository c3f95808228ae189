//! TCP connections: a reader and a writer task each, and the dials that open them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_proto::control::Ending;
use mesh_proto::control::targets::DialTo;
use mesh_proto::ids::ConnId;
use mesh_proto::limits::{MAX_HALF_OPEN, MAX_LINKS};
use mesh_sys::socket::tcp::{abort_on_close, finish, limit_unsent};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::dial::{dial, plain};
use crate::host_routes::HostRoutes;

/// Event of a connection.
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
    /// Bytes were written.
    Written { conn: ConnId, bytes: usize },
    /// A dial failed or the connection ended.
    Closed { conn: ConnId, error: String },
}

/// Capacity of the event queue to the control plane; when it is full, readers stop and TCP pushes back.
const EVENTS: usize = 256;
/// Size of a read in bytes: starts at that of a handshake, and doubles each time the buffer was filled.
const READ: core::ops::RangeInclusive<usize> = 4 * 1024..=16 * 1024;
/// Time for a closed connection to deliver what was written to it.
const LINGER: Duration = Duration::from_secs(2);

/// Tasks of all connections.
pub(super) struct Conns {
    events: mpsc::Sender<ConnEvent>,
    open: HashMap<ConnId, Conn>,
    /// Rejected connections that still deliver the reason, oldest first; at most [`MAX_HALF_OPEN`].
    told: VecDeque<JoinHandle<()>>,
    /// Connections of peers that still deliver their last messages, oldest first; at most [`MAX_LINKS`].
    closing: VecDeque<JoinHandle<()>>,
    /// True if aborted tasks may still hold their sockets.
    ending: bool,
}

struct Conn {
    stream: Arc<TcpStream>,
    /// Bounded by the control plane, which counts unwritten bytes.
    to_write: mpsc::UnboundedSender<Vec<u8>>,
    reader: AbortOnDrop,
    writer: AbortOnDrop,
}

impl Conns {
    pub(super) fn new() -> (Self, mpsc::Receiver<ConnEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        (
            Self {
                events,
                open: HashMap::new(),
                told: VecDeque::new(),
                closing: VecDeque::new(),
                ending: false,
            },
            receiver,
        )
    }

    /// Resolves and connects in the background.
    pub(super) fn dial(
        &mut self,
        conn: ConnId,
        to: DialTo,
        others: Vec<SocketAddr>,
        ways: HostRoutes,
    ) {
        let events = self.events.clone();
        tokio::spawn(async move {
            let event = match dial(&to, others.into(), &ways).await {
                Ok((stream, to)) => ConnEvent::Connected { conn, stream, to },
                Err(error) => ConnEvent::Closed { conn, error },
            };
            drop(events.send(event).await);
        });
    }

    /// Starts reading from and writing to a stream.
    pub(super) fn adopt(&mut self, conn: ConnId, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("cannot set TCP_NODELAY: {error}");
        }
        if let Err(error) = limit_unsent(&stream) {
            tracing::debug!("{error}");
        }
        let stream = Arc::new(stream);
        let (to_write, queue) = mpsc::unbounded_channel();
        let reader = tokio::spawn(read_all(conn, stream.clone(), self.events.clone()));
        let writer = write_all(conn, stream.clone(), queue, self.events.clone());
        let writer = tokio::spawn(writer);
        self.open.insert(
            conn,
            Conn {
                stream,
                to_write,
                reader: AbortOnDrop(reader),
                writer: AbortOnDrop(writer),
            },
        );
    }

    pub(super) fn send(&mut self, conn: ConnId, bytes: Vec<u8>) {
        if let Some(open) = self.open.get(&conn) {
            // The writer is gone only after a socket error, which it has reported.
            drop(open.to_write.send(bytes));
        }
    }

    /// Closes a connection. Beyond the limit of connections that still deliver data, the oldest one is reset.
    pub(super) fn close(&mut self, conn: ConnId, ending: Ending) {
        let Some(open) = self.open.remove(&conn) else {
            return;
        };
        open.reader.0.abort();
        self.ending = true;
        let (waiting, max) = match ending {
            Ending::Orderly => (&mut self.closing, MAX_LINKS),
            Ending::Alerted => (&mut self.told, MAX_HALF_OPEN),
            Ending::Abort => {
                will_be_reset(&open.stream);
                return;
            }
        };
        waiting.retain(|task| !task.is_finished());
        if waiting.len() >= max
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.abort();
        }
        waiting.push_back(tokio::spawn(wind_down(open)));
    }

    /// Lets aborted tasks run: each holds a file descriptor until it is polled.
    pub(super) async fn let_go(&mut self) {
        if std::mem::take(&mut self.ending) {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until closed connections have delivered their data.
    pub(super) async fn finish(self) {
        for task in self.closing.into_iter().chain(self.told) {
            drop(task.await);
        }
    }
}

/// Resets the socket of a connection that gets no link.
pub(super) fn reset(stream: TcpStream) {
    will_be_reset(&stream);
    drop(stream);
}

fn will_be_reset(stream: &TcpStream) {
    if let Err(error) = abort_on_close(stream) {
        tracing::debug!("{error}");
    }
}

/// Lets the last bytes go out, for a limited time. Dropping the future drops the connection.
async fn wind_down(conn: Conn) {
    let Conn {
        stream,
        to_write,
        mut writer,
        ..
    } = conn;
    drop((to_write, stream));
    drop(timeout(LINGER, &mut writer.0).await);
}

/// Aborts a task on drop, even if the holder was never polled.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read_all(conn: ConnId, read: Arc<TcpStream>, events: mpsc::Sender<ConnEvent>) {
    let mut size = *READ.start();
    let error = loop {
        // The buffer is allocated once data is there: idle links have none.
        if let Err(error) = read.readable().await {
            break plain(&error);
        }
        let mut bytes = Vec::with_capacity(size);
        match read.try_read_buf(&mut bytes) {
            Ok(0) => break "that router closed the connection".to_owned(),
            Ok(n) => {
                size = if n == size { 2 * size } else { n }.clamp(*READ.start(), *READ.end());
                bytes.shrink_to_fit();
                if events.send(ConnEvent::Bytes { conn, bytes }).await.is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => break plain(&error),
        }
    };
    drop(events.send(ConnEvent::Closed { conn, error }).await);
}

async fn write_all(
    conn: ConnId,
    write: Arc<TcpStream>,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    events: mpsc::Sender<ConnEvent>,
) {
    while let Some(bytes) = queue.recv().await {
        if let Err(error) = write_bytes(&write, &bytes).await {
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
        // After a close the control plane does not count bytes any more; at the end of the shell the send fails.
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
    if finish(&*write).is_ok() {
        discard(&write).await;
    }
}

async fn write_bytes(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until the other end closes. Closing a socket with unread bytes would reset it, and lose the alert with the
/// reason.
async fn discard(stream: &TcpStream) {
    let mut buffer = [0; 512];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn of_many_that_are_told_at_once_the_oldest_hold_no_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let (mut conns, _events) = Conns::new();
        let (mut sockets, mut strangers) = (Vec::new(), Vec::new());
        for conn in (0..2 * MAX_HALF_OPEN as u64).map(ConnId) {
            strangers.push(TcpStream::connect(to).await.unwrap());
            let (stream, _) = listener.accept().await.unwrap();
            conns.adopt(conn, stream);
            sockets.push((conn, Arc::downgrade(&conns.open[&conn].stream)));
        }
        // The remote ends read nothing, and no other task runs between these calls.
        for (conn, _) in &sockets {
            conns.close(*conn, Ending::Alerted);
        }
        let held = || sockets.iter().filter_map(|(_, s)| Weak::upgrade(s)).count();
        let few = async {
            while held() > MAX_HALF_OPEN {
                tokio::task::yield_now().await;
            }
        };
        let waited = timeout(Duration::from_secs(10), few).await;
        assert!(waited.is_ok(), "{} sockets are held", held());
    }
}
