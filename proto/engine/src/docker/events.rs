//! Docker's event stream: containers that start, end, are renamed or removed, or change networks.

use std::collections::HashMap;

use bollard_stubs::models::{EventMessage, EventMessageTypeEnum};

use crate::event::EngineEvent;
use crate::network::DRIVER;

/// Actions of containers and networks to subscribe to.
const ACTIONS: [&str; 8] = [
    "create",
    "start",
    "die",
    "rename",
    "destroy",
    "update",
    "connect",
    "disconnect",
];

/// Returns the filters of the subscription.
pub fn filters() -> HashMap<String, Vec<String>> {
    let filters = [
        ("type", &["container", "network"][..]),
        ("event", &ACTIONS[..]),
    ];
    let owned = |(key, values): (&str, &[&str])| {
        let values = values.iter().map(ToString::to_string).collect();
        (key.to_owned(), values)
    };
    filters.into_iter().map(owned).collect()
}

/// Converts a message of dockerd; `None` if it is not about a container.
pub fn event(message: EventMessage) -> Option<EngineEvent> {
    let actor = message.actor?;
    let mut attributes = actor.attributes.unwrap_or_default();
    let action = message.action?;
    if matches!(action.as_str(), "connect" | "disconnect") {
        return Some(EngineEvent::Changed(attributes.remove("container")?));
    }
    let id = actor.id?;
    let is_network = message.typ == Some(EventMessageTypeEnum::NETWORK);
    if is_network || action == "create" {
        let is_ours = attributes
            .get("type")
            .is_some_and(|driver| driver == DRIVER);
        let name = attributes.remove("name")?;
        let is_new = is_network && is_ours && action == "create";
        return is_new.then_some(EngineEvent::NetworkCreated(id, name));
    }
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
        let json = r#"{"Type":"network","Action":"create","Actor":{"ID":"net",
            "Attributes":{"name":"web","type":"mesh"}}}"#;
        let created = EngineEvent::NetworkCreated("net".into(), "web".into());
        assert_eq!(read(json), Some(created));
        for nothing in [
            r#"{"Type":"network","Action":"create","Actor":{"ID":"n","Attributes":{"name":"x","type":"bridge"}}}"#,
            r#"{"Type":"network","Action":"destroy","Actor":{"ID":"n","Attributes":{"name":"x","type":"mesh"}}}"#,
            r#"{"Type":"container","Action":"create","Actor":{"ID":"c","Attributes":{"name":"x"}}}"#,
            "{}",
            r#"{"Action":"start","Actor":{}}"#,
            r#"{"Action":"connect","Actor":{"ID":"n"}}"#,
        ] {
            assert_eq!(read(nothing), None);
        }
    }
}
