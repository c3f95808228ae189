//! Fuzz targets: one function for each decoder of outside bytes, and one for the whole control plane.
//!
//! A target accepts any bytes, and panics if a promise is broken. `tests/fuzz.rs` replays the committed corpus and runs
//! a seeded mutator for a while; `tests/fuzz/` runs the same functions under libFuzzer.

mod api;
mod config;
mod control;
mod datagram;
mod egress;
mod fit;
mod fixture;
mod fragment;
mod frame;
mod ingress;
mod input;
mod ipam;
mod journal;
mod link;
mod link_hello;
mod link_message;
mod mutate;
mod names;
mod networks;
mod offload;
mod probe;
mod record;
mod resolution;
mod scratch;
mod session;
mod spaces;
mod state;
mod text;
mod topology;
mod unicast;

use std::path::PathBuf;

pub use mutate::Mutator;

/// One fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct FuzzTarget {
    /// Name of the target, of its corpus and of its libFuzzer binary.
    pub name: &'static str,
    /// Description of the decoded input.
    pub about: &'static str,
    /// Runs the target on one input; panics if a promise is broken.
    pub run: fn(&[u8]),
    /// Valid inputs as a starting point.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Number of mutated inputs in the test suite, for about two seconds.
    pub iterations: u32,
}

macro_rules! targets {
    ($($name:ident, $iterations:literal, $about:literal;)*) => {
        &[$(FuzzTarget {
            name: stringify!($name),
            about: $about,
            run: $name::target,
            seeds: $name::seeds,
            iterations: $iterations,
        },)*]
    };
}

/// All targets.
pub const TARGETS: &[FuzzTarget] = targets! {
    datagram, 300_000, "datagram headers, packed frames, Flood prefixes, Relay envelopes";
    frame, 300_000, "Ethernet and ARP views";
    resolution, 200_000, "questions for addresses (ARP, neighbour solicitations), and the router they go to";
    fit, 100_000, "frames that are too long: ICMP to their sender, or IPv4 fragments";
    fragment, 20_000, "pieces of datagrams and their reassembly";
    offload, 300_000, "virtio headers and super-frames, frames to be merged";
    ingress, 10_000, "datagrams into a router with live sessions";
    egress, 5_000, "frames of the local port";
    session, 1_500, "session handshakes, changed and invented";
    link_hello, 6_000, "a stranger's bytes on a TCP link";
    link, 1_000, "two routers on one TCP link, with changed bytes";
    link_message, 100_000, "messages between neighbours";
    record, 20_000, "signed records";
    unicast, 20_000, "signed messages from one router to another";
    topology, 400, "records, the link-state database and routes";
    probe, 300_000, "bodies of probes";
    names, 100_000, "statements of names, queries of DNS, answers of other servers, resolv.conf";
    networks, 20_000, "statements about networks, messages about their keys, their state file, names and subnets as people type them";
    text, 100_000, "addresses, targets and names as people type them";
    config, 10_000, "the router's configuration file";
    state, 3_000, "files of the router's state directory";
    journal, 20_000, "the file of the journal of addresses";
    ipam, 100_000, "statements, messages and journals about addresses";
    spaces, 30_000, "records, messages and the journal about addresses in networks besides `default`";
    api, 20_000, "JSON between the command and the router";
    control, 200, "the control plane: connections, messages, datagrams, timers";
};

/// Returns the target with this name.
pub fn by_name(name: &str) -> Option<&'static FuzzTarget> {
    TARGETS.iter().find(|target| target.name == name)
}

impl FuzzTarget {
    /// Returns the directory of its committed inputs.
    pub fn corpus_dir(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(self.name)
    }

    /// Returns its committed inputs with their paths, sorted by file name.
    ///
    /// # Errors
    /// The directory or a file cannot be read.
    pub fn corpus(&self) -> std::io::Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(self.corpus_dir())? {
            let path = entry?.path();
            let bytes = std::fs::read(&path)?;
            files.push((path, bytes));
        }
        files.sort();
        Ok(files)
    }
}
