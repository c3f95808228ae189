//! The driver's socket in Docker's plugin directory, where dockerd looks for it by name.

use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::UnixListener;

use super::routes;
use crate::attach::Attachments;

/// Where dockerd looks for the driver `mesh`.
pub const DEFAULT_SOCKET: &str = "/run/docker/plugins/mesh.sock";

/// The bound socket; its file is removed when this is dropped.
#[derive(Debug)]
pub struct PluginSocket {
    listener: Option<UnixListener>,
    path: PathBuf,
}

impl PluginSocket {
    /// Binds the socket, for root only. Its directory is made if absent; a file that nobody listens on is replaced.
    ///
    /// # Errors
    /// Somebody listens there; the directory cannot be written. The message names the path.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let named = |e: io::Error| {
            io::Error::new(
                e.kind(),
                format!("Docker plugin socket {}: {e}", path.display()),
            )
        };
        if let Some(dir) = path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(dir)
                .map_err(named)?;
        }
        if UnixStream::connect(path).is_ok() {
            return Err(named(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another router serves it",
            )));
        }
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(named(e)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(named)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(named)?;
        Ok(Self {
            listener: Some(listener),
            path: path.to_owned(),
        })
    }

    /// Answers Docker until `stop` resolves, then removes the socket.
    ///
    /// # Errors
    /// The listener fails for good.
    pub async fn serve(
        self,
        attachments: Arc<Attachments>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        self.serve_as(Some(attachments), stop).await
    }

    /// Answers for a mesh that is being removed: agrees to all that Docker gives up, refuses what it wants to make.
    pub(crate) async fn serve_reset(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        self.serve_as(None, stop).await
    }

    async fn serve_as(
        mut self,
        backend: Option<Arc<Attachments>>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let Some(listener) = self.listener.take() else {
            return Ok(());
        };
        let serving = axum::serve(listener, routes(backend)).into_future();
        // Not a graceful shutdown: dockerd keeps idle connections open for as long as it likes.
        tokio::select! {
            result = serving => result,
            () = stop => Ok(()),
        }
    }
}

impl Drop for PluginSocket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "the plugin socket was gone already");
        }
    }
}
