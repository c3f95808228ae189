//! Crashed routers, cut cables, power failures of hosts.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mesh_tests::{TestbedLayout, Transfer, here, stays, tell, transfer, wait_until, with_testbed};

use crate::full_mesh;

/// Time limit for routing around a dead or isolated neighbour.
const REROUTE: Duration = Duration::from_secs(5);

#[test]
fn a_router_killed_under_traffic_returns_as_the_same_and_disturbs_nobody() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        full_mesh(bed, &[])?;
        let (a, b, c) = (
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(2).run("10.2.1.2/24")?,
            bed.host(3).run("10.2.1.3/24")?,
        );
        a.reaches(&b)?;
        let before = bed.host(2).report()?.router;

        let undisturbed = Transfer::start(&a, &c, 5001, 20_000_000, 20)?;
        let survivor = Transfer::start(&a, &b, 5001, 10_000_000, 10)?;
        bed.host(2).kill_router()?;
        bed.host(2).launch(&[])?;
        let after = bed.host(2).report()?.router;
        ensure!(
            (&before.name, &before.id) == (&after.name, &after.id),
            "another name after the return"
        );
        ensure!(
            after.epoch > before.epoch,
            "epoch {} after {}",
            after.epoch,
            before.epoch
        );

        let took = undisturbed.finish(Duration::from_secs(30))?;
        ensure!(
            took < here(Duration::from_secs(12)),
            "8 s of traffic between the others took {took:?}"
        );
        // The container of the killed router and its connections are unaffected.
        survivor.finish(Duration::from_secs(60))?;
        b.reaches(&c)
    })
}

#[test]
fn a_cut_cable_is_routed_round_and_used_again_when_it_heals() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        full_mesh(bed, &[])?;
        let (a, c) = (
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(3).run("10.2.1.3/24")?,
        );
        a.reaches(&c)?;
        let traffic = Transfer::start(&a, &c, 5001, 10_000_000, 8)?;

        bed.cut_pair(1, 3)?;
        let cut = Instant::now();
        // Pings in flight may be lost: three answers in a row count as recovered.
        wait_until(REROUTE, "traffic goes through host2", || {
            (0..3).try_for_each(|_| a.ping(c.address()))
        })?;
        tell(&format!(
            "recovery after a cut cable: {:.1?}",
            cut.elapsed()
        ));

        bed.heal_pair(1, 3)?;
        let healed = Instant::now();
        wait_until(
            Duration::from_secs(60),
            "host1 and host3 talk directly",
            || {
                let peers = bed.host(1).report()?.router.peers;
                let direct = peers
                    .iter()
                    .any(|p| p.nick_name == "host3" && p.path.starts_with("direct"));
                ensure!(direct, "{peers:?}");
                Ok(())
            },
        )?;
        tell(&format!(
            "direct again after healing: {:.1?}",
            healed.elapsed()
        ));
        traffic.finish(Duration::from_secs(60))?;
        Ok(())
    })
}

#[test]
fn a_host_that_loses_power_comes_back_under_its_name() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(3), |bed| {
        full_mesh(bed, &[])?;
        let name = bed.host(3).report()?.router.name;
        let (a, b) = (
            bed.host(1).run("10.2.1.1/24")?,
            bed.host(2).run("10.2.1.2/24")?,
        );
        a.reaches(&b)?;
        bed.host(3).crash()?;
        ensure!(
            a.count_answers(&b, 50)? == 50,
            "a power cut elsewhere cost frames"
        );
        bed.host(1).wait_peers(2)?;
        bed.host(3).boot(false)?;
        bed.host(3).launch(&[])?;
        ensure!(
            bed.host(3).report()?.router.name == name,
            "another name after the power cut"
        );
        let c = bed.host(3).run("10.2.1.3/24")?;
        a.reaches(&c)
    })
}

#[test]
fn two_halves_of_a_mesh_join_again() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(4), |bed| {
        full_mesh(bed, &[])?;
        let c: Vec<_> = (1..=4)
            .map(|n| bed.host(n).run(&format!("10.2.1.{n}/24")))
            .collect::<Result<_>>()?;
        c[0].reaches(&c[2])?;
        let pairs = [(1, 3), (1, 4), (2, 3), (2, 4)];
        for (left, right) in pairs {
            bed.cut_pair(left, right)?;
        }
        bed.host(1).wait_peers(2)?;
        c[0].does_not_reach(&c[2])?;
        c[0].reaches_within(REROUTE, &c[1])?;
        c[2].reaches_within(REROUTE, &c[3])?;
        for (left, right) in pairs {
            bed.heal_pair(left, right)?;
        }
        bed.host(1).wait_peers(4)?;
        c[0].reaches(&c[2])?;
        transfer(&c[1], &c[3], 5_000_000, Duration::from_secs(30))?;
        Ok(())
    })
}

/// A library for the router in which all that changes a file hangs as long as another file exists.
const HANGING_DISK: &str = r#"
#define _GNU_SOURCE
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
static int wait_for_disk(void) { while (access("/run/testbed/hangs", F_OK) == 0) usleep(10000); return 0; }
static int is_file(int fd) { struct stat s; return fstat(fd, &s) == 0 && S_ISREG(s.st_mode); }
int fsync(int fd) { (void) fd; return wait_for_disk(); }
int fdatasync(int fd) { (void) fd; return wait_for_disk(); }
int ftruncate64(int fd, off_t n) { wait_for_disk(); return syscall(SYS_ftruncate, fd, n); }
int rename(const char *a, const char *b) { wait_for_disk(); return syscall(SYS_rename, a, b); }
int unlink(const char *a) { wait_for_disk(); return syscall(SYS_unlink, a); }
ssize_t write(int fd, const void *p, size_t n) { if (is_file(fd)) wait_for_disk(); return syscall(SYS_write, fd, p, n); }
"#;

/// Only commands to that host wait for its disk: links and frames go on.
#[test]
fn a_disk_that_hangs_holds_up_no_link() -> Result<()> {
    with_testbed(&TestbedLayout::hosts(2), |bed| {
        let (one, two) = (bed.host(1), bed.host(2));
        one.shell(&format!(
            "cat >/run/testbed/disk.c <<'END'\n{HANGING_DISK}\nEND"
        ))?
        .ok()?;
        let library = "/run/testbed/disk.so";
        let line = [
            "cc",
            "-shared",
            "-fPIC",
            "-o",
            library,
            "/run/testbed/disk.c",
        ];
        one.exec(&line)?.ok()?;
        let preload = format!("LD_PRELOAD={library}");
        one.exec(&["env", &preload, one.mesh_path(), "launch"])?
            .ok()?;
        two.launch(&["host1"])?;
        one.wait_connections(1)?;
        let (a, b) = (one.run("10.2.1.1/24")?, two.run("10.2.1.2/24")?);
        a.reaches(&b)?;
        let ended = "grep -c 'ended: ' /var/lib/mesh/router.log || true";
        let before = two.shell(ended)?.ok()?;

        one.shell("touch /run/testbed/hangs")?.ok()?;
        let run = "run --runtime process 10.2.1.9/24 -d --name late -- sleep 60";
        let line = format!("timeout 60 {} {run}", one.mesh_path());
        let waiting = one.shell_in_background(&line)?;
        // The router has something to log, to store and to learn.
        for peer in ["host3", "192.168.77.250"] {
            two.mesh(&["connect", peer])?.ok()?;
        }
        two.mesh(&["network", "create", "web", "--subnet", "10.40.0.0/24"])?
            .ok()?;
        let run = ["run", "--runtime", "process", "--net", "web", "10.40.0.2"];
        let command = ["-d", "--name", "far", "--", "sleep", "60"];
        two.mesh(&[&run[..], &command].concat())?.ok()?;
        let stood = stays(Duration::from_secs(15), "the link stands", || {
            let now = two.shell(ended)?.ok()?;
            ensure!(now == before, "{now} links ended, and {before} before");
            ensure!(two.established()?.len() == 1, "no link");
            b.reaches(&a)
        });
        one.shell("rm /run/testbed/hangs")?.ok()?;
        stood?;
        wait_until(REROUTE, "what waited is done", || {
            let listed = one.ps()?;
            ensure!(listed.iter().any(|row| row.name == "late"), "{listed:?}");
            Ok(())
        })?;
        drop(waiting);
        Ok(())
    })
}
