//! The router's supervision of the plugin process: one process, for this router, of the same version.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use axum::body::Bytes;
use mesh_engine::plugin::DESCRIBE;
use mesh_options::PluginSettings;
use tokio::net::UnixStream;

use super::forward::PluginConnection;
use super::{Described, program};

/// Interval of checks.
const PERIOD: Duration = Duration::from_secs(2);
/// Timeout of the process's self-description; after that it counts as hung.
const ANSWER: Duration = Duration::from_secs(1);
/// Time within which it must start.
const START: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// Starts the plugin process if needed, and returns once it answers or cannot. The returned future supervises the
/// process while it is polled.
pub(crate) async fn keep(settings: PluginSettings) -> impl Future<Output = ()> {
    let mut keeper = Keeper {
        wanted: Described {
            settings,
            program: program(),
        },
        told: String::new(),
    };
    keeper.look().await;
    async move {
        loop {
            tokio::time::sleep(PERIOD).await;
            keeper.look().await;
        }
    }
}

struct Keeper {
    wanted: Described,
    /// Failure that was logged last.
    told: String,
}

impl Keeper {
    async fn look(&mut self) {
        let failure = self.ensure().await.err().unwrap_or_default();
        if failure != self.told {
            self.told.clone_from(&failure);
            if !failure.is_empty() {
                tracing::warn!("{failure}; Docker on this host will not use this router");
            }
        }
    }

    async fn ensure(&self) -> Result<(), String> {
        let wanted = &self.wanted;
        let path = &wanted.settings.plugin_socket;
        match describe(path).await {
            Some(found) if found == *wanted => return Ok(()),
            Some(found)
                if found.settings.socket != wanted.settings.socket
                    && UnixStream::connect(&found.settings.socket).await.is_ok() =>
            {
                return Err(taken(path));
            }
            Some(_) => {}
            None if is_of_another(path).await => return Err(taken(path)),
            None if !is_docker_here() => return Ok(()),
            None => {}
        }
        self.start()?;
        let up = async {
            while describe(path).await.as_ref() != Some(wanted) {
                tokio::time::sleep(POLL).await;
            }
        };
        let up = tokio::time::timeout(START, up).await;
        up.map_err(|_| {
            format!(
                "the plugin process for Docker does not answer on {}",
                path.display()
            )
        })
    }

    fn start(&self) -> Result<(), String> {
        let failed = |e: std::io::Error| format!("cannot start the plugin process for Docker: {e}");
        let mut command = Command::new(executable().map_err(failed)?);
        command.arg0(super::NAME);
        command.args(self.wanted.settings.arguments());
        // The environment is not passed on: it may hold the password of the mesh.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let spawned = command
            .env_clear()
            .env("PATH", path)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let mut child = spawned.map_err(failed)?;
        // It must be waited for, or it stays a zombie.
        let waiting = std::thread::Builder::new().name("plugin".into());
        waiting.spawn(move || child.wait()).map_err(failed)?;
        Ok(())
    }
}

/// True if Docker runs or may run on this host; otherwise no plugin is needed.
fn is_docker_here() -> bool {
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/snap/bin"];
    let mut places = std::env::split_paths(&in_path).chain(usual.map(PathBuf::from));
    Path::new("/var/run/docker.sock").exists()
        || std::env::var_os("DOCKER_HOST").is_some()
        || places.any(|dir| dir.join("dockerd").is_file())
}

/// Returns a path to this process's program file, even if it was replaced on disk.
fn executable() -> std::io::Result<PathBuf> {
    let link = Path::new("/proc/self/exe");
    std::fs::metadata(link).map(|_| link.to_owned())
}

/// Returns the description of the process on the socket, if it is a plugin process that answers.
pub(super) async fn describe(path: &Path) -> Option<Described> {
    let asked = async {
        let peer = PluginConnection::connect(path).await.ok()?;
        let answer = peer.ask(DESCRIBE, Bytes::new()).await.ok()?;
        serde_json::from_value(answer).ok()
    };
    tokio::time::timeout(ANSWER, asked).await.ok().flatten()
}

/// True if another program answers on the socket.
async fn is_of_another(path: &Path) -> bool {
    let asked = async {
        let peer = PluginConnection::connect(path).await.ok()?;
        peer.ask("Plugin.Activate", Bytes::new()).await.ok()
    };
    matches!(tokio::time::timeout(ANSWER, asked).await, Ok(Some(_)))
}

fn taken(path: &Path) -> String {
    format!(
        "Docker plugin socket {}: another router serves it",
        path.display()
    )
}
