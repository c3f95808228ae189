//! Addresses of Docker's Swarm, as its leader asks this host's IPAM driver for them.
//!
//! The memory of Swarm is that of its managers: a new leader asks for a pool for each network, then for each address that
//! exists, with its value, and only then for new ones. So a pool here lasts as long as one leadership, nothing about it is
//! shared between hosts, and no address is lost or given twice when a manager ends. A node that runs a task asks for the
//! address that the leader chose, and is answered without any memory.

use core::fmt;
use core::str::FromStr;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use mesh_networks::SwarmSplit;
use mesh_proto::limits::MAX_DOCKER_POOLS;
use serde::{Deserialize, Serialize};

/// Prefix of the ids of Swarm's pools.
const PREFIX: &str = "swarm";
/// Longest token of an id.
const MAX_TOKEN: usize = 64;

/// Id of a pool, which says all that is fixed: `swarm-10.50.0.0/16-10.50.0.0/17-TOKEN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmPoolId {
    /// Subnet.
    pub subnet: Ipv4Net,
    /// Part of which addresses are given.
    pub range: Ipv4Net,
    /// Letters and digits that no other pool has.
    pub token: String,
}

/// Address that a manager or a node asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwarmAddress {
    /// The address, if it is to be this one.
    pub address: Option<Ipv4Addr>,
    /// True if it is the gateway's.
    pub is_gateway: bool,
}

/// Pools of the leader on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwarmPools {
    pools: BTreeMap<String, SwarmPool>,
    /// Number of the next pool.
    next: u64,
}

/// One pool: what one leadership has given of one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SwarmPool {
    /// Place in the order of creation.
    number: u64,
    /// Swarm's id of the network, once it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    given: BTreeSet<Ipv4Addr>,
    /// Address that was given last without a wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Ipv4Addr>,
}

/// Reason why Swarm gets no address; one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SwarmAddressError {
    /// A pool of another driver or version.
    #[error("'{}' is no address pool of Swarm; remove the network and create it again", .0.escape_debug())]
    UnknownPool(String),
    /// The address is in another part.
    #[error("{address} is outside {range}, the part of {subnet} of which Swarm gives addresses")]
    Outside {
        /// Address.
        address: Ipv4Addr,
        /// Part.
        range: Ipv4Net,
        /// Subnet.
        subnet: Ipv4Net,
    },
    /// The range that the user gave is not in the subnet.
    #[error("the range {range} is outside the subnet {subnet}; give a part of it")]
    RangeOutside {
        /// Range.
        range: Ipv4Net,
        /// Subnet.
        subnet: Ipv4Net,
    },
    /// Another task has the address.
    #[error("{0} is in use by another task or virtual IP of this network")]
    InUse(Ipv4Addr),
    /// All addresses are given.
    #[error("no address is free in {0}, of which Swarm gives addresses")]
    Exhausted(Ipv4Net),
    /// A node that asks for any address.
    #[error("the leader of Swarm gives addresses in this network, and has given none")]
    NotTheLeader,
    /// Too many pools.
    #[error("Swarm has {MAX_DOCKER_POOLS} address pools here already; remove networks")]
    TooManyPools,
}

impl SwarmPoolId {
    /// Returns the id of a new pool.
    ///
    /// # Errors
    /// The range is outside the subnet.
    pub fn new(
        subnet: Ipv4Net,
        range: Option<Ipv4Net>,
        token: &str,
    ) -> Result<Self, SwarmAddressError> {
        if let Some(range) = range.filter(|range| !subnet.contains(range)) {
            return Err(SwarmAddressError::RangeOutside { range, subnet });
        }
        Ok(Self {
            subnet,
            range: SwarmSplit::of(subnet, range).swarm,
            token: token.to_owned(),
        })
    }

    /// Returns true if a text may be the id of a pool of Swarm, and of nobody else.
    pub fn is_likely(text: &str) -> bool {
        text.strip_prefix(PREFIX)
            .is_some_and(|rest| rest.starts_with('-'))
    }

    /// Answers a node: the address that the leader chose, or no gateway.
    ///
    /// # Errors
    /// The node asks for any address.
    pub fn on_node(&self, wanted: SwarmAddress) -> Result<Ipv4Net, SwarmAddressError> {
        match wanted {
            SwarmAddress {
                address: Some(address),
                ..
            } => Ok(self.shown(address)),
            SwarmAddress {
                is_gateway: true, ..
            } => Ok(self.shown(Ipv4Addr::UNSPECIFIED)),
            _ => Err(SwarmAddressError::NotTheLeader),
        }
    }

    /// Returns an address as Docker reads it.
    fn shown(&self, address: Ipv4Addr) -> Ipv4Net {
        Ipv4Net::new_assert(address, self.subnet.prefix_len())
    }
}

impl fmt::Display for SwarmPoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subnet,
            range,
            token,
        } = self;
        write!(f, "{PREFIX}-{subnet}-{range}-{token}")
    }
}

impl FromStr for SwarmPoolId {
    type Err = SwarmAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || -> Option<Self> {
            let parts: Vec<&str> = text.split('-').collect();
            let [PREFIX, subnet, range, token] = parts[..] else {
                return None;
            };
            let (subnet, range): (Ipv4Net, Ipv4Net) = (subnet.parse().ok()?, range.parse().ok()?);
            let is_sound = token.len() <= MAX_TOKEN && subnet.contains(&range);
            is_sound.then(|| Self {
                subnet,
                range,
                token: token.to_owned(),
            })
        };
        let shown = || text.chars().take(MAX_TOKEN).collect();
        parse().ok_or_else(|| SwarmAddressError::UnknownPool(shown()))
    }
}

impl SwarmPools {
    /// Returns true if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// Gives the leader an address: the one that it wants, or the next one that is free. An address that was given up is
    /// given again as late as possible.
    ///
    /// # Errors
    /// It is in use, or in another part; none is free; there are too many pools.
    pub fn give(
        &mut self,
        id: &SwarmPoolId,
        wanted: SwarmAddress,
    ) -> Result<Ipv4Net, SwarmAddressError> {
        let pool = self.pool(id)?;
        let address = match wanted.address {
            Some(address) if wanted.is_gateway => {
                if !address.is_unspecified() {
                    pool.given.insert(address);
                }
                address
            }
            None if wanted.is_gateway => Ipv4Addr::UNSPECIFIED,
            Some(address) => {
                pool.take(id, address)?;
                address
            }
            None => pool.take_next(id)?,
        };
        Ok(id.shown(address))
    }

    fn pool(&mut self, id: &SwarmPoolId) -> Result<&mut SwarmPool, SwarmAddressError> {
        let key = id.to_string();
        if !self.pools.contains_key(&key) && self.pools.len() >= MAX_DOCKER_POOLS {
            return Err(SwarmAddressError::TooManyPools);
        }
        let next = &mut self.next;
        Ok(self.pools.entry(key).or_insert_with(|| {
            *next += 1;
            SwarmPool {
                number: *next,
                ..SwarmPool::default()
            }
        }))
    }

    /// Returns the pool with a subnet that the leader asked for last and that has no network yet; none if Docker's own IPAM
    /// gives the addresses.
    pub fn open(&self, subnet: Ipv4Net) -> Option<SwarmPoolId> {
        let open = self.pools.iter().filter_map(|(key, pool)| {
            let id: SwarmPoolId = key.parse().ok()?;
            let is_open = pool.network.is_none() && id.subnet == subnet;
            is_open.then_some((pool.number, id))
        });
        open.max_by_key(|(number, _)| *number).map(|(_, id)| id)
    }

    /// Links a pool to its network; pools of earlier leaderships for this network are dropped.
    pub fn link(&mut self, network: &str, id: &SwarmPoolId) {
        self.drop_network(network);
        if let Some(pool) = self.pools.get_mut(&id.to_string()) {
            pool.network = Some(network.to_owned());
        }
    }

    /// Drops the pools of networks that are gone: only the leader is told, and it may have been another host.
    pub fn retain_networks(&mut self, exists: impl Fn(&str) -> bool) {
        self.pools
            .retain(|_, pool| pool.network.as_deref().is_none_or(&exists));
    }

    /// Drops the pools of a network that is removed.
    pub fn drop_network(&mut self, network: &str) {
        self.pools
            .retain(|_, pool| pool.network.as_deref() != Some(network));
    }

    /// Notes that an address is given up.
    pub fn take_back(&mut self, id: &SwarmPoolId, address: Ipv4Addr) {
        if let Some(pool) = self.pools.get_mut(&id.to_string()) {
            pool.given.remove(&address);
        }
    }

    /// Drops a pool.
    pub fn release_pool(&mut self, id: &SwarmPoolId) {
        self.pools.remove(&id.to_string());
    }

    /// Returns the number of addresses that are given in a pool.
    pub fn given(&self, id: &SwarmPoolId) -> usize {
        self.pools
            .get(&id.to_string())
            .map_or(0, |pool| pool.given.len())
    }
}

impl SwarmPool {
    fn take(&mut self, id: &SwarmPoolId, address: Ipv4Addr) -> Result<(), SwarmAddressError> {
        if !id.range.contains(&address) {
            return Err(SwarmAddressError::Outside {
                address,
                range: id.range,
                subnet: id.subnet,
            });
        }
        match self.given.insert(address) {
            true => Ok(()),
            false => Err(SwarmAddressError::InUse(address)),
        }
    }

    fn take_next(&mut self, id: &SwarmPoolId) -> Result<Ipv4Addr, SwarmAddressError> {
        let (first, last) = (
            u32::from(id.range.network()),
            u32::from(id.range.broadcast()),
        );
        let is_free = |bits: &u32| {
            let address = Ipv4Addr::from(*bits);
            let is_end = address == id.subnet.network() || address == id.subnet.broadcast();
            !is_end && !self.given.contains(&address)
        };
        let after = self
            .last
            .map_or(first, |last| u32::from(last).saturating_add(1));
        // At most one more than are given is looked at, twice.
        let next = (after..=last).chain(first..=last).find(is_free);
        let address = next.map(Ipv4Addr::from);
        let address = address.ok_or(SwarmAddressError::Exhausted(id.range))?;
        self.given.insert(address);
        self.last = Some(address);
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(subnet: &str, token: &str) -> SwarmPoolId {
        SwarmPoolId::new(subnet.parse().unwrap(), None, token).unwrap()
    }

    fn any() -> SwarmAddress {
        this(None)
    }

    fn this(address: Option<[u8; 4]>) -> SwarmAddress {
        SwarmAddress {
            address: address.map(Ipv4Addr::from),
            is_gateway: false,
        }
    }

    fn gateway(address: Option<[u8; 4]>) -> SwarmAddress {
        SwarmAddress {
            is_gateway: true,
            ..this(address)
        }
    }

    #[test]
    fn an_id_says_all_that_is_fixed() {
        let pool = id("10.50.0.0/16", "ab12");
        assert_eq!(pool.to_string(), "swarm-10.50.0.0/16-10.50.0.0/17-ab12");
        assert_eq!(pool.to_string().parse(), Ok(pool.clone()));
        assert!(SwarmPoolId::is_likely(&pool.to_string()));
        for bad in [
            "swarm",
            "swarm-",
            "swarm-10.50.0.0/16-10.60.0.0/17-x",
            "swarm-10.50.0.0/16-x-x",
            "mesh-10.50.0.0/16-10.50.0.0/17-x",
        ] {
            assert!(bad.parse::<SwarmPoolId>().is_err(), "{bad}");
        }
        let outside = SwarmPoolId::new(
            "10.50.0.0/16".parse().unwrap(),
            Some("10.51.0.0/24".parse().unwrap()),
            "x",
        );
        assert!(outside.is_err());
    }

    #[test]
    fn an_address_is_given_once_and_again_as_late_as_possible() {
        let mut pools = SwarmPools::default();
        let pool = id("10.50.0.0/28", "a");
        pools.give(&pool, gateway(Some([10, 50, 0, 1]))).unwrap();
        let mut given = Vec::new();
        for _ in 0..6 {
            given.push(pools.give(&pool, any()).unwrap().addr());
        }
        let want: Vec<Ipv4Addr> = (2..8).map(|n| Ipv4Addr::new(10, 50, 0, n)).collect();
        assert_eq!(given, want);
        assert_eq!(
            pools.give(&pool, any()),
            Err(SwarmAddressError::Exhausted(pool.range))
        );
        pools.take_back(&pool, given[3]);
        pools.take_back(&pool, given[1]);
        let again = pools.give(&pool, any()).unwrap().addr();
        assert_eq!(again, given[1], "after the last one, from the start");
        let taken = this(Some([10, 50, 0, 3]));
        assert!(matches!(
            pools.give(&pool, taken),
            Err(SwarmAddressError::InUse(_))
        ));
        let outside = this(Some([10, 50, 0, 9]));
        assert!(matches!(
            pools.give(&pool, outside),
            Err(SwarmAddressError::Outside { .. })
        ));
    }

    #[test]
    fn the_last_range_of_all_is_used_up_without_a_fault() {
        let mut pools = SwarmPools::default();
        let (subnet, range) = ("255.255.255.0/24", "255.255.255.252/30");
        let range = Some(range.parse().unwrap());
        let pool = SwarmPoolId::new(subnet.parse().unwrap(), range, "a").unwrap();
        let given = (0..4).filter(|_| pools.give(&pool, any()).is_ok());
        assert_eq!(given.count(), 3, "the last one is that of broadcasts");
        let end = this(Some([255, 255, 255, 255]));
        let last = pools.pool(&pool).unwrap();
        last.last = end.address;
        assert!(pools.give(&pool, any()).is_err());
    }

    /// A new leader replays what exists; what an earlier leadership here knew does not count.
    #[test]
    fn a_pool_lasts_as_long_as_one_leadership() {
        let mut pools = SwarmPools::default();
        let subnet = "10.50.0.0/16".parse().unwrap();
        let (old, new) = (id("10.50.0.0/16", "old"), id("10.50.0.0/16", "new"));
        pools.give(&old, gateway(None)).unwrap();
        assert_eq!(pools.open(subnet), Some(old.clone()));
        pools.link("n1", &old);
        let first = pools.give(&old, any()).unwrap().addr();
        pools.give(&new, gateway(Some([0, 0, 0, 0]))).unwrap();
        assert_eq!(pools.open(subnet), Some(new.clone()));
        pools.link("n1", &new);
        assert_eq!(pools.given(&old), 0);
        let replayed = this(Some(first.octets()));
        assert_eq!(pools.give(&new, replayed).unwrap().addr(), first);
        assert_ne!(pools.give(&new, any()).unwrap().addr(), first);
        assert_eq!(pools.open(subnet), None, "Docker's own IPAM");
        let other = id("10.50.0.0/16", "other");
        pools.give(&other, gateway(None)).unwrap();
        assert_eq!(pools.open(subnet), Some(other.clone()));
        pools.link("n2", &other);
        assert_eq!(pools.given(&new), 2, "an equal subnet of another network");
        pools.drop_network("n1");
        assert_eq!(pools.given(&new), 0);
        pools.give(&other, any()).unwrap();
        pools.retain_networks(|network| network == "n2");
        assert_eq!(pools.given(&other), 1);
        pools.retain_networks(|_| false);
        assert_eq!(pools.given(&other), 0);
    }

    #[test]
    fn a_node_is_answered_what_the_leader_chose() {
        let pool = id("10.50.0.0/16", "a");
        let chosen = pool.on_node(this(Some([10, 50, 3, 4])));
        assert_eq!(chosen, Ok("10.50.3.4/16".parse().unwrap()));
        assert_eq!(
            pool.on_node(gateway(None)),
            Ok("0.0.0.0/16".parse().unwrap())
        );
        assert_eq!(pool.on_node(any()), Err(SwarmAddressError::NotTheLeader));
    }

    #[test]
    fn pools_are_bounded() {
        let mut pools = SwarmPools::default();
        for n in 0..MAX_DOCKER_POOLS {
            let pool = id("10.50.0.0/16", &n.to_string());
            pools.give(&pool, gateway(None)).unwrap();
        }
        let more = pools.give(&id("10.50.0.0/16", "x"), gateway(None));
        assert_eq!(more, Err(SwarmAddressError::TooManyPools));
        let again = pools.give(&id("10.50.0.0/16", "7"), any());
        assert!(again.is_ok());
    }
}
