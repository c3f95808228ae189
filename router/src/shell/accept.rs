//! Links that come in. When the system refuses to hand one out (no file descriptors are left, usually) it is asked again
//! a little later: asking at once would spin.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// Time between a refusal and the next question.
const PAUSE: Duration = Duration::from_millis(100);

/// A link that came in, and where from.
pub(super) type Accepted = (TcpStream, SocketAddr);

/// Where links come from.
pub trait Source {
    /// The next link.
    ///
    /// # Errors
    /// When the system has none to give: out of file descriptors, or of memory.
    fn accept(&self) -> impl Future<Output = io::Result<Accepted>>;
}

impl Source for TcpListener {
    async fn accept(&self) -> io::Result<Accepted> {
        TcpListener::accept(self).await
    }
}

/// A listener that pauses after an error.
pub struct Accepts<S> {
    source: S,
    paused_until: Option<Instant>,
}

impl<S: Source> Accepts<S> {
    /// Takes links from `source`.
    pub fn new(source: S) -> Self {
        Self {
            source,
            paused_until: None,
        }
    }

    /// The next link. May be cancelled: a pause goes on when it is called again.
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

    /// The next link, if one is there by now.
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

    /// Fails so many times, then works.
    struct Scarce {
        listener: TcpListener,
        failures: Cell<u32>,
        asked: Cell<u32>,
    }

    impl Source for Scarce {
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
        // The shell's loop does other work meanwhile and asks again and again.
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
