//! The table of limits against `limits.rs`.

use std::collections::BTreeMap;

use mesh_proto::limits as l;

use crate::document;

const SOURCE: &str = include_str!("../../src/limits.rs");

/// Every limit as Rust prints it.
macro_rules! printed {
    ($($name:ident)*) => {
        BTreeMap::from([$((stringify!($name).to_owned(), format!("{:?}", l::$name)),)*])
    };
}

fn limits() -> BTreeMap<String, String> {
    printed! {
        DEFAULT_PORT DEFAULT_MTU MTU_RANGE MAX_FRAME MAX_DATAGRAM MAX_HOPS MAX_FDB MAX_FDB_PER_OWNER FDB_AGE
        FDB_MAX_MOVES FDB_MOVE_WINDOW FDB_HOLD FLOOD_RATE FLOOD_BURST MAX_DUPLICATE_WINDOWS DUPLICATE_MEMORY
        MAX_RELAYED_HANDSHAKES MAX_HANDSHAKE MAX_PENDING_FRAMES MAX_PENDING_BYTES PENDING_AGE EVENT_INTERVAL
        MAX_THROTTLED_EVENTS MAX_PEERS MAX_NEIGHBOURS MAX_ENDPOINTS MAX_ATTACHED MAX_RECORD MAX_NICKNAME
        MAX_CONTAINER_NAME MAX_EXTENSIONS MAX_EXTENSION MAX_LINK_RECORD MAX_LINK_MESSAGE
        MAX_RECORDS_PER_MESSAGE MAX_SUMMARY MAX_WANT MAX_BYE_REASON LINK_REKEY_RECORDS LINK_REKEY_BYTES
        MAX_PREAUTH_BUFFER MAX_LINK_SEND_QUEUE HANDSHAKE_TIMEOUT MAX_HALF_OPEN MAX_HALF_OPEN_PER_SOURCE MAX_LINKS FULL_ALERTS MAX_TARGETS
        REPLAY_WINDOW MAX_SESSIONS REKEY_AFTER_MESSAGES REJECT_AFTER_MESSAGES REKEY_AFTER
        REKEY_AFTER_RESPONDER REJECT_AFTER MAX_FORGERIES SESSION_IDLE HEARTBEAT DEAD_AFTER UDP_PATIENCE FORGET_AFTER SETTLE
        REDIAL_MIN REDIAL_MAX_EXPLICIT REDIAL_MAX_DISCOVERED FULL_MESH DEGREE ANTI_ENTROPY HOLD_DOWN RECORD_RATE RECORD_BURST CLONE_QUIET DEBOUNCE
        MAX_GOSSIP_BATCH MAX_CANDIDATES MAX_PINS MAX_OUTSTANDING_PROBES ROAM_INTERVAL MAX_FAILED_INBOUND FAILED_INBOUND_AGE PROBE_WHILE_USED MAX_OBSERVED OBSERVED_HOLD
        HANDSHAKE_RETRIES KEPT_ATTEMPTS HANDSHAKE_GIVE_UP HANDSHAKE_YIELD PRECEDENCE_ATTEMPTS RESPONSE_ATTEMPTS
        HANDSHAKE_LOAD HANDSHAKES_PER_SOURCE MAX_HANDSHAKE_SOURCES RELAYED_HANDSHAKES COOKIE_AGE
        SESSION_UPKEEP SESSION_SILENCE CONFIRM_ATTEMPTS MAX_SESSION_OUTPUTS
    }
}

#[test]
fn every_limit_is_in_the_table_with_its_value() {
    assert_eq!(document::limits(), limits());
}

#[test]
fn no_limit_is_left_out_here() {
    let declared = SOURCE
        .lines()
        .filter_map(|line| line.strip_prefix("pub const "));
    let names: Vec<&str> = declared.filter_map(|rest| rest.split(':').next()).collect();
    let known = limits();
    assert!(
        names.iter().all(|name| known.contains_key(*name)),
        "{names:?}"
    );
    assert_eq!(names.len(), known.len());
}
