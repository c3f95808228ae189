//! Settings of the router, with the file and the host that they depend on. [`RouterSettings`] checks them.
//!
//! A flag wins over the file, the file over the default. Unknown keys in the file are errors.

use std::path::Path;

use anyhow::Context;
use mesh_options::{HostFacts, Options, RouterSettings};

/// File with the name of the host.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// Returns the settings of the options, of the file that they name, and of this host.
///
/// # Errors
/// The file cannot be read; a setting cannot be used. One line that names the file or the option.
pub fn settings(options: Options) -> anyhow::Result<RouterSettings> {
    let file = options.config.as_deref().map(read_file).transpose()?;
    Ok(RouterSettings::new(options, file.as_ref(), &this_host())?)
}

fn this_host() -> HostFacts {
    HostFacts {
        name: std::fs::read_to_string(HOST_NAME).map_err(|error| error.to_string()),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

fn read_file(path: &Path) -> anyhow::Result<Options> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    Options::from_toml(&text).map_err(|error| anyhow::anyhow!("{}, {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(path: &Path) -> anyhow::Result<RouterSettings> {
        settings(Options {
            config: Some(path.to_owned()),
            ..Options::default()
        })
    }

    #[test]
    fn a_file_is_read_and_named_with_its_mistakes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mesh.toml");
        std::fs::write(&path, "port = 7000\npeers = ['a']\n").unwrap();
        let s = with_file(&path).unwrap();
        assert_eq!((s.port, s.configured), (7000, vec!["a".to_owned()]));
        std::fs::write(&path, "\nprot = 7000\n").unwrap();
        let error = format!("{:#}", with_file(&path).unwrap_err());
        assert!(
            error.contains("mesh.toml, line 2: unknown field `prot`"),
            "{error}"
        );
        let error = with_file(Path::new("/nonexistent")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent"));
    }
}
