//! What a network costs that carries nothing.

use std::process::Command;

use super::*;

/// Set in the process that measures.
const ALONE: &str = "MESH_TEST_ALONE";

/// Pages that libpcap shares with the kernel for a port: one ring to read and one to write, in KiB.
const PCAP_RINGS: u64 = 256 + 64;

#[test]
fn a_hundred_idle_networks_cost_little_memory_and_no_thread() {
    let test = "a_hundred_idle_networks_cost_little_memory_and_no_thread";
    if std::env::var_os(ALONE).is_some() {
        return on_both_datapaths(test, measure);
    }
    // Other tests in this process allocate memory, too.
    let measured = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg(format!(
            "{}::{test}",
            module_path!().split_once("::").unwrap().1
        ))
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&measured.stdout);
    print!("{said}{}", String::from_utf8_lossy(&measured.stderr));
    assert!(measured.status.success());
    assert!(said.contains("1 passed"), "the name of the test is wrong");
}

fn measure(datapath: Datapath) {
    let host = LaneHost::new(datapath, 2);
    host.open(A);
    let before = Memory::now();
    let begin = Instant::now();
    let count = u64::try_from(MAX_NETWORKS_HERE).unwrap() - 1;
    for number in 0..count {
        host.open(NetworkId(u128::from(number + 1).to_be_bytes()));
    }
    let opened = begin.elapsed();
    let after = Memory::now();
    let each = |of: fn(&Memory) -> u64| of(&after).saturating_sub(of(&before)) / count;
    let (process, kernel) = (each(|m| m.process), each(|m| m.kernel));
    let rings = match datapath {
        Datapath::Tap => 0,
        _ => PCAP_RINGS,
    };
    println!(
        "{datapath:?}: an idle network costs {process} KiB of the router, some {kernel} KiB of the kernel, {rings} KiB of \
         ring buffers; opened in {:?} each",
        opened / u32::try_from(count).unwrap()
    );
    assert!(process + rings < 512);
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|t| std::fs::read_to_string(t.path().join("comm")).ok());
    assert!(names.filter(|name| name.starts_with("networks")).count() < 10);
    let refused = host
        .netns
        .run(|| host.ports.open(B, 0, "one too many"))
        .unwrap_err();
    assert!(refused.to_string().contains("no more may"), "{refused}");
    let begin = Instant::now();
    host.netns
        .run(|| host.ports.mend(&HostLinks::read().unwrap()).unwrap());
    println!("{datapath:?}: mended in {:?}", begin.elapsed());
    let container = host.add(A);
    host.hears(A, &container);
    host.reaches(A, &container);
}

/// Memory of this process and of the kernel, in KiB.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// Anonymous memory: the rings that libpcap maps are counted by themselves.
    process: u64,
    /// Slabs that cannot be reclaimed and memory of each processor, of the whole machine: printed, not judged.
    kernel: u64,
}

impl Memory {
    fn now() -> Memory {
        let field = |text: &str, name: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let host = std::fs::read_to_string("/proc/meminfo").unwrap();
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        Memory {
            process: field(&own, "RssAnon:"),
            kernel: field(&host, "SUnreclaim:") + field(&host, "Percpu:"),
        }
    }
}
