//! Waiting for several ports at once: the lone port and a wake-up by poll(2), any number of ports by epoll(7).

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;

use crate::SysError;

/// Events taken by one wait; further ones come with the next, in turn.
const EVENTS: usize = 64;

/// Wake-up of a thread that waits for ports, by any other thread. Wake-ups that were not heard yet are one.
#[derive(Debug)]
pub struct Waker(EventFd);

impl Waker {
    /// Creates a wake-up that nobody has given yet.
    ///
    /// # Errors
    /// The errno of the failed system call, for instance if no file descriptor is left.
    pub fn new() -> Result<Self, SysError> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        EventFd::from_flags(flags)
            .map(Self)
            .map_err(|e| SysError::errno("make an eventfd", e))
    }

    /// Wakes the thread that waits, or is about to.
    pub fn wake(&self) {
        // Fails only while 2^64 − 2 wake-ups wait.
        let _ = self.0.write(1);
    }

    /// Takes the wake-ups given so far.
    pub fn clear(&self) {
        // Fails only if there was none.
        let _ = self.0.read();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits at most `wait` until a frame waits at `port`, or `waker` is woken. An error of the port ends the wait, too.
///
/// # Errors
/// The errno of the failed system call.
pub fn wait_for_either(
    port: BorrowedFd<'_>,
    waker: &Waker,
    wait: Duration,
) -> Result<(), SysError> {
    let of = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds = [of(port), of(waker.as_fd())];
    match ppoll(&mut fds, Some(TimeSpec::from_duration(wait)), None) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(e) => Err(SysError::errno("wait for frames", e)),
    }
}

/// Set of descriptors that one thread waits for.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Poller {
    /// Creates an empty set.
    ///
    /// # Errors
    /// The errno of the failed system call, for instance if no file descriptor is left.
    pub fn new() -> Result<Self, SysError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|e| SysError::errno("make an epoll instance", e))?;
        let events = vec![EpollEvent::empty(); EVENTS];
        Ok(Self { epoll, events })
    }

    /// Adds a descriptor, which is known by `token` from now on. It must be removed before it is closed: a copy
    /// elsewhere would keep it in the set.
    ///
    /// # Errors
    /// The errno of the failed system call, EEXIST if the descriptor is in the set.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64) -> Result<(), SysError> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, token);
        self.epoll
            .add(fd, event)
            .map_err(|e| SysError::errno("wait for a port", e))
    }

    /// Removes a descriptor.
    ///
    /// # Errors
    /// The errno of the failed system call, ENOENT if the descriptor is not in the set.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> Result<(), SysError> {
        self.epoll
            .delete(fd)
            .map_err(|e| SysError::errno("wait for a port no longer", e))
    }

    /// Waits at most `wait`, and replaces `ready` by the tokens of descriptors that are readable or have an error.
    ///
    /// If there are more than fit, those left out are the first at the next call (the kernel puts each that it
    /// returned behind the others), so none waits for another for ever.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn wait(&mut self, wait: Duration, ready: &mut Vec<u64>) -> Result<(), SysError> {
        ready.clear();
        let wait = EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::MAX);
        match self.epoll.wait(&mut self.events, wait) {
            Ok(count) => ready.extend(self.events.iter().take(count).map(EpollEvent::data)),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(SysError::errno("wait for frames", e)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_WAIT: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn a_wake_up_ends_the_wait_once() {
        let (port, waker) = (Waker::new().unwrap(), Waker::new().unwrap());
        let begin = std::time::Instant::now();
        std::thread::scope(|threads| {
            threads.spawn(|| waker.wake());
            wait_for_either(port.as_fd(), &waker, LONG).unwrap();
        });
        waker.clear();
        waker.clear();
        port.wake();
        wait_for_either(port.as_fd(), &waker, LONG).unwrap();
        assert!(begin.elapsed() < LONG);
    }

    #[test]
    fn each_ready_descriptor_is_told_until_it_is_served_or_removed() {
        let mut poller = Poller::new().unwrap();
        let all: Vec<Waker> = (0..3).map(|_| Waker::new().unwrap()).collect();
        for (token, one) in (10..).zip(&all) {
            poller.add(one.as_fd(), token).unwrap();
        }
        let mut ready = vec![1];
        poller.wait(NO_WAIT, &mut ready).unwrap();
        assert!(ready.is_empty());
        all[0].wake();
        all[2].wake();
        for _ in 0..2 {
            poller.wait(LONG, &mut ready).unwrap();
            ready.sort_unstable();
            assert_eq!(ready, [10, 12]);
        }
        all[0].clear();
        poller.remove(all[2].as_fd()).unwrap();
        poller.wait(NO_WAIT, &mut ready).unwrap();
        assert!(ready.is_empty());
        assert!(poller.remove(all[2].as_fd()).is_err());
    }

    #[test]
    fn more_than_one_wait_takes_come_in_turn() {
        let mut poller = Poller::new().unwrap();
        let all: Vec<Waker> = (0..EVENTS + 6).map(|_| Waker::new().unwrap()).collect();
        for (token, one) in (0..).zip(&all) {
            one.wake();
            poller.add(one.as_fd(), token).unwrap();
        }
        let (mut first, mut second) = (Vec::new(), Vec::new());
        poller.wait(LONG, &mut first).unwrap();
        poller.wait(LONG, &mut second).unwrap();
        assert_eq!((first.len(), second.len()), (EVENTS, EVENTS));
        first.extend(second);
        first.sort_unstable();
        first.dedup();
        assert_eq!(
            first.len(),
            all.len(),
            "the second wait begins with the rest"
        );
    }
}
