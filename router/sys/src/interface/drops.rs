//! Frames that interfaces dropped, from a file that the kernel writes without its lock for changes of interfaces (RTNL):
//! others may hold that for seconds, and who asks forwards frames.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::SysError;

/// Counters of all interfaces of a namespace (proc_pid_net(5)); the file stays that of the namespace in which it was opened.
const PATH: &str = "/proc/thread-self/net/dev";
/// Place of the transmitted frames that were dropped, among the numbers behind the name.
const TX_DROPPED: usize = 11;
/// Age up to which the counters are given again: many ports ask at once.
const FRESH: Duration = Duration::from_millis(500);

/// Drop counters of the interfaces of one namespace.
#[derive(Clone, Debug)]
pub struct DropCounters(Arc<Mutex<ReadCounters>>);

#[derive(Debug)]
struct ReadCounters {
    file: File,
    read: Option<Instant>,
    text: String,
    dropped: HashMap<String, u64>,
}

impl DropCounters {
    /// Opens the counters of the calling thread's namespace.
    ///
    /// # Errors
    /// There is no `/proc`.
    pub fn open() -> Result<Self, SysError> {
        let file = File::open(PATH).map_err(|e| SysError::new(format!("open {PATH}"), e))?;
        let counters = ReadCounters {
            file,
            read: None,
            text: String::new(),
            dropped: HashMap::new(),
        };
        Ok(Self(Arc::new(Mutex::new(counters))))
    }

    /// Returns the number of frames dropped at the transmit queue of an interface since it was created, as it was at most
    /// half a second ago; for a TAP those that were not read in time. None if there is no such interface.
    pub fn tx_dropped(&self, interface: &str) -> Option<u64> {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counters.refresh();
        counters.dropped.get(interface).copied()
    }
}

impl ReadCounters {
    fn refresh(&mut self) {
        if self.read.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        self.read = Some(Instant::now());
        self.text.clear();
        let read = self.file.rewind();
        if read
            .and_then(|()| self.file.read_to_string(&mut self.text))
            .is_ok()
        {
            self.dropped = self.text.lines().filter_map(parse).collect();
        }
    }
}

/// Reads a line like `  eth0: 1 2 …`; none for the two lines of the head.
fn parse(line: &str) -> Option<(String, u64)> {
    let (name, numbers) = line.rsplit_once(':')?;
    let dropped = numbers.split_whitespace().nth(TX_DROPPED)?.parse().ok()?;
    Some((name.trim().to_owned(), dropped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Netlink, VethSpec};
    use crate::testing::{NamedNetns, needs_root};

    #[test]
    fn a_line_is_read() {
        let line = "  eth0: 1540780   5443    1    2    3     4          5         6 897312  4000    7   88    9    10  11  12";
        assert_eq!(parse(line), Some(("eth0".to_owned(), 88)));
        assert_eq!(parse(" face |bytes    packets errs drop"), None);
        assert_eq!(parse("lo: 1 2"), None);
    }

    #[test]
    fn counters_are_those_of_the_namespace_in_which_they_were_opened() {
        if needs_root("counters_are_those_of_the_namespace_in_which_they_were_opened") {
            return;
        }
        let counters = NamedNetns::new().run(|| {
            let spec = VethSpec {
                name: "a",
                peer_name: "b",
                peer_netns: None,
                peer_mac: None,
                mtu: 1_500,
            };
            Netlink::open().unwrap().link().create_veth(&spec).unwrap();
            let counters = DropCounters::open().unwrap();
            assert_eq!(counters.tx_dropped("a"), Some(0));
            counters
        });
        assert_eq!(counters.tx_dropped("eth0"), None);
    }
}
