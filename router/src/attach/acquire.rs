//! Addresses for arguments: any of a subnet, or this very one; acquired before anything is made with them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use mesh_proto::address::AddressArg;
use mesh_proto::ipam::AddressRequest as Want;

use super::{AttachError, Attachments};
use crate::ipam::{Acquire, Pool};

/// How long an allocation may take unless the caller says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest time that a caller may ask for.
const MAX_PATIENCE: Duration = Duration::from_secs(3_600);

/// For whom addresses are acquired.
pub(super) struct Ask {
    pub(super) holder: String,
    pub(super) patience: Duration,
    pub(super) caller: u32,
}

/// Addresses for arguments.
pub(super) struct Acquired {
    pub(super) addresses: Vec<IpNet>,
    /// Those that the holder did not have before.
    pub(super) fresh: Vec<IpNet>,
}

/// The time a request may take.
pub(super) fn patience(seconds: Option<f64>) -> Result<Duration, AttachError> {
    let Some(seconds) = seconds else {
        return Ok(PATIENCE);
    };
    let patience = Duration::try_from_secs_f64(seconds).ok();
    let patience = patience.filter(|patience| *patience <= MAX_PATIENCE);
    patience.ok_or_else(|| {
        let longest = MAX_PATIENCE.as_secs();
        AttachError::Invalid(format!(
            "--timeout {seconds}: must be 0 to {longest} seconds"
        ))
    })
}

impl Attachments {
    /// The subnet of `net:default`.
    pub(super) fn default_subnet(&self) -> Result<Ipv4Net, AttachError> {
        Ok(self.pool()?.default_subnet)
    }

    fn pool(&self) -> Result<Pool, AttachError> {
        self.allocator.pool().map_err(|why| {
            AttachError::Allocation(format!("{why}; give an address like 10.2.1.1/24"))
        })
    }

    /// Acquires an address for each argument; of a failure nothing is left.
    pub(super) async fn acquire(
        &self,
        ask: &Ask,
        args: &[AddressArg],
    ) -> Result<Acquired, AttachError> {
        if self.is_retired() {
            return Err(AttachError::Invalid("mesh is being reset".into()));
        }
        // Mistakes in any argument are told before anybody is asked for anything.
        let wants: Vec<(Want, u8)> = args
            .iter()
            .map(|arg| self.want(*arg))
            .collect::<Result<_, _>>()?;
        let held = self.allocator.leases().await;
        let had: BTreeSet<Ipv4Addr> = held.iter().map(|held| held.addr).collect();
        let mut acquired = Acquired {
            addresses: Vec::new(),
            fresh: Vec::new(),
        };
        for (arg, (want, prefix)) in args.iter().zip(wants) {
            match self.acquire_one(ask, *arg, want, prefix).await {
                Ok(address) => {
                    let is_known = matches!(address, IpNet::V4(v4) if had.contains(&v4.addr()));
                    if !is_known && self.allocator.covers(address.addr()) {
                        acquired.fresh.push(address);
                    }
                    if !acquired.addresses.contains(&address) {
                        acquired.addresses.push(address);
                    }
                }
                Err(error) => {
                    self.give_back(&ask.holder, &acquired.fresh).await;
                    return Err(error);
                }
            }
        }
        Ok(acquired)
    }

    async fn acquire_one(
        &self,
        ask: &Ask,
        arg: AddressArg,
        want: Want,
        prefix: u8,
    ) -> Result<IpNet, AttachError> {
        if let AddressArg::Ip(ip) = arg {
            self.claim(ip, &ask.holder, ask.patience, ask.caller)
                .await?;
            return Ok(ip);
        }
        let acquire = Acquire {
            owner: ask.holder.clone(),
            request: want,
            prefix,
            patience: ask.patience,
            caller: ask.caller,
        };
        let acquired = self.allocator.acquire(acquire).await;
        acquired.map_err(|why| AttachError::Allocation(why.text))
    }

    /// What an argument asks of the allocator.
    fn want(&self, arg: AddressArg) -> Result<(Want, u8), AttachError> {
        let subnet = match arg {
            AddressArg::Ip(IpNet::V4(v4)) => {
                return Ok((Want::Address(v4.addr()), v4.prefix_len()));
            }
            // Not of the range, so nobody is asked.
            AddressArg::Ip(IpNet::V6(_)) => return Ok((Want::Address(Ipv4Addr::UNSPECIFIED), 0)),
            AddressArg::Net(IpNet::V4(v4)) => v4,
            AddressArg::Net(net @ IpNet::V6(_)) => {
                return Err(AttachError::Allocation(format!(
                    "net:{net}: only IPv4 addresses are allocated; give an address like fd00::5/64"
                )));
            }
            AddressArg::Default => self.default_subnet()?,
        };
        self.pool()?;
        Ok((Want::Subnet(subnet), subnet.prefix_len()))
    }

    /// Claims an address of the range; any other is the operator's business.
    pub(super) async fn claim(
        &self,
        address: IpNet,
        holder: &str,
        patience: Duration,
        caller: u32,
    ) -> Result<(), AttachError> {
        let IpNet::V4(v4) = address else {
            return Ok(());
        };
        if !self.allocator.covers(address.addr()) {
            return Ok(());
        }
        if self.is_retired() {
            return Err(AttachError::Invalid("mesh is being reset".into()));
        }
        let acquire = Acquire {
            owner: holder.to_owned(),
            request: Want::Address(v4.addr()),
            prefix: v4.prefix_len(),
            patience,
            caller,
        };
        // Whoever announces it has a name; the owner of its space may know an id only.
        let holder_there = (self.book)(address.addr());
        let claimed = self.allocator.acquire(acquire).await;
        match (claimed, holder_there) {
            (Ok(_), _) => Ok(()),
            (Err(why), Some(there)) if why.is_in_use => {
                let ip = address.addr();
                Err(AttachError::InUse { ip, holder: there })
            }
            (Err(why), _) => Err(AttachError::Allocation(why.text)),
        }
    }

    /// Frees addresses that were acquired for nothing.
    pub(super) async fn give_back(&self, holder: &str, addresses: &[IpNet]) {
        for address in addresses {
            if let IpNet::V4(v4) = address {
                self.allocator.release(v4.addr(), holder).await;
            }
        }
    }
}
