//! `mesh ps`: one line per attached container.

use mesh_proto::api::AttachedContainer;

/// Characters of a container id that are shown.
const SHORT_ID: usize = 12;

/// Containers to list, and names that no container has.
#[derive(Debug, Default)]
pub struct PsListing<'a> {
    /// Containers, each with the name to show.
    rows: Vec<(&'a str, &'a AttachedContainer)>,
    missing: Vec<&'a str>,
}

impl<'a> PsListing<'a> {
    /// Lists the containers of these names, which are shown by the name given; without names all, by their short id.
    pub fn of(attached: &'a [AttachedContainer], names: &'a [String]) -> Self {
        let mut listing = Self::default();
        for name in names {
            match find(attached, name) {
                Some(container) => listing.rows.push((name.as_str(), container)),
                None => listing.missing.push(name),
            }
        }
        if names.is_empty() {
            listing.rows = attached
                .iter()
                .map(|c| (short_id(&c.container), c))
                .collect();
        }
        listing
    }

    /// Returns the containers.
    pub fn containers(&self) -> Vec<&'a AttachedContainer> {
        self.rows.iter().map(|(_, container)| *container).collect()
    }

    /// Returns `<id12> <mac> cidr…` for each container, with `@network` behind an address that is not in `default`, and
    /// what happened to it in parentheses.
    pub fn lines(&self) -> Vec<String> {
        let rows = self.rows.iter();
        rows.map(|(name, container)| line(name, container))
            .collect()
    }

    /// Returns the names that no container has.
    pub fn missing(&self) -> &[&'a str] {
        &self.missing
    }
}

/// Returns the container with this name or id, or the only one whose id starts with `name`.
pub fn find<'a>(attached: &'a [AttachedContainer], name: &str) -> Option<&'a AttachedContainer> {
    let exact = |c: &&AttachedContainer| c.name == name || c.container == name;
    if let Some(container) = attached.iter().find(exact) {
        return Some(container);
    }
    let mut by_prefix = attached.iter().filter(|c| c.container.starts_with(name));
    match (by_prefix.next(), by_prefix.next()) {
        (Some(container), None) if !name.is_empty() => Some(container),
        _ => None,
    }
}

/// Returns the first 12 characters of a container id.
pub fn short_id(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

fn line(name: &str, container: &AttachedContainer) -> String {
    let mut line = name.to_owned();
    let mac = container.interfaces.first().map(|i| i.mac.as_str());
    if let Some(mac) = mac.filter(|mac| !mac.is_empty()) {
        line.push(' ');
        line.push_str(mac);
    }
    for interface in container
        .interfaces
        .iter()
        .filter(|i| !i.address.is_empty())
    {
        line.push(' ');
        line.push_str(&interface.address);
        if !interface.network.is_empty() {
            line.push('@');
            line.push_str(&interface.network);
        }
    }
    for note in &container.notes {
        line.push_str(&format!(" ({note})"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached() -> Vec<AttachedContainer> {
        serde_json::from_str(include_str!("../tests/ps.json")).unwrap()
    }

    #[test]
    fn names_ids_and_unique_prefixes_are_found() {
        let attached = attached();
        for container in &attached {
            let found = find(&attached, &container.container).unwrap();
            assert_eq!(found.container, container.container);
        }
        assert_eq!(find(&attached, "db").unwrap().name, "db");
        assert!(find(&attached, "").is_none());
        assert!(find(&attached, "nope").is_none());
    }

    #[test]
    fn a_name_that_no_container_has_is_set_apart() {
        let attached = attached();
        let names = ["db".to_owned(), "nope".to_owned()];
        let listing = PsListing::of(&attached, &names);
        assert_eq!(listing.missing(), ["nope"]);
        assert_eq!(listing.containers().len(), 1);
        assert!(listing.lines()[0].starts_with("db "));
        assert_eq!(PsListing::of(&attached, &[]).lines().len(), attached.len());
    }

    #[test]
    fn an_address_says_its_network_unless_that_is_default() {
        let mut attached = attached();
        let before = PsListing::of(&attached, &[]).lines();
        assert!(before.iter().all(|line| !line.contains('@')), "{before:?}");
        attached[0].interfaces[1].network = "web".to_owned();
        attached[1].notes = vec!["the network db was removed".to_owned()];
        assert_eq!(
            PsListing::of(&attached, &[]).lines(),
            [
                "0123456789ab 02:6d:0a:02:01:01 10.2.1.1/24 10.3.1.1/24@web",
                "fedcba987654 02:6d:0a:02:01:02 10.2.1.2/24 (the network db was removed)",
            ]
        );
        let json = serde_json::to_string(&attached[1].interfaces).unwrap();
        assert!(!json.contains("Network"), "{json}");
    }

    #[test]
    fn an_id_is_cut_only_where_a_character_ends() {
        assert_eq!(short_id("0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("mesh"), "mesh");
        assert_eq!(short_id("0123456789aé"), "0123456789aé");
    }
}
