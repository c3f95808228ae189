//! What engines say of containers: asked, and told by themselves.

use std::sync::Arc;
use std::time::Duration;

use mesh_proto::api::Runtime;
use mesh_proto::names::Domain;
use tokio::sync::mpsc;

use super::details::Details;
use crate::engine::{Engine, EngineError, EngineEvent};

/// Events of an engine that wait for the task.
const EVENTS: usize = 256;
/// Time after which an engine that went away, or did not answer, is asked again.
pub(super) const AGAIN: Duration = Duration::from_secs(1);
/// The same for podman's events, which cost a process each time: it is looked at every few seconds anyway.
pub(super) const PODMAN_AGAIN: Duration = Duration::from_secs(30);
/// Questions about one container that an engine leaves unanswered before it is given up until something happens to it.
const TRIES: usize = 5;

/// What engines say.
pub(super) enum Word {
    Event(Runtime, EngineEvent),
    /// About a container; none if it cannot be asked.
    Details(String, Option<Box<Details>>),
}

/// What the engine says of a container; none when it does not know it, or after a while of silence.
pub(super) async fn ask(engine: &dyn Engine, id: &str, domain: &Domain) -> Option<Details> {
    for _ in 0..TRIES {
        match engine.inspect(id).await {
            Ok(container) => return Some(Details::of(&container, domain)),
            Err(EngineError::NoContainer(_)) => return None,
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
    None
}

/// Passes on what an engine tells, and asks again when it was away. Ends with the task.
pub(super) async fn follow(engine: Arc<dyn Engine>, words: mpsc::Sender<Word>, again: Duration) {
    let runtime = engine.runtime();
    let (sender, mut events) = mpsc::channel(EVENTS);
    let pass = async {
        while let Some(event) = events.recv().await {
            if words.send(Word::Event(runtime, event)).await.is_err() {
                return;
            }
        }
    };
    let tell = async {
        loop {
            if let Err(error) = engine.follow(sender.clone()).await {
                tracing::debug!("no news of containers: {error}");
            }
            tokio::time::sleep(again).await;
        }
    };
    tokio::select! {
        () = pass => {}
        () = tell => {}
    }
}
