//! Names in the domain of the mesh, and the domain.

use core::fmt;

use mesh_proto::limits::MAX_DNS_NAME;

/// Longest label of DNS, in bytes (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// Name in the domain of the mesh, without the domain: lower case, labels separated by dots, like `web`.
///
/// Labels are 1 to 63 of `a-z`, `0-9`, `-` and `_`, and begin with a letter or digit, like Docker's names; at most
/// [`MAX_DNS_NAME`] bytes in total. Names that begin with `_` are those of services (RFC 2782).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeshName(Box<str>);

/// Domain of the mesh, like `mesh.local`: lower case, without a final dot.
#[derive(Clone, PartialEq, Eq)]
pub struct Domain(Box<str>);

/// Reason why a text is no name in the mesh.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Malformed name.
    #[error(
        "'{}' is not a name: letters, digits, '-' and '_', at most 63 in a row, {MAX_DNS_NAME} in all",
        .0.escape_debug()
    )]
    Malformed(String),
    /// Name of another domain.
    #[error("'{name}' is not in the domain {domain}; write {name}.{domain}", name = .name.trim_end_matches('.'))]
    Outside {
        /// Given text.
        name: String,
        /// Domain of the mesh.
        domain: Domain,
    },
}

impl MeshName {
    /// Parses a name without the domain, as containers have it; dots are kept.
    ///
    /// # Errors
    /// [`NameError::Malformed`].
    pub fn relative(text: &str) -> Result<Self, NameError> {
        let name = text.to_ascii_lowercase();
        match is_name(&name) {
            true => Ok(Self(name.into())),
            false => Err(NameError::Malformed(text.to_owned())),
        }
    }

    /// Parses the name of a container: with the domain at its end it is absolute, otherwise relative to the domain.
    ///
    /// # Errors
    /// [`NameError::Malformed`].
    pub fn given(text: &str, domain: &Domain) -> Result<Self, NameError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let relative = domain.strip(&name).unwrap_or(&name);
        Self::relative(relative).map_err(|_| NameError::Malformed(text.to_owned()))
    }

    /// Parses a name as typed by users: one label, or a name with the domain at its end. A final dot is accepted.
    ///
    /// # Errors
    /// [`NameError::Outside`] for several labels without the domain; [`NameError::Malformed`].
    pub fn parse(text: &str, domain: &Domain) -> Result<Self, NameError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if let Some(relative) = domain.strip(&name) {
            return Self::relative(relative).map_err(|_| NameError::Malformed(text.to_owned()));
        }
        let name = Self::relative(&name).map_err(|_| NameError::Malformed(text.to_owned()))?;
        if name.0.contains('.') || *name.0 == *domain.0 {
            return Err(NameError::Outside {
                name: text.to_owned(),
                domain: domain.clone(),
            });
        }
        Ok(name)
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name with the domain, without a final dot.
    pub fn full(&self, domain: &Domain) -> String {
        format!("{self}.{domain}")
    }
}

impl Domain {
    /// Parses a domain; a final dot is accepted.
    ///
    /// # Errors
    /// [`NameError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        MeshName::relative(name)
            .map(|name| Self(name.0))
            .map_err(|_| NameError::Malformed(text.to_owned()))
    }

    /// Returns the domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part of a lower-case name without final dot that precedes the domain; `None` for the domain itself
    /// and other domains.
    pub(super) fn strip<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_suffix(&*self.0)?.strip_suffix('.')
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_DNS_NAME && text.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    label.len() <= MAX_LABEL
        && label.bytes().all(inner)
        && label
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric())
}

impl fmt::Display for MeshName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MeshName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn domain() -> Domain {
        Domain::parse("Mesh.Local.").unwrap()
    }

    #[test]
    fn names_are_taken_with_and_without_the_domain() {
        for text in ["web", "WEB", "web.mesh.local", "Web.mesh.LOCAL.", "web."] {
            let name = MeshName::parse(text, &domain()).unwrap();
            assert_eq!(name.as_str(), "web");
            assert_eq!(name.full(&domain()), "web.mesh.local");
        }
        let deep = MeshName::parse("a.b.mesh.local", &domain()).unwrap();
        assert_eq!(deep.as_str(), "a.b");
    }

    #[test]
    fn a_name_that_a_container_was_given_is_not_doubled() {
        for (text, name) in [
            ("shop.mesh.local", "shop"),
            ("Shop.Mesh.Local.", "shop"),
            ("a.b.mesh.local", "a.b"),
            ("a.b", "a.b"),
            ("shop", "shop"),
            ("xmesh.local", "xmesh.local"),
        ] {
            assert_eq!(MeshName::given(text, &domain()).unwrap().as_str(), name);
        }
        for text in [".mesh.local", "a..b", "a..mesh.local", ""] {
            assert!(MeshName::given(text, &domain()).is_err(), "{text}");
        }
    }

    #[test]
    fn errors_about_other_domains_suggest_the_name() {
        for text in ["web.example.org", "a.b", "mesh.local", "webmesh.local"] {
            let error = MeshName::parse(text, &domain()).unwrap_err();
            assert!(matches!(error, NameError::Outside { .. }), "{text}");
            let write = format!("write {text}.mesh.local");
            assert!(error.to_string().ends_with(&write), "{error}");
        }
    }

    #[test]
    fn malformed_names_are_refused() {
        let long = "a".repeat(64);
        let longer = "a.".repeat(60) + "ab";
        for text in [
            "", ".", "a..b", "-a", "_a", "a b", "ä", "a\0", &long, &longer,
        ] {
            assert!(MeshName::relative(text).is_err(), "{text}");
            assert!(Domain::parse(text).is_err(), "{text}");
        }
        assert!(MeshName::relative("my_app-1.x").is_ok());
    }

    proptest! {
        #[test]
        fn names_round_trip_in_their_full_form(text in "[a-zA-Z0-9][a-z0-9_-]{0,20}(\\.[a-z0-9]{1,9}){0,3}") {
            let name = MeshName::relative(&text).unwrap();
            prop_assert_eq!(MeshName::parse(&name.full(&domain()), &domain()), Ok(name));
        }

        #[test]
        fn any_text_is_taken_or_refused(text in ".*") {
            let _ = MeshName::parse(&text, &domain());
        }
    }
}
