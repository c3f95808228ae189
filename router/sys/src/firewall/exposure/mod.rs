//! What the firewall has to do for the host's own addresses on the bridge: translate addresses, let packets pass that the
//! host forwards, and keep apart what is not to meet through the host: subnets of the mesh, and the containers of other
//! bridges.
//!
//! Addresses are translated, and others kept apart, by a table of our own (`nft`), or by chains of our own in the tables
//! `nat` and `mangle` (`iptables`), whichever the host uses. Packets have to be let pass by `iptables` in any case, where it is there: what one base chain
//! drops, no other can save.

mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use self::wanted::Exposure;
use self::wanted::{FAMILIES, Family, Part};
use super::Changed;
use super::chain::{Chain, Place};
use super::nft::{self, Table};
use crate::environment::command;
use crate::{SysError, ifname};

/// Which program translates addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `nft`.
    Nft,
    /// `iptables` and `ip6tables`.
    Iptables,
}

/// The rules for one bridge, in the namespace of the threads that call.
#[derive(Debug)]
pub struct Rules {
    bridge: String,
    name: String,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    backend: Option<Backend>,
    /// By place: what was wanted when it was last put, and how the program lists that.
    applied: BTreeMap<String, (String, Option<String>)>,
    /// Places where nothing is wanted and nothing was found; nobody else puts anything there.
    clear: BTreeSet<String>,
}

impl Backend {
    /// Its name for operators.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Iptables => "iptables",
        }
    }

    /// What this host uses: `iptables` where that has tables of its own, as dockerd then has its rules there; else `nft`,
    /// else `iptables`. `has_nat`: whether `iptables` has the table it would need.
    fn find(has_nat: bool) -> Option<Self> {
        let iptables = iptables_version().filter(|_| has_nat);
        match (iptables, nft::is_usable()) {
            (Some(version), _) if !version.contains("nf_tables") => Some(Self::Iptables),
            (_, true) => Some(Self::Nft),
            (Some(_), false) => Some(Self::Iptables),
            (None, false) => None,
        }
    }
}

impl Rules {
    /// Nothing is done yet.
    pub fn new(bridge: &str) -> Self {
        Self {
            bridge: bridge.to_owned(),
            name: format!("mesh-expose-{bridge}"),
            kept: Mutex::default(),
        }
    }

    /// Whether all that is wanted could be had.
    ///
    /// # Errors
    /// The bridge's name is a pattern to firewalls; or addresses are to be translated and no program is there that does.
    pub fn check(&self, masquerade: bool) -> Result<(), SysError> {
        check_name(&self.bridge)?;
        match masquerade {
            true => self.backend().map(drop),
            false => Ok(()),
        }
    }

    /// What translates addresses here, once that was asked for.
    pub fn used(&self) -> Option<Backend> {
        self.kept().backend
    }

    /// Whether what is to stay apart is kept apart: not without a program that can.
    pub fn keeps_apart(&self) -> bool {
        self.backend().is_ok()
    }

    /// Chains of others that may drop what the host forwards, which nothing but a rule there can mend; as `inet filter
    /// forward`. Those of `iptables` are not among them: there our rule is.
    pub fn obstacles(&self) -> Vec<String> {
        let mut chains = nft::dropping_chains(nft::Hook::Forward);
        if iptables_version().is_some() {
            chains.retain(|chain| chain != "ip filter FORWARD" && chain != "ip6 filter FORWARD");
        }
        chains
    }

    /// Makes the rules what is wanted. Called again it changes nothing, or mends what somebody else changed;
    /// [`Changed::Yes`] then, and when there were none of ours.
    ///
    /// # Errors
    /// As [`Rules::check`]; what the program says.
    pub fn ensure(&self, wanted: &Exposure) -> Result<Changed, SysError> {
        check_name(&self.bridge)?;
        let mut changed = Changed::No;
        for family in FAMILIES {
            let part = wanted.of(family);
            if self.guard(family, &part)? | self.let_pass(family, &part)? {
                changed = Changed::Yes;
            }
        }
        Ok(changed)
    }

    /// Takes all rules away, whichever program made them; whether there were any.
    ///
    /// # Errors
    /// The first failure, after the rest was tried.
    pub fn remove(&self) -> Result<Changed, SysError> {
        let has_nft = nft::is_usable();
        let (mut any, mut result) = (false, Ok(()));
        for family in FAMILIES {
            let mut done = vec![
                self.nat_chain(family).remove(),
                self.mangle_chain(family).remove(),
                self.filter_chain(family).remove(),
            ];
            if has_nft {
                done.push(self.table(family).remove());
            }
            for done in done {
                match done {
                    Ok(was_there) => any |= was_there,
                    Err(error) => result = result.and(Err(error)),
                }
            }
        }
        *self.kept() = Kept::default();
        result.map(|()| if any { Changed::Yes } else { Changed::No })
    }

    /// Translates addresses, and keeps apart what is to stay apart.
    fn guard(&self, family: Family, part: &Part) -> Result<bool, SysError> {
        if part.subnets.is_empty() {
            return self.forget_guard(family);
        }
        let backend = match self.backend() {
            Ok(backend) => backend,
            // Without any firewall there is nothing to keep apart by; operators are told.
            Err(_) if part.masqueraded.is_empty() => return Ok(false),
            Err(error) => return Err(error),
        };
        match backend {
            Backend::Nft => {
                let wanted = part.nft(family, &self.bridge);
                let table = self.table(family);
                for chain in [self.nat_chain(family), self.mangle_chain(family)] {
                    self.kept().clear.remove(&key_of(&chain));
                }
                self.keep(
                    &nft_key(&table),
                    wanted,
                    || table.list(),
                    |wanted| table.replace(wanted),
                )
            }
            Backend::Iptables => {
                let (nat, mangle) = (self.nat_chain(family), self.mangle_chain(family));
                let translated = match part.masqueraded.is_empty() {
                    true => self.clear(&key_of(&nat), || nat.remove())?,
                    false => self.keep_chain(&nat, &part.nat(&self.bridge))?,
                };
                let apart =
                    mangle.is_usable()? && self.keep_chain(&mangle, &part.apart(&self.bridge))?;
                Ok(translated | apart)
            }
        }
    }

    /// Nothing is exposed: takes the rules of [`Rules::guard`] away.
    fn forget_guard(&self, family: Family) -> Result<bool, SysError> {
        let (table, nat, mangle) = (
            self.table(family),
            self.nat_chain(family),
            self.mangle_chain(family),
        );
        self.kept().applied.remove(&nft_key(&table));
        let translation = self.clear(&key_of(&nat), || {
            let nft = nft::is_usable() && table.remove()?;
            Ok(nat.remove()? | nft)
        })?;
        Ok(self.clear(&key_of(&mangle), || mangle.remove())? | translation)
    }

    fn let_pass(&self, family: Family, part: &Part) -> Result<bool, SysError> {
        let chain = self.filter_chain(family);
        if part.subnets.is_empty() {
            return self.clear(&key_of(&chain), || chain.remove());
        }
        if !chain.is_usable()? {
            return Ok(false);
        }
        self.keep_chain(&chain, &part.filter(&self.bridge))
    }

    /// Takes away what is in a place, once; whether there was anything.
    fn clear(
        &self,
        key: &str,
        remove: impl FnOnce() -> Result<bool, SysError>,
    ) -> Result<bool, SysError> {
        if self.kept().clear.contains(key) {
            return Ok(false);
        }
        let was_there = remove()?;
        let mut kept = self.kept();
        kept.applied.remove(key);
        kept.clear.insert(key.to_owned());
        Ok(was_there)
    }

    fn keep_chain(&self, chain: &Chain<'_>, rules: &[String]) -> Result<bool, SysError> {
        self.keep(
            &key_of(chain),
            rules.join("\n"),
            || chain.list(),
            |_| chain.put(rules),
        )
    }

    /// Puts what is wanted unless it was put before and is listed as it was then. The programs write rules in their own
    /// way, so what they list is compared with what they listed and not with what they were given.
    fn keep(
        &self,
        key: &str,
        wanted: String,
        list: impl Fn() -> Result<Option<String>, SysError>,
        put: impl FnOnce(&str) -> Result<(), SysError>,
    ) -> Result<bool, SysError> {
        let before = self.kept().applied.get(key).cloned();
        if let Some((same, listed)) = &before
            && *same == wanted
            && listed.is_some()
            && list()? == *listed
        {
            return Ok(false);
        }
        let is_wanted_anew = before.is_some_and(|(before, _)| before != wanted);
        put(&wanted)?;
        let listed = list()?;
        let mut kept = self.kept();
        kept.clear.remove(key);
        kept.applied.insert(key.to_owned(), (wanted, listed));
        Ok(!is_wanted_anew)
    }

    fn backend(&self) -> Result<Backend, SysError> {
        if let Some(backend) = self.used() {
            return Ok(backend);
        }
        let has_nat = self.nat_chain(Family::V4).is_usable().unwrap_or(false);
        let Some(backend) = Backend::find(has_nat) else {
            return Err(SysError::other(
                "translate addresses",
                "neither nft nor iptables works here; install one of them, or expose --without-masquerade",
            ));
        };
        // An earlier run may have used the other one.
        for family in FAMILIES {
            match backend {
                Backend::Nft => {
                    let _ = self.nat_chain(family).remove();
                    let _ = self.mangle_chain(family).remove();
                }
                Backend::Iptables if nft::is_usable() => drop(self.table(family).remove()),
                Backend::Iptables => {}
            }
        }
        self.kept().backend = Some(backend);
        Ok(backend)
    }

    fn table(&self, family: Family) -> Table<'_> {
        Table {
            family: match family {
                Family::V4 => "ip",
                Family::V6 => "ip6",
            },
            name: &self.name,
        }
    }

    fn nat_chain(&self, family: Family) -> Chain<'_> {
        Chain {
            program: family.program(),
            table: "nat",
            name: &self.name,
            from: "POSTROUTING",
            place: Place::First,
        }
    }

    fn mangle_chain(&self, family: Family) -> Chain<'_> {
        Chain {
            program: family.program(),
            table: "mangle",
            name: &self.name,
            from: "FORWARD",
            place: Place::First,
        }
    }

    fn filter_chain(&self, family: Family) -> Chain<'_> {
        Chain {
            program: family.program(),
            table: "filter",
            name: &self.name,
            from: "FORWARD",
            place: Place::Last,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(chain: &Chain<'_>) -> String {
    format!("{} {}", chain.program, chain.table)
}

fn nft_key(table: &Table<'_>) -> String {
    format!("nft {}", table.family)
}

/// Firewalls take `+` and `*` in the name of an interface for "whatever follows", and quotes for their own.
fn check_name(bridge: &str) -> Result<(), SysError> {
    ifname::check(bridge)?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if bridge.bytes().all(is_plain) {
        return Ok(());
    }
    Err(SysError::other(
        format!("write firewall rules for the bridge {bridge}"),
        "its name has characters other than letters, digits, '-', '_' and '.'; launch with another --bridge",
    ))
}

/// What `iptables -V` says; none when there is no such program.
fn iptables_version() -> Option<String> {
    let output = command("iptables").arg("-V").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(said)
}

#[cfg(test)]
mod tests;
