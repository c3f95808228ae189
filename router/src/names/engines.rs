//! Queries to engines about containers, and their event streams.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use mesh_dns::containers::naming::{ContainerNaming, Services};
use mesh_engine::error::EngineError;
use mesh_engine::event::EngineEvent;
use mesh_names::Domain;
use mesh_proto::api::Runtime;
use tokio::sync::mpsc;

use crate::engine::Engine;

/// Capacity of an engine's event channel.
const EVENTS: usize = 256;
/// Delay before an unavailable engine is contacted again.
pub(super) const AGAIN: Duration = Duration::from_secs(1);
/// The same for podman's events, where each attempt costs a process; podman is polled every few seconds anyway.
pub(super) const PODMAN_AGAIN: Duration = Duration::from_secs(30);
/// Failed queries about one container after which it is left alone until its next event.
const TRIES: usize = 5;

/// System file with the names of services.
const SERVICES: &str = "/etc/services";

/// Message from an engine.
pub(super) enum EngineMessage {
    Event(Runtime, EngineEvent),
    /// Names of a container; `None` if they are unavailable.
    Inspected(String, Option<Box<ContainerNaming>>),
}

/// Queries the engine about a container; `None` if it does not know the container, or stays silent.
pub(super) async fn ask(engine: &dyn Engine, id: &str, domain: &Domain) -> Option<ContainerNaming> {
    for _ in 0..TRIES {
        match engine.inspect(id).await {
            Ok(container) => return Some(ContainerNaming::of(&container, domain, services())),
            Err(EngineError::NoContainer(_)) => return None,
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
    None
}

/// Returns the names of services on this host, as of the first call.
fn services() -> &'static Services {
    static KNOWN: LazyLock<Services> =
        LazyLock::new(|| Services::parse(&std::fs::read_to_string(SERVICES).unwrap_or_default()));
    &KNOWN
}

/// Forwards the events of an engine, and reconnects when it was away. Ends with the receiving task.
pub(super) async fn follow(
    engine: Arc<dyn Engine>,
    messages: mpsc::Sender<EngineMessage>,
    again: Duration,
) {
    let runtime = engine.runtime();
    let (sender, mut events) = mpsc::channel(EVENTS);
    let pass = async {
        while let Some(event) = events.recv().await {
            if messages
                .send(EngineMessage::Event(runtime, event))
                .await
                .is_err()
            {
                return;
            }
        }
    };
    let tell = async {
        loop {
            if let Err(error) = engine.follow(sender.clone()).await {
                tracing::debug!("no container events: {error}");
            }
            tokio::time::sleep(again).await;
        }
    };
    tokio::select! {
        () = pass => {}
        () = tell => {}
    }
}
