//! `mesh run`: the words of mesh and of the engine, and the words that make the container.
//!
//! | module | subject |
//! |---|---|
//! | `words` | words of mesh and of the engine on one command line |
//! | [`docker`] | `docker create`, `docker network connect` |
//! | [`podman`] | `podman run`, and the trial before a container is replaced |
//! | `process` | a command without an engine |

pub mod docker;
pub mod podman;
mod process;
pub(crate) mod words;

pub use self::process::CommandLine;

use crate::CommandError;
use crate::addresses;
use crate::args::{RunArgs, RuntimeArg};
use crate::engine_args::EngineArgs;

/// Container or process to run, with its address arguments.
#[derive(Debug, PartialEq, Eq)]
pub struct RunWorkload<'a> {
    /// Addresses, which are well-formed.
    pub addresses: &'a [String],
    /// Container or process.
    pub kind: WorkloadKind,
}

/// Container or process, as its words describe it.
#[derive(Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    /// A container of an engine.
    Container(EngineArgs),
    /// A command in a network namespace of its own.
    Process(CommandLine),
}

/// An answer to `prepare` that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreparedError {
    /// No network for Docker.
    #[error("the router prepared no network; are mesh and mesh-router of the same version?")]
    NoNetwork,
    /// No network namespace for podman or a process.
    #[error("the router prepared no namespace; are mesh and mesh-router of the same version?")]
    NoNamespace,
    /// A setting of a network that `docker network connect` does not have.
    #[error("`docker network connect` has no option for '{0}'")]
    NoOption(String),
    /// A network without a name.
    #[error("the router named no network in '{0}'")]
    Unnamed(String),
}

impl<'a> RunWorkload<'a> {
    /// Reads the words after the flags of mesh.
    ///
    /// # Errors
    /// Fails if an address is malformed or misplaced, or if there is nothing to run.
    pub fn of(args: &'a RunArgs) -> Result<Self, CommandError> {
        let (addresses, rest) = addresses::split(&args.rest);
        addresses::check_in(&args.network, addresses)?;
        let kind = if args.engine.runtime == Some(RuntimeArg::Process) {
            let command = CommandLine::parse(rest)?;
            addresses::check_image(command.program())?;
            if args.json && !command.is_detached() {
                return Err(CommandError::JsonWantsDetach);
            }
            WorkloadKind::Process(command)
        } else {
            let engine_args = EngineArgs::parse(rest)?;
            addresses::check_image(engine_args.image())?;
            WorkloadKind::Container(engine_args)
        };
        Ok(Self { addresses, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Verb;

    fn args(line: &str) -> RunArgs {
        let words = ["mesh", "run"].into_iter().chain(line.split_whitespace());
        let cli = crate::parse(words.map(Into::into).collect()).unwrap();
        match cli.verb {
            Verb::Run(args) => args,
            verb => panic!("{verb:?}"),
        }
    }

    #[test]
    fn a_workload_is_a_container_or_a_process() {
        let container = args("10.2.1.1/24 --name web nginx -g x");
        let workload = RunWorkload::of(&container).unwrap();
        assert_eq!(workload.addresses, ["10.2.1.1/24"]);
        let WorkloadKind::Container(engine_args) = workload.kind else {
            panic!("not a container");
        };
        assert_eq!(engine_args.image(), "nginx");
        let process = args("--runtime process -- sleep 60");
        let workload = RunWorkload::of(&process).unwrap();
        let WorkloadKind::Process(command) = workload.kind else {
            panic!("not a process");
        };
        assert_eq!(command.program(), "sleep");
    }

    #[test]
    fn mistakes_are_found_before_anything_is_asked() {
        for (line, error) in [
            ("10.2.1.1/24", CommandError::NoImage),
            (
                "--name web 10.2.1.1/24 nginx",
                CommandError::ImageIsAddress("10.2.1.1/24".to_owned()),
            ),
            (
                "--runtime process -- 10.2.1.1/24 ls",
                CommandError::ImageIsAddress("10.2.1.1/24".to_owned()),
            ),
            (
                "--json --runtime process -- ls",
                CommandError::JsonWantsDetach,
            ),
            ("--runtime process -d", CommandError::NoCommand),
        ] {
            assert_eq!(RunWorkload::of(&args(line)), Err(error), "{line}");
        }
        assert!(RunWorkload::of(&args("10.2.1.1 nginx")).is_err());
    }
}
