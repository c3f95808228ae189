//! Standard output, standard error and the exit status.

use std::io::{self, Write as _};

use serde::Serialize;

/// The exit status of a verb, or the error that is printed as one line and exits with 1.
pub(crate) type Outcome = anyhow::Result<u8>;

/// Writes `text` as it is to standard output.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes `line` and a newline to standard output.
pub(crate) fn print_line(line: &str) -> anyhow::Result<()> {
    print(&format!("{line}\n"))
}

/// Writes indented JSON and a newline to standard output.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_line(&serde_json::to_string_pretty(value)?)
}

/// Writes `mesh: message` to standard error.
pub(crate) fn complain(message: &str) {
    // Nobody is left to be told when standard error is gone.
    let _ = writeln!(io::stderr(), "mesh: {message}");
}

/// Whether the reader of standard output went away (`mesh report | head -1`), which is not worth a message.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
