//! Standard output, standard error and the exit status.

use std::io::{self, Write as _};

use serde::Serialize;

/// Exit status of a verb, or the error that is printed as one line with exit status 1.
pub(crate) type VerbResult = anyhow::Result<u8>;

/// Writes `text` to standard output as it is.
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
    // A failure is ignored: with standard error gone, nobody can be told.
    let _ = writeln!(io::stderr(), "mesh: {message}");
}

/// True if the reader of standard output is gone (`mesh report | head -1`), which is not worth a message.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
