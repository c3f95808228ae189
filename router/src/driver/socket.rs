//! The driver's socket in Docker's plugin directory, where dockerd looks for it by name.

use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use axum::Router;
use tokio::net::UnixListener;

/// The bound socket; its file is removed when this is dropped, unless another has taken its place.
#[derive(Debug)]
pub(crate) struct PluginSocket {
    listener: Option<UnixListener>,
    path: PathBuf,
    inode: u64,
}

impl PluginSocket {
    /// Binds the socket, for root only. Its directory is made if absent; a file that nobody listens on is replaced.
    ///
    /// # Errors
    /// Somebody listens there; the directory cannot be written. The message names the path.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        if UnixStream::connect(path).is_ok() {
            let error = io::Error::new(io::ErrorKind::AddrInUse, "another router serves it");
            return Err(named(path, &error));
        }
        Self::bind_over(path)
    }

    /// The same, also where somebody listens: from now on nobody comes to that one any more.
    pub(crate) fn bind_over(path: &Path) -> io::Result<Self> {
        Self::try_bind(path).map_err(|e| named(path, &e))
    }

    fn try_bind(path: &Path) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o755).create(dir)?;
        }
        // Made beside and moved there, so that at no time there is none.
        let beside = path.with_extension(format!("{}.new", std::process::id()));
        match fs::remove_file(&beside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = mesh_sys::socket::unix::listen(&beside).and_then(UnixListener::from_std)?;
        let moved =
            fs::metadata(&beside).and_then(|meta| fs::rename(&beside, path).map(|()| meta.ino()));
        match moved {
            Ok(inode) => Ok(Self {
                listener: Some(listener),
                path: path.to_owned(),
                inode,
            }),
            Err(e) => {
                let _ = fs::remove_file(&beside);
                Err(e)
            }
        }
    }

    /// Answers Docker until `stop` resolves and what is under way is answered, then removes the socket.
    ///
    /// # Errors
    /// The listener fails for good.
    pub(crate) async fn serve(
        mut self,
        routes: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let Some(listener) = self.listener.take() else {
            return Ok(());
        };
        axum::serve(listener, routes)
            .with_graceful_shutdown(stop)
            .await
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    let text = format!("Docker plugin socket {}: {error}", path.display());
    io::Error::new(error.kind(), text)
}

impl Drop for PluginSocket {
    fn drop(&mut self) {
        let is_ours = fs::metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode);
        if !is_ours {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "the plugin socket was gone already");
        }
    }
}
