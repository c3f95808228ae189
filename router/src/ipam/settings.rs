//! Options about the range: their defaults, their mistakes, and collisions with the routes of the host.

use std::time::Duration;

use anyhow::{Context, bail};
use ipnet::{IpNet, Ipv4Net};
use mesh_proto::ipam::Slicing;
use mesh_proto::limits::IPAM_DEAD_AFTER;
use mesh_sys::netlink::Netlink;

use super::client::Pool;

/// Default of `--ipalloc-range`.
const DEFAULT_RANGE: &str = "10.32.0.0/12";

const RANGE: &str = "--ipalloc-range";
const SUBNET: &str = "--ipalloc-default-subnet";
const RECLAIM: &str = "--auto-reclaim";

/// The options about allocation, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ipalloc {
    /// Addresses are allocated.
    On(IpallocPlan, RangeSource),
    /// None are, as the operator said.
    Off,
}

/// The origin of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSource {
    /// The operator named it, so it is used or the router does not start.
    Operator,
    /// It is the default, without which a router is of use, too.
    Default,
}

/// The range and the rules of its allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpallocPlan {
    /// The range and the default subnet.
    pub pool: Pool,
    /// Time after which a router that cannot be reached is removed by itself.
    pub auto_reclaim: Option<Duration>,
}

impl Ipalloc {
    /// Checks the options as given.
    ///
    /// # Errors
    /// One line that names the option, and what to give instead.
    pub fn new(
        range: Option<&str>,
        default_subnet: Option<Ipv4Net>,
        auto_reclaim: Option<&str>,
    ) -> anyhow::Result<Self> {
        let source = if range.is_some() {
            RangeSource::Operator
        } else {
            RangeSource::Default
        };
        let auto_reclaim = auto_reclaim.map(parse_time).transpose()?;
        let text = range.unwrap_or(DEFAULT_RANGE);
        if text.is_empty() {
            if let Some(subnet) = default_subnet {
                bail!("{SUBNET} {subnet}: there is no range that it could be of ({RANGE} is \"\")");
            }
            return Ok(Self::Off);
        }
        let Ok(range) = text.parse::<Ipv4Net>() else {
            bail!(
                "{RANGE} '{}': must be an IPv4 range like {DEFAULT_RANGE}, or \"\" for none",
                text.escape_debug()
            );
        };
        Ok(Self::On(
            IpallocPlan::new(range, default_subnet, auto_reclaim)?,
            source,
        ))
    }

    /// Returns the plan; or the reason there is none, as the operator said.
    ///
    /// # Errors
    /// The operator who starts this router by hand named a range that collides with a route of this host, other than to `bridge`.
    pub fn settle(
        &self,
        bridge: &str,
        by_hand: bool,
    ) -> anyhow::Result<Result<IpallocPlan, String>> {
        let (plan, source) = match self {
            Self::On(plan, source) => (plan, *source),
            Self::Off => {
                return Ok(Err(format!(
                    "this router allocates no addresses ({RANGE} is \"\")"
                )));
            }
        };
        let range = plan.pool.range;
        if source == RangeSource::Operator
            && by_hand
            && let Some(other) = colliding(range, bridge)?
        {
            bail!(
                "{RANGE} {range}: this host has a {other}, which collides; choose another range, the same on all \
                 hosts, or \"\" for none"
            );
        }
        Ok(Ok(plan.clone()))
    }

    /// Returns the reason no addresses can be allocated at this moment, if so: a route or an address of this host may come
    /// and go while the router runs.
    ///
    /// # Errors
    /// The kernel does not tell its routes.
    pub fn collision(&self, bridge: &str) -> anyhow::Result<Option<String>> {
        let Self::On(plan, source) = self else {
            return Ok(None);
        };
        let range = plan.pool.range;
        let which = match source {
            RangeSource::Operator => "its range",
            RangeSource::Default => "its default range",
        };
        Ok(colliding(range, bridge)?.map(|other| {
            format!(
                "this router allocates no addresses: {which}, {range}, collides with this host's {other} (take that away, or \
                 launch with {RANGE} and a free range, the same on all hosts)"
            )
        }))
    }
}

/// Returns a route or an address of this host into or around the range, in words; default routes and what is on our bridge do no
/// harm.
fn colliding(range: Ipv4Net, bridge: &str) -> anyhow::Result<Option<String>> {
    let mut netlink = Netlink::open()?;
    let bridge = netlink.link().by_name(bridge)?.map(|link| link.index);
    let routes = netlink.route().list()?.into_iter();
    let others = routes.filter(|route| route.link.is_none() || route.link != bridge);
    let mut destinations = others.filter_map(|route| match route.destination {
        IpNet::V4(v4) if v4.prefix_len() > 0 => Some(v4),
        _ => None,
    });
    if let Some(route) = destinations.find(|route| collide(range, *route)) {
        return Ok(Some(format!("route to {route}")));
    }
    let addresses = netlink.address().list()?.into_iter();
    let mut others = addresses.filter(|entry| Some(entry.link) != bridge);
    let found = others.find(|entry| match entry.address {
        IpNet::V4(v4) => range.contains(&v4.addr()),
        IpNet::V6(_) => false,
    });
    Ok(found.map(|entry| format!("address {}", entry.address)))
}

fn collide(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

fn parse_time(text: &str) -> anyhow::Result<Duration> {
    let unit = text.chars().last().unwrap_or_default();
    let factor = match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    };
    let number = text.strip_suffix(unit).and_then(|n| n.parse::<u64>().ok());
    let seconds = number.zip(factor).and_then(|(n, f)| n.checked_mul(f));
    let Some(time) = seconds.map(Duration::from_secs) else {
        bail!(
            "{RECLAIM} '{}': must be a time like 30m, 2h or 1d",
            text.escape_debug()
        );
    };
    if time < IPAM_DEAD_AFTER {
        bail!(
            "{RECLAIM} {text}: must be {} s at least; a router that comes back sooner would find its space given away",
            IPAM_DEAD_AFTER.as_secs()
        );
    }
    Ok(time)
}

impl IpallocPlan {
    /// Checks a range and a default subnet (none: the whole range).
    fn new(
        range: Ipv4Net,
        default_subnet: Option<Ipv4Net>,
        auto_reclaim: Option<Duration>,
    ) -> anyhow::Result<Self> {
        Slicing::new(range).with_context(|| RANGE.to_owned())?;
        let default_subnet = default_subnet.unwrap_or(range);
        if default_subnet.trunc() != default_subnet {
            bail!(
                "{SUBNET} {default_subnet}: has host bits set; write {}",
                default_subnet.trunc()
            );
        }
        if !range.contains(&default_subnet) {
            bail!(
                "{SUBNET} {default_subnet}: is not in the range, {range}; give a subnet of it, or another {RANGE}"
            );
        }
        if default_subnet.prefix_len() > 30 {
            bail!("{SUBNET} {default_subnet}: is too small; the smallest is a /30");
        }
        let pool = Pool {
            range,
            default_subnet,
        };
        Ok(Self { pool, auto_reclaim })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(range: Option<&str>, subnet: Option<&str>, reclaim: Option<&str>) -> String {
        let subnet = subnet.map(|s| s.parse().unwrap());
        let error = Ipalloc::new(range, subnet, reclaim).unwrap_err();
        format!("{error:#}")
    }

    #[test]
    fn each_mistake_is_told_with_its_remedy() {
        for (range, subnet, reclaim, words) in [
            (Some("10.32.0.0"), None, None, "must be an IPv4 range like"),
            (Some("fd00::/8"), None, None, "must be an IPv4 range like"),
            (
                Some("10.32.0.1/12"),
                None,
                None,
                "has host bits set; write 10.32.0.0/12",
            ),
            (Some("10.0.0.0/29"), None, None, "8 to 28 bits"),
            (Some(""), Some("10.32.0.0/24"), None, "there is no range"),
            (
                None,
                Some("10.2.0.0/24"),
                None,
                "is not in the range, 10.32.0.0/12; give",
            ),
            (None, Some("10.0.0.0/8"), None, "is not in the range"),
            (None, Some("10.32.0.7/24"), None, "write 10.32.0.0/24"),
            (
                None,
                Some("10.32.0.0/31"),
                None,
                "too small; the smallest is a /30",
            ),
            (None, None, Some("60s"), "600 s at least"),
            (None, None, Some("2"), "a time like 30m"),
            (None, None, Some(""), "a time like 30m"),
            (None, None, Some("99999999999999999d"), "a time like 30m"),
        ] {
            let told = told(range, subnet, reclaim);
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn defaults_and_what_was_said() {
        let Ok(Ipalloc::On(plan, source)) = Ipalloc::new(None, None, None) else {
            panic!("on by default");
        };
        assert_eq!(plan.pool.range.to_string(), DEFAULT_RANGE);
        assert_eq!(
            (plan.pool.default_subnet, source),
            (plan.pool.range, RangeSource::Default)
        );
        assert_eq!(Ipalloc::new(Some(""), None, None).unwrap(), Ipalloc::Off);
        let subnet = "10.40.1.0/24".parse().ok();
        let Ok(Ipalloc::On(plan, source)) = Ipalloc::new(Some("10.40.0.0/16"), subnet, Some("2h"))
        else {
            panic!("as said");
        };
        assert_eq!(plan.auto_reclaim, Some(Duration::from_secs(7_200)));
        assert_eq!(
            (Some(plan.pool.default_subnet), source),
            (subnet, RangeSource::Operator)
        );
    }

    #[test]
    fn routes_into_around_and_equal_to_the_range_collide() {
        let range: Ipv4Net = DEFAULT_RANGE.parse().unwrap();
        for (route, expected) in [
            ("10.32.0.0/12", true),
            ("10.0.0.0/8", true),
            ("10.47.255.0/24", true),
            ("10.32.0.5/32", true),
            ("10.48.0.0/12", false),
            ("192.168.0.0/16", false),
        ] {
            assert_eq!(collide(range, route.parse().unwrap()), expected, "{route}");
        }
    }
}
