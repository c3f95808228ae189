//! Options about the range: their defaults, their mistakes, and collisions with the routes of the host.

use core::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mesh_ipam::{AddressPool, Slicing};
use mesh_proto::limits::IPAM_DEAD_AFTER;

use crate::error::{SettingsError, refuse};

/// Default of `--ipalloc-range`.
const DEFAULT_RANGE: &str = "10.32.0.0/12";

const RANGE: &str = "--ipalloc-range";
const RANGE6: &str = "--ipalloc-range6";
/// Longest prefix of the IPv6 subnet: the last 32 bits of an address are an IPv4 address.
const LONGEST6: u8 = 96;
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

/// The options as given.
#[derive(Clone, Copy, Debug, Default)]
pub struct IpallocOptions<'a> {
    /// `--ipalloc-range`.
    pub range: Option<&'a str>,
    /// `--ipalloc-range6`.
    pub range6: Option<&'a str>,
    /// `--ipalloc-default-subnet`.
    pub default_subnet: Option<Ipv4Net>,
    /// `--auto-reclaim`.
    pub auto_reclaim: Option<&'a str>,
}

/// The range and the rules of its allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpallocPlan {
    /// The ranges and the default subnet.
    pub pool: AddressPool,
    /// The IPv6 subnet of the pool is to be derived from the mesh.
    derives_range6: bool,
    /// Time after which a router that cannot be reached is removed by itself.
    pub auto_reclaim: Option<Duration>,
}

impl Ipalloc {
    /// Checks the options as given.
    ///
    /// # Errors
    /// One line that names the option, and what to give instead.
    pub fn new(options: &IpallocOptions<'_>) -> Result<Self, SettingsError> {
        let IpallocOptions {
            range,
            default_subnet,
            ..
        } = *options;
        let source = if range.is_some() {
            RangeSource::Operator
        } else {
            RangeSource::Default
        };
        let auto_reclaim = options.auto_reclaim.map(parse_time).transpose()?;
        let range6 = Range6::parse(options.range6.unwrap_or("off"))?;
        let text = range.unwrap_or(DEFAULT_RANGE);
        if text.is_empty() {
            if let Some(subnet) = default_subnet {
                refuse!(
                    "{SUBNET} {subnet}: there is no range that it could be of ({RANGE} is \"\")"
                );
            }
            if range6 != Range6::Off {
                refuse!(
                    "{RANGE6}: IPv6 addresses go with IPv4 addresses, and there are none ({RANGE} is \"\"); leave it out"
                );
            }
            return Ok(Self::Off);
        }
        let Ok(range) = text.parse::<Ipv4Net>() else {
            refuse!(
                "{RANGE} '{}': must be an IPv4 range like {DEFAULT_RANGE}, or \"\" for none",
                text.escape_debug()
            );
        };
        Ok(Self::On(
            IpallocPlan::new(range, range6, default_subnet, auto_reclaim)?,
            source,
        ))
    }

    /// Returns the plan; or the reason there is none, as the operator said. `collision` tells a route or an address of this
    /// host that collides with a range; it is asked where that is an error.
    ///
    /// # Errors
    /// The operator who starts this router by hand named a range that collides; those of `collision`.
    pub fn settle<E: From<SettingsError>>(
        &self,
        by_hand: bool,
        collision: impl FnOnce(Ipv4Net) -> Result<Option<String>, E>,
    ) -> Result<Result<IpallocPlan, String>, E> {
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
            && let Some(other) = collision(range)?
        {
            let text = format!(
                "{RANGE} {range}: this host has a {other}, which collides; choose another range, the same on all \
                 hosts, or \"\" for none"
            );
            return Err(SettingsError(text).into());
        }
        Ok(Ok(plan.clone()))
    }

    /// Returns the range; `None` if nothing is allocated.
    pub fn range(&self) -> Option<Ipv4Net> {
        match self {
            Self::On(plan, _) => Some(plan.pool.range),
            Self::Off => None,
        }
    }

    /// Returns the reason no addresses can be allocated while the range collides with this route or address of the host.
    pub fn hindrance(&self, other: &str) -> Option<String> {
        let Self::On(plan, source) = self else {
            return None;
        };
        let range = plan.pool.range;
        let which = match source {
            RangeSource::Operator => "its range",
            RangeSource::Default => "its default range",
        };
        Some(format!(
            "this router allocates no addresses: {which}, {range}, collides with this host's {other} (take that away, or \
             launch with {RANGE} and a free range, the same on all hosts)"
        ))
    }
}

/// Returns a route or an address of the host into or around the range, in words; default routes do no harm. Those of our own
/// bridge are left out by the caller.
pub fn collision(
    range: Ipv4Net,
    routes: impl IntoIterator<Item = IpNet>,
    addresses: impl IntoIterator<Item = IpNet>,
) -> Option<String> {
    let mut destinations = routes.into_iter().filter_map(|route| match route {
        IpNet::V4(v4) if v4.prefix_len() > 0 => Some(v4),
        _ => None,
    });
    if let Some(route) = destinations.find(|route| collide(range, *route)) {
        return Some(format!("route to {route}"));
    }
    let found = addresses.into_iter().find(|address| match address {
        IpNet::V4(v4) => range.contains(&v4.addr()),
        IpNet::V6(_) => false,
    });
    found.map(|address| format!("address {address}"))
}

fn collide(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// `--ipalloc-range6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range6 {
    Off,
    Auto,
    Named(Ipv6Net),
}

impl Range6 {
    fn parse(text: &str) -> Result<Self, SettingsError> {
        match text {
            "off" | "" => return Ok(Self::Off),
            "auto" => return Ok(Self::Auto),
            _ => {}
        }
        let Ok(net) = text.parse::<Ipv6Net>() else {
            let text = text.escape_debug();
            refuse!("{RANGE6} '{text}': must be auto, off, or an IPv6 subnet like fd00:32::/64");
        };
        if net.trunc() != net {
            refuse!("{RANGE6} {net}: has host bits set; write {}", net.trunc());
        }
        let first = net.network();
        let is_special = first.is_multicast()
            || first.is_unicast_link_local()
            || first.is_unspecified()
            || first.to_ipv4_mapped().is_some();
        if is_special || !(16..=LONGEST6).contains(&net.prefix_len()) {
            refuse!(
                "{RANGE6} {net}: cannot be a subnet of containers; give one of 16 to {LONGEST6} bits, like fd00:32::/64"
            );
        }
        Ok(Self::Named(net))
    }
}

fn parse_time(text: &str) -> Result<Duration, SettingsError> {
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
        refuse!(
            "{RECLAIM} '{}': must be a time like 30m, 2h or 1d",
            text.escape_debug()
        );
    };
    if time < IPAM_DEAD_AFTER {
        refuse!(
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
        range6: Range6,
        default_subnet: Option<Ipv4Net>,
        auto_reclaim: Option<Duration>,
    ) -> Result<Self, SettingsError> {
        Slicing::new(range).map_err(|error| SettingsError(format!("{RANGE}: {error}")))?;
        let default_subnet = default_subnet.unwrap_or(range);
        if default_subnet.trunc() != default_subnet {
            refuse!(
                "{SUBNET} {default_subnet}: has host bits set; write {}",
                default_subnet.trunc()
            );
        }
        if !range.contains(&default_subnet) {
            refuse!(
                "{SUBNET} {default_subnet}: is not in the range, {range}; give a subnet of it, or another {RANGE}"
            );
        }
        if default_subnet.prefix_len() > 30 {
            refuse!("{SUBNET} {default_subnet}: is too small; the smallest is a /30");
        }
        let pool = AddressPool {
            range,
            default_subnet,
            range6: match range6 {
                Range6::Named(range6) => Some(range6),
                Range6::Off | Range6::Auto => None,
            },
        };
        Ok(Self {
            pool,
            derives_range6: range6 == Range6::Auto,
            auto_reclaim,
        })
    }

    /// Returns the plan with the IPv6 subnet of this mesh, if one is to be derived: the first /64 of `prefix`, its unique
    /// local prefix.
    #[must_use]
    pub fn of_mesh(mut self, prefix: Ipv6Net) -> Self {
        if self.derives_range6 {
            self.pool.range6 = Ipv6Net::new(prefix.network(), 64).ok();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(range: Option<&str>, subnet: Option<&str>, reclaim: Option<&str>) -> String {
        let options = IpallocOptions {
            range,
            range6: None,
            default_subnet: subnet.map(|s| s.parse().unwrap()),
            auto_reclaim: reclaim,
        };
        Ipalloc::new(&options).unwrap_err().to_string()
    }

    fn with(range: Option<&str>) -> Ipalloc {
        let options = IpallocOptions {
            range,
            ..IpallocOptions::default()
        };
        Ipalloc::new(&options).unwrap()
    }

    #[test]
    fn the_ipv6_subnet_is_named_or_that_of_the_mesh() {
        let with = |range: Option<&str>, range6: &str| {
            let options = IpallocOptions {
                range,
                range6: Some(range6),
                ..IpallocOptions::default()
            };
            let prefix = "fd12:3456:789a::/48".parse().unwrap();
            Ipalloc::new(&options).map(|ipalloc| match ipalloc {
                Ipalloc::On(plan, _) => plan.of_mesh(prefix).pool.range6.map(|net| net.to_string()),
                Ipalloc::Off => None,
            })
        };
        for (range6, subnet) in [
            ("off", None),
            ("auto", Some("fd12:3456:789a::/64")),
            ("fd00:32::/64", Some("fd00:32::/64")),
            ("fd00:32::/96", Some("fd00:32::/96")),
        ] {
            assert_eq!(with(None, range6).unwrap().as_deref(), subnet, "{range6}");
        }
        assert_eq!(with(Some(""), "off"), Ok(None));
        for (range, range6, words) in [
            (None, "10.0.0.0/8", "must be auto, off"),
            (None, "yes", "must be auto, off"),
            (None, "fd00::1/64", "write fd00::/64"),
            (None, "fd00::/97", "16 to 96 bits"),
            (None, "ff02::/64", "16 to 96 bits"),
            (None, "fe80::/64", "16 to 96 bits"),
            (Some(""), "auto", "leave it out"),
        ] {
            let told = with(range, range6).unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
        }
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
        let Ipalloc::On(plan, source) = with(None) else {
            panic!("on by default");
        };
        assert_eq!(plan.pool.range.to_string(), DEFAULT_RANGE);
        assert_eq!(
            (plan.pool.default_subnet, source),
            (plan.pool.range, RangeSource::Default)
        );
        assert_eq!(plan.pool.range6, None);
        assert_eq!(with(Some("")), Ipalloc::Off);
        let subnet = "10.40.1.0/24".parse().ok();
        let options = IpallocOptions {
            range: Some("10.40.0.0/16"),
            default_subnet: subnet,
            auto_reclaim: Some("2h"),
            ..IpallocOptions::default()
        };
        let Ok(Ipalloc::On(plan, source)) = Ipalloc::new(&options) else {
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

    #[test]
    fn default_routes_and_other_families_do_no_harm() {
        let range: Ipv4Net = DEFAULT_RANGE.parse().unwrap();
        let nets =
            |all: &[&str]| -> Vec<IpNet> { all.iter().map(|n| n.parse().unwrap()).collect() };
        let found =
            |routes: &[&str], addresses: &[&str]| collision(range, nets(routes), nets(addresses));
        assert_eq!(
            found(&["0.0.0.0/0", "::/0"], &["192.0.2.1/24", "fd00::1/64"]),
            None
        );
        let route = found(&["0.0.0.0/0", "10.32.7.0/24"], &["10.32.7.1/24"]);
        assert_eq!(route.as_deref(), Some("route to 10.32.7.0/24"));
        let address = found(&[], &["10.32.7.1/24"]);
        assert_eq!(address.as_deref(), Some("address 10.32.7.1/24"));
    }

    #[test]
    fn a_named_range_that_collides_stops_a_start_by_hand_only() {
        let collides = |_| Ok::<_, SettingsError>(Some("route to 10.0.0.0/8".to_owned()));
        let named = with(Some("10.40.0.0/16"));
        let error = named.settle(true, collides).unwrap_err().to_string();
        assert!(
            error.starts_with("--ipalloc-range 10.40.0.0/16: this host has a route"),
            "{error}"
        );
        assert!(named.settle(false, collides).unwrap().is_ok());
        let default = with(None);
        assert!(default.settle(true, collides).unwrap().is_ok());
        let off = with(Some(""));
        assert!(off.settle(true, collides).unwrap().is_err());
        assert_eq!((off.range(), off.hindrance("x")), (None, None));
        let hindrance = default.hindrance("route to 10.0.0.0/8").unwrap();
        assert!(
            hindrance.contains("its default range, 10.32.0.0/12, collides"),
            "{hindrance}"
        );
    }
}
