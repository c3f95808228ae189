//! Capture of the underlay traffic, as seen by an eavesdropper on the switch.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::command::Background;
use crate::testbed::Testbed;
use crate::wait::wait_until;

/// A capture in progress.
#[derive(Debug)]
pub struct Capture {
    dir: TempDir,
    tcpdump: Background,
}

impl Capture {
    /// Starts to record every frame on the switch of `bed`.
    ///
    /// # Errors
    /// tcpdump does not start.
    pub fn start(bed: &Testbed) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let file = Self::file(&dir);
        let tcpdump = bed.spawn_on_switch(&[
            "tcpdump",
            "-i",
            "any",
            "-s",
            "0",
            "-U",
            "--immediate-mode",
            "-Z",
            "root",
            "-w",
            &file,
        ])?;
        wait_until(Duration::from_secs(10), "tcpdump records", || {
            // tcpdump writes the file header once the capture is open.
            ensure!(std::fs::metadata(&file)?.len() >= 24, "no header yet");
            Ok(())
        })?;
        Ok(Self { dir, tcpdump })
    }

    /// Ends the capture and returns its contents in pcap format.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn stop(self) -> Result<Vec<u8>> {
        self.tcpdump.stop()?;
        std::fs::read(Self::file(&self.dir)).context("cannot read the capture")
    }

    fn file(dir: &TempDir) -> String {
        dir.path().join("underlay.pcap").display().to_string()
    }
}
