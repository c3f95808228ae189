//! Every bound of the protocol, in one place. What happens when one is reached is said beside it.

use core::time::Duration;

/// Default TCP and UDP port.
pub const DEFAULT_PORT: u16 = 6783;
/// Default MTU inside the mesh: a full frame fits a relayed datagram on a 1,500-byte IPv4 underlay.
pub const DEFAULT_MTU: u16 = 1376;
/// Smallest and largest MTU an operator may ask for.
pub const MTU_RANGE: core::ops::RangeInclusive<u16> = 576..=9000;

/// Longest Ethernet frame a port may hand over; a longer one is dropped and counted.
pub const MAX_FRAME: usize = 9_216;
/// Longest super-frame of a port with offloads: an IP packet of 65,535 bytes, Ethernet header and one VLAN tag.
pub const MAX_SUPER_FRAME: usize = 65_535 + 18;
/// Segments of one super-frame: a 64 KiB one of the shortest that TCP makes; one that asks for more is dropped and counted.
pub const MAX_SEGMENTS: usize = 2_048;
/// Super-frames that grow at once on their way into a port; for another one the oldest is emitted.
pub const MAX_MERGE_FLOWS: usize = 8;
/// Datagrams in one UDP super-frame (Linux: `UDP_MAX_SEGMENTS`); a full one is emitted.
pub const MAX_MERGED_DATAGRAMS: usize = 64;
/// Longest datagram we build or accept.
pub const MAX_DATAGRAM: usize = MAX_FRAME + 256;
/// Datagrams handed to the kernel as one run; what Linux takes at once (`UDP_MAX_SEGMENTS` before 6.9).
pub const MAX_RUN_DATAGRAMS: usize = 64;
/// Bytes of the datagrams of one run: what fits one IP packet.
pub const MAX_RUN_BYTES: usize = 65_000;
/// Hops a datagram may take before it is dropped and counted.
pub const MAX_HOPS: u8 = 16;

/// MAC addresses known at once, all ports and peers together; when full the oldest of the same owner is replaced.
pub const MAX_FDB: usize = 65_536;
/// MAC addresses known behind one owner (the local port or one peer).
pub const MAX_FDB_PER_OWNER: usize = 8_192;
/// A MAC that was not seen for this long is forgotten; longer than a container's ARP time-out.
pub const FDB_AGE: Duration = Duration::from_secs(600);

/// Moves of one MAC within [`FDB_MOVE_WINDOW`] that are followed; at the next one it stays for [`FDB_HOLD`].
pub const FDB_MAX_MOVES: u32 = 8;
/// Time in which moves of one MAC are counted.
pub const FDB_MOVE_WINDOW: Duration = Duration::from_secs(2);
/// How long a MAC that moved too often keeps its place.
pub const FDB_HOLD: Duration = Duration::from_secs(1);

/// Time after a move in which frames that seem to come from where the MAC was are taken for late ones, not for a move back.
pub const FDB_LATE: Duration = Duration::from_secs(1);

/// Addresses that routers announce for their containers, all together; of a router for which there is no room none is
/// known.
pub const MAX_CLAIMS: usize = 131_072;
/// Time for which everybody is asked for an announced address after somebody else said to have it; ends when its owner is
/// heard.
pub const CONTRADICTED_FOR: Duration = Duration::from_secs(600);
/// The same after its owner did not answer.
pub const UNANSWERED_FOR: Duration = Duration::from_secs(60);
/// Announced addresses for which everybody is asked; when full the oldest is forgotten.
pub const MAX_DOUBTED: usize = 4_096;
/// Time in which the owner of an address may answer; whoever asks again later asks everybody.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Time for which it is remembered who asked an owner and was not seen to be answered.
pub const ASKED_MEMORY: Duration = Duration::from_secs(30);
/// Questions remembered so; when full the oldest is forgotten. More than [`QUESTION_RATE`] lets through in the second after
/// which Linux asks again.
pub const MAX_UNANSWERED: usize = 16_384;
/// Time for which two routers may announce one address because it moves. Of longer lasting claims none is believed, unless
/// by the owner of the address's slice, and operators are told.
pub const MOVE_SETTLES: Duration = Duration::from_secs(5);
/// Addresses that several routers announce which are named to operators at once; of more only the number.
pub const MAX_CONTESTS_SHOWN: usize = 16;
/// Between two looks at who rightly has an address that several routers announce.
pub const LOOK_AT_CONTESTS: Duration = Duration::from_secs(1);
/// Moves of one MAC between routers, as records say or as frames show, within [`FLAP_WINDOW`] after which it flaps (RFC 7432 section 15.1).
pub const FLAP_MOVES: u32 = 5;
/// Time in which such moves are counted.
pub const FLAP_WINDOW: Duration = Duration::from_secs(180);
/// MACs that moved or went of which the last place is known; further ones are not remembered, and count as new.
pub const MAX_MOVED: usize = 4_096;
/// Time after which that is forgotten when there is no room.
pub const MOVED_MEMORY: Duration = Duration::from_secs(600);
/// Underlay addresses that lead through the mesh itself which are named at once; further ones are only counted.
pub const MAX_LOOPED: usize = 64;
/// Time for which one is named after a packet for it last came in by the port.
pub const LOOPED_SHOWN: Duration = Duration::from_secs(60);
/// Underlay addresses of others for which the address of this host is remembered that they send to; the kernel chooses it
/// for further ones.
pub const MAX_SOURCES: usize = 4_096;
/// MACs that flap which are named at once; further ones are only counted.
pub const MAX_FLAPS: usize = 64;
/// Time for which one is named after it last flapped.
pub const FLAP_SHOWN: Duration = Duration::from_secs(60);
/// Questions for addresses of containers elsewhere (ARP, neighbour solicitations) that the local port may send to these in
/// a second; more are dropped and counted.
pub const QUESTION_RATE: u64 = 10_000;
/// Such questions that it may send at once.
pub const QUESTION_BURST: u64 = 10_000;
/// Such questions that one interface of the bridge may send in a second where the port can tell interfaces apart: fewer
/// than all together, so that one alone does not keep others from asking. More are dropped and counted.
pub const QUESTION_RATE_EACH: u32 = 7_500;

/// Broadcasts, without questions for addresses, that one interface of the bridge may send in a second where the port can
/// tell interfaces apart, unless the operator says otherwise. All interfaces together may send a third more, and as many at
/// once. What is beyond is dropped and counted.
pub const BROADCAST_RATE_EACH: u32 = 3_000;
/// The same of multicasts: three streams of video of 40 Mbit/s.
pub const MULTICAST_RATE_EACH: u32 = 12_000;
/// The highest of these limits that an operator may give.
pub const MAX_GROUP_RATE_EACH: u32 = 1_000_000;
/// Broadcasts, and as many multicasts and questions, that one interface may send at once then: half of what the port has
/// room for.
pub const GROUP_BURST_EACH: u32 = 128;
/// Frames to unknown MACs that the local port may send in a second; more are dropped and counted.
pub const UNKNOWN_RATE: u64 = 1_000;
/// Frames to unknown MACs that the local port may send at once.
pub const UNKNOWN_BURST: u64 = 2_000;
/// Origins and relayed sessions, each, whose duplicates are known at once; when full the longest unused is forgotten.
pub const MAX_DUPLICATE_WINDOWS: usize = 16_384;
/// After this time without a new datagram a duplicate window lets itself be set back by an older number.
pub const DUPLICATE_MEMORY: Duration = Duration::from_secs(5);
/// Relayed handshake messages remembered as duplicates; the oldest is forgotten.
pub const MAX_RELAYED_HANDSHAKES: usize = 4_096;
/// Bytes of a handshake message, header included; a longer one is dropped and counted.
pub const MAX_HANDSHAKE: usize = 1_024;
/// Frames that wait for a session with one peer; further ones are dropped and counted.
pub const MAX_PENDING_FRAMES: usize = 32;
/// Bytes of frames that wait for sessions, all peers together; further ones are dropped and counted.
pub const MAX_PENDING_BYTES: usize = 1024 * 1024;
/// How long a frame waits for a session before it is dropped and counted.
pub const PENDING_AGE: Duration = Duration::from_secs(2);
/// Shortest time between two equal events from the data plane to the control plane.
pub const EVENT_INTERVAL: Duration = Duration::from_millis(100);
/// Events held back as equal at once; when full, further new ones are held back until the oldest has passed.
pub const MAX_THROTTLED_EVENTS: usize = 1_024;

/// Routers in one mesh that a router keeps records of; further ones are refused and counted.
pub const MAX_PEERS: usize = 16_384;
/// Neighbours in one record.
pub const MAX_NEIGHBOURS: usize = 1_024;
/// Underlay addresses in one record.
pub const MAX_ENDPOINTS: usize = 16;
/// Attached addresses in one record.
pub const MAX_ATTACHED: usize = 4_096;
/// Addresses of the host itself on the mesh; more are refused.
pub const MAX_EXPOSED: usize = 32;
/// Other bridges of a host that are joined to the mesh; more are refused.
pub const MAX_BRIDGES: usize = 32;
/// Names of one address of the host; more are refused.
pub const MAX_EXPOSED_NAMES: usize = 16;
/// Topics a router may say something about, numbered from 1; records about others are refused.
pub const MAX_TOPICS: u8 = 16;
/// Bytes of one signed record.
pub const MAX_RECORD: usize = 160 * 1024;
/// Bytes of one record about a topic that this version does not know; a longer one is refused.
pub const MAX_UNKNOWN_RECORD: usize = 8 * 1024;
/// Bytes that all records together count, each [`RECORD_COST`] more than it has. When full those of routers out of reach
/// go first, then of those that came last; a router that is not known yet is refused, unless it has a link here.
pub const MAX_DATABASE: usize = 32 * 1024 * 1024;
/// Bytes of the records of routers that one neighbour made known; further ones are refused.
pub const MAX_DATABASE_PER_LINK: usize = 24 * 1024 * 1024;
/// Bytes of the records of routers that were never within reach; further ones are refused, and other records than those
/// about identities and links beyond half of it.
pub const MAX_UNREACHED: usize = 4 * 1024 * 1024;
/// Time after which such routers are forgotten where a quarter of that is taken, unless they have a link to this one.
pub const UNREACHED_FOR: Duration = Duration::from_secs(10);
/// What a record counts beyond its bytes.
pub const RECORD_COST: usize = 128;
/// Time for which no room is looked for after there was none.
pub const FULL_FOR: Duration = Duration::from_millis(100);
/// Time for which `mesh status` says that there was no room for a record.
pub const FULL_SHOWN: Duration = Duration::from_secs(60);
/// Records of routers that are not known which are asked for at once while there is no room.
pub const MAX_ASKED_WHEN_FULL: usize = 64;
/// Bytes of one record about an identity: it fits the handshake of a link.
pub const MAX_IDENTITY_RECORD: usize = 1_024;
/// Bytes of one record about links.
pub const MAX_LINKS_RECORD: usize = 40 * 1024;
/// Bytes of a record around its body, at most.
pub const RECORD_OVERHEAD: usize = 128;
/// Settings in one record about them; further ones are passed over.
pub const MAX_SETTINGS: usize = 16;
/// Bytes of the name and of the value of one setting (UTF-8); longer ones are passed over.
pub const MAX_SETTING: usize = 128;
/// Bytes of a nickname (UTF-8).
pub const MAX_NICKNAME: usize = 63;
/// Bytes of a container's name in a record (UTF-8); longer ones are cut.
pub const MAX_CONTAINER_NAME: usize = 63;

/// Bytes of one record of a TCP link, tag included (Noise limits a message to 65,535).
pub const MAX_LINK_RECORD: usize = 16 * 1024;
/// Bytes of one message of a TCP link after its records are put together.
pub const MAX_LINK_MESSAGE: usize = 256 * 1024;
/// Records in one link message.
pub const MAX_RECORDS_PER_MESSAGE: usize = 1_024;
/// Records in one summary; a longer one is cut into ranges.
pub const MAX_SUMMARY: usize = 4_096;
/// Where two neighbours differ and one of them holds at most this many routers, it lists their records instead of hashes.
pub const SUMMARY_LEAF: usize = 8;
/// Records in one request for records.
pub const MAX_WANT: usize = 4_096;
/// Bytes of the reason a neighbour gives for closing a link (UTF-8); longer ones are cut.
pub const MAX_BYE_REASON: usize = 200;
/// Records sealed with one key of a TCP link before it is replaced (Noise `REKEY`).
pub const LINK_REKEY_RECORDS: u64 = 1 << 20;
/// Ciphertext bytes sealed with one key of a TCP link before it is replaced.
pub const LINK_REKEY_BYTES: u64 = 1 << 30;
/// Bytes a link buffers before its peer is authenticated.
pub const MAX_PREAUTH_BUFFER: usize = 4 * 1024;
/// Bytes queued towards one neighbour; messages beyond are dropped, and what they would have told is compared later.
pub const MAX_LINK_SEND_QUEUE: usize = 256 * 1024;
/// Bytes queued towards one neighbour before records wait for room (as a set of what to tell, not as a queue).
pub const MAX_GOSSIP_QUEUE: usize = 64 * 1024;
/// Bytes of a TCP link that the kernel takes before it has sent them for the first time.
pub const MAX_LINK_UNSENT: u32 = 16 * 1024;
/// Time a TCP link has to authenticate.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Links that may be unauthenticated at once; when full the oldest of the source with most of them is closed.
pub const MAX_HALF_OPEN: usize = 64;
/// Unauthenticated links from one IPv4 address or IPv6 /64; beyond that the oldest of them is closed.
pub const MAX_HALF_OPEN_PER_SOURCE: usize = 4;
/// Links to peers in all, dials included; who dials beyond is told so, unless it is known: then the youngest link of the
/// source with most of them is closed, of those that others dialled and that are not known.
pub const MAX_LINKS: usize = 256;
/// Links that peers from one IPv4 address or IPv6 /64 dialled; further ones are told that there is no room, unless they
/// are known: targets, and those this router was linked to before.
pub const MAX_LINKS_PER_SOURCE: usize = 16;
/// Connections in a second that those who are not known may open, all together; further ones are reset.
pub const ACCEPT_RATE: u64 = 256;
/// Connections that they may open at once.
pub const ACCEPT_BURST: u64 = 512;
/// Connections in a second from one IPv4 address or IPv6 /64; further ones are reset, unless a known router is there.
pub const ACCEPT_RATE_PER_SOURCE: u64 = 32;
/// Connections from there at once.
pub const ACCEPT_BURST_PER_SOURCE: u64 = 64;
/// Sources of connections about which something is known; for another one the one is forgotten that has waited out its
/// penalty the longest.
pub const MAX_CALLERS: usize = 1_024;
/// Time for which a source is not let in after a handshake with a wrong secret; each further one doubles it.
pub const PENALTY_MIN: Duration = Duration::from_secs(1);
/// Longest such time.
pub const MAX_PENALTY: Duration = Duration::from_secs(60);
/// Time without a wrong secret after which a source begins anew.
pub const PENALTY_MEMORY: Duration = Duration::from_secs(600);
/// Wrong secrets in a row after which a source at which a known router is waits too.
pub const WRONG_SECRETS_FORGIVEN: u32 = 8;
/// Handshakes with a wrong secret in a second, from all sources, beyond which nobody is let in who is not known.
pub const WRONG_SECRET_RATE: u64 = 8;
/// Such handshakes at once.
pub const WRONG_SECRET_BURST: u64 = 64;
/// Connections in a second that are told of a penalty; further ones are reset without a word.
pub const PENALTY_ALERTS: u64 = 8;
/// Time for which a link must have been up for its other end to be known when it comes back.
pub const FAMILIAR_AFTER: Duration = Duration::from_secs(5);
/// Routers that are known so; when full no more are, until one has been gone for [`FORGET_AFTER`].
pub const MAX_FAMILIAR: usize = 256;
/// Explicit targets (`mesh connect`).
pub const MAX_TARGETS: usize = 1_024;
/// Words of `mesh forget` that are kept; of more the oldest go.
pub const MAX_FORGOTTEN: usize = 256;

/// Width of the replay window of a session, in datagrams.
pub const REPLAY_WINDOW: u64 = 8_192;
/// Sessions a router holds; when full the longest idle one is dropped.
pub const MAX_SESSIONS: usize = 4_096;
/// Datagrams sealed with one key before a new handshake is begun.
pub const REKEY_AFTER_MESSAGES: u64 = 1 << 32;
/// Datagrams after which a key is never used again.
pub const REJECT_AFTER_MESSAGES: u64 = 1 << 48;
/// Age at which the side that began the session begins a new handshake, if frames went by the session within [`PROBE_WHILE_USED`].
pub const REKEY_AFTER: Duration = Duration::from_secs(120);
/// Age at which the other side does, as a fallback.
pub const REKEY_AFTER_RESPONDER: Duration = Duration::from_secs(165);
/// Age at which a key is refused.
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
/// Suites that an Init has room for; those of least preference beyond are not offered.
pub const MAX_OFFERED_SUITES: usize = 4;
/// A session without frames for this long is dropped, unless its peer is a neighbour.
pub const SESSION_IDLE: Duration = Duration::from_secs(600);

/// Time between two looks at what must be kept alive, and between probes of addresses that may reach a peer.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// Time between probes of a direct path; only one end asks, and its questions answer the other's.
pub const PATH_BEAT: Duration = Duration::from_millis(1_500);
/// Silence on a direct path after which both ends ask, every [`PATH_RETRY`].
pub const PATH_DOUBT: Duration = Duration::from_millis(2_000);
/// Time between probes of a direct path that is in doubt.
pub const PATH_RETRY: Duration = Duration::from_millis(250);
/// Time between heartbeats on a link, from its dialler, while there is a direct path between the two.
pub const LINK_BEAT: Duration = Duration::from_secs(5);
/// Silence after which a link counts as dead while there is a direct path between the two.
pub const LINK_DEAD_AFTER: Duration = Duration::from_secs(10);
/// Silence after which a direct path counts as dead, and a link between two without one.
pub const DEAD_AFTER: Duration = Duration::from_millis(3_500);
/// Time without a direct path to a neighbour after which UDP between the two counts as blocked, in words.
pub const UDP_PATIENCE: Duration = Duration::from_secs(10);
/// Time without an answer from any address of a peer after which it is asked from another UDP port as well.
pub const FLOW_PATIENCE: Duration = Duration::from_secs(5);
/// Time after which that port is given up for another one if nothing is answered there either.
pub const FLOW_RENEW: Duration = Duration::from_secs(20);
/// Time between questions to an address beside the direct path, of which one end of the two asks one at a time.
pub const COMPARE_EVERY: Duration = Duration::from_secs(10);
/// Longest such time, for an address that never answered.
pub const COMPARE_SELDOM: Duration = Duration::from_secs(120);
/// Answers in a row by which an address must be better for data to go there.
pub const COMPARE_TIMES: u8 = 4;
/// Round-trip time by which it must be better at least; and by a third.
pub const COMPARE_SLACK: Duration = Duration::from_millis(2);
/// Time for which it is remembered what a path had come to when it was left; doubled each time.
pub const COMPARE_MEMORY: Duration = Duration::from_secs(600);
/// Time for which an address where a path fell silent is not taken for better; doubled each time.
pub const COMPARE_HOLD: Duration = Duration::from_secs(15);
/// Time after a move in which the peer may still send from where it was without being followed there.
pub const FOLLOW_WITHIN: Duration = Duration::from_secs(5);
/// Round-trip time that a question on the direct path which was lost counts as, where addresses are compared.
pub const LOST_AS: Duration = Duration::from_millis(500);
/// Peers that plain VXLAN is exchanged with; frames for further ones stay in user space.
pub const MAX_FAST_PEERS: usize = 1_024;
/// The records of a router that was not within reach for this long are dropped.
pub const FORGET_AFTER: Duration = Duration::from_secs(600);
/// After a change of topology broadcasts are flooded (with duplicate suppression) for this long.
pub const SETTLE: Duration = Duration::from_secs(2);
/// Time after which a dial without an answer is begun once more beside it, or at the next address (RFC 8305 section 5
/// advises 250 ms; the kernel would send a lost first segment again after a second).
pub const DIAL_AGAIN: Duration = Duration::from_millis(300);
/// Time in which a peer whose link broke off must answer by UDP, twice the round-trip time aside, to stay a neighbour.
pub const KEEP_PROOF: Duration = Duration::from_millis(500);
/// Time for which a peer that goes on answering by UDP stays a neighbour without a link.
pub const KEEP_ROUTE: Duration = Duration::from_secs(15);
/// First wait between two dials of one target; grows by half up to one of the two below.
pub const REDIAL_MIN: Duration = Duration::from_millis(250);
/// Longest wait between two dials of an explicit target: a healed cable is noticed within ten seconds.
pub const REDIAL_MAX_EXPLICIT: Duration = Duration::from_secs(8);
/// Longest wait between two dials of a peer learnt by gossip.
pub const REDIAL_MAX_DISCOVERED: Duration = Duration::from_secs(30);
/// Up to this many routers everyone links to everyone; above, to about eight others.
pub const FULL_MESH: usize = 32;
/// Time that links to all others wait, beyond those that a router in a larger mesh has: others may come to be known.
pub const FULL_MESH_DELAY: Duration = Duration::from_millis(1_500);
/// In a larger mesh: the next identities after its own that a router links to.
pub const RING_LINKS: usize = 2;
/// In a larger mesh: routers drawn at random that a router links to.
pub const RANDOM_LINKS: usize = 2;
/// Links of a router in a larger mesh; further ones that it does not need are refused or given up.
pub const MAX_DEGREE: usize = 16;
/// In a larger mesh: routers out of reach that a router dials.
pub const UNREACHABLE_DIALS: usize = 4;
/// Neighbours that a router remembers for its next start.
pub const MAX_REMEMBERED: usize = 32;
/// Time for which a router must have had the same neighbours before it remembers them.
pub const REMEMBER_AFTER: Duration = Duration::from_secs(5);
/// Time after its start for which a router that remembers its neighbours chooses no others.
pub const RECALL: Duration = Duration::from_millis(1_500);
/// Time for which a link must have been up, and not wanted, before one that neither end wants is ended.
pub const SPARE_AFTER: Duration = Duration::from_secs(10);
/// A router that had links enough is not drawn again for this long.
pub const DECLINED_FOR: Duration = Duration::from_secs(600);
/// Time between two comparisons of digests with each neighbour.
pub const ANTI_ENTROPY: Duration = Duration::from_secs(5);
/// Least time between two records of one router about one topic; the first change after a quiet time goes out at once.
pub const HOLD_DOWN: Duration = Duration::from_secs(1);
/// The same for names of containers: they are to be known within a second, also of several that start one after another.
pub const NAMES_HOLD_DOWN: Duration = Duration::from_millis(250);
/// Records about its links that a router may publish one after another without [`HOLD_DOWN`], when others came or went.
pub const LINKS_BURST: u32 = 8;
/// Least time between those.
pub const LINKS_GAP: Duration = Duration::from_millis(200);
/// Records of one router that are taken in a second; more are left for the next comparison of digests, and counted.
pub const RECORD_RATE: u64 = 8;
/// Records of one router that are taken at once.
pub const RECORD_BURST: u64 = 32;
/// Records with a wrong signature that one link may bring in a second; beyond that none of its records is verified: all
/// are refused and counted.
pub const FORGERY_RATE: u64 = 8;
/// Records with a wrong signature that one link may bring at once.
pub const FORGERY_BURST: u64 = 64;
/// Messages to one router that one link may bring in a second, to us or to be passed on; more are dropped and counted.
pub const UNICAST_RATE: u64 = 500;
/// Messages to one router that one link may bring at once.
pub const UNICAST_BURST: u64 = 2_000;
/// Time without a sign of another router that uses our key after which it is taken to be gone.
pub const CLONE_QUIET: Duration = Duration::from_secs(60);
/// Time in which records that are passed on wait for others for the same neighbour.
pub const COALESCE: Duration = Duration::from_millis(20);
/// Time after which neighbours beside the tree are told of what was passed on along it.
pub const MENTION_AFTER: Duration = Duration::from_millis(100);
/// Neighbours that are told so: the next on the ring of identities.
pub const MENTION_TO: usize = 4;
/// Records that wait for one neighbour beyond which it is sent none that others may send it as well, if it is not the next one.
pub const BUSY_LINK: usize = 64;
/// Time after which a record that a neighbour said it has, and that did not come, is asked for elsewhere.
pub const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Time by which it is longer for each record that is waited for.
pub const ASK_EACH: Duration = Duration::from_micros(20);
/// How many neighbours are asked for a record, one after the other.
pub const ASK_TIMES: u32 = 4;
/// Records that are asked for at once.
pub const MAX_ASKED: usize = 65_536;
/// Those of them that one neighbour named: names of records that do not exist are not to take all the room.
pub const MAX_ASKED_OF_ONE: usize = 16_384;
/// Least time between two changes of what a router says a link costs.
pub const COST_HOLD: Duration = Duration::from_secs(60);
/// Milliseconds by which the round-trip time of a link may differ from what was said of it.
pub const COST_SLACK: u16 = 10;
/// Least time between two computations of routes, in the long run.
pub const ROUTES_INTERVAL: Duration = Duration::from_millis(250);
/// Computations of routes that may follow one another without [`ROUTES_INTERVAL`] after a quiet time.
pub const ROUTES_BURST: u32 = 4;
/// Least time between those.
pub const ROUTES_GAP: Duration = Duration::from_millis(20);
/// [`ROUTES_INTERVAL`] for each known router, where that is more: routes cost what there is.
pub const ROUTES_INTERVAL_EACH: Duration = Duration::from_micros(100);
/// [`ROUTES_GAP`] for each known router, where that is more.
pub const ROUTES_GAP_EACH: Duration = Duration::from_micros(20);
/// Least time between two snapshots, so that a burst of changes costs one computation.
pub const DEBOUNCE: Duration = Duration::from_millis(20);
/// Bytes of records put into one gossip message.
pub const MAX_GOSSIP_BATCH: usize = 16 * 1024;
/// Underlay addresses probed for one peer.
pub const MAX_CANDIDATES: usize = 8;
/// Names bound to the keys they were first seen with; names beyond stay unbound.
pub const MAX_PINS: usize = 4_096;
/// Probes to one peer that wait for their replies; the oldest is given up.
pub const MAX_OUTSTANDING_PROBES: usize = 32;
/// Least time between two probes of addresses that one peer was newly seen at.
pub const ROAM_INTERVAL: Duration = Duration::from_millis(500);
/// Failed inbound links remembered for `status connections`.
pub const MAX_FAILED_INBOUND: usize = 32;
/// How long they are remembered.
pub const FAILED_INBOUND_AGE: Duration = Duration::from_secs(120);
/// Sessions to routers that are no neighbours are probed for a direct path this long after their last frame.
pub const PROBE_WHILE_USED: Duration = Duration::from_secs(30);
/// Addresses of our own learnt from peers that saw us (NAT) and announced to others.
pub const MAX_OBSERVED: usize = 4;
/// Least time between two changes of what one neighbour says our address is.
pub const OBSERVED_HOLD: Duration = Duration::from_secs(10);
/// Waits between the first attempts of a session handshake; the last one repeats. All with ±10 % jitter.
pub const HANDSHAKE_RETRIES: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// Inits of one handshake whose answers are taken, and answers that may be confirmed; the oldest is forgotten. Together
/// they span more time than a frame waits ([`PENDING_AGE`]).
pub const KEPT_ATTEMPTS: usize = 4;
/// A session handshake without an answer for this long is given up and counted; whoever still wants it begins anew.
pub const HANDSHAKE_GIVE_UP: Duration = Duration::from_secs(90);
/// Time the other side's handshake has to be confirmed before ours is begun after all.
pub const HANDSHAKE_YIELD: Duration = Duration::from_secs(1);
/// Attempts of a handshake that have precedence over the one of a peer with a higher id; then any will do.
pub const PRECEDENCE_ATTEMPTS: usize = 4;
/// Responses one attempt of a handshake tries to read; further ones are refused until the next attempt.
pub const RESPONSE_ATTEMPTS: u32 = 8;
/// Session Inits per second above which a router asks for cookies.
pub const HANDSHAKE_LOAD: u32 = 100;
/// Under load, Inits with a good cookie per second and source (IPv4 address or IPv6 /64); further ones are refused.
pub const HANDSHAKES_PER_SOURCE: u32 = 20;
/// Under load, sources told apart within one second; messages of further ones are refused.
pub const MAX_HANDSHAKE_SOURCES: usize = 1_024;
/// Under load, relayed Inits per second (they cannot prove an address); further ones are refused.
pub const RELAYED_HANDSHAKES: u32 = 50;
/// Age at which the secret behind cookies is replaced, and at which a cookie is not used any more.
pub const COOKIE_AGE: Duration = Duration::from_secs(120);
/// Time between two looks at a session: rekeying, silence, keep-alive.
pub const SESSION_UPKEEP: Duration = Duration::from_secs(5);
/// Frames unanswered for this long begin a new handshake: the peer may have lost the keys.
pub const SESSION_SILENCE: Duration = Duration::from_secs(10);
/// Times an empty Probe is sent to confirm new keys.
pub const CONFIRM_ATTEMPTS: usize = 5;
/// Outputs of the session manager that may wait; when full, datagrams are refused and timers wait.
pub const MAX_SESSION_OUTPUTS: usize = 16_384;

/// Inside the mesh no path is narrower: where the underlay is, a router cuts its own datagrams (kind Fragment).
pub const MIN_INNER_MTU: u16 = 1280;
/// UDP payload bytes that every path is taken to pass before it is probed, and after a black hole (RFC 8899).
pub const BASE_DATAGRAM: u16 = 1200;
/// UDP payload bytes below which a path is not probed: what an IPv4 link with an MTU of 576 passes.
pub const MIN_DATAGRAM: u16 = 548;
/// Probes of one size without a reply, while shorter ones are answered, after which that size does not pass.
pub const PMTU_PROBES: u8 = 3;
/// Shortest wait for the reply to a probe of a size; else twice the round-trip time and 0.1 s.
pub const PMTU_WAIT_MIN: Duration = Duration::from_millis(200);
/// Longest wait for the reply to a probe of a size.
pub const PMTU_WAIT_MAX: Duration = Duration::from_secs(2);
/// The search for the longest datagram ends when what passes and what does not are this close.
pub const PMTU_STEP: u16 = 16;
/// Time after which a path is probed for longer datagrams again.
pub const PMTU_RAISE: Duration = Duration::from_secs(600);

/// Senders told in a second that a packet is too big for its path; further ones are not told (Linux: `icmp_msgs_per_sec`).
pub const TOO_BIG_RATE: u64 = 1_000;
/// Senders told so at once (Linux: `icmp_msgs_burst`).
pub const TOO_BIG_BURST: u64 = 50;

/// Pieces one datagram may be cut into; a datagram that takes more is dropped and counted.
pub const MAX_FRAGMENTS: u8 = 32;
/// Datagrams of one session of which pieces are missing; when full the oldest of the session is given up and counted.
pub const MAX_PARTIALS_PER_SESSION: usize = 32;
/// Bytes of such pieces of one session; when full the oldest of the session is given up and counted.
pub const MAX_PARTIAL_BYTES_PER_SESSION: usize = 64 * 1024;
/// Datagrams of which pieces are missing, all sessions together; when full the oldest is given up and counted.
pub const MAX_PARTIALS: usize = 1_024;
/// Bytes of such pieces, all sessions together; when full the oldest is given up and counted.
pub const MAX_PARTIAL_BYTES: usize = 4 * 1024 * 1024;
/// How long a piece waits for the others before they are given up and counted.
pub const PARTIAL_AGE: Duration = Duration::from_secs(1);

/// Bytes of the domain of the mesh, and of a name in it without the domain (what both make is a name of DNS).
pub const MAX_DNS_NAME: usize = 120;
/// Names one router states for its containers; further ones are left out and counted, or refused if asked for.
pub const MAX_HOST_NAMES: usize = 4_096;
/// Pairs of a name and an address that one router states; handled as the names.
pub const MAX_HOST_NAME_PAIRS: usize = 8_192;
/// Bytes of one router's statement of names; names for which there is no room are left out and counted.
pub const MAX_NAMES_STATEMENT: usize = 128 * 1024;
/// Addresses of one entry of a statement of names, so of one name of one container; further ones are refused if asked for by
/// hand, and left out of a container's own names.
pub const MAX_NAME_ADDRESSES: usize = 256;
/// Ports of one entry of a statement of names; further ones are left out.
pub const MAX_NAME_PORTS: usize = 16;
/// Bytes of the name of a service (RFC 6335 section 5.1).
pub const MAX_SERVICE: usize = 15;
/// Bytes of a container's id in a statement of names; the rest is cut.
pub const MAX_NAME_CONTAINER: usize = 12;
/// Pairs of a name and an address that other routers stated; a statement for which there is no room counts as empty.
pub const MAX_NAME_PAIRS: usize = 131_072;
/// Names added by hand on one host, and names of containers taken away by hand; further ones are refused.
pub const MAX_KEPT_NAMES: usize = 1_024;
/// After its start a router does not say that a name is not there before this time, or before it knows all names.
pub const NAMES_SETTLE: Duration = Duration::from_secs(2);
/// Records in one answer of DNS; of more, some are taken at random.
pub const MAX_DNS_RECORDS: usize = 1_000;
/// Bytes of a DNS message over UDP, whatever the client takes (DNS flag day 2020: no fragments); longer ones go by TCP.
pub const MAX_DNS_UDP: usize = 1_232;
/// Bytes of a DNS query; longer ones are dropped.
pub const MAX_DNS_QUERY: usize = 1_024;
/// Servers in `resolv.conf` that are asked; further ones are not.
pub const MAX_UPSTREAMS: usize = 8;
/// Queries for which other servers are asked at once; further ones are told that there is no answer.
pub const MAX_DNS_FORWARDS: usize = 128;
/// Such queries of one client.
pub const MAX_DNS_FORWARDS_PER_SOURCE: usize = 64;
/// Servers asked for one query, repetitions included.
pub const MAX_DNS_TRIES: usize = 3;
/// Time in which a client is told something.
pub const DNS_DEADLINE: Duration = Duration::from_millis(1_900);
/// Time a server has before the next one is asked too.
pub const DNS_PATIENCE: Duration = Duration::from_millis(600);
/// Messages that are not the answer, after which a server is given up: somebody guesses.
pub const MAX_DNS_STRAYS: usize = 8;
/// Time between two looks at `resolv.conf`.
pub const RESOLV_CONF_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of `resolv.conf` that are read.
pub const MAX_RESOLV_CONF: u64 = 64 * 1024;
/// News of names that wait for the DNS server; then who tells them waits, and tells the newest only.
pub const MAX_DNS_TOLD: usize = 256;
/// TCP connections to the DNS server; further ones are closed.
pub const MAX_DNS_CONNECTIONS: usize = 64;
/// Such connections of one client.
pub const MAX_DNS_CONNECTIONS_PER_SOURCE: usize = 16;
/// Network namespaces of containers in which the DNS server listens, each with two sockets; containers beyond that are not
/// told to ask there, and `status dns` says how many there are.
pub const MAX_DNS_NAMESPACES: usize = 256;
/// Time without a query after which such a connection is closed, and time to take an answer.
pub const DNS_IDLE: Duration = Duration::from_secs(5);
/// Slices the range of addresses is cut into, at most.
pub const MAX_SLICES: u16 = 4_096;
/// Addresses one router's containers hold; further allocations and claims are refused.
pub const MAX_HELD: usize = 4_096;
/// Addresses one router lends to others; further requests are denied.
pub const MAX_LOANS: usize = 4_096;
/// Addresses one statement or message names as held outside their slice's owner.
pub const MAX_IPAM_PINS: usize = MAX_HELD + MAX_LOANS;
/// Runs of slices in one statement or message; as many as there are slices.
pub const MAX_IPAM_RUNS: usize = MAX_SLICES as usize;
/// Removals of routers that one router recalls; the oldest is forgotten.
pub const MAX_FENCES: usize = 256;
/// Addresses held twice that one statement names; further ones are not reported to others.
pub const MAX_ADDRESS_CONFLICTS: usize = 256;
/// Bytes of one statement about addresses, or of one message about them; a longer one is refused.
pub const MAX_IPAM_BYTES: usize = MAX_RECORD - RECORD_OVERHEAD;
/// Bytes of a container's id.
pub const MAX_CONTAINER_ID: usize = 128;
/// Allocations and claims that wait at once; further ones are refused.
pub const MAX_IPAM_REQUESTS: usize = 1_024;
/// Messages about addresses that wait to be sent; further ones are dropped, and repeated by their timers.
pub const MAX_IPAM_OUTPUTS: usize = 4_096;
/// Slices given away at once on one request.
pub const MAX_GRANT: u16 = 16;
/// Least time between two statements of one router about addresses.
pub const IPAM_STATEMENT_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two looks at what waits: requests, grants, agreements.
pub const IPAM_TICK: Duration = Duration::from_millis(250);
/// Time an owner has to answer a request before the next one is asked.
pub const IPAM_ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Time after which owners that denied are asked again.
pub const IPAM_ASK_AGAIN: Duration = Duration::from_secs(2);
/// Time between two sendings of a grant, or of a question for agreement.
pub const IPAM_RESEND: Duration = Duration::from_millis(500);
/// Time a grant has to arrive before its receiver asks all others for their agreement instead.
pub const IPAM_TAKE_DELAY: Duration = Duration::from_secs(1);
/// Time a router that was told of others waits for them before it takes the whole range.
pub const IPAM_FOUND_WAIT: Duration = Duration::from_secs(5);
/// Time a router must have been unreachable to be removed without force.
pub const IPAM_DEAD_AFTER: Duration = Duration::from_secs(600);
/// Time between two looks for routers to remove by themselves.
pub const IPAM_RECLAIM_TICK: Duration = Duration::from_secs(10);
/// Time others have to take over the space of a router that leaves.
pub const IPAM_LEAVE_WAIT: Duration = Duration::from_secs(10);
