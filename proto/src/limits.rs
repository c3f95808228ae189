//! Bounds and timers of the protocol, each with the behaviour when it is reached.

use core::time::Duration;

/// Default TCP and UDP port.
pub const DEFAULT_PORT: u16 = 6783;
/// Default MTU inside the mesh: a full frame fits a relayed datagram on a 1,500-byte IPv4 underlay.
pub const DEFAULT_MTU: u16 = 1376;
/// Smallest and largest MTU that an operator may set.
pub const MTU_RANGE: core::ops::RangeInclusive<u16> = 576..=9000;

/// Longest Ethernet frame from a port; longer ones are dropped and counted.
pub const MAX_FRAME: usize = 9_216;
/// Longest super-frame of a port with offloads: an IP packet of 65,535 bytes, Ethernet header and one VLAN tag.
pub const MAX_SUPER_FRAME: usize = 65_535 + 18;
/// Segments of one super-frame: 64 KiB of the shortest TCP segments; one that needs more is dropped and counted.
pub const MAX_SEGMENTS: usize = 2_048;
/// Super-frames under construction for a port; for a further one the oldest is emitted.
pub const MAX_MERGE_FLOWS: usize = 8;
/// Datagrams in one UDP super-frame (Linux: `UDP_MAX_SEGMENTS`); a full one is emitted.
pub const MAX_MERGED_DATAGRAMS: usize = 64;
/// Longest datagram that is built or accepted.
pub const MAX_DATAGRAM: usize = MAX_FRAME + 256;
/// Datagrams in one run for the kernel: the most that Linux takes at once (`UDP_MAX_SEGMENTS` before 6.9).
pub const MAX_RUN_DATAGRAMS: usize = 64;
/// Bytes of the datagrams of one run: they must fit one IP packet.
pub const MAX_RUN_BYTES: usize = 65_000;
/// Hops of a datagram, after which it is dropped and counted.
pub const MAX_HOPS: u8 = 16;

/// MAC addresses in the table, all owners together; when full, the oldest of the largest owner is replaced.
pub const MAX_FDB: usize = 65_536;
/// MAC addresses of one owner (the local port or one peer); when full, its oldest is replaced.
pub const MAX_FDB_PER_OWNER: usize = 8_192;
/// Time after which an unseen MAC address is removed; longer than the ARP time-out of containers.
pub const FDB_AGE: Duration = Duration::from_secs(600);

/// Moves of one MAC within [`FDB_MOVE_WINDOW`] that are followed; after a further one it stays for [`FDB_HOLD`].
pub const FDB_MAX_MOVES: u32 = 8;
/// Window in which moves of one MAC are counted.
pub const FDB_MOVE_WINDOW: Duration = Duration::from_secs(2);
/// Time for which a MAC that moves too often stays where it is.
pub const FDB_HOLD: Duration = Duration::from_secs(1);

/// Time after a move in which frames from the previous owner are considered late, and do not move the MAC back.
pub const FDB_LATE: Duration = Duration::from_secs(1);

/// Claims of all routers about addresses of containers; if those of a router do not fit, none of them is stored.
pub const MAX_CLAIMS: usize = 131_072;
/// Time for which requests for an announced address are flooded after another MAC was seen for it; ends when its
/// owner is heard.
pub const CONTRADICTED_FOR: Duration = Duration::from_secs(600);
/// Time for which such requests are flooded after its owner did not answer; ends when it is heard.
pub const UNANSWERED_FOR: Duration = Duration::from_secs(60);
/// Announced addresses under doubt, for which requests are flooded; when full, the oldest is forgotten.
pub const MAX_DOUBTED: usize = 4_096;
/// Time in which the owner of an address may answer; a later request of the same asker is flooded.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Time for which an unanswered request is remembered.
pub const RESOLUTION_MEMORY: Duration = Duration::from_secs(30);
/// Unanswered requests remembered; when full, the oldest is forgotten. More than [`RESOLUTION_RATE`] permits in the
/// second after which Linux repeats a request.
pub const MAX_UNANSWERED: usize = 16_384;
/// Time for which two routers may announce one address because it moves. Among longer lasting claims only that of the
/// owner of the address's slice counts, and operators are warned.
pub const MOVE_SETTLES: Duration = Duration::from_secs(5);
/// Contested addresses of one network named to operators at once; of more, only that there are more.
pub const MAX_CONTESTS_SHOWN: usize = 16;
/// Interval at which the rightful owners of contested addresses are determined.
pub const CONTEST_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Moves of one MAC between routers within [`FLAP_WINDOW`] after which it flaps (RFC 7432 section 15.1).
pub const FLAP_MOVES: u32 = 5;
/// Window in which moves are counted for flapping.
pub const FLAP_WINDOW: Duration = Duration::from_secs(180);
/// MACs that moved or were withdrawn, with their last place; further ones are not stored, and count as new.
pub const MAX_MOBILE_MACS: usize = 4_096;
/// Time after which such a MAC may be forgotten to make room.
pub const MOBILE_MAC_MEMORY: Duration = Duration::from_secs(600);
/// Networks other than `default` that have members on this host; more are refused.
pub const MAX_NETWORKS_HERE: usize = 100;
/// Keys of one network at once, while one replaces another; further ones are ignored.
pub const MAX_NETWORK_KEYS: usize = 4;
/// MAC addresses of one network other than `default`; when full, the oldest of its largest owner is replaced.
pub const MAX_NETWORK_FDB: usize = 8_192;
/// MAC addresses of one owner in such a network; when full, its oldest is replaced.
pub const MAX_NETWORK_FDB_PER_OWNER: usize = 2_048;
/// MAC addresses that each such network may have in any case.
pub const SURE_NETWORK_FDB: usize = 256;
/// MAC addresses of all such networks together beyond those; a network without room replaces one of its own.
pub const SHARED_NETWORK_FDB: usize = 65_536;
/// Claims about addresses in one such network; if those of a router do not fit, none of them is stored.
pub const MAX_NETWORK_CLAIMS: usize = 16_384;
/// Claims that each such network may have in any case.
pub const SURE_NETWORK_CLAIMS: usize = 512;
/// Claims in all such networks together beyond those; likewise.
pub const SHARED_NETWORK_CLAIMS: usize = 131_072;
/// Announced addresses of one such network under doubt; when full, the oldest is forgotten.
pub const MAX_NETWORK_DOUBTED: usize = 512;
/// Unanswered requests of one such network remembered; when full, the oldest is forgotten.
pub const MAX_NETWORK_UNANSWERED: usize = 2_048;
/// MACs of one such network that moved or were withdrawn, as [`MAX_MOBILE_MACS`].
pub const MAX_NETWORK_MOBILE_MACS: usize = 512;
/// Bytes of frames of one such network that wait for sessions; further ones are dropped and counted.
pub const MAX_NETWORK_PENDING_BYTES: usize = 64 * 1024;
/// Fraction of the rate limits of a port that the port of each such network has in any case: one in so many frames.
/// More is within [`SHARED_NETWORK_RATES`].
pub const SURE_NETWORK_RATE: u64 = 16;
/// Rate limits that the ports of all such networks share, as a multiple of those of one port.
pub const SHARED_NETWORK_RATES: u64 = 4;

/// Underlay addresses reached through the mesh itself that are named at once; further ones are only counted.
pub const MAX_LOOPED: usize = 64;
/// Time for which such an address is named after the last packet for it entered by the port.
pub const LOOPED_SHOWN: Duration = Duration::from_secs(60);
/// Remote underlay addresses for which the local address they send to is stored; for further ones the kernel chooses
/// the source address.
pub const MAX_SOURCES: usize = 4_096;
/// Flapping MACs of one network named at once; further ones are only counted.
pub const MAX_FLAPS: usize = 64;
/// Time for which a MAC is named after it last flapped.
pub const FLAP_SHOWN: Duration = Duration::from_secs(60);
/// ARP requests and neighbour solicitations for remote containers from the local port, in a second; more are dropped
/// and counted.
pub const RESOLUTION_RATE: u64 = 10_000;
/// Such requests at once.
pub const RESOLUTION_BURST: u64 = 10_000;
/// Such requests of one interface of the bridge in a second, where the port distinguishes interfaces: below the
/// common limit, so that one interface cannot block the others. More are dropped and counted.
pub const RESOLUTION_RATE_EACH: u32 = 7_500;

/// Broadcasts other than such requests from one interface of the bridge in a second, where the port distinguishes
/// interfaces; set by the operator, this is the default. All interfaces together may send a third more, and as many
/// at once. More are dropped and counted.
pub const BROADCAST_RATE_EACH: u32 = 3_000;
/// Multicasts of one interface in a second, likewise: enough for three video streams of 40 Mbit/s.
pub const MULTICAST_RATE_EACH: u32 = 12_000;
/// Highest such limit that an operator may set.
pub const MAX_GROUP_RATE_EACH: u32 = 1_000_000;
/// Broadcasts, multicasts and requests, each, that one interface may send at once: half of the port's queue.
pub const GROUP_BURST_EACH: u32 = 128;
/// Frames to unknown MACs from the local port, in a second; more are dropped and counted.
pub const UNKNOWN_RATE: u64 = 1_000;
/// Frames to unknown MACs from the local port, at once.
pub const UNKNOWN_BURST: u64 = 2_000;
/// Duplicate windows for origins, and as many for relayed sessions; when full, the least recently used is forgotten.
pub const MAX_DUPLICATE_WINDOWS: usize = 16_384;
/// Time without a new datagram after which a duplicate window may be set back by an older number.
pub const DUPLICATE_MEMORY: Duration = Duration::from_secs(5);
/// Relayed handshake messages remembered as duplicates; when full, the oldest is forgotten.
pub const MAX_RELAYED_HANDSHAKES: usize = 4_096;
/// Bytes of a handshake message, header included; a longer one is dropped and counted.
pub const MAX_HANDSHAKE: usize = 1_024;
/// Frames that wait for a session with one peer; further ones are dropped and counted.
pub const MAX_PENDING_FRAMES: usize = 32;
/// Bytes of frames that wait for sessions, all peers together; further ones are dropped and counted.
pub const MAX_PENDING_BYTES: usize = 1024 * 1024;
/// Time for which a frame waits for a session before it is dropped and counted.
pub const PENDING_AGE: Duration = Duration::from_secs(2);
/// Shortest time between two equal events from the data plane to the control plane.
pub const EVENT_INTERVAL: Duration = Duration::from_millis(100);
/// Events held back as equal at once; when full, further new ones are held back until the oldest has expired.
pub const MAX_THROTTLED_EVENTS: usize = 1_024;

/// Routers whose records are stored; further ones are refused and counted.
pub const MAX_PEERS: usize = 16_384;
/// Neighbours in one record.
pub const MAX_NEIGHBOURS: usize = 1_024;
/// Underlay addresses in one record.
pub const MAX_ENDPOINTS: usize = 16;
/// Attached addresses in one record.
pub const MAX_ATTACHED: usize = 4_096;
/// Docker networks with our driver that are remembered; a further one is refused.
pub const MAX_DOCKER_NETWORKS: usize = 1_024;
/// Address pools of Docker that are remembered; a further one is refused.
pub const MAX_DOCKER_POOLS: usize = 1_024;
/// Addresses of the host itself in the mesh; more are refused.
pub const MAX_EXPOSED: usize = 32;
/// Other bridges of a host that are joined to the mesh; more are refused.
pub const MAX_BRIDGES: usize = 32;
/// Names of one address of the host; more are refused.
pub const MAX_EXPOSED_NAMES: usize = 16;
/// Topics of records, numbered from 1; records about others are refused.
pub const MAX_TOPICS: u8 = 16;
/// Bytes of one signed record.
pub const MAX_RECORD: usize = 160 * 1024;
/// Bytes of one record about a topic that this version does not know; a longer one is refused.
pub const MAX_UNKNOWN_RECORD: usize = 8 * 1024;
/// Cost in bytes of all records, each [`RECORD_COST`] more than its length. When full, unreachable routers are
/// evicted first, then those added last; an unknown router is refused, unless it has a link here.
pub const MAX_DATABASE: usize = 32 * 1024 * 1024;
/// Bytes of the records of routers first learnt from one neighbour; further ones are refused.
pub const MAX_DATABASE_PER_LINK: usize = 24 * 1024 * 1024;
/// Bytes of the records of routers that were never reachable; further ones are refused, and beyond half of it all but
/// identities and links.
pub const MAX_UNREACHED: usize = 4 * 1024 * 1024;
/// Time after which they expire once a quarter of [`MAX_UNREACHED`] is used, unless they have a link to this one.
pub const UNREACHED_FOR: Duration = Duration::from_secs(10);
/// Overhead of a record in the database, in bytes.
pub const RECORD_COST: usize = 128;
/// Time for which no eviction is tried after one failed.
pub const FULL_FOR: Duration = Duration::from_millis(100);
/// Time for which `mesh status` shows that a record was refused for lack of room.
pub const FULL_SHOWN: Duration = Duration::from_secs(60);
/// Records of unknown routers that are requested at once while the database is full.
pub const MAX_REQUESTS_WHEN_FULL: usize = 64;
/// Bytes of one record about an identity: it fits the handshake of a link.
pub const MAX_IDENTITY_RECORD: usize = 1_024;
/// Bytes of one record about links.
pub const MAX_LINKS_RECORD: usize = 40 * 1024;
/// Bytes of a record around its body, at most.
pub const RECORD_OVERHEAD: usize = 128;
/// Settings in one record; further ones are ignored.
pub const MAX_SETTINGS: usize = 16;
/// Bytes of the name and of the value of one setting (UTF-8); longer ones are ignored.
pub const MAX_SETTING: usize = 128;
/// Bytes of a nickname (UTF-8).
pub const MAX_NICKNAME: usize = 63;
/// Bytes of a container's name in a record (UTF-8); longer ones are truncated.
pub const MAX_CONTAINER_NAME: usize = 63;

/// Bytes of one record of a TCP link, tag included (Noise limits a message to 65,535).
pub const MAX_LINK_RECORD: usize = 16 * 1024;
/// Bytes of one message of a TCP link after its records are reassembled.
pub const MAX_LINK_MESSAGE: usize = 256 * 1024;
/// Records in one link message.
pub const MAX_RECORDS_PER_MESSAGE: usize = 1_024;
/// Records in one summary; a longer one is split into ranges.
pub const MAX_SUMMARY: usize = 4_096;
/// Routers in a part of the digest tree up to which differing records are listed instead of hashed.
pub const SUMMARY_LEAF: usize = 8;
/// Records in one request, or in one advertisement.
pub const MAX_RECORDS_PER_REQUEST: usize = 4_096;
/// Bytes of the reason given for closing a link (UTF-8); longer ones are truncated.
pub const MAX_BYE_REASON: usize = 200;
/// Records sealed with one key of a TCP link before it is replaced (Noise `REKEY`).
pub const LINK_REKEY_RECORDS: u64 = 1 << 20;
/// Ciphertext bytes sealed with one key of a TCP link before it is replaced.
pub const LINK_REKEY_BYTES: u64 = 1 << 30;
/// Bytes a link buffers before its peer is authenticated.
pub const MAX_PREAUTH_BUFFER: usize = 4 * 1024;
/// Bytes queued for one neighbour; further messages are dropped, and left to anti-entropy.
pub const MAX_LINK_SEND_QUEUE: usize = 256 * 1024;
/// Bytes queued for one neighbour beyond which records wait, as a set of keys instead of a queue.
pub const MAX_GOSSIP_QUEUE: usize = 64 * 1024;
/// Unsent bytes of a TCP link in the kernel (`TCP_NOTSENT_LOWAT`).
pub const MAX_LINK_UNSENT: u32 = 16 * 1024;
/// Time a TCP link has to authenticate.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Unauthenticated links at once; when full, the oldest one of the source with the most is closed.
pub const MAX_HALF_OPEN: usize = 64;
/// Unauthenticated links from one IPv4 address or IPv6 /64; beyond that the oldest of them is closed.
pub const MAX_HALF_OPEN_PER_SOURCE: usize = 4;
/// Links to peers in total, dials included. An unknown dialler is refused beyond it; for a known one the youngest
/// inbound link to an unknown peer, of the source with the most, is closed.
pub const MAX_LINKS: usize = 256;
/// Inbound links from one IPv4 address or IPv6 /64; further ones are refused, unless the peer is known: a target, or
/// a former neighbour.
pub const MAX_LINKS_PER_SOURCE: usize = 16;
/// Connections in a second from all unknown sources; further ones are reset.
pub const ACCEPT_RATE: u64 = 256;
/// Connections from unknown sources at once.
pub const ACCEPT_BURST: u64 = 512;
/// Connections in a second from one IPv4 address or IPv6 /64; further ones are reset, unless a known router is there.
pub const ACCEPT_RATE_PER_SOURCE: u64 = 32;
/// Connections from one such source at once.
pub const ACCEPT_BURST_PER_SOURCE: u64 = 64;
/// Sources of connections with stored state; for a further one, that with the longest expired penalty is forgotten.
pub const MAX_CALLERS: usize = 1_024;
/// Time for which a source is refused after a handshake with a wrong secret; doubled by each further one.
pub const PENALTY_MIN: Duration = Duration::from_secs(1);
/// Longest such penalty.
pub const MAX_PENALTY: Duration = Duration::from_secs(60);
/// Time without a wrong secret after which the penalty of a source is reset.
pub const PENALTY_MEMORY: Duration = Duration::from_secs(600);
/// Wrong secrets in a row after which even a source with a known router gets a penalty.
pub const WRONG_SECRETS_FORGIVEN: u32 = 8;
/// Handshakes with a wrong secret in a second, from all sources, beyond which only known routers are admitted.
pub const WRONG_SECRET_RATE: u64 = 8;
/// Such handshakes at once.
pub const WRONG_SECRET_BURST: u64 = 64;
/// Connections in a second that get an alert about their penalty; further ones are reset silently.
pub const PENALTY_ALERTS: u64 = 8;
/// Time for which a link must have been up for its peer to count as known when it returns.
pub const FAMILIAR_AFTER: Duration = Duration::from_secs(5);
/// Such known routers; when full, no more are added until one has been gone for [`FORGET_AFTER`].
pub const MAX_FAMILIAR: usize = 256;
/// Explicit targets (`mesh connect`).
pub const MAX_TARGETS: usize = 1_024;
/// Arguments of `mesh forget` that are stored; of more, the oldest are dropped.
pub const MAX_FORGOTTEN: usize = 256;

/// Width of the replay window of a session, in datagrams.
pub const REPLAY_WINDOW: u64 = 8_192;
/// Sessions of a router; when full, the longest idle one is dropped.
pub const MAX_SESSIONS: usize = 4_096;
/// Datagrams sealed with one key before a new handshake is begun.
pub const REKEY_AFTER_MESSAGES: u64 = 1 << 32;
/// Datagrams after which a key is never used again.
pub const REJECT_AFTER_MESSAGES: u64 = 1 << 48;
/// Age at which the initiator begins a new handshake, if the session carried frames within [`PROBE_WHILE_USED`].
pub const REKEY_AFTER: Duration = Duration::from_secs(120);
/// Age at which the responder begins a new handshake, as a fallback.
pub const REKEY_AFTER_RESPONDER: Duration = Duration::from_secs(165);
/// Age at which a key expires.
pub const REJECT_AFTER: Duration = Duration::from_secs(180);
/// Failed authentications after which a key is dropped (RFC 9001 section 6.6, for ChaCha20-Poly1305).
pub const MAX_FORGERIES: u64 = 1 << 36;
/// Datagrams sealed with one AES-256-GCM key before a new handshake is begun: a quarter of what it may seal.
pub const AES_GCM_REKEY_AFTER_MESSAGES: u64 = 1 << 22;
/// Datagrams after which an AES-256-GCM key is never used again: less than 2^24.5 of at most 2^14 bytes (RFC 8446
/// section 5.5), beyond which an attacker's advantage against confidentiality is no longer below 2^-57.
pub const AES_GCM_REJECT_AFTER_MESSAGES: u64 = 1 << 24;
/// Failed authentications after which an AES-256-GCM key is dropped (RFC 9001 section 6.6).
pub const AES_GCM_MAX_FORGERIES: u64 = 1 << 52;
/// Suites in an Init; those of least preference beyond are not offered.
pub const MAX_OFFERED_SUITES: usize = 4;
/// A session without frames for this long is dropped, unless its peer is a neighbour.
pub const SESSION_IDLE: Duration = Duration::from_secs(600);

/// Interval of the housekeeping, and of probes to addresses that may reach a peer.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// Interval of probes on a direct path; only one end sends them, and they count as replies for the other.
pub const PATH_BEAT: Duration = Duration::from_millis(1_500);
/// Silence on a direct path after which both ends send probes, every [`PATH_RETRY`].
pub const PATH_DOUBT: Duration = Duration::from_millis(2_000);
/// Time between probes of a direct path that is in doubt.
pub const PATH_RETRY: Duration = Duration::from_millis(250);
/// Interval of keepalives on a link, sent by its dialler, while there is a direct path to the peer.
pub const LINK_BEAT: Duration = Duration::from_secs(5);
/// Silence after which a link is dead while there is a direct path to the peer.
pub const LINK_DEAD_AFTER: Duration = Duration::from_secs(10);
/// Silence after which a direct path is dead, and a link to a peer without one.
pub const DEAD_AFTER: Duration = Duration::from_millis(3_500);
/// Time without a direct path to a neighbour after which UDP is reported as blocked.
pub const UDP_PATIENCE: Duration = Duration::from_secs(10);
/// Time without an answer from any address of a peer after which it is probed from another UDP port, too.
pub const FLOW_PATIENCE: Duration = Duration::from_secs(5);
/// Time after which that port is replaced by another one if there is no answer there either.
pub const FLOW_RENEW: Duration = Duration::from_secs(20);
/// Interval of probes to an alternative to the direct path; only one end compares, one address at a time.
pub const COMPARE_INTERVAL: Duration = Duration::from_secs(10);
/// Longest such interval, for an address that never answered.
pub const COMPARE_INTERVAL_MAX: Duration = Duration::from_secs(120);
/// Consecutive answers by which an address must be better before data moves there.
pub const COMPARE_TIMES: u8 = 4;
/// Difference in round-trip time by which it must be better at least, besides a third.
pub const COMPARE_SLACK: Duration = Duration::from_millis(2);
/// Time for which the round-trip time under load of a former path is remembered; doubled each time.
pub const COMPARE_MEMORY: Duration = Duration::from_secs(600);
/// Hold-down of an address whose path fell silent; doubled each time.
pub const COMPARE_HOLD: Duration = Duration::from_secs(15);
/// Time after a move in which datagrams of the peer from its old address do not move the path back.
pub const FOLLOW_WITHIN: Duration = Duration::from_secs(5);
/// Round-trip time assumed for a lost probe of the direct path in a comparison.
pub const LOST_AS: Duration = Duration::from_millis(500);
/// Peers of the kernel fast path; frames for further ones stay in user space.
pub const MAX_FAST_PEERS: usize = 1_024;
/// Time after which the records of an unreachable router expire.
pub const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Time after a change of the topology for which broadcasts are flooded (with duplicate suppression).
pub const SETTLE: Duration = Duration::from_secs(2);
/// Time after which an unanswered dial is repeated beside the first one, or at the next address (RFC 8305 section 5
/// recommends 250 ms; the kernel would repeat a lost SYN only after a second).
pub const DIAL_AGAIN: Duration = Duration::from_millis(300);
/// Time, besides twice the round-trip time, in which a peer whose link broke must answer by UDP to stay a neighbour.
pub const KEEP_PROOF: Duration = Duration::from_millis(500);
/// Time for which a peer that answers by UDP stays a neighbour without a link.
pub const KEEP_ROUTE: Duration = Duration::from_secs(15);
/// Time in which the peer with the lower identity dials a discovered peer, before that one dials it.
pub const DIAL_YIELD: Duration = Duration::from_millis(600);
/// First backoff between two dials of one target; grows by half up to one of the two below.
pub const REDIAL_MIN: Duration = Duration::from_millis(250);
/// Longest backoff of an explicit target: a repaired cable is noticed within ten seconds.
pub const REDIAL_MAX_EXPLICIT: Duration = Duration::from_secs(8);
/// Longest backoff of a peer learnt by gossip.
pub const REDIAL_MAX_DISCOVERED: Duration = Duration::from_secs(30);
/// Routers up to which the links are a full mesh; above, each router has about eight.
pub const FULL_MESH: usize = 32;
/// Delay of the links of a full mesh beyond those needed in a larger mesh: more routers may become known.
pub const FULL_MESH_DELAY: Duration = Duration::from_millis(1_500);
/// Links in a larger mesh to the next ids on the ring.
pub const RING_LINKS: usize = 2;
/// Links in a larger mesh to routers chosen at random.
pub const RANDOM_LINKS: usize = 2;
/// Links of a router in a larger mesh; further ones that it does not need are refused or closed.
pub const MAX_DEGREE: usize = 16;
/// Unreachable routers that are dialled in a larger mesh.
pub const UNREACHABLE_DIALS: usize = 4;
/// Neighbours stored for a warm start.
pub const MAX_WARM_START: usize = 32;
/// Time for which the neighbours must be unchanged before they are stored.
pub const WARM_START_STABLE: Duration = Duration::from_secs(5);
/// Time after a warm start for which no other neighbours are chosen.
pub const WARM_START_DELAY: Duration = Duration::from_millis(1_500);
/// Time for which a link must have been up, and not wanted, before it is closed if neither end wants it.
pub const SPARE_AFTER: Duration = Duration::from_secs(10);
/// Time for which a router that had enough links is not chosen again.
pub const DECLINED_FOR: Duration = Duration::from_secs(600);
/// Interval of anti-entropy with each neighbour.
pub const ANTI_ENTROPY: Duration = Duration::from_secs(5);
/// Hold-down between two records of one router about one topic; the first change after a quiet time is sent at once.
pub const HOLD_DOWN: Duration = Duration::from_secs(1);
/// Hold-down of names: they are to be known within a second, also if several containers start one after another.
pub const NAMES_HOLD_DOWN: Duration = Duration::from_millis(250);
/// Records about links that may follow one another without [`HOLD_DOWN`] when neighbours came or went.
pub const LINKS_BURST: u32 = 8;
/// Shortest time between those.
pub const LINKS_GAP: Duration = Duration::from_millis(200);
/// Records of one router accepted in a second; more are left to anti-entropy, and counted.
pub const RECORD_RATE: u64 = 8;
/// Records of one router accepted at once.
pub const RECORD_BURST: u64 = 32;
/// Records with a wrong signature from one link in a second, beyond which its records are no longer verified, but
/// refused and counted.
pub const FORGERY_RATE: u64 = 8;
/// Records with a wrong signature from one link at once.
pub const FORGERY_BURST: u64 = 64;
/// Unicast messages from one link in a second, for this router or to be forwarded; more are dropped and counted.
pub const UNICAST_RATE: u64 = 500;
/// Unicast messages from one link at once.
pub const UNICAST_BURST: u64 = 2_000;
/// Time without a sign of another router with the same key after which it is considered gone.
pub const DUPLICATE_IDENTITY_QUIET: Duration = Duration::from_secs(60);
/// Time for which records for one neighbour are collected into one message.
pub const COALESCE: Duration = Duration::from_millis(20);
/// Delay after which the versions of records are advertised to neighbours beside the broadcast tree (lazy push).
pub const LAZY_PUSH_DELAY: Duration = Duration::from_millis(100);
/// Neighbours that get it: the next on the ring of ids.
pub const LAZY_PUSH_FANOUT: usize = 4;
/// Records waiting for one neighbour beyond which it gets none that other neighbours may send as well, unless it is
/// next on the ring.
pub const BUSY_LINK: usize = 64;
/// Time after which an advertised record that did not arrive is requested from another neighbour.
pub const REQUEST_TIMEOUT: Duration = Duration::from_millis(200);
/// Extension of that time for each outstanding request.
pub const REQUEST_TIMEOUT_EACH: Duration = Duration::from_micros(20);
/// Neighbours from which a record is requested, one after the other.
pub const REQUEST_ATTEMPTS: u32 = 4;
/// Outstanding requests for records.
pub const MAX_REQUESTS: usize = 65_536;
/// Outstanding requests for records advertised by one neighbour: advertisements of records that do not exist must
/// not take all the room.
pub const MAX_REQUESTS_PER_LINK: usize = 16_384;
/// Shortest time between two changes of the announced cost of a link.
pub const COST_HOLD: Duration = Duration::from_secs(60);
/// Difference in milliseconds between the round-trip time of a link and its announced cost that is tolerated.
pub const COST_SLACK: u16 = 10;
/// Shortest time between two computations of routes, on average.
pub const ROUTES_INTERVAL: Duration = Duration::from_millis(250);
/// Computations of routes that may follow one another without [`ROUTES_INTERVAL`] after a quiet time.
pub const ROUTES_BURST: u32 = 4;
/// Shortest time between those.
pub const ROUTES_GAP: Duration = Duration::from_millis(20);
/// [`ROUTES_INTERVAL`] per known router, where that is longer: the time of a computation grows with the mesh.
pub const ROUTES_INTERVAL_EACH: Duration = Duration::from_micros(100);
/// [`ROUTES_GAP`] per known router, where that is longer.
pub const ROUTES_GAP_EACH: Duration = Duration::from_micros(20);
/// Shortest time between two snapshots, so that a burst of changes costs one computation.
pub const DEBOUNCE: Duration = Duration::from_millis(20);
/// Bytes of records put into one gossip message.
pub const MAX_GOSSIP_BATCH: usize = 16 * 1024;
/// Underlay addresses probed for one peer.
pub const MAX_CANDIDATES: usize = 8;
/// Names pinned to the keys first seen with them; further names are not pinned.
pub const MAX_PINS: usize = 4_096;
/// Outstanding probes to one peer; the oldest is given up.
pub const MAX_OUTSTANDING_PROBES: usize = 32;
/// Shortest time between two probes of newly seen addresses of one peer.
pub const ROAM_INTERVAL: Duration = Duration::from_millis(500);
/// Failed inbound links shown in `status connections`.
pub const MAX_FAILED_INBOUND: usize = 32;
/// Time for which they are shown.
pub const FAILED_INBOUND_AGE: Duration = Duration::from_secs(120);
/// Time after its last frame for which a session with a router that is no neighbour is probed for a direct path.
pub const PROBE_WHILE_USED: Duration = Duration::from_secs(30);
/// Own addresses learnt from peers (NAT) that are announced.
pub const MAX_OBSERVED: usize = 4;
/// Shortest time between two changes of the address that one neighbour observes.
pub const OBSERVED_HOLD: Duration = Duration::from_secs(10);
/// Backoff between the attempts of a session handshake; the last one repeats. All with ±10 % jitter.
pub const HANDSHAKE_RETRIES: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// Inits of one handshake whose answers are accepted, and answers that may be confirmed; the oldest is dropped.
/// Together they span more time than a frame waits ([`PENDING_AGE`]).
pub const KEPT_ATTEMPTS: usize = 4;
/// Time after which an unanswered session handshake is given up and counted; the next frame begins another.
pub const HANDSHAKE_GIVE_UP: Duration = Duration::from_secs(90);
/// Time for the other side to confirm its handshake before an own one is begun after all.
pub const HANDSHAKE_YIELD: Duration = Duration::from_secs(1);
/// Attempts of a handshake that take precedence over that of a peer with a higher id; after those none does.
pub const PRECEDENCE_ATTEMPTS: usize = 4;
/// Responses that are tried per attempt of a handshake; further ones are refused until the next attempt.
pub const RESPONSE_ATTEMPTS: u32 = 8;
/// Session Inits per second above which cookies are required.
pub const HANDSHAKE_LOAD: u32 = 100;
/// Inits with a valid cookie per second and source (IPv4 address or IPv6 /64) under load; further ones are refused.
pub const HANDSHAKES_PER_SOURCE: u32 = 20;
/// Sources distinguished within one second under load; messages of further ones are refused.
pub const MAX_HANDSHAKE_SOURCES: usize = 1_024;
/// Relayed Inits per second under load, as these cannot prove an address; further ones are refused.
pub const RELAYED_HANDSHAKES: u32 = 50;
/// Age at which the secret of the cookies is replaced, and at which a cookie is not used any more.
pub const COOKIE_AGE: Duration = Duration::from_secs(120);
/// Interval of the upkeep of a session: rekeying, silence, keepalive.
pub const SESSION_UPKEEP: Duration = Duration::from_secs(5);
/// Time without an answer to frames after which a new handshake begins: the peer may have lost the keys.
pub const SESSION_SILENCE: Duration = Duration::from_secs(10);
/// Empty Probes sent to confirm new keys, at most.
pub const CONFIRM_ATTEMPTS: usize = 5;
/// Waiting outputs of the session manager; when full, datagrams are refused and timers wait.
pub const MAX_SESSION_OUTPUTS: usize = 16_384;

/// Smallest path MTU inside the mesh: on a narrower underlay the routers fragment their datagrams (kind Fragment).
pub const MIN_INNER_MTU: u16 = 1280;
/// UDP payload assumed to pass every path before it is probed, and after a black hole (RFC 8899), in bytes.
pub const BASE_DATAGRAM: u16 = 1200;
/// Shortest UDP payload that is probed: it passes an IPv4 link with an MTU of 576, in bytes.
pub const MIN_DATAGRAM: u16 = 548;
/// Lost probes of one size, while shorter ones are answered, after which that size does not pass.
pub const PMTU_PROBES: u8 = 3;
/// Shortest wait for the reply to a probe of a size; normally twice the round-trip time and 0.1 s.
pub const PMTU_WAIT_MIN: Duration = Duration::from_millis(200);
/// Longest wait for the reply to a probe of a size.
pub const PMTU_WAIT_MAX: Duration = Duration::from_secs(2);
/// Difference between the longest size that passes and the shortest that fails at which the search ends.
pub const PMTU_STEP: u16 = 16;
/// Time after which a longer path MTU is searched again.
pub const PMTU_RAISE: Duration = Duration::from_secs(600);

/// ICMP errors about the path MTU in a second; further ones are not sent (Linux: `icmp_msgs_per_sec`).
pub const TOO_BIG_RATE: u64 = 1_000;
/// ICMP errors about the path MTU at once (Linux: `icmp_msgs_burst`).
pub const TOO_BIG_BURST: u64 = 50;

/// Fragments of one datagram; one that needs more is dropped and counted.
pub const MAX_FRAGMENTS: u8 = 32;
/// Incomplete datagrams of one session; when full, the oldest of the session is dropped and counted.
pub const MAX_PARTIALS_PER_SESSION: usize = 32;
/// Bytes of their fragments; when full, the oldest of the session is dropped and counted.
pub const MAX_PARTIAL_BYTES_PER_SESSION: usize = 64 * 1024;
/// Incomplete datagrams of all sessions; when full, the oldest is dropped and counted.
pub const MAX_PARTIALS: usize = 1_024;
/// Bytes of their fragments; when full, the oldest is dropped and counted.
pub const MAX_PARTIAL_BYTES: usize = 4 * 1024 * 1024;
/// Time after which an incomplete datagram is dropped and counted.
pub const PARTIAL_AGE: Duration = Duration::from_secs(1);

/// Bytes of the domain of the mesh, and of a name in it without the domain (both together are a valid DNS name).
pub const MAX_DNS_NAME: usize = 120;
/// Names stated by one router for its containers; further ones are left out and counted, or refused on request.
pub const MAX_HOST_NAMES: usize = 4_096;
/// Pairs of a name and an address stated by one router; treated like the names.
pub const MAX_HOST_NAME_PAIRS: usize = 8_192;
/// Bytes of one router's statement of names; names without room are left out and counted.
pub const MAX_NAMES_STATEMENT: usize = 128 * 1024;
/// Addresses of one name of one container in a statement; further ones are refused if added manually, and left out of
/// a container's own names.
pub const MAX_NAME_ADDRESSES: usize = 256;
/// Ports of one entry of a statement of names; further ones are left out.
pub const MAX_NAME_PORTS: usize = 16;
/// Bytes of the name of a service (RFC 6335 section 5.1).
pub const MAX_SERVICE: usize = 15;
/// Bytes of a container's id in a statement of names; the rest is left out.
pub const MAX_NAME_CONTAINER: usize = 12;
/// Pairs of a name and an address stated by other routers; a statement without room is refused.
pub const MAX_NAME_PAIRS: usize = 131_072;
/// Pairs as which a network other than `default` in a statement counts besides its own, for the tables of its names.
pub const NETWORK_NAME_PAIRS: usize = 8;
/// Names added manually on one host, and names of containers removed manually; further ones are refused.
pub const MAX_MANUAL_NAMES: usize = 1_024;
/// Time after the start before which a missing name is not denied, unless all names are known earlier.
pub const NAMES_SETTLE: Duration = Duration::from_secs(2);
/// Records in one DNS answer; if there are more, a random choice.
pub const MAX_DNS_RECORDS: usize = 1_000;
/// Bytes of a DNS message over UDP, whatever the client permits (DNS flag day 2020: no fragments); longer ones use
/// TCP.
pub const MAX_DNS_UDP: usize = 1_232;
/// Bytes of a DNS query; longer ones are dropped.
pub const MAX_DNS_QUERY: usize = 1_024;
/// Upstream servers used from `resolv.conf`; further ones are ignored.
pub const MAX_UPSTREAMS: usize = 8;
/// Forwarded queries at once; further ones get an error.
pub const MAX_DNS_FORWARDS: usize = 128;
/// Forwarded queries of one client at once.
pub const MAX_DNS_FORWARDS_PER_SOURCE: usize = 64;
/// Servers tried for one query, repetitions included.
pub const MAX_DNS_TRIES: usize = 3;
/// Time after which a client gets an answer in any case.
pub const DNS_DEADLINE: Duration = Duration::from_millis(1_900);
/// Time without an answer after which the next server is tried, too.
pub const DNS_PATIENCE: Duration = Duration::from_millis(600);
/// Wrong answers after which a server is given up, because an attacker may be guessing.
pub const MAX_DNS_STRAYS: usize = 8;
/// Interval at which `resolv.conf` is checked.
pub const RESOLV_CONF_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes read of `resolv.conf`.
pub const MAX_RESOLV_CONF: u64 = 64 * 1024;
/// Changes of names queued for the DNS server; when full, the sender waits, and then sends the newest only.
pub const MAX_DNS_COMMANDS: usize = 256;
/// TCP connections to the DNS server; further ones are closed.
pub const MAX_DNS_CONNECTIONS: usize = 64;
/// Connections of one client.
pub const MAX_DNS_CONNECTIONS_PER_SOURCE: usize = 16;
/// Network namespaces of containers in which the DNS server listens, each with two sockets; containers beyond are not
/// configured to use it, and `status dns` shows their number.
pub const MAX_DNS_NAMESPACES: usize = 256;
/// Time without a query after which such a connection is closed, and time limit for sending an answer.
pub const DNS_IDLE: Duration = Duration::from_secs(5);
/// Slices of the address range, at most.
pub const MAX_SLICES: u16 = 4_096;
/// Addresses held by one router's containers; further allocations and claims are refused.
pub const MAX_LOCAL_LEASES: usize = 4_096;
/// Addresses lent by one router; further requests are denied.
pub const MAX_REMOTE_LEASES: usize = 4_096;
/// Addresses in one statement or message that are held outside their slice's owner.
pub const MAX_IPAM_PINS: usize = MAX_LOCAL_LEASES + MAX_REMOTE_LEASES;
/// Runs of slices in one statement or message; as many as there are slices.
pub const MAX_IPAM_RUNS: usize = MAX_SLICES as usize;
/// Removals of routers that one router remembers; the oldest is forgotten.
pub const MAX_FENCES: usize = 256;
/// Addresses held twice in one statement; further ones are not reported to others.
pub const MAX_ADDRESS_CONFLICTS: usize = 256;
/// Bytes of one statement about addresses, or of one message about them; a longer one is refused.
pub const MAX_IPAM_BYTES: usize = MAX_RECORD - RECORD_OVERHEAD;
/// Bytes of a container's id.
pub const MAX_CONTAINER_ID: usize = 128;
/// Waiting allocations and claims; further ones are refused.
pub const MAX_IPAM_REQUESTS: usize = 1_024;
/// Waiting messages about addresses; further ones are dropped, and repeated by their timers.
pub const MAX_IPAM_OUTPUTS: usize = 4_096;
/// Slices granted on one request.
pub const MAX_GRANT: u16 = 16;
/// Shortest time between two statements of one router about addresses.
pub const IPAM_STATEMENT_INTERVAL: Duration = Duration::from_millis(100);
/// Interval at which waiting requests, grants and agreements are checked.
pub const IPAM_TICK: Duration = Duration::from_millis(250);
/// Time for an owner to answer a request before the next one is asked.
pub const IPAM_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Time after which owners that denied a request are asked again.
pub const IPAM_REQUEST_RETRY: Duration = Duration::from_secs(2);
/// Interval at which a grant, or a request for agreement, is repeated.
pub const IPAM_RESEND: Duration = Duration::from_millis(500);
/// Time for a grant to arrive before its receiver requests the agreement of all others instead.
pub const IPAM_TAKE_DELAY: Duration = Duration::from_secs(1);
/// Time for which a router with configured peers waits for them before it takes the whole range.
pub const IPAM_BOOTSTRAP_WAIT: Duration = Duration::from_secs(5);
/// Time for which a router must have been unreachable to be removed without force.
pub const IPAM_DEAD_AFTER: Duration = Duration::from_secs(600);
/// Interval at which routers to be removed automatically are searched.
pub const IPAM_RECLAIM_TICK: Duration = Duration::from_secs(10);
/// Time for others to take over the space of a router that leaves.
pub const IPAM_LEAVE_WAIT: Duration = Duration::from_secs(10);
/// Subnets of networks besides `default` in whose allocation one router takes part; requests in further ones are refused.
/// Those without room in the record ([`MAX_IPAM_BYTES`], the network `default` first) are not stated: the router gets
/// nothing from others there, and gives nothing to them, until there is room.
pub const MAX_ADDRESS_SPACES: usize = 1_024;
/// Networks of the mesh that one router knows, `default` not counted; a further one is refused, whether it was created
/// here or elsewhere, until one is removed. None that is known is given up for it.
pub const MAX_NETWORKS: usize = 1_000;
/// Networks stated by one router, and of those known the ones first heard from one router; further ones of that router
/// are refused, so that one router alone never takes the room of all others.
pub const MAX_STATED_NETWORKS: usize = 500;
/// Networks in which one router has containers; containers in a further one are refused.
pub const MAX_USED_NETWORKS: usize = 100;
/// Bytes of one statement about networks; a longer one is refused, and definitions without room are left out or refused.
pub const MAX_NETWORKS_STATEMENT: usize = MAX_RECORD - RECORD_OVERHEAD;
/// Bytes of a network's definition in a statement: those of [`MAX_USED_NETWORKS`] networks fit one.
pub const MAX_NETWORK_DEFINITION: usize = 1_440;
/// Characters of a network's name; a longer one is refused.
pub const MAX_NETWORK_NAME: usize = 63;
/// Subnets of one network; more are refused.
pub const MAX_NETWORK_SUBNETS: usize = 8;
/// Labels of one network that its user gave it (`key=value`); more are refused.
pub const MAX_NETWORK_LABELS: usize = 16;
/// Bytes of their keys and values in all; longer ones are refused.
pub const MAX_NETWORK_LABEL_BYTES: usize = 700;
/// Bytes of members of later versions in a definition, a membership or a statement; they are carried, not read.
pub const MAX_NETWORK_EXTENSION: usize = 128;
/// Removed networks that one router remembers; for a further one, the oldest of the router that removed most is
/// forgotten.
pub const MAX_TOMBSTONES: usize = 4_096;
/// Removed networks in one statement: those that are still mentioned, then the newest; others are left out.
pub const MAX_STATED_TOMBSTONES: usize = 256;
/// Time for which a removed network is remembered at least; longer while a statement mentions it. Only time in which the
/// router runs counts.
pub const TOMBSTONE: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Time before a label of a network that this router left may mean another network.
pub const LABEL_QUARANTINE: Duration = Duration::from_secs(3_600);
/// Labels that wait for it; when full, no network is joined that has no label yet.
pub const MAX_RESTING_LABELS: usize = 4_096;
/// Time for which no reachable router states a network, or its removal, before one that knows it does.
pub const ADOPT_AFTER: Duration = Duration::from_secs(10);
/// Time that each reachable router with a lower id has to do so first.
pub const ADOPT_STEP: Duration = Duration::from_secs(1);
/// Routers with a lower id that are waited for at most.
pub const ADOPT_STEPS: u32 = 15;
/// Interval at which it is checked which networks a router has to state, while anything changes.
pub const NETWORKS_TICK: Duration = Duration::from_secs(1);
/// Interval at which a statement with removed networks is repeated, with their present ages.
pub const TOMBSTONE_REPEAT: Duration = Duration::from_secs(24 * 3_600);
/// Interval at which removed networks are checked for their age, and the age is stored.
pub const TOMBSTONE_TICK: Duration = Duration::from_secs(3_600);
/// Members of a network that announce a key of it; others hold it, and answer requests, without saying so.
pub const NETWORK_KEY_KEEPERS: usize = 8;
/// Time that the first [`NETWORK_KEY_KEEPERS`] members have to announce a key before each further such number does.
pub const NETWORK_KEY_KEEPER_STEP: Duration = Duration::from_secs(5);
/// Time after which a key seals though not all reachable members announce it.
pub const NETWORK_KEY_SETTLE: Duration = Duration::from_secs(10);
/// Time for which a key opens after it ceased to seal here and elsewhere; then it is erased.
pub const NETWORK_KEY_LINGER: Duration = Duration::from_secs(60);
/// Time after which a key is replaced.
pub const NETWORK_KEY_PERIOD: Duration = Duration::from_secs(24 * 3_600);
/// Least time between a change of the key and the next new key of one router.
pub const NETWORK_KEY_HOLD: Duration = Duration::from_secs(60);
/// Time in which a member that left may come back without a new key being made.
pub const NETWORK_KEY_LEFT: Duration = Duration::from_secs(5);
/// Time that each announcing member with a lower id has to make a new key first.
pub const NETWORK_KEY_STEP: Duration = Duration::from_secs(15);
/// Time for which a member without company waits before it makes a first key.
pub const NETWORK_KEY_ALONE: Duration = Duration::from_secs(5);
/// Time for which each member waits for one with a lower id to make a first key.
pub const NETWORK_KEY_MAKE_STEP: Duration = Duration::from_secs(1);
/// Members with a lower id that are waited for at most.
pub const NETWORK_KEY_MAKE_STEPS: u32 = 15;
/// Time for which a member without a key asks those that announce one, before it makes one itself.
pub const NETWORK_KEY_PATIENCE: Duration = Duration::from_secs(30);
/// Time before a request for a key is repeated; doubled each time.
pub const NETWORK_KEY_RETRY: Duration = Duration::from_millis(300);
/// Longest time before a request for a key is repeated.
pub const NETWORK_KEY_RETRY_MAX: Duration = Duration::from_secs(10);
/// Requests about one network in a second; further ones wait.
pub const NETWORK_KEY_ASK_RATE: u64 = 1;
/// Requests about one network at once.
pub const NETWORK_KEY_ASK_BURST: u64 = 8;
/// Requests about one network whose answer is taken; for a further one the oldest is forgotten.
pub const MAX_NETWORK_KEY_ASKS: usize = 3;
/// Keys of one network whose requests are counted; further ones are not asked for.
pub const MAX_NETWORK_KEYS_TRIED: usize = 64;
/// Requests of one member about one network that are answered in a second; further ones are dropped and counted.
pub const NETWORK_KEY_ANSWER_RATE: u64 = 1;
/// Requests of one member about one network that are answered at once.
pub const NETWORK_KEY_ANSWER_BURST: u64 = 16;
/// Requests of one member about one network that are known when they are repeated; the oldest is forgotten.
pub const MAX_ANSWERED_NETWORK_KEY_REQUESTS: usize = 8;
/// Requests for keys that are answered in a second, of all members about all networks; likewise.
pub const NETWORK_KEY_ANSWERS_RATE: u64 = 200;
/// Requests for keys that are answered at once, of all members about all networks.
pub const NETWORK_KEY_ANSWERS_BURST: u64 = 2_000;
/// Replaced keys of one network that are known by their fingerprints, so that they never seal again; the oldest is
/// forgotten.
pub const MAX_BURNT_NETWORK_KEYS: usize = 64;
/// Members of one network that left a moment ago; for a further one, keys are replaced at once.
pub const MAX_NETWORK_LEFT: usize = 256;
/// Least time between two reviews of the keys of one network.
pub const NETWORK_KEY_REVIEW: Duration = Duration::from_millis(100);
/// Interval of these reviews while anything about the keys is to change.
pub const NETWORK_KEY_TICK: Duration = Duration::from_millis(500);
