//! Docker's event stream: containers that start, end, are renamed or removed, or change networks.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use futures_core::Stream;
use tokio::sync::mpsc;

use super::client::DockerClient;
use crate::engine::{EngineError, EngineEvent};

/// Actions of containers and networks to subscribe to.
const ACTIONS: [&str; 7] = [
    "start",
    "die",
    "rename",
    "destroy",
    "update",
    "connect",
    "disconnect",
];

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
        let filters = [
            ("type", &["container", "network"][..]),
            ("event", &ACTIONS[..]),
        ];
        let owned = |(key, values): (&str, &[&str])| {
            let values = values.iter().map(ToString::to_string).collect();
            (key.to_owned(), values)
        };
        let options = EventsOptions {
            filters: Some(filters.into_iter().map(owned).collect()),
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

/// Converts a message of dockerd; `None` if it is not about a container.
fn event(message: EventMessage) -> Option<EngineEvent> {
    let actor = message.actor?;
    let mut attributes = actor.attributes.unwrap_or_default();
    let action = message.action?;
    if matches!(action.as_str(), "connect" | "disconnect") {
        return Some(EngineEvent::Changed(attributes.remove("container")?));
    }
    let id = actor.id?;
    Some(match action.as_str() {
        "destroy" => EngineEvent::Removed(id),
        "rename" => EngineEvent::Renamed(id, attributes.remove("name")?),
        _ => EngineEvent::Changed(id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<EngineEvent> {
        event(serde_json::from_str(json).unwrap())
    }

    /// Messages in the format of dockerd 20.10.
    #[test]
    fn events_are_read() {
        let json = r#"{"Type":"container","Action":"rename","Actor":{"ID":"ab",
            "Attributes":{"image":"ubuntu","name":"new","oldName":"/old"}},"scope":"local","time":1}"#;
        let renamed = EngineEvent::Renamed("ab".into(), "new".into());
        assert_eq!(read(json), Some(renamed));
        let json = r#"{"Type":"network","Action":"connect","Actor":{"ID":"net",
            "Attributes":{"container":"ab","name":"mesh","type":"mesh"}}}"#;
        assert_eq!(read(json), Some(EngineEvent::Changed("ab".into())));
        let json = r#"{"Type":"container","Action":"destroy","Actor":{"ID":"ab"}}"#;
        assert_eq!(read(json), Some(EngineEvent::Removed("ab".into())));
        let json = r#"{"Type":"container","Action":"die","Actor":{"ID":"ab","Attributes":{"exitCode":"137"}}}"#;
        assert_eq!(read(json), Some(EngineEvent::Changed("ab".into())));
        for nothing in [
            "{}",
            r#"{"Action":"start","Actor":{}}"#,
            r#"{"Action":"connect","Actor":{"ID":"n"}}"#,
        ] {
            assert_eq!(read(nothing), None);
        }
    }
}
