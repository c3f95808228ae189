//! A systemd unit, as `systemctl show` describes it.

use std::collections::BTreeMap;

/// A unit with its properties from systemd.
#[derive(Debug)]
pub struct Unit {
    name: String,
    properties: BTreeMap<String, String>,
}

impl Unit {
    /// Properties that `systemctl show` is asked for.
    pub const PROPERTIES: &'static str = "LoadState,ActiveState,UnitFileState,MainPID";

    /// Returns the unit of this name from the output of `systemctl show`.
    pub fn parse(name: &str, shown: &str) -> Self {
        let pairs = shown.lines().filter_map(|line| line.split_once('='));
        let properties = pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Self {
            name: name.to_owned(),
            properties: properties.collect(),
        }
    }

    fn property(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }

    /// Returns the name of the unit, like `mesh.service`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True if systemd knows the unit.
    pub fn is_loaded(&self) -> bool {
        self.property("LoadState") == "loaded"
    }

    /// True if systemd starts the unit at boot.
    pub fn is_enabled(&self) -> bool {
        self.property("UnitFileState").starts_with("enabled")
    }

    /// True if the unit is starting, or waits for a restart.
    pub fn is_starting(&self) -> bool {
        matches!(self.property("ActiveState"), "activating" | "reloading")
    }

    /// True if the unit's main process is this one.
    pub fn has_main(&self, pid: i32) -> bool {
        self.property("MainPID").parse() == Ok(pid)
    }
}

/// Returns the service whose cgroup `/proc/PID/cgroup` names. Login sessions opened by the service are in it, too, so
/// callers must check the main process.
pub fn unit_of_cgroup(cgroup: &str) -> Option<&str> {
    let mut parts = cgroup.lines().flat_map(|line| line.rsplit('/'));
    parts.find(|part| part.ends_with(".service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_says_is_understood() {
        let unit = Unit::parse(
            "mesh.service",
            "MainPID=812\nLoadState=loaded\nActiveState=activating\nUnitFileState=enabled-runtime\n",
        );
        assert!(unit.is_enabled() && unit.is_starting() && unit.is_loaded());
        assert!(unit.has_main(812) && !unit.has_main(813));
        assert_eq!(unit.property("MainPID"), "812");
        let other = Unit::parse(
            "mesh.service",
            "MainPID=0\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n",
        );
        assert!(!other.is_enabled() && !other.is_starting() && !other.is_loaded());
        assert!(!Unit::parse("mesh.service", "").has_main(0));
    }

    #[test]
    fn a_cgroup_names_the_service() {
        let system = "0::/system.slice/mesh.service\n";
        assert_eq!(unit_of_cgroup(system), Some("mesh.service"));
        let session = "0::/user.slice/user-0.slice/session-3.scope\n";
        assert_eq!(unit_of_cgroup(session), None);
    }
}
