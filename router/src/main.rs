//! The router process: reads its options, detaches if asked, and runs.

use std::process::ExitCode;

use clap::Parser;
use mesh_router::config::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Some(Command::Reset {
            state_dir,
            socket,
            bridge,
        }) => mesh_router::reset::run(&state_dir, &socket, bridge.as_deref()),
        Some(Command::Plugin(settings)) => mesh_router::plugin::run(settings),
        None => args
            .options
            .settle()
            .and_then(|settings| mesh_router::run::run(settings, args.daemon)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, whatever the chain: mesh launch shows it to the user.
            let line = format!("{error:#}").replace('\n', " ");
            drop(std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("mesh-router: error: {line}\n").as_bytes(),
            ));
            ExitCode::FAILURE
        }
    }
}
