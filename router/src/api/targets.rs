//! Syntax check of targets when they are given. Names are not resolved: a name that does not resolve now may do so
//! later, and is retried until then.

use mesh_proto::control::targets::parse_target;

/// Checks the syntax of each target.
///
/// # Errors
/// One line that names the first malformed target.
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
