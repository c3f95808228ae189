//! Members that lie, and routers that are no members.

use mesh_proto::crypto::dh::DhSecret;
use mesh_proto::crypto::key_transfer::KeyTransfer;
use mesh_proto::crypto::network_key::NetworkKey;
use mesh_proto::limits::{
    MAX_NETWORK_KEYS, NETWORK_KEY_ANSWER_BURST, NETWORK_KEY_ASK_BURST, NETWORK_KEY_PATIENCE,
};
use mesh_proto::network::NetworkKeyPrint;

use super::world::{Dice, NET};
use super::*;

/// Honest router, driven by hand.
struct Victim {
    networks: Networks,
    dice: Dice,
    now: Instant,
    sent: Vec<(PeerId, KeyMessage)>,
}

fn print(key: u8) -> NetworkKeyPrint {
    NetworkKey::new([key; 32]).print(&NET)
}

fn announced(print: NetworkKeyPrint) -> AnnouncedKey {
    AnnouncedKey {
        print,
        stale: false,
        next: false,
    }
}

/// Returns a statement of a member that announces these keys.
fn says(keys: &[AnnouncedKey]) -> Vec<u8> {
    let keys = keys.to_vec();
    says_bytes(KeyAnnouncement { keys }.encode())
}

fn says_bytes(extension: Vec<u8>) -> Vec<u8> {
    let statement = NetworksStatement {
        definitions: vec![NetworkDefinition {
            id: NET,
            ..definition(40, B)
        }],
        memberships: vec![NetworkMembership {
            network: NET,
            extension,
            ..membership(40, 7)
        }],
        ..NetworksStatement::default()
    };
    statement.encode()
}

impl Victim {
    /// Returns a member with two others within reach, that announce these keys.
    fn new(b: &[AnnouncedKey], c: &[AnnouncedKey]) -> Self {
        let mut victim = Self {
            networks: networks(ME),
            dice: Dice::new(5),
            now: START,
            sent: Vec::new(),
        };
        for (peer, keys) in [(B, b), (C, c)] {
            victim.networks.set_reachable(peer, true, START);
            victim.hear(peer, keys);
        }
        victim.networks.join(NET, START).unwrap();
        victim
    }

    fn hear(&mut self, peer: PeerId, keys: &[AnnouncedKey]) {
        let now = self.now;
        self.networks
            .handle_statement(peer, &says(keys), now)
            .unwrap();
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while self.networks.next_deadline() <= end {
            self.now = self.now.max(self.networks.next_deadline());
            self.networks.handle_time(&mut self.dice, self.now);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        for output in drain(&mut self.networks) {
            if let NetworksOutput::Send { to, body } = output {
                self.sent.push((to, KeyMessage::decode(&body).unwrap()));
            }
        }
    }

    fn requests(&self) -> impl Iterator<Item = (PeerId, &KeyRequest)> {
        self.sent.iter().filter_map(|(to, message)| match message {
            KeyMessage::Request(request) => Some((*to, request)),
            KeyMessage::Reply(_) => None,
        })
    }

    fn replies(&self) -> usize {
        self.sent.len() - self.requests().count()
    }

    fn receive(&mut self, from: PeerId, message: &KeyMessage) {
        let (body, now) = (message.encode(), self.now);
        self.networks
            .handle_message(from, &body, &mut self.dice, now);
        self.drain();
    }

    fn sealing(&self) -> Option<NetworkKeyPrint> {
        let keys = self.networks.keys(&NET);
        keys.sealing().map(|key| key.print(&NET))
    }
}

/// Returns a reply of `giver` to a request with these keys.
fn reply(giver: PeerId, request: &KeyRequest, keys: &[u8]) -> KeyMessage {
    flagged_reply(giver, request, keys, false)
}

fn flagged_reply(giver: PeerId, request: &KeyRequest, keys: &[u8], stale: bool) -> KeyMessage {
    let secret = DhSecret::from_bytes([77; 32]);
    let transfer = KeyTransfer {
        network: &NET,
        asker: &ME,
        giver: &giver,
        asker_public: &request.public,
        giver_public: &secret.public(),
    };
    let keys: Vec<NetworkKey> = keys.iter().map(|key| NetworkKey::new([*key; 32])).collect();
    let sealed = transfer.seal(&secret, keys.iter().map(|key| (key, stale)));
    KeyMessage::Reply(KeyReply {
        network: NET,
        asker_public: request.public,
        giver_public: secret.public(),
        sealed: sealed.unwrap(),
    })
}

fn request(wanted: Vec<NetworkKeyPrint>, seed: u8) -> KeyMessage {
    KeyMessage::Request(KeyRequest {
        network: NET,
        public: DhSecret::from_bytes([seed; 32]).public(),
        wanted,
    })
}

#[test]
fn announced_keys_that_nobody_gives_hold_up_nothing() {
    let mut victim = Victim::new(&[announced(print(1))], &[announced(print(2))]);
    victim.pass(NETWORK_KEY_PATIENCE.as_secs() - 1);
    assert_eq!(victim.sealing(), None);
    let asked = victim.requests().count();
    assert!((4..20).contains(&asked), "{asked}");
    victim.pass(5);
    let own = victim.sealing().expect("a key of its own");
    // One of them leaves: it is replaced all the same.
    victim.pass(60);
    let now = victim.now;
    victim.networks.handle_statement(B, &[], now).unwrap();
    victim.pass(120);
    assert_ne!(victim.sealing(), Some(own));
    let before = victim.requests().count();
    victim.pass(600);
    let asked = victim.requests().count() - before;
    assert!(asked <= 80, "{asked} requests in ten minutes");
}

#[test]
fn other_keys_all_the_time_cost_one_request_a_second_and_no_room() {
    let mut victim = Victim::new(&[announced(print(1))], &[]);
    for round in 0..200_u8 {
        let keys = [0, 1, 2, 3].map(|n| {
            let mut made_up = [round; 16];
            made_up[0] = n;
            announced(NetworkKeyPrint(made_up))
        });
        victim.hear(B, &keys);
        victim.pass(1);
    }
    let most = 201 + usize::try_from(NETWORK_KEY_ASK_BURST).unwrap();
    let asked = victim.requests().count();
    assert!(asked <= most, "{asked}");
    assert!(victim.sealing().is_some());
    // The honest one is heard at once when there is room again.
    victim.hear(B, &[]);
    victim.hear(C, &[announced(print(9))]);
    victim.pass(3);
    assert!(victim.requests().any(|(_, r)| r.wanted.contains(&print(9))));
}

#[test]
fn only_what_was_asked_for_is_taken_and_only_once() {
    let mut victim = Victim::new(&[announced(print(1))], &[]);
    victim.pass(0);
    let (to, first) = victim
        .requests()
        .next()
        .map(|(to, r)| (to, r.clone()))
        .unwrap();
    assert_eq!((to, &first.wanted), (B, &vec![print(1)]));
    // From another router, for another request, with another key, sealed for somebody else, changed.
    victim.receive(C, &reply(C, &first, &[1]));
    let other = KeyRequest {
        public: DhSecret::from_bytes([3; 32]).public(),
        ..first.clone()
    };
    victim.receive(B, &reply(B, &other, &[1]));
    victim.receive(B, &reply(C, &first, &[1]));
    let KeyMessage::Reply(good) = reply(B, &first, &[1]) else {
        panic!("a reply")
    };
    for bit in 0..good.sealed.len() * 8 {
        let mut bad = good.clone();
        bad.sealed[bit / 8] ^= 1 << (bit % 8);
        victim.receive(B, &KeyMessage::Reply(bad));
    }
    victim.pass(0);
    assert_eq!(victim.sealing(), None);
    assert!(victim.networks.figures().refused_messages > 390);
    // What is among the keys besides is dropped.
    victim.receive(B, &reply(B, &first, &[2, 1]));
    victim.pass(1);
    assert_eq!(victim.sealing(), Some(print(1)));
    assert!(
        victim
            .networks
            .keys(&NET)
            .get(NetworkKey::new([2; 32]).id())
            .is_none()
    );
    let refused = victim.networks.figures().refused_messages;
    victim.receive(B, &reply(B, &first, &[1]));
    assert_eq!(victim.networks.figures().refused_messages, refused + 1);
}

#[test]
fn a_key_that_is_on_its_way_when_a_member_leaves_is_replaced() {
    for (leaves, stale) in [(false, false), (true, false), (false, true)] {
        let mut victim = Victim::new(&[announced(print(1))], &[]);
        victim.pass(0);
        let first = victim.requests().next().map(|(_, r)| r.clone()).unwrap();
        victim.now += Duration::from_millis(100);
        if leaves {
            let now = victim.now;
            victim.networks.handle_statement(C, &[], now).unwrap();
        }
        victim.now += Duration::from_millis(100);
        victim.receive(B, &flagged_reply(B, &first, &[1], stale));
        victim.pass(1);
        assert_eq!(victim.sealing(), Some(print(1)));
        victim.pass(60);
        assert_eq!(victim.sealing() != Some(print(1)), leaves || stale);
    }
}

#[test]
fn members_only_are_answered_and_so_many_times() {
    let mut victim = Victim::new(&[], &[]);
    victim.pass(10);
    let own = victim.sealing().expect("a key");
    let stranger = PeerId([9; 16]);
    victim.networks.set_reachable(stranger, true, victim.now);
    victim.receive(stranger, &request(vec![own], 50));
    assert_eq!(victim.replies(), 0, "no member");
    victim.receive(ME, &request(vec![own], 50));
    victim.receive(B, &request(vec![print(1)], 50));
    assert_eq!(victim.replies(), 0, "nothing to give");
    for seed in 0..200 {
        victim.receive(B, &request(vec![own], seed));
    }
    let most = usize::try_from(NETWORK_KEY_ANSWER_BURST).unwrap();
    assert!(
        (most - 2..=most).contains(&victim.replies()),
        "{}",
        victim.replies()
    );
    victim.receive(C, &request(vec![own], 1));
    assert!(
        victim.sent.iter().any(|(to, _)| *to == C),
        "others are answered"
    );
    // One that left is not answered any more.
    victim.pass(60);
    let (before, now) = (victim.replies(), victim.now);
    victim.networks.handle_statement(B, &[], now).unwrap();
    victim.receive(B, &request(vec![own], 1));
    assert_eq!(victim.replies(), before);
    // A public key of low order is not answered.
    let KeyMessage::Request(mut bad) = request(vec![own], 1) else {
        panic!("a request")
    };
    bad.public = [0; 32];
    victim.receive(C, &KeyMessage::Request(bad));
    assert_eq!(victim.replies(), before);
}

#[test]
fn repeated_requests_cost_their_author_nothing() {
    let mut victim = Victim::new(&[], &[]);
    victim.pass(10);
    let own = victim.sealing().expect("a key");
    let old = request(vec![own], 1);
    victim.receive(B, &old);
    for _ in 0..500 {
        victim.receive(B, &old);
    }
    assert_eq!(victim.replies(), 1);
    victim.receive(B, &request(vec![own], 2));
    assert_eq!(victim.replies(), 2);
}

#[test]
fn calling_keys_stale_costs_a_key_a_minute() {
    let mut victim = Victim::new(&[], &[]);
    victim.pass(10);
    let mut seen: Vec<NetworkKeyPrint> = Vec::new();
    for _ in 0..600 {
        let sealing = victim.sealing().expect("a key");
        if !seen.contains(&sealing) {
            seen.push(sealing);
        }
        let own = victim.networks.keys.extension(&NET);
        let mut keys = KeyAnnouncement::read(&own).keys;
        keys.iter_mut().for_each(|key| key.stale = true);
        victim.hear(B, &keys);
        victim.pass(1);
    }
    assert!(seen.len() <= 12, "{}", seen.len());
}

#[test]
fn an_extension_that_cannot_be_read_announces_nothing() {
    let good = KeyAnnouncement {
        keys: vec![announced(print(1))],
    };
    let twice = [
        &good.encode()[..1],
        &[2],
        &good.encode()[2..],
        &good.encode()[2..],
    ]
    .concat();
    let later = [&[2], &good.encode()[1..]].concat();
    let many = [&[1, 5][..], &[0; 5 * 17]].concat();
    for bad in [twice, later, many, vec![1], vec![1, 1, 0]] {
        assert_eq!(KeyAnnouncement::read(&bad), KeyAnnouncement::default());
        let mut victim = Victim::new(&[], &[]);
        let now = victim.now;
        victim
            .networks
            .handle_statement(B, &says_bytes(bad), now)
            .unwrap();
        victim.pass(5);
        assert_eq!(victim.requests().count(), 0);
        assert!(victim.sealing().is_some());
    }
}

#[test]
fn keys_of_four_members_fill_the_table_and_the_fifth_waits() {
    let all: Vec<u8> = (1..=8).collect();
    let keys: Vec<AnnouncedKey> = all.iter().map(|n| announced(print(*n))).collect();
    let mut victim = Victim::new(&[], &[]);
    for (n, key) in all.iter().zip(&keys) {
        let peer = PeerId([10 + n; 16]);
        victim.networks.set_reachable(peer, true, START);
        victim.hear(peer, &[*key]);
    }
    for _ in 0..60 {
        victim.pass(1);
        let asked: Vec<(PeerId, KeyRequest)> =
            victim.requests().map(|(to, r)| (to, r.clone())).collect();
        victim.sent.clear();
        for (to, request) in asked {
            let known = all.iter().filter(|n| request.wanted.contains(&print(**n)));
            let known: Vec<u8> = known.copied().collect();
            victim.receive(to, &reply(to, &request, &known));
        }
        let held = victim.networks.keys(&NET);
        let ids = all.iter().map(|n| NetworkKey::new([*n; 32]).id());
        assert!(ids.filter(|id| held.get(*id).is_some()).count() <= MAX_NETWORK_KEYS);
    }
    // It follows the one with the lowest id.
    assert_eq!(victim.sealing(), Some(print(1)));
}
