//! Checks of targets at the time they are given: a name that does not resolve is most likely a slip of the pen.

use std::time::Duration;

use anyhow::bail;
use mesh_proto::control::targets::{DialTo, parse_target};

/// Time the resolver has.
const DEADLINE: Duration = Duration::from_secs(10);

/// Parses each target and resolves its name once.
///
/// # Errors
/// One line that names the first target that is malformed or does not resolve.
pub async fn check(targets: &[String], default_port: u16) -> anyhow::Result<()> {
    for target in targets {
        let to = parse_target(target, default_port).map_err(anyhow::Error::msg)?;
        let DialTo::Name { host, port } = to else {
            continue;
        };
        // The interface may come later.
        if host.contains('%') {
            continue;
        }
        match tokio::time::timeout(DEADLINE, tokio::net::lookup_host((host.as_str(), port))).await {
            Ok(Ok(mut addresses)) => {
                anyhow::ensure!(
                    addresses.next().is_some(),
                    "peer {target}: the name {host} has no address"
                );
            }
            Ok(Err(_)) => bail!(
                "peer {target}: the name {host} does not resolve; write its address, or put it into DNS or /etc/hosts"
            ),
            Err(_) => bail!(
                "peer {target}: no answer from the resolver in {} s",
                DEADLINE.as_secs()
            ),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn malformed_and_unknown_names_are_refused() {
        assert!(
            check(
                &["127.0.0.1".into(), "[::1]:9".into(), "localhost".into()],
                6783
            )
            .await
            .is_ok()
        );
        let error = check(&["no-such-host.invalid".into()], 6783)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("no-such-host.invalid"), "{error}");
        assert!(check(&["a b".into()], 6783).await.is_err());
    }
}
