//! The start: the journal of the last run, or a new one.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use mesh_proto::control::Control;
use mesh_proto::ipam::{Ipam, IpamConfig, JournalError, Slicing};
use mesh_proto::time::Instant;
use tokio::sync::mpsc;

use super::Called;
use super::client::{Allocator, REQUESTS};
use super::disk::Disk;
use super::journal::{self, Journal};
use super::names::Names;
use super::settings::Plan;
use super::{Addresses, TICK};

/// Opens the addresses of this router with the journal in `dir`. A journal that cannot be used is set aside, and
/// operators are told.
///
/// # Errors
/// The journal is for another range, or of a later version: it is left alone. The system's.
pub fn open(
    plan: &Plan,
    dir: &Path,
    epoch: u64,
    control: &Control,
    expecting: bool,
    now: Instant,
) -> anyhow::Result<(Addresses, Allocator)> {
    let slicing = Slicing::new(plan.pool.range)?;
    let config = IpamConfig {
        me: control.me(),
        epoch,
        slicing,
        auto_reclaim: plan.auto_reclaim,
    };
    let (mut ipam, notice) = load(&config, dir, now)?;
    ipam.set_expecting(expecting, now);
    let (disk, progress) = Disk::start(dir).context("cannot start a thread")?;
    let (sender, requests) = mpsc::channel(REQUESTS);
    let mut addresses = Addresses {
        ipam,
        pool: plan.pool,
        disk,
        progress,
        requests,
        asking: BTreeMap::new(),
        next_request: 1,
        priming: Vec::new(),
        leaving: None,
        names: Names::default(),
        called: Called::default(),
        made_with: None,
        // Also cuts off what a crash left at the end.
        is_long: true,
        notice,
        next_tick: now + TICK,
    };
    addresses.names.learn(control);
    let allocator = Allocator::new(plan.pool, sender, addresses.called.clone());
    Ok((addresses, allocator))
}

fn load(config: &IpamConfig, dir: &Path, now: Instant) -> anyhow::Result<(Ipam, Option<String>)> {
    let path = dir.join(journal::FILE);
    let read = journal::load(dir).with_context(|| format!("cannot read {}", path.display()))?;
    let refused = match read {
        Ok(journal) => {
            let Journal { entries, .. } = journal.unwrap_or_default();
            match Ipam::new(config.clone(), entries.iter().map(Vec::as_slice), now) {
                Ok(ipam) => return Ok((ipam, None)),
                Err(why @ (JournalError::Range(..) | JournalError::Format(_))) => bail!("{why}"),
                Err(why) => why.to_string(),
            }
        }
        Err(damage) => damage.to_string(),
    };
    let aside = journal::set_aside(dir, config.epoch)
        .with_context(|| format!("cannot set {} aside", path.display()))?;
    let notice = format!(
        "the journal of addresses could not be used ({refused}) and is now {}; this router began a new one: addresses \
         of its containers are claimed again, and what it had lent is learnt from the others",
        aside.display()
    );
    tracing::error!("{notice}");
    let ipam = Ipam::new(config.clone(), std::iter::empty(), now)?;
    Ok((ipam, Some(notice)))
}
