//! `mesh completions`.

use clap::CommandFactory as _;
use clap_complete::Shell as Generator;

use crate::args::{Cli, CompletionsArgs, Shell};
use crate::output;
use crate::output::Outcome;

/// Prints the completion script of a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Outcome {
    let generator = match args.shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(generator, &mut Cli::command(), "mesh", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
