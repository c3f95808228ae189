//! The receiver: counts marks, and answers that name a container of another network.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mesh_proto::ids::Mac;
use mesh_sys::netlink::Netlink;
use mesh_sys::socket::packet::PacketSocket;

use super::mark::FrameMark;

/// Time limit, so that a leaked process ends by itself.
const LONGEST: Duration = Duration::from_secs(1_500);
/// All EtherTypes (`ETH_P_ALL`).
const ALL: u16 = 3;
/// Time between two looks: short enough for the socket's buffer, long enough to cost little.
const PAUSE: Duration = Duration::from_millis(2);
/// Time between two lines of output.
const TOLD: Duration = Duration::from_millis(250);

/// Frames that one container has received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TallyCounts {
    /// Number of frames by mark; those that the container sent itself are left out.
    pub marked: BTreeMap<FrameMark, u64>,
    /// Frames without a mark whose source, or the address that they answer with, is a MAC of another network.
    pub answers: u64,
}

impl TallyCounts {
    /// Adds a frame; `foreign` are the MACs of other networks.
    fn add(&mut self, frame: &[u8], own: (u8, u8), foreign: &[Mac]) {
        match FrameMark::find(frame) {
            Some(mark) if (mark.network, mark.host) == own => {}
            Some(mark) => *self.marked.entry(mark).or_default() += 1,
            None => self.answers += u64::from(names(frame, foreign)),
        }
    }

    /// Parses the last line that [`tally`] printed; nothing if there is none.
    ///
    /// # Errors
    /// The line is malformed.
    pub fn parse(output: &str) -> Result<Self> {
        let mut counts = Self::default();
        // The last line may not be complete yet.
        let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let last = whole
            .lines()
            .filter_map(|l| l.strip_prefix("tally "))
            .next_back();
        let Some(line) = last else { return Ok(counts) };
        for word in line.split(' ') {
            let (key, count) = word.split_once('=').with_context(|| line.to_owned())?;
            match key {
                "answers" => counts.answers = count.parse()?,
                mark => {
                    counts
                        .marked
                        .insert(FrameMark::parse(mark)?, count.parse()?);
                }
            }
        }
        Ok(counts)
    }
}

impl fmt::Display for TallyCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answers={}", self.answers)?;
        let mut marked = self.marked.iter();
        marked.try_for_each(|(mark, count)| write!(f, " {mark}={count}"))
    }
}

/// Returns whether a frame says that it is from one of these MACs: as its source, or as the sender of ARP or an option of
/// neighbour discovery. Destinations do not count: a container may answer a frame with a false source.
fn names(frame: &[u8], macs: &[Mac]) -> bool {
    let is_foreign = |part: &[u8]| macs.iter().any(|mac| mac.0 == part);
    let source = frame.get(6..12).unwrap_or_default();
    let said = match frame.get(12..14) {
        Some([0x08, 0x06]) => frame.get(22..28),
        Some([0x86, 0xdd]) => frame.get(14..),
        _ => None,
    };
    is_foreign(source) || said.unwrap_or_default().windows(6).any(is_foreign)
}

/// Counts what arrives at an interface of this network namespace, and prints lines of `tally …` until killed.
///
/// # Errors
/// There is no such interface, or it is gone.
pub fn tally(
    interface: &str,
    own: (u8, u8),
    foreign: &[Mac],
    mut say: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let link = Netlink::open()?.link().require(interface)?;
    let socket = PacketSocket::open(link.index, ALL)?;
    say("ready")?;
    let (mut counts, mut told) = (TallyCounts::default(), TallyCounts::default());
    let (began, mut last) = (Instant::now(), Instant::now());
    let mut buffer = [0; 2_048];
    while began.elapsed() < LONGEST {
        while let Some(frame) = socket.recv(&mut buffer)? {
            counts.add(frame, own, foreign);
        }
        if last.elapsed() > TOLD && counts != told {
            say(&format!("tally {counts}"))?;
            (told, last) = (counts.clone(), Instant::now());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_others_and_foreign_answers_are_counted() {
        let foreign = [Mac([2, 0, 0, 0, 0, 9])];
        let mark = |text| FrameMark::parse(text).unwrap();
        let mut counts = TallyCounts::default();
        for text in ["11A", "12A", "12A", "23B"] {
            let frame = [&[0; 50][..], &mark(text).bytes()].concat();
            counts.add(&frame, (1, 1), &foreign);
        }
        let frame = |to: &[u8], from: &[u8], rest: &[u8]| [to, from, rest].concat();
        let (own, other) = ([2, 0, 0, 0, 0, 1], foreign[0].0);
        let arp = |sender: &[u8]| [&[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], sender, &[0; 20]].concat();
        counts.add(&frame(&other, &own, &arp(&own)), (1, 1), &foreign);
        assert_eq!(counts.answers, 0);
        counts.add(&frame(&own, &own, &arp(&other)), (1, 1), &foreign);
        counts.add(&frame(&own, &other, &[8, 0, 1, 2]), (1, 1), &foreign);
        assert_eq!(counts.answers, 2);
        let expected = BTreeMap::from([(mark("12A"), 2), (mark("23B"), 1)]);
        assert_eq!(counts.marked, expected);
        let output = format!("ready\ntally answers=9\ntally {counts}\ntally 12");
        assert_eq!(TallyCounts::parse(&output).unwrap(), counts);
        assert_eq!(
            TallyCounts::parse("ready\n").unwrap(),
            TallyCounts::default()
        );
    }
}
