//! `mesh completions`: completion scripts of shells.

use clap::CommandFactory as _;
use clap_complete::Shell as Generator;

use crate::args::{Cli, CompletionShell};

/// Returns the completion script of a shell.
pub fn script(shell: CompletionShell) -> String {
    let generator = match shell {
        CompletionShell::Bash => Generator::Bash,
        CompletionShell::Zsh => Generator::Zsh,
        CompletionShell::Fish => Generator::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(generator, &mut Cli::command(), "mesh", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_learns_the_verbs() {
        for shell in [
            CompletionShell::Bash,
            CompletionShell::Zsh,
            CompletionShell::Fish,
        ] {
            let script = script(shell);
            for word in ["attach-bridge", "inspect", "ip-range"] {
                assert!(script.contains(word), "{shell:?}: {word}");
            }
        }
    }
}
