//! Answers to those who ask for a change of networks. Each error is one line, ready to print.

use mesh_proto::network::NetworkId;

use crate::create::CreatedNetwork;

/// Number of a request, chosen by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworksCall(pub u64);

/// Answer to a request, given once the change is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworksAnswer {
    /// The network exists, or the reason why not.
    Created(Result<CreatedNetwork, String>),
    /// The network is removed, or the reason why not.
    Removed(Result<NetworkId, NotRemoved>),
    /// This router is a member, or the reason why not.
    Joined(Result<(), String>),
}

/// Reason why a network is not removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRemoved {
    /// Routers have containers in it.
    InUse {
        /// The network.
        network: NetworkId,
        /// Its name.
        name: String,
        /// Names of the other routers that have containers in it.
        others: Vec<String>,
        /// True if this router has containers in it.
        is_here: bool,
    },
    /// Any other reason.
    Refused(String),
}

impl NotRemoved {
    /// Returns the reason in one line; `containers` are those of this host in the network, if they are known.
    pub fn text(&self, containers: &[String]) -> String {
        let (name, others, is_here) = match self {
            Self::Refused(why) => return why.clone(),
            Self::InUse {
                name,
                others,
                is_here,
                ..
            } => (name, others, *is_here),
        };
        let here = match containers {
            [] => "this host".to_owned(),
            _ => format!("this host ({})", containers.join(", ")),
        };
        let mut places = others.clone();
        places.extend(is_here.then_some(here));
        let places = places.join(", ");
        format!("the network {name} has containers on {places}; detach them there, or use --force")
    }
}

impl NetworksAnswer {
    /// Returns true if nothing was changed.
    pub(crate) fn is_refused(&self) -> bool {
        match self {
            Self::Created(created) => created.is_err(),
            Self::Removed(removed) => removed.is_err(),
            Self::Joined(joined) => joined.is_err(),
        }
    }

    /// Returns the answer when a change was made that cannot be stored.
    pub(crate) fn unstored(self, error: &str) -> Self {
        let later = |what: &str| {
            format!(
                "{what}, but that cannot be stored: {error}; it is tried again, and the other hosts learn of it then"
            )
        };
        match self {
            Self::Created(Ok(_)) => Self::Created(Err(later("the network is created"))),
            Self::Removed(Ok(_)) => {
                let why = later("the network is removed");
                Self::Removed(Err(NotRemoved::Refused(why)))
            }
            Self::Joined(Ok(())) => Self::Joined(Err(format!(
                "this host cannot store that it joins the network: {error}; make room, then try again"
            ))),
            refused => refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_network_names_who_uses_it() {
        let used = |others: &[&str], is_here| NotRemoved::InUse {
            network: NetworkId([1; 16]),
            name: "web".into(),
            others: others.iter().map(ToString::to_string).collect(),
            is_here,
        };
        let text = used(&["host2", "host3"], false).text(&[]);
        let says =
            "the network web has containers on host2, host3; detach them there, or use --force";
        assert_eq!(text, says);
        let text = used(&["host2"], true).text(&["db".into(), "app".into()]);
        assert!(
            text.contains("on host2, this host (db, app); detach"),
            "{text}"
        );
        assert!(used(&[], true).text(&[]).contains("on this host; "));
    }
}
