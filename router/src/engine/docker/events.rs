//! Docker's event stream.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use bollard::query_parameters::EventsOptions;
use futures_core::Stream;
use mesh_engine::docker::events::{event, filters};
use mesh_engine::error::EngineError;
use mesh_engine::event::EngineEvent;
use tokio::sync::mpsc;

use super::client::DockerClient;

/// Source of the events of one dockerd.
pub(super) struct EventStream {
    client: Arc<DockerClient>,
}

impl EventStream {
    pub(super) fn new(client: Arc<DockerClient>) -> Self {
        Self { client }
    }

    /// Sends events to `events`, until dockerd goes away or the receiver is dropped.
    pub(super) async fn tell(&self, events: mpsc::Sender<EngineEvent>) -> Result<(), EngineError> {
        let options = EventsOptions {
            filters: Some(filters()),
            ..EventsOptions::default()
        };
        let client = self.client.get().await?;
        let mut stream = pin!(client.events(Some(options)));
        // From here on no event is missed; earlier changes must be looked up.
        let mut next = Some(EngineEvent::Connected);
        loop {
            if let Some(event) = next
                && events.send(event).await.is_err()
            {
                return Ok(());
            }
            next = match poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
                Some(Ok(message)) => event(message),
                Some(Err(error)) => return Err(self.client.error(error, None)),
                None => return Err(EngineError::Unavailable("Docker went away".into())),
            };
        }
    }
}
