//! `launch`, `stop` and `reset` with a router program made of a shell script.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Lab, REPORT, appears};

#[test]
fn a_second_launch_is_refused() {
    let lab = Lab::with_router();
    lab.program("mesh-router", "");
    let pid = std::process::id();
    lab.mesh("launch")
        .failed(1, &format!("already running (pid {pid})"));
    lab.mesh("launch --foreground").failed(1, "already running");
    assert!(lab.log().is_empty());
}

#[test]
fn the_router_is_told_what_was_given_and_its_last_error_is_shown() {
    let lab = Lab::apart();
    lab.program(
        "mesh-router",
        "echo starting >&2; echo \"ERROR port $PORT is taken\" >&2; exit 3",
    );
    let said = lab.mesh("launch --port 7000 --name ::1 --datapath pcap --cipher aes-256-gcm --no-discovery --key-file k host2 host3:1");
    said.failed(1, "ERROR port");
    let (socket, state) = (lab.socket(), lab.path("state"));
    let key = std::env::current_dir().unwrap().join("k");
    let expected = format!(
        "mesh-router --socket {} --daemon --restart --cipher=aes-256-gcm --datapath=pcap --key-file={} --name=00:00:00:00:00:01 --no-discovery --port=7000 --state-dir={} host2 host3:1",
        socket.display(),
        key.display(),
        state.display()
    );
    assert_eq!(lab.log(), [expected]);
    assert!(
        fs::read_to_string(state.join("router.log"))
            .unwrap()
            .contains("starting")
    );
}

#[test]
fn only_this_start_is_quoted_from_the_log() {
    let lab = Lab::apart();
    fs::create_dir(lab.path("state")).unwrap();
    fs::write(lab.path("state/router.log"), "ERROR of yesterday\n").unwrap();
    lab.program("mesh-router", "exit 3");
    lab.mesh("launch").failed(1, "without a word");
}

#[test]
fn launch_returns_when_the_router_answers() {
    let lab = Lab::apart();
    lab.answer("/report", 503, "{}");
    let pid_file = lab.path("pid");
    let body = format!("echo $$ > {}; exec /bin/sleep 30", pid_file.display());
    lab.program("mesh-router", &body);
    let said = thread::scope(|scope| {
        scope.spawn(|| {
            assert!(appears(&pid_file));
            thread::sleep(Duration::from_millis(200));
            lab.serve();
        });
        lab.mesh("launch")
    });
    let pid: i32 = fs::read_to_string(&pid_file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    assert_eq!(said.ok(), "");
}

#[test]
fn foreground_becomes_the_router() {
    let lab = Lab::apart();
    lab.program("mesh-router", "echo in front; exit 7");
    let said = lab.mesh("launch --foreground --log-level debug");
    assert_eq!((said.status, said.out.as_str()), (7, "in front\n"));
    assert!(!lab.log()[0].contains("--daemon") && lab.log()[0].contains("--log-level=debug"));
}

#[test]
fn socket_and_state_come_from_the_configuration_file() {
    let lab = Lab::apart();
    lab.program("mesh-router", "exit 3");
    let config = lab.path("mesh.toml");
    fs::write(&config, "socket = \"/nowhere/a.sock\"\nport = 7000\n").unwrap();
    let words = ["launch", "--config", config.to_str().unwrap()];
    assert_eq!(
        lab.command(&words)
            .env_remove("MESH_SOCKET")
            .output()
            .unwrap()
            .status
            .code(),
        Some(1)
    );
    assert!(
        lab.log()[0].contains("--socket /nowhere/a.sock") && lab.log()[0].contains("--config=/")
    );
    fs::write(&config, "socket = ").unwrap();
    lab.mesh_words(&words).failed(1, "cannot read");
}

#[test]
fn no_router_program_and_no_state_directory() {
    let lab = Lab::apart();
    lab.mesh("launch").failed(1, "cannot find mesh-router");
    lab.program("mesh-router", "");
    lab.mesh("launch --state-dir /proc/nowhere")
        .failed(1, "give another --state-dir");
}

/// Not a test of its own: the fake router in a process that can end, for the tests below.
#[test]
#[ignore = "started by other tests as a process of its own"]
fn router_process() {
    let Some(dir) = std::env::var_os("MESH_TEST_LAB") else {
        return;
    };
    let lab = Lab::at(dir.into());
    lab.answer("/report", 200, REPORT);
    lab.serve().join().unwrap();
    // Ends later than its socket, like a router that still flushes its state.
    thread::sleep(Duration::from_millis(100));
}

/// A process that is killed when the test ends, even if the test fails.
struct RouterProcess(Child);

impl RouterProcess {
    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for RouterProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_router_process(lab: &Lab) -> RouterProcess {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "launch::router_process", "--ignored"])
        .env("MESH_TEST_LAB", lab.path(""))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let router = RouterProcess(child);
    assert!(appears(&lab.socket()));
    router
}

#[test]
fn stop_waits_until_the_router_is_gone() {
    let lab = Lab::apart();
    let mut router = start_router_process(&lab);
    assert_eq!(lab.mesh("stop").ok(), "");
    assert!(router.has_ended(), "stop returned before the router ended");
}

#[test]
fn reset_stops_the_router_and_knows_its_bridge() {
    let lab = Lab::apart();
    lab.program("mesh-router", "");
    let mut router = start_router_process(&lab);
    let said = lab.mesh("reset");
    assert_eq!((said.status, said.err.as_str()), (0, ""));
    assert!(router.has_ended());
    assert!(lab.log()[0].ends_with("--bridge mesh7"), "{:?}", lab.log());
}

#[test]
fn stop_without_a_router_is_no_failure() {
    let said = Lab::apart().mesh("stop");
    assert_eq!(
        (said.status, said.err.as_str()),
        (0, "mesh: mesh is not running\n")
    );
    let lab = Lab::apart();
    drop(UnixListener::bind(lab.socket()).unwrap());
    assert_eq!(lab.mesh("stop").status, 0);
}

#[test]
fn reset_runs_the_router_and_is_silent_unless_asked() {
    let lab = Lab::apart();
    lab.program("mesh-router", "echo removed bridge mesh9");
    assert_eq!(lab.mesh("reset --bridge mesh9").ok(), "");
    assert_eq!(lab.mesh("reset -v").ok(), "removed bridge mesh9\n");
    let state = lab.path("state");
    let told = |bridge| {
        format!(
            "mesh-router reset --state-dir {} --socket {} --bridge {bridge}",
            state.display(),
            lab.socket().display()
        )
    };
    assert_eq!(lab.log(), [told("mesh9"), told("mesh")]);
    lab.program("mesh-router", "exit 2");
    lab.mesh("reset").failed(1, "reset failed");
}
