//! `mesh attach` and `mesh detach` with running containers.

use anyhow::{Result, ensure};
use mesh_proto::api::ContainerAddresses;
use mesh_tests::{TestbedLayout, HostObjects, with_testbed};

use crate::{full_mesh, is_id, run};

#[test]
fn by_name_by_short_and_by_full_id() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2).engines(), |bed| {
        full_mesh(bed)?;
        let host = bed.host(1);
        let far = run(bed.host(2), "10.2.1.9/24", "far")?;
        let full = host
            .docker(&["run", "-d", "--name", "plain", "ubuntu", "sleep", "1000"])?
            .ok()?;
        is_id(&full)?;
        let networks = || {
            host.docker(&["exec", "plain", "ip", "-o", "-4", "addr"])?
                .ok()
        };
        let own = networks()?;
        for handle in ["plain", &full[..12], full.as_str()] {
            let printed = host.mesh(&["attach", "10.2.1.1/24", handle])?.ok()?;
            ensure!(
                printed == "10.2.1.1",
                "attach prints the addresses: {printed}"
            );
            far.reaches(&host.container("plain", "10.2.1.1")?)?;
            // Attaching again changes nothing.
            ensure!(host.mesh(&["attach", "10.2.1.1/24", handle])?.ok()? == "10.2.1.1");
            ensure!(host.ps()?.len() == 1, "{:?}", host.ps()?);

            let printed = host.mesh(&["detach", "10.2.1.1/24", handle])?.ok()?;
            ensure!(
                printed == "10.2.1.1",
                "detach prints the addresses: {printed}"
            );
            ensure!(
                networks()? == own,
                "detach changed more than it should: {}",
                networks()?
            );
        }
        Ok(())
    })
}

#[test]
fn json_says_id_name_and_addresses_as_the_engine_does() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        let said = |args: &[&str]| -> Result<ContainerAddresses> {
            Ok(serde_json::from_str(&host.mesh(args)?.ok()?)?)
        };
        let of_engine = |id: &str, address: &str| -> Result<ContainerAddresses> {
            let inspect = ["inspect", "-f", "{{.Id}} {{slice .Name 1}}", id];
            let line = host.docker(&inspect)?.ok()?;
            let (container, name) = line.split_once(' ').unwrap_or_default();
            is_id(container)?;
            Ok(ContainerAddresses {
                container: container.to_owned(),
                name: name.to_owned(),
                addresses: vec![address.to_owned()],
            })
        };
        // The engine generates the name.
        let ran = said(&["run", "--json", "10.2.1.1/24", "ubuntu", "sleep", "1000"])?;
        let expected = of_engine(&ran.container, "10.2.1.1")?;
        ensure!(ran == expected, "{ran:?}, {expected:?}");
        ensure!(!ran.name.is_empty() && !ran.container.starts_with(&ran.name));

        let line = ["run", "-d", "--name", "plain", "ubuntu", "sleep", "1000"];
        let id = host.docker(&line)?.ok()?;
        let expected = of_engine(&id, "10.2.1.2")?;
        let attached = said(&["attach", "--json", "10.2.1.2/24", &id[..12]])?;
        ensure!(attached == expected, "{attached:?}");
        let detached = said(&["detach", "--json", &id[..12]])?;
        ensure!(detached == expected, "{detached:?}");
        let failing = ["run", "--json", "10.2.1.3/24", "ubuntu", "/no/such/program"];
        let failed = host.mesh(&failing)?;
        let told_nothing = failed.stdout.is_empty();
        ensure!(matches!(failed.code, Some(1..)) && told_nothing, "{failed}");
        Ok(())
    })
}

#[test]
fn several_addresses_and_one_of_them_taken_away() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        host.docker(&[
            "run", "-d", "--net", "none", "--name", "plain", "ubuntu", "sleep", "1000",
        ])?
        .ok()?;
        let (a, b) = (
            run(host, "10.2.1.9/24", "one")?,
            run(host, "10.3.1.9/24", "two")?,
        );
        let printed = host
            .mesh(&["attach", "10.2.1.1/24", "10.3.1.1/24", "plain"])?
            .ok()?;
        ensure!(
            printed == "10.2.1.1 10.3.1.1",
            "in the order asked for: {printed}"
        );
        let (first, second) = (
            host.container("plain", "10.2.1.1")?,
            host.container("plain", "10.3.1.1")?,
        );
        a.reaches(&first)?;
        b.reaches(&second)?;
        host.mesh(&["detach", "10.2.1.1/24", "plain"])?.ok()?;
        a.does_not_reach(&first)?;
        b.reaches(&second)?;
        host.mesh(&["detach", "plain"])?.ok()?;
        b.does_not_reach(&second)
    })
}

#[test]
fn containers_that_cannot_be_attached() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(1).engines(), |bed| {
        let host = bed.host(1);
        host.launch(&[])?;
        let docker = |args: &[&str]| host.docker(args)?.ok();
        docker(&["run", "-d", "--name", "plain", "ubuntu", "sleep", "1000"])?;
        docker(&["create", "--name", "stopped", "ubuntu", "sleep", "1000"])?;
        docker(&[
            "run", "-d", "--name", "hostly", "--net", "host", "ubuntu", "sleep", "1000",
        ])?;
        let before = HostObjects::take(host)?;
        for (address, container, word) in [
            ("10.2.1.1/24", "nobody", "nobody"),
            ("10.2.1.1/24", "stopped", "running"),
            ("10.2.1.1/24", "hostly", "host"),
            ("10.2.1.300/24", "plain", "10.2.1.300"),
        ] {
            let message = host.mesh(&["attach", address, container])?.refused()?;
            ensure!(
                message.contains(word),
                "attach {address} {container}: {message}"
            );
            HostObjects::take(host)?.same_as(&before)?;
        }
        Ok(())
    })
}
