//! Threads that write in the background, so that a slow disk holds up nobody.
//!
//! The owner of a [`BackgroundThread`] changes its [`Backlog`]; the thread takes work from it, one piece after the other, and
//! puts the outcome back. When the owner drops it, the work that waits is still done.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Work that waits for a thread, and its rules.
pub(crate) trait Backlog: Send + 'static {
    /// One piece of work.
    type Work;
    /// The outcome of one piece of work.
    type Outcome;

    /// Takes the next piece of work. If there is none now, returns how long to wait for more (`None`: until there is some).
    fn take(&mut self) -> Result<Self::Work, Option<Duration>>;

    /// Takes note of an outcome.
    fn finish(&mut self, work: Self::Work, outcome: Self::Outcome);

    /// Takes note that the time is over for which [`Backlog::take`] wanted to wait.
    fn retry(&mut self) {}
}

/// A running thread with its backlog.
#[derive(Debug)]
pub(crate) struct BackgroundThread<B> {
    name: &'static str,
    shared: Arc<SharedBacklog<B>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct SharedBacklog<B> {
    guarded: Mutex<Guarded<B>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Guarded<B> {
    backlog: B,
    is_closed: bool,
}

impl<B: Backlog> BackgroundThread<B> {
    /// Starts a thread that does `work`. Its name is part of what is logged if it crashes.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(
        name: &'static str,
        backlog: B,
        mut work: impl FnMut(&B::Work) -> B::Outcome + Send + 'static,
    ) -> io::Result<Self> {
        let is_closed = false;
        let shared = Arc::new(SharedBacklog {
            guarded: Mutex::new(Guarded { backlog, is_closed }),
            changed: Condvar::new(),
        });
        let queue = shared.clone();
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                while let Some(next) = queue.next() {
                    let outcome = work(&next);
                    queue.lock().backlog.finish(next, outcome);
                }
            })?;
        Ok(Self {
            name,
            shared,
            thread: Some(thread),
        })
    }

    /// Changes the backlog, and wakes the thread. Returns at once. `change` must not panic.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut B) -> R) -> R {
        let result = change(&mut self.shared.lock().backlog);
        self.shared.changed.notify_one();
        result
    }
}

impl<B> Drop for BackgroundThread<B> {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_one();
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            tracing::error!("the thread '{}' had crashed", self.name);
        }
    }
}

impl<B> SharedBacklog<B> {
    /// Nothing that panics happens under this lock.
    fn lock(&self) -> MutexGuard<'_, Guarded<B>> {
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Backlog> SharedBacklog<B> {
    /// Waits for work; `None` when all is done and no more will come.
    fn next(&self) -> Option<B::Work> {
        let mut guarded = self.lock();
        loop {
            let wait = match guarded.backlog.take() {
                Ok(work) => return Some(work),
                Err(_) if guarded.is_closed => return None,
                Err(wait) => wait,
            };
            guarded = match wait {
                None => {
                    let woken = self.changed.wait(guarded);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
                Some(time) => {
                    let woken = self.changed.wait_timeout(guarded, time);
                    let (mut guarded, wait) = woken.unwrap_or_else(PoisonError::into_inner);
                    if wait.timed_out() {
                        guarded.backlog.retry();
                    }
                    guarded
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Numbers to report; those below ten are tried again.
    struct Numbers {
        waiting: Vec<u32>,
        failed: Vec<u32>,
    }

    impl Backlog for Numbers {
        type Work = u32;
        type Outcome = bool;

        fn take(&mut self) -> Result<u32, Option<Duration>> {
            let retry = (!self.failed.is_empty()).then_some(Duration::from_millis(1));
            self.waiting.pop().ok_or(retry)
        }

        fn finish(&mut self, work: u32, outcome: bool) {
            if !outcome {
                self.failed.push(work + 9);
            }
        }

        fn retry(&mut self) {
            self.waiting.append(&mut self.failed);
        }
    }

    fn start() -> (BackgroundThread<Numbers>, mpsc::Receiver<u32>) {
        let (sender, receiver) = mpsc::channel();
        let numbers = Numbers {
            waiting: Vec::new(),
            failed: Vec::new(),
        };
        let thread = BackgroundThread::start("numbers", numbers, move |n| {
            sender.send(*n).unwrap();
            *n >= 10
        });
        (thread.unwrap(), receiver)
    }

    #[test]
    fn work_is_done_and_failures_are_tried_again() {
        let (thread, done) = start();
        thread.change(|numbers| numbers.waiting.push(10));
        assert_eq!(done.recv().unwrap(), 10);
        thread.change(|numbers| numbers.waiting.push(2));
        assert_eq!(done.recv().unwrap(), 2);
        assert_eq!(done.recv().unwrap(), 11, "after a pause");
    }

    #[test]
    fn work_that_waits_at_the_end_is_still_done() {
        let (thread, done) = start();
        thread.change(|numbers| numbers.waiting.extend([10, 11, 12]));
        drop(thread);
        assert_eq!(done.iter().collect::<Vec<_>>(), [12, 11, 10]);
    }
}
