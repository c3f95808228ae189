//! Firewall rules for the host's addresses in the mesh: translation of addresses, acceptance of forwarded packets,
//! and separation of networks that must not communicate through the host, that is, subnets of the mesh and containers
//! of other bridges.
//!
//! Translation and separation use a table of the mesh (`nft`), or chains of the mesh in the tables `nat` and `mangle`
//! (`iptables`), whichever the host uses. Acceptance always needs `iptables`, where it is available: a packet that
//! one base chain drops cannot be accepted by another.

mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use self::wanted::Exposure;
use self::wanted::{FirewallFamily, IP_VERSIONS, Part};
use super::Changed;
use super::chain::{Chain, JumpPosition};
use super::nft::{self, NftTable};
use crate::SysError;
use crate::ifname;
use crate::process::environment::command;

/// Program that translates addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `nft`.
    Nft,
    /// `iptables` and `ip6tables`.
    Iptables,
}

/// Rules for one bridge, in the namespace of the calling threads.
#[derive(Debug)]
pub struct Rules {
    bridge: String,
    name: String,
    kept: Mutex<AppliedRules>,
}

#[derive(Debug, Default)]
struct AppliedRules {
    backend: Option<Backend>,
    /// By place: the rules wanted when they were last applied, and their listing by the program.
    applied: BTreeMap<String, (String, Option<String>)>,
    /// Places where no rules are wanted and none were found; no other program uses them.
    clear: BTreeSet<String>,
}

impl Backend {
    /// Returns the name for operators.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Iptables => "iptables",
        }
    }

    /// Returns the backend of this host: `iptables` if it is the legacy variant, because dockerd has its rules there;
    /// otherwise `nft` if usable, otherwise `iptables`. `has_nat`: `iptables` has the table it would need.
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
    /// Creates the rules of a bridge, without applying any.
    pub fn new(bridge: &str) -> Self {
        Self {
            bridge: bridge.to_owned(),
            name: format!("mesh-expose-{bridge}"),
            kept: Mutex::default(),
        }
    }

    /// Checks that all wanted rules are possible.
    ///
    /// # Errors
    /// The bridge's name is a pattern to firewalls; or addresses are to be translated and no program can do that.
    pub fn check(&self, masquerade: bool) -> Result<(), SysError> {
        check_name(&self.bridge)?;
        match masquerade {
            true => self.backend().map(drop),
            false => Ok(()),
        }
    }

    /// Returns the backend that translates addresses, once it was needed.
    pub fn used(&self) -> Option<Backend> {
        self.kept().backend
    }

    /// Returns true if networks can be separated, which needs a backend.
    pub fn keeps_apart(&self) -> bool {
        self.backend().is_ok()
    }

    /// Returns chains of other programs that may drop forwarded packets and can only be changed there, like `inet
    /// filter forward`. Those of `iptables` are left out, because the mesh has its rule there.
    pub fn obstacles(&self) -> Vec<String> {
        let mut chains = nft::dropping_chains(nft::Hook::Forward);
        if iptables_version().is_some() {
            chains.retain(|chain| chain != "ip filter FORWARD" && chain != "ip6 filter FORWARD");
        }
        chains
    }

    /// Applies the wanted rules. Idempotent; repairs changes made by others. Returns [`Changed::Yes`] for such a
    /// repair, and if there were no rules before.
    ///
    /// # Errors
    /// Like [`Rules::check`], or the error of the program.
    pub fn ensure(&self, wanted: &Exposure) -> Result<Changed, SysError> {
        check_name(&self.bridge)?;
        let mut changed = Changed::No;
        for family in IP_VERSIONS {
            let part = wanted.of(family);
            if self.guard(family, &part)? | self.let_pass(family, &part)? {
                changed = Changed::Yes;
            }
        }
        Ok(changed)
    }

    /// Removes all rules, of both backends. Returns [`Changed::Yes`] if there were any.
    ///
    /// # Errors
    /// The first failure, after the rest was tried.
    pub fn remove(&self) -> Result<Changed, SysError> {
        let has_nft = nft::is_usable();
        let (mut any, mut result) = (false, Ok(()));
        for family in IP_VERSIONS {
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
        *self.kept() = AppliedRules::default();
        result.map(|()| if any { Changed::Yes } else { Changed::No })
    }

    /// Applies translation and separation.
    fn guard(&self, family: FirewallFamily, part: &Part) -> Result<bool, SysError> {
        if part.subnets.is_empty() {
            return self.forget_guard(family);
        }
        let backend = match self.backend() {
            Ok(backend) => backend,
            // Without any firewall no separation is possible; operators get a warning.
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

    /// Removes the rules of [`Rules::guard`] when nothing is exposed.
    fn forget_guard(&self, family: FirewallFamily) -> Result<bool, SysError> {
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

    fn let_pass(&self, family: FirewallFamily, part: &Part) -> Result<bool, SysError> {
        let chain = self.filter_chain(family);
        if part.subnets.is_empty() {
            return self.clear(&key_of(&chain), || chain.remove());
        }
        if !chain.is_usable()? {
            return Ok(false);
        }
        self.keep_chain(&chain, &part.filter(&self.bridge))
    }

    /// Removes the rules of a place, once. Returns true if there were any.
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

    /// Applies rules unless they were applied before and are listed as they were then. The programs normalise rules,
    /// so listings are compared with earlier listings, not with the input.
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
        let has_wanted_changed = before.is_some_and(|(before, _)| before != wanted);
        put(&wanted)?;
        let listed = list()?;
        let mut kept = self.kept();
        kept.clear.remove(key);
        kept.applied.insert(key.to_owned(), (wanted, listed));
        Ok(!has_wanted_changed)
    }

    fn backend(&self) -> Result<Backend, SysError> {
        if let Some(backend) = self.used() {
            return Ok(backend);
        }
        let has_nat = self
            .nat_chain(FirewallFamily::V4)
            .is_usable()
            .unwrap_or(false);
        let Some(backend) = Backend::find(has_nat) else {
            return Err(SysError::other(
                "translate addresses",
                "neither nft nor iptables works here; install one of them, or expose --without-masquerade",
            ));
        };
        // An earlier run may have used the other backend.
        for family in IP_VERSIONS {
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

    fn table(&self, family: FirewallFamily) -> NftTable<'_> {
        NftTable {
            family: match family {
                FirewallFamily::V4 => "ip",
                FirewallFamily::V6 => "ip6",
            },
            name: &self.name,
        }
    }

    fn nat_chain(&self, family: FirewallFamily) -> Chain<'_> {
        Chain {
            program: family.program(),
            table: "nat",
            name: &self.name,
            from: "POSTROUTING",
            place: JumpPosition::First,
        }
    }

    fn mangle_chain(&self, family: FirewallFamily) -> Chain<'_> {
        Chain {
            program: family.program(),
            table: "mangle",
            name: &self.name,
            from: "FORWARD",
            place: JumpPosition::First,
        }
    }

    fn filter_chain(&self, family: FirewallFamily) -> Chain<'_> {
        Chain {
            program: family.program(),
            table: "filter",
            name: &self.name,
            from: "FORWARD",
            place: JumpPosition::Last,
        }
    }

    fn kept(&self) -> MutexGuard<'_, AppliedRules> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(chain: &Chain<'_>) -> String {
    format!("{} {}", chain.program, chain.table)
}

fn nft_key(table: &NftTable<'_>) -> String {
    format!("nft {}", table.family)
}

/// Refuses names with `+` and `*`, which firewalls treat as wildcards, and with quotes.
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

/// Returns the output of `iptables -V`; `None` if there is no such program.
fn iptables_version() -> Option<String> {
    let output = command("iptables").arg("-V").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(said)
}

#[cfg(test)]
mod tests;
