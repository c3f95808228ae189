//! The router process: parses its options, detaches if requested, and runs.

use std::process::ExitCode;

use clap::Parser;
use mesh_router::config::{Args, Command, Settings};
use mesh_router::crypto::secret::Password;
use mesh_router::process::start::StartMode;
use mesh_router::process::supervise;

fn main() -> ExitCode {
    let args = Args::parse();
    // Must run before a second thread exists.
    let password = Password::take();
    let manner = StartMode::of(&args);
    let options = args.options();
    let result = match args.command {
        Some(Command::Reset {
            state_dir,
            socket,
            bridge,
        }) => mesh_router::reset::run(&state_dir, &socket, bridge.as_deref())
            .map(|()| ExitCode::SUCCESS),
        Some(Command::Plugin(settings)) => {
            mesh_router::plugin::run(settings).map(|()| ExitCode::SUCCESS)
        }
        None => Settings::of(options).and_then(|settings| {
            if args.restart {
                return supervise::run(&settings, password);
            }
            mesh_router::run::run(settings, manner, password).map(|()| ExitCode::SUCCESS)
        }),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // On one line, since mesh launch shows it to the user.
            let line = format!("{error:#}").replace('\n', " ");
            drop(std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("mesh-router: error: {line}\n").as_bytes(),
            ));
            ExitCode::FAILURE
        }
    }
}
