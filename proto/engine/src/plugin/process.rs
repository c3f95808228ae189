//! The plugin process between Docker and the router: which of both answers, and for how long the router is waited for.

use core::time::Duration;

use serde_json::Value;

use super::call::is_error;
use super::endpoints::PluginEndpoints;
use super::{
    ALLOCATE_NETWORK, CREATE_ENDPOINT, CREATE_NETWORK, DELETE_ENDPOINT, DELETE_NETWORK, DESCRIBE,
    DESCRIBE_ENDPOINT, END, FREE_NETWORK, JOIN, LEAVE, RELEASE_ADDRESS, RELEASE_POOL,
    REQUEST_ADDRESS, REQUEST_POOL, endpoint_of,
};

/// The header of a call that the plugin process hands on: when it was sent, in milliseconds since the machine started.
pub const SENT: &str = "mesh-sent";
/// The router begins no call that was sent longer ago; shorter than any time after which it is given up.
pub const FRESH_FOR: Duration = Duration::from_millis(450);
/// The error of what the process cannot do without the router.
pub const WITHOUT_ROUTER: &str =
    "the mesh router of this host does not run, and only it can do this; start it with mesh launch";
/// Time that a router may take for a call before it is asked if it lives.
pub const PATIENCE: Duration = Duration::from_millis(500);
/// Timeout of a call to a live router; claiming an address from another router takes seconds.
const LONGEST: Duration = Duration::from_secs(10);

/// The part that answers a call of Docker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answerer {
    /// The process describes itself.
    Description,
    /// The process ends.
    End,
    /// The router, while it answers.
    Router,
    /// The process, independent of the router.
    Process,
}

impl Answerer {
    /// Returns the part that answers a call.
    pub fn of(path: &str) -> Self {
        match path {
            DESCRIBE => Self::Description,
            END => Self::End,
            CREATE_ENDPOINT | JOIN | DESCRIBE_ENDPOINT | LEAVE | DELETE_ENDPOINT
            | CREATE_NETWORK | DELETE_NETWORK | ALLOCATE_NETWORK | FREE_NETWORK | REQUEST_POOL
            | RELEASE_POOL | REQUEST_ADDRESS | RELEASE_ADDRESS => Self::Router,
            _ => Self::Process,
        }
    }
}

/// The next step with an answer of the router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouterAnswer {
    /// Docker gets it.
    Use,
    /// Docker gets it, and the process removes the interface of this endpoint, which it made itself.
    Remove(String),
    /// The process answers instead: the router has been restarted, or has lost its table.
    Replace,
}

/// Decides about the router's answer to a call, and notes it in `ends`.
pub fn take_answer(
    ends: &mut PluginEndpoints,
    path: &str,
    body: &[u8],
    answer: &Value,
) -> RouterAnswer {
    let endpoint = endpoint_of(body).unwrap_or_default();
    match path {
        JOIN if is_error(answer) && ends.get(&endpoint).is_some() => RouterAnswer::Replace,
        DELETE_ENDPOINT if ends.made_here(&endpoint) => RouterAnswer::Remove(endpoint),
        _ => {
            ends.note(path, body, answer);
            RouterAnswer::Use
        }
    }
}

/// The wait for the router's answer to one call.
#[derive(Debug)]
pub struct CallWait(Duration);

impl Default for CallWait {
    fn default() -> Self {
        Self(PATIENCE)
    }
}

impl CallWait {
    /// Returns true if the call is given up now that [`PATIENCE`] is over once more; else the router is asked if it lives.
    pub fn is_over(&self) -> bool {
        self.0 >= LONGEST
    }

    /// Waits once more for a router that lives.
    pub fn extend(&mut self) {
        self.0 += PATIENCE;
    }
}

/// Returns whether a call is to be answered, by the value of its header [`SENT`] and the time since the machine started: one
/// that lay about while the router was stopped has been answered by the plugin process itself.
pub fn is_fresh(sent: Option<&str>, uptime: Option<Duration>) -> bool {
    let sent = sent.and_then(|text| text.parse().ok());
    let age = sent.and_then(|sent| uptime?.checked_sub(Duration::from_millis(sent)));
    age.is_none_or(|age| age < FRESH_FOR)
}

#[cfg(test)]
mod tests {
    use super::super::call::{done, error};
    use super::super::endpoints::PluginEndpoint;
    use super::*;
    use mesh_host::docker::user_networks::WayOut;

    #[test]
    fn the_router_answers_what_changes_something() {
        for (path, want) in [
            (DESCRIBE, Answerer::Description),
            (END, Answerer::End),
            (JOIN, Answerer::Router),
            (DELETE_NETWORK, Answerer::Router),
            ("Plugin.Activate", Answerer::Process),
            (CREATE_NETWORK, Answerer::Router),
            (REQUEST_ADDRESS, Answerer::Router),
            ("IpamDriver.GetCapabilities", Answerer::Process),
        ] {
            assert_eq!(Answerer::of(path), want, "{path}");
        }
    }

    #[test]
    fn a_router_that_does_not_know_an_endpoint_is_helped() {
        let mut ends = PluginEndpoints::default();
        let body = br#"{"EndpointID": "e"}"#;
        let refused = error("unknown");
        let take = |ends: &mut PluginEndpoints, path: &str, answer: &Value| {
            take_answer(ends, path, body, answer)
        };
        assert_eq!(take(&mut ends, JOIN, &refused), RouterAnswer::Use);
        let bare = PluginEndpoint {
            options: None,
            peer: String::new(),
            way_out: WayOut::default(),
        };
        ends.enter("e", bare).unwrap();
        assert_eq!(take(&mut ends, JOIN, &refused), RouterAnswer::Replace);
        assert_eq!(take(&mut ends, JOIN, &done()), RouterAnswer::Use);
        let remove = RouterAnswer::Remove("e".to_owned());
        assert_eq!(take(&mut ends, DELETE_ENDPOINT, &done()), remove);
    }

    #[test]
    fn a_call_is_given_up_in_time() {
        let mut wait = CallWait::default();
        let mut rounds = 1;
        while !wait.is_over() {
            wait.extend();
            rounds += 1;
        }
        assert_eq!(PATIENCE * rounds, LONGEST);
    }

    #[test]
    fn a_call_that_lay_about_is_not_answered() {
        let up = |millis| Some(Duration::from_millis(millis));
        assert!(is_fresh(None, up(5_000)) && is_fresh(Some("x"), up(5_000)));
        assert!(is_fresh(Some("5000"), up(5_449)) && !is_fresh(Some("5000"), up(5_450)));
        // A clock that cannot be read, or that another boot had, says nothing.
        assert!(is_fresh(Some("5000"), None) && is_fresh(Some("5000"), up(4_000)));
    }
}
