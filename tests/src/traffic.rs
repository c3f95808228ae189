//! Traffic between containers: TCP with a checksum, broadcast and multicast datagrams.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::command::Background;
use crate::container::TestContainer;
use crate::wait::wait_until;

/// A TCP transfer in progress.
#[derive(Debug)]
pub struct Transfer {
    receiver: Background,
    sender: Background,
    began: Instant,
}

impl Transfer {
    /// Starts to send `bytes` from one container to another, with at most `mbit` Mbit/s (0: no limit).
    ///
    /// # Errors
    /// The programs do not start.
    pub fn start(
        from: &TestContainer,
        to: &TestContainer,
        port: u16,
        bytes: u64,
        mbit: u32,
    ) -> Result<Self> {
        let target = format!("{}:{port}", to.address());
        let mut receiver = to.spawn_probe(&["receive", &target])?;
        ready(&mut receiver)?;
        let sender = from.spawn_probe(&["send", &target, &bytes.to_string(), &mbit.to_string()])?;
        Ok(Self {
            receiver,
            sender,
            began: Instant::now(),
        })
    }

    /// Returns the number of bytes received so far.
    ///
    /// # Errors
    /// The receiver's output cannot be read.
    pub fn received(&mut self) -> Result<u64> {
        let output = self.receiver.output()?;
        let last = output
            .lines()
            .filter_map(|line| line.strip_prefix("bytes "))
            .next_back();
        Ok(last.and_then(|n| n.parse().ok()).unwrap_or(0))
    }

    /// Waits for the end and returns the time since the start.
    ///
    /// # Errors
    /// It does not end within `deadline`, or the received bytes differ from the sent ones.
    pub fn finish(mut self, deadline: Duration) -> Result<Duration> {
        let sent = wait_until(deadline, "the sender ends", || self.sender.finished())?.ok()?;
        let got = wait_until(deadline, "the receiver ends", || self.receiver.finished())?.ok()?;
        let digest = |text: &str| text.lines().last().map(ToOwned::to_owned);
        ensure!(
            digest(&sent) == digest(&got),
            "sent: {sent}\nreceived: {got}"
        );
        Ok(self.began.elapsed())
    }
}

/// Sends `bytes` over TCP at full speed and compares checksums.
///
/// # Errors
/// It takes longer than `deadline`, or the checksums differ.
pub fn transfer(
    from: &TestContainer,
    to: &TestContainer,
    bytes: u64,
    deadline: Duration,
) -> Result<Duration> {
    Transfer::start(from, to, 5001, bytes, 0)?.finish(deadline)
}

/// Number of times that one container received each datagram.
#[derive(Debug)]
pub struct Heard {
    listener: Background,
}

impl Heard {
    /// Starts to listen on a UDP port, and joins a multicast group if given.
    ///
    /// # Errors
    /// The program does not start.
    pub fn start(at: &TestContainer, port: u16, group: Option<&str>) -> Result<Self> {
        let port = port.to_string();
        let mut args = vec!["listen", at.address(), &port];
        args.extend(group);
        let mut listener = at.spawn_probe(&args)?;
        ready(&mut listener)?;
        Ok(Self { listener })
    }

    /// Returns the texts of the datagrams received so far, each with its count.
    ///
    /// # Errors
    /// The listener's output cannot be read.
    pub fn counts(&mut self) -> Result<BTreeMap<String, u32>> {
        let mut counts = BTreeMap::new();
        for text in self
            .listener
            .output()?
            .lines()
            .filter_map(|line| line.strip_prefix("heard "))
        {
            *counts.entry(text.to_owned()).or_default() += 1;
        }
        Ok(counts)
    }
}

/// Sends `count` datagrams to a broadcast or multicast address; their texts are `<label>-0`, `<label>-1`, …
///
/// # Errors
/// The datagrams cannot be sent.
pub fn cast(from: &TestContainer, to: &str, port: u16, label: &str, count: u32) -> Result<()> {
    let target = format!("{to}:{port}");
    let mut sender =
        from.spawn_probe(&["cast", from.address(), &target, label, &count.to_string()])?;
    wait_until(Duration::from_secs(30), "datagrams are sent", || {
        sender.finished()
    })?
    .ok()?;
    Ok(())
}

fn ready(program: &mut Background) -> Result<()> {
    wait_until(Duration::from_secs(5), "the helper is ready", || {
        if let Ok(outcome) = program.finished() {
            return Ok(Some(outcome));
        }
        let output = program.output()?;
        ensure!(output.starts_with("ready"), "it said: {output}");
        Ok(None)
    })?
    .map_or(Ok(()), |outcome| outcome.ok().map(drop))
    .context("the helper for traffic")
}
