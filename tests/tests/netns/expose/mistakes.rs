//! Refused requests: clear messages, and no partial changes.

use anyhow::{Result, ensure};
use mesh_tests::{TestbedLayout, HostObjects, wait_until, with_testbed};

use super::{SOON, mesh};
use crate::full_mesh;

#[test]
fn what_cannot_be_is_refused_with_its_remedy() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        full_mesh(bed, &[])?;
        let (one, two) = (bed.host(1), bed.host(2));
        one.run_named("10.2.1.1/24", "near")?;
        two.run_named("10.2.1.2/24", "far")?;
        two.run_named("10.32.9.2/24", "claimed")?;
        wait_until(SOON, "host1 knows where 10.2.1.2 is", || {
            one.mesh(&["run", "--runtime", "process", "10.2.1.2/24", "--", "true"])?
                .refused()
                .map(drop)
        })?;
        let before = HostObjects::take(one)?;
        for (args, words) in [
            (
                &["10.2.1.1/24"][..],
                "already used by container near on this host",
            ),
            (&["10.2.1.2/24"], "already used by container far on"),
            (&["10.32.9.2/24"], "already used by container claimed on"),
            (&["10.2.1.254"], "no prefix length"),
            (&["10.2.1.0/24"], "address of the network itself"),
            (&["10.2.1.255/24"], "broadcast address"),
            (&["10.2.1/24"], "is not an address"),
            (&["net:10.2.0.0/16"], "is not in the range of addresses"),
            (&["net:fd00::/64"], "only IPv4 addresses are allocated"),
            (
                &["192.168.77.9/24"],
                "this host reaches 192.168.77.0/24 by eth0",
            ),
            (&["192.168.77.1/24"], "eth0 of this host has that address"),
            (
                &["10.2.1.254/24", "10.2.1.1/24"],
                "already used by container near",
            ),
            (&["-h", "a..b", "10.2.1.254/24"], "is not a name"),
            (&["--timeout=-1"], "must be 0 to 3600 seconds"),
        ] {
            let message = one.mesh(&[&["expose"], args].concat())?.refused()?;
            ensure!(message.contains(words), "{args:?}: {message}");
            HostObjects::take(one)?.same_as(&before)?;
        }
        ensure!(one.ipam()?.allocations.is_empty());
        let hidden = one.mesh(&["hide", "10.2.1.254/24"])?;
        ensure!(
            hidden.stderr.contains("does not have this address"),
            "{hidden}"
        );
        ensure!(hidden.ok()?.is_empty());

        mesh(one, "expose 10.2.1.254/24")?;
        let taken = ["run", "--runtime", "process", "10.2.1.254/24", "--", "true"];
        let message = one.mesh(&taken)?.refused()?;
        ensure!(
            message.contains("this host itself (mesh expose)"),
            "{message}"
        );
        wait_until(SOON, "host2 knows who has the address", || {
            let message = two.mesh(&taken)?.refused()?;
            ensure!(message.contains("mesh:expose on"), "{message}");
            Ok(())
        })
    })
}
