//! Commands to the DNS thread about names. The thread owns its view, so that neither the control plane nor a query waits for
//! the other.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use mesh_dns::update::{KnownNames, NameUpdate, addresses_of, known, names_of};
use mesh_names::MeshName;
use mesh_proto::network::NetworkId;
use tokio::sync::{mpsc, oneshot};

use super::ServerState;

/// An update of names, or a query of the router itself.
#[derive(Debug)]
pub enum DnsCommand {
    /// Applies an update.
    Update(NameUpdate),
    /// Requests everything that is known.
    Show(oneshot::Sender<KnownNames>),
    /// Requests the addresses of a name in a network.
    Lookup(NetworkId, MeshName, oneshot::Sender<Vec<IpAddr>>),
    /// Requests the names of an address in a network, in order.
    Reverse(NetworkId, IpAddr, oneshot::Sender<Vec<MeshName>>),
}

/// Processes commands until all senders are gone.
pub(super) async fn process(state: Arc<ServerState>, mut commands: mpsc::Receiver<DnsCommand>) {
    while let Some(command) = commands.recv().await {
        state.handle_command(command);
    }
}

impl ServerState {
    fn handle_command(&self, command: DnsCommand) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        match command {
            DnsCommand::Update(update) => {
                let origin = match &update {
                    NameUpdate::Announced { origin, .. } => Some(*origin),
                    _ => None,
                };
                if let (Err(error), Some(origin)) = (update.apply(&mut names), origin) {
                    tracing::warn!("the names of {origin} are not taken: {error}");
                }
            }
            // A failed send means that the caller is gone.
            DnsCommand::Show(answer) => drop(answer.send(known(&names))),
            DnsCommand::Lookup(network, name, answer) => {
                drop(answer.send(addresses_of(&names, &network, &name)));
            }
            DnsCommand::Reverse(network, ip, answer) => {
                drop(answer.send(names_of(&names, &network, ip)));
            }
        }
    }
}
