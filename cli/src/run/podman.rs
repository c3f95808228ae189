//! `mesh run` with podman: the router has created the network namespace, and the container joins it.

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use mesh_command::engine_args::EngineArgs;
use mesh_command::run::podman::{Replacement, run_words};
use mesh_proto::api::{AdoptRequest, Done};

use super::arrived;
use super::preparation::Preparation;
use crate::engine::EngineClient;
use crate::output;
use crate::output::VerbResult;

const PODMAN: EngineClient = EngineClient::Podman;

/// With `--replace`: removes the container of that name, which may hold the requested address. A trial creation comes
/// first, so that a mistake in the flags does not cost the old container.
pub(crate) fn make_room(args: &EngineArgs) -> anyhow::Result<()> {
    let Some(Replacement { name, rehearsal }) = Replacement::of(args) else {
        return Ok(());
    };
    if !PODMAN
        .quietly(&["container", "exists", name])?
        .status
        .success()
    {
        return Ok(());
    }
    let made = PODMAN.run(&rehearsal)?;
    if made.status != 0 {
        bail!(
            "podman cannot make such a container (status {}), so {name} is not replaced",
            made.status
        );
    }
    PODMAN.remove(&made.last_line);
    let removed = PODMAN.removing(&["rm", "-f", name])?;
    if !removed.status.success() {
        let told = String::from_utf8_lossy(&removed.stderr);
        bail!("podman does not remove {name}: {}", told.trim());
    }
    Ok(())
}

/// Starts the container, has the router adopt it, and prints its id.
pub(crate) fn run(mut preparation: Preparation<'_>, args: &EngineArgs) -> VerbResult {
    let cidfile = IdFile::new(args.value_of("cidfile"))?;
    let own = cidfile.is_ours.then(|| cidfile.path.display().to_string());
    let words = run_words(preparation.prepared(), args, own.as_deref())?;
    let finished = PODMAN.run(&words)?;
    if finished.status != 0 {
        PODMAN.remove(&cidfile.read());
        output::complain(&format!(
            "podman did not start the container (status {})",
            finished.status
        ));
        return Ok(finished.status);
    }
    let container = finished.last_line;
    let name = PODMAN.name_of(&container);
    if let Err(error) = adopt(&preparation, &container, &name) {
        PODMAN.remove(&container);
        return Err(error);
    }
    if let Err(error) = arrived::check(&preparation, &container) {
        PODMAN.remove(&container);
        return Err(error);
    }
    preparation.keep();
    preparation.print(&container, &name)?;
    Ok(0)
}

fn adopt(preparation: &Preparation<'_>, container: &str, name: &str) -> anyhow::Result<()> {
    let request = AdoptRequest {
        id: preparation.prepared().id.clone(),
        container: Some(container.to_owned()),
        pid: None,
        name: name.to_owned(),
    };
    preparation.client().post::<Done>("/adopt", &request)?;
    Ok(())
}

/// File that podman writes the container id to, even if the container cannot be started. Removed on drop unless the
/// user asked for it.
struct IdFile {
    path: PathBuf,
    is_ours: bool,
}

impl IdFile {
    fn new(of_user: Option<&str>) -> anyhow::Result<Self> {
        if let Some(path) = of_user {
            let path = path.into();
            return Ok(Self {
                path,
                is_ours: false,
            });
        }
        // podman refuses an existing file, so a guessed name can only make the run fail.
        let random = getrandom::u64().map_err(|e| anyhow!("no randomness from the system: {e}"))?;
        let path = std::env::temp_dir().join(format!("mesh-run-{random:016x}.cid"));
        Ok(Self {
            path,
            is_ours: true,
        })
    }

    fn read(&self) -> String {
        let id = std::fs::read_to_string(&self.path).unwrap_or_default();
        id.trim().to_owned()
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if !self.is_ours {
            return;
        }
        // Missing if podman failed before it created a container.
        let _ = std::fs::remove_file(&self.path);
    }
}
