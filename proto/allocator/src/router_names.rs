//! Names of routers for operators: of those that are known now, and of those that were and may own addresses still.

use std::collections::BTreeMap;

use mesh_proto::control::Control;
use mesh_proto::ids::{PeerId, PeerName};
use mesh_proto::limits::MAX_PEERS;

/// Names of routers by identity.
#[derive(Debug, Default)]
pub struct RouterNames(BTreeMap<PeerId, (PeerName, String)>);

impl RouterNames {
    /// Learns the names of all routers that are known now. Beyond twice [`MAX_PEERS`] those that are gone are forgotten.
    pub fn learn(&mut self, control: &Control) {
        if self.0.len() > 2 * MAX_PEERS {
            self.0.clear();
        }
        for (id, body) in control.identities() {
            let is_known = self.0.get(&id);
            if is_known.is_none_or(|(name, nick)| (name, nick) != (&body.name, &body.nickname)) {
                self.0.insert(id, (body.name, body.nickname.clone()));
            }
        }
    }

    /// Returns true if a router has a name.
    pub fn knows(&self, id: &PeerId) -> bool {
        self.0.contains_key(id)
    }

    /// Returns the nickname if no other router has it, else the name, else the identity: one that [`RouterNames::find`] finds.
    pub fn of(&self, id: &PeerId) -> String {
        let Some((name, nickname)) = self.0.get(id) else {
            return id.to_string();
        };
        let mut others = self.0.iter().filter(|(other, _)| *other != id);
        match others.any(|(_, (_, theirs))| theirs == nickname) {
            false => nickname.clone(),
            true => name.to_string(),
        }
    }

    /// Returns the router that an operator typed; `more` are identities that may be known by nothing else.
    ///
    /// # Errors
    /// One line: no router has that name, or several have.
    pub fn find(&self, typed: &str, more: impl Iterator<Item = PeerId>) -> Result<PeerId, String> {
        let mut all: Vec<PeerId> = self.0.keys().copied().chain(more).collect();
        all.sort_unstable();
        all.dedup();
        let is_meant = |id: &&PeerId| {
            let known = self.0.get(*id);
            id.to_string() == typed
                || known.is_some_and(|(name, nick)| nick == typed || name.to_string() == typed)
        };
        let found: Vec<&PeerId> = all.iter().filter(is_meant).collect();
        match found[..] {
            [one] => Ok(*one),
            [] => Err(format!(
                "no router is called '{typed}'; `mesh status ipam` lists those that own addresses"
            )),
            [..] => {
                let names: Vec<String> = found.iter().map(ToString::to_string).collect();
                let names = names.join(", ");
                Err(format!(
                    "'{typed}' may be each of {names}; give one of these"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_the_router_that_it_was_made_for() {
        let id = |n| PeerId([n; 16]);
        let known = |n, nick: &str| (id(n), (PeerName([n; 6]), nick.to_owned()));
        let names = RouterNames(BTreeMap::from([
            known(2, "host1"),
            known(4, "host2"),
            known(6, "host2"),
        ]));
        for n in [2, 4, 6, 8] {
            let found = names.find(&names.of(&id(n)), [id(8)].into_iter());
            assert_eq!(found, Ok(id(n)), "{}", names.of(&id(n)));
        }
        assert_eq!(names.of(&id(2)), "host1");
        let nobody = std::iter::empty;
        assert!(
            names
                .find("host2", nobody())
                .unwrap_err()
                .contains("each of")
        );
        assert!(
            names
                .find("host9", nobody())
                .unwrap_err()
                .contains("no router")
        );
    }
}
