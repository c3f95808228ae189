//! Incoming links. If the system refuses an accept (usually for lack of file descriptors), the next one is delayed: an
//! immediate retry would spin.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// Delay after a failed accept.
const PAUSE: Duration = Duration::from_millis(100);

/// Stream and remote address of an incoming link.
pub(super) type Accepted = (TcpStream, SocketAddr);

/// Source of incoming links.
pub trait LinkSource {
    /// Accepts the next link.
    ///
    /// # Errors
    /// Out of file descriptors, or of memory.
    fn accept(&self) -> impl Future<Output = io::Result<Accepted>>;
}

impl LinkSource for TcpListener {
    async fn accept(&self) -> io::Result<Accepted> {
        TcpListener::accept(self).await
    }
}

/// A listener that pauses after an error.
pub struct Accepts<S> {
    source: S,
    paused_until: Option<Instant>,
}

impl<S: LinkSource> Accepts<S> {
    /// Returns a listener on `source`.
    pub fn new(source: S) -> Self {
        Self {
            source,
            paused_until: None,
        }
    }

    /// Returns the next link. Cancel-safe: an interrupted pause continues at the next call.
    pub async fn next(&mut self) -> Accepted {
        loop {
            if let Some(until) = self.paused_until {
                sleep_until(until).await;
                self.paused_until = None;
            }
            match self.source.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => self.pause(&error),
            }
        }
    }

    /// Returns the next link if one is ready.
    pub fn next_now(&mut self) -> Option<Accepted> {
        if self.paused_until.is_some() {
            return None;
        }
        let mut context = Context::from_waker(Waker::noop());
        let polled = pin!(self.source.accept()).poll(&mut context);
        match polled {
            Poll::Ready(Ok(accepted)) => Some(accepted),
            Poll::Ready(Err(error)) => {
                self.pause(&error);
                None
            }
            Poll::Pending => None,
        }
    }

    fn pause(&mut self, error: &io::Error) {
        tracing::warn!("cannot accept a link: {error}");
        self.paused_until = Some(Instant::now() + PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::timeout;

    use super::*;

    /// Source that fails a number of times, then works.
    struct Scarce {
        listener: TcpListener,
        failures: Cell<u32>,
        asked: Cell<u32>,
    }

    impl LinkSource for Scarce {
        async fn accept(&self) -> io::Result<Accepted> {
            self.asked.set(self.asked.get() + 1);
            if self.failures.get() > 0 {
                self.failures.set(self.failures.get() - 1);
                return Err(io::ErrorKind::Other.into());
            }
            self.listener.accept().await
        }
    }

    #[tokio::test]
    async fn a_refusal_pauses_the_listener_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _dialler = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let mut accepts = Accepts::new(Scarce {
            listener,
            failures: Cell::new(2),
            asked: Cell::new(0),
        });
        let began = Instant::now();
        // The shell's loop does other work in between, and polls again and again.
        let mut turns = 0;
        loop {
            turns += 1;
            if timeout(Duration::from_millis(1), accepts.next())
                .await
                .is_ok()
            {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(10));
        }
        assert!(began.elapsed() >= 2 * PAUSE);
        assert_eq!(accepts.source.asked.get(), 3, "in {turns} turns");
        assert!(turns > 3, "the loop was blocked");
    }
}
