//! Checks of targets at the time they are given. A name is not looked up: one that does not resolve now may do so later,
//! and is dialled until then.

use mesh_proto::control::targets::parse_target;

/// Parses each target.
///
/// # Errors
/// One line that names the first target that is malformed.
pub fn check<'a>(
    targets: impl IntoIterator<Item = &'a String>,
    default_port: u16,
) -> anyhow::Result<()> {
    for target in targets {
        parse_target(target, default_port).map_err(anyhow::Error::msg)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_targets_are_refused_and_unknown_names_are_not() {
        let check = |targets: &[&str]| {
            let targets: Vec<String> = targets.iter().map(|t| (*t).to_owned()).collect();
            check(&targets, 6783)
        };
        assert!(check(&["127.0.0.1", "[::1]:9", "localhost", "no-such-host.invalid"]).is_ok());
        for bad in ["a b", "", "host:99999", "[::1"] {
            let error = format!("{:#}", check(&["good", bad]).unwrap_err());
            assert!(error.contains(bad), "{error}");
        }
    }
}
