//! Interfaces of ours that the table does not know: of containers that run on (the state was lost), or of nobody.

use crate::interface::parse_tag;
use crate::network::scoped::ScopedAddress;

/// Digits of the ids of Docker's endpoints and of containers. Ours are shorter, and what they named went with the table.
const ENGINE_ID: usize = 64;

/// The verdict about one interface that the table does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrphanVerdict {
    /// It belongs to nobody and is to be removed.
    Remove,
    /// The engines are to be asked about this endpoint or container, which would have this address.
    AskEngines {
        /// Id of the endpoint or container.
        key: String,
        /// The address and its network.
        address: ScopedAddress,
    },
}

/// Returns the verdict about an interface with this tag.
pub fn verdict(tag: &str) -> OrphanVerdict {
    match parse_tag(tag) {
        Some((key, address)) if key.len() >= ENGINE_ID => OrphanVerdict::AskEngines {
            key: key.to_owned(),
            address,
        },
        _ => OrphanVerdict::Remove,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::tag;

    #[test]
    fn only_what_an_engine_may_know_is_asked_for() {
        let address: ScopedAddress = "10.2.1.1/24".parse().unwrap();
        let key = "e".repeat(64);
        assert_eq!(
            verdict(&tag(&key, address)),
            OrphanVerdict::AskEngines {
                key: key.clone(),
                address
            }
        );
        for nobodys in [key.as_str(), "", "0a1b/10.2.1.1/24"] {
            assert_eq!(verdict(nobodys), OrphanVerdict::Remove, "{nobodys}");
        }
    }
}
