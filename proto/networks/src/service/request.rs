//! Requests for networks as users type them.

use ipnet::IpNet;

use mesh_proto::api::CreateNetworkRequest;

use crate::create::NewNetwork;
use crate::definition::UserLabel;
use crate::definition::subnet::{NetworkSubnet, SubnetError};

/// Reason why a request cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkRequestError {
    /// Not a subnet.
    #[error("'{}' is not a subnet; write it like 10.40.0.0/16", .0.escape_debug())]
    Subnet(String),
    /// Not an address.
    #[error("'{}' is not a gateway; write its address, like 10.40.0.1", .0.escape_debug())]
    Gateway(String),
    /// Not a part of a subnet.
    #[error("'{}' is not a range of addresses; write it like 10.40.5.0/24", .0.escape_debug())]
    IpRange(String),
    /// The MTU is larger than that of the mesh.
    #[error("an MTU of {mtu} is more than the {mesh} of this mesh; give {mesh} at most, or none")]
    Mtu {
        /// Given MTU.
        mtu: u32,
        /// MTU of the mesh.
        mesh: u16,
    },
    /// Bad subnets, gateways or ranges.
    #[error(transparent)]
    Arranged(#[from] SubnetError),
}

impl NewNetwork {
    /// Reads a request; `mesh_mtu` is the MTU of the mesh, `avoid` the subnets that are not to be chosen. A network without
    /// subnets gets an IPv4 subnet.
    ///
    /// # Errors
    /// [`NetworkRequestError`].
    pub fn read(
        request: &CreateNetworkRequest,
        mesh_mtu: u16,
        avoid: Vec<IpNet>,
    ) -> Result<Self, NetworkRequestError> {
        let subnets = parsed(&request.subnets, NetworkRequestError::Subnet)?;
        let gateways = parsed(&request.gateways, NetworkRequestError::Gateway)?;
        let ranges = parsed(&request.ip_ranges, NetworkRequestError::IpRange)?;
        let too_large = |mtu| NetworkRequestError::Mtu {
            mtu,
            mesh: mesh_mtu,
        };
        let mtu = request.mtu.map(|mtu| match u16::try_from(mtu) {
            Ok(fitting) if fitting <= mesh_mtu => Ok(fitting),
            _ => Err(too_large(mtu)),
        });
        let labels = request.labels.iter().map(|text| {
            // As for Docker, a label without a value has an empty one.
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            UserLabel {
                key: key.to_owned(),
                value: value.to_owned(),
            }
        });
        Ok(Self {
            name: request.name.clone(),
            ipv4: subnets.is_empty(),
            ipv6: false,
            subnets: NetworkSubnet::arrange(&subnets, &gateways, &ranges)?,
            internal: request.internal,
            mtu: mtu.transpose()?,
            labels: labels.collect(),
            avoid,
        })
    }
}

fn parsed<T: core::str::FromStr>(
    texts: &[String],
    error: fn(String) -> NetworkRequestError,
) -> Result<Vec<T>, NetworkRequestError> {
    let all = texts.iter();
    all.map(|text| text.parse().map_err(|_| error(text.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: impl FnOnce(&mut CreateNetworkRequest)) -> Result<NewNetwork, String> {
        let mut request = CreateNetworkRequest {
            name: "web".into(),
            ..CreateNetworkRequest::default()
        };
        change(&mut request);
        NewNetwork::read(&request, 1376, Vec::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn options_find_the_subnet_that_they_belong_to() {
        let new = read(|r| {
            r.subnets = vec!["fd00:40::/64".into(), "10.40.0.0/16".into()];
            r.gateways = vec!["10.40.0.1".into()];
            r.ip_ranges = vec!["10.40.5.0/24".into()];
            r.labels = vec!["a=b=c".into(), "empty".into()];
            r.mtu = Some(1376);
        });
        let new = new.unwrap();
        assert_eq!(new.subnets[0].gateway, None);
        assert_eq!(new.subnets[1].gateway, Some("10.40.0.1".parse().unwrap()));
        assert_eq!(
            new.subnets[1].ip_range,
            Some("10.40.5.0/24".parse().unwrap())
        );
        let label = |n: usize| (new.labels[n].key.as_str(), new.labels[n].value.as_str());
        assert_eq!((label(0), label(1)), (("a", "b=c"), ("empty", "")));
        assert_eq!((new.ipv4, new.mtu), (false, Some(1376)));
        assert!(read(|_| {}).unwrap().ipv4);
    }

    #[test]
    fn mistakes_are_named_in_one_line() {
        let says = |part: &str, change: fn(&mut CreateNetworkRequest)| {
            let error = read(change).unwrap_err();
            assert!(
                error.contains(part) && error.lines().count() == 1,
                "{error}"
            );
        };
        says("'10.40.0.0' is not a subnet", |r| {
            r.subnets = vec!["10.40.0.0".into()];
        });
        says("'x\\ny' is not a gateway", |r| {
            r.gateways = vec!["x\ny".into()];
        });
        says("'10.40' is not a range", |r| {
            r.ip_ranges = vec!["10.40".into()];
        });
        says("an MTU of 70000 is more than the 1376", |r| {
            r.mtu = Some(70_000);
        });
        says("an MTU of 1377 is more", |r| r.mtu = Some(1_377));
        says("10.41.0.1 is outside the subnet 10.40.0.0/16", |r| {
            r.subnets = vec!["10.40.0.0/16".into()];
            r.gateways = vec!["10.41.0.1".into()];
        });
        says("overlap", |r| {
            r.subnets = vec!["10.40.0.0/16".into(), "10.40.1.0/24".into()];
        });
    }
}
