//! The start: the journal of the last run, or a new one.

use std::path::Path;

use anyhow::{Context, bail};
use mesh_allocator::desk::AddressDesk;
use mesh_allocator::journal::file::Journal;
use mesh_host::leases::container_names::ContainerNames;
use mesh_ipam::{Ipam, IpamConfig, IpamSet, JournalError, Slicing};
use mesh_options::ipalloc::IpallocPlan;
use mesh_proto::control::Control;
use mesh_proto::time::Instant;
use mesh_state::files::ADDRESSES;
use tokio::sync::mpsc;

use super::IpamShell;
use super::callers::Callers;
use super::client::{Allocator, REQUESTS};
use super::journal::{self, JournalKeeper};
use super::spaces::SpaceJournals;

/// Opens the addresses of this router with the journal in `dir`. A journal that cannot be used is set aside, and
/// operators are told.
///
/// # Errors
/// The journal is for another range, or of a later version: it is left alone. The system's.
pub fn open(
    plan: &IpallocPlan,
    dir: &Path,
    epoch: u64,
    control: &Control,
    expecting: bool,
    now: Instant,
) -> anyhow::Result<(IpamShell, Allocator)> {
    let slicing = Slicing::new(plan.pool.range)?;
    let config = IpamConfig {
        me: control.me(),
        epoch,
        slicing,
        auto_reclaim: plan.auto_reclaim,
    };
    let (ipam, notice) = load(&config, dir, now)?;
    let set = IpamSet::new(&config, ipam, now);
    let journal = JournalKeeper::start(dir, journal::DEFAULT).context("cannot start a thread")?;
    let (sender, requests) = mpsc::channel(REQUESTS);
    let containers = ContainerNames::default();
    let allocator = Allocator::new(plan.pool, sender, containers.clone());
    let mut desk = AddressDesk::new(set, plan.pool, containers, notice, control, now);
    let spaces = SpaceJournals::open(&mut desk, dir, epoch, now)?;
    desk.set_expecting(expecting, now);
    let shell = IpamShell {
        desk,
        journal,
        spaces,
        requests,
        callers: Callers::default(),
    };
    Ok((shell, allocator))
}

fn load(config: &IpamConfig, dir: &Path, now: Instant) -> anyhow::Result<(Ipam, Option<String>)> {
    let path = dir.join(ADDRESSES);
    let read = journal::load(dir, journal::DEFAULT);
    let read = read.with_context(|| format!("cannot read {}", path.display()))?;
    let refused = match read {
        Ok(journal) => {
            let Journal { entries, .. } = journal.unwrap_or_default();
            match Ipam::new(*config, entries.iter().map(Vec::as_slice), now) {
                Ok(ipam) => return Ok((ipam, None)),
                Err(why @ (JournalError::Range(..) | JournalError::Format(_))) => bail!("{why}"),
                Err(why) => why.to_string(),
            }
        }
        Err(damage) => damage.to_string(),
    };
    let aside = journal::set_aside(dir, journal::DEFAULT, config.epoch)
        .with_context(|| format!("cannot set {} aside", path.display()))?;
    let notice = format!(
        "the journal of addresses could not be used ({refused}) and is now {}; this router began a new one: addresses \
         of its containers are claimed again, and what it had lent is learnt from the others",
        aside.display()
    );
    tracing::error!("{notice}");
    let ipam = Ipam::new(*config, std::iter::empty(), now)?;
    Ok((ipam, Some(notice)))
}
