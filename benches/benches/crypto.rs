//! AEAD, record signatures and handshakes.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mesh_benches::{identity, links, record};
use mesh_proto::crypto::aead::{AeadKey, ChaChaKey, Forged, Suite};
use mesh_proto::ids::{PeerId, SessionIndex};
use mesh_proto::noise::{Handshake, Pattern, Role};
use mesh_proto::session::transport::{Ends, Transport, TransportKeys};
use mesh_proto::time::Instant;
use mesh_proto::topology::record::SignedRecord;
use mesh_proto::wire::datagram::Kind;
use mesh_proto::wire::topic::Topic;

/// Payload sizes in bytes: small, full, and full on an underlay with jumbo frames.
const SIZES: [usize; 3] = [64, 1_400, 8_900];
const NOW: Instant = Instant::from_nanos(1);

/// Measures sealing and opening in place, with each cipher of each library.
fn aead(c: &mut Criterion) {
    let reference = ChaChaKey::new([7; 32]);
    let open = |body: &mut [u8], tag: &_| reference.open(1, &[0; 16], body, tag);
    let seal = |body: &mut [u8]| reference.seal(1, &[0; 16], body);
    measure(c, "rustcrypto chacha20-poly1305", seal, open);
    for suite in Suite::ALL {
        let key = AeadKey::new(suite, [7; 32]);
        let open = |body: &mut [u8], tag: &_| key.open(1, &[0; 16], body, tag);
        let seal = |body: &mut [u8]| key.seal(1, &[0; 16], body);
        measure(c, &format!("ring {suite}"), seal, open);
    }
}

fn measure(
    c: &mut Criterion,
    name: &str,
    seal: impl Fn(&mut [u8]) -> [u8; 16],
    open: impl Fn(&mut [u8], &[u8; 16]) -> Result<(), Forged>,
) {
    let mut group = c.benchmark_group(format!("aead/{name}"));
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let mut body = vec![1; size];
        group.bench_with_input(BenchmarkId::new("seal", size), &size, |b, _| {
            b.iter(|| black_box(seal(black_box(&mut body))));
        });
        let mut sealed = vec![1; size];
        let tag = seal(&mut sealed);
        let mut opened = sealed.clone();
        // Opening is in place, so the copy of the ciphertext is measured as well.
        group.bench_with_input(BenchmarkId::new("open", size), &size, |b, _| {
            b.iter(|| {
                opened.copy_from_slice(&sealed);
                open(black_box(&mut opened), &tag).expect("it is authentic");
            });
        });
    }
    group.finish();
}

/// Measures the cost of one datagram in a lane: cipher, header, counters and replay window.
fn transport(c: &mut Criterion) {
    for suite in Suite::ALL {
        let mut group = c.benchmark_group(format!("transport/{suite}"));
        for size in SIZES {
            group.throughput(Throughput::Bytes(size as u64));
            let body = vec![1; size];
            group.bench_with_input(BenchmarkId::new("seal and open", size), &size, |b, _| {
                let (mut ours, mut theirs) = ends(suite);
                let mut out = Vec::with_capacity(size + 64);
                b.iter(|| {
                    out.clear();
                    // A benchmark sends more datagrams than a key allows, so renew it.
                    if ours.seal(Kind::Data, 1, &[], &body, NOW, &mut out).is_err() {
                        (ours, theirs) = ends(suite);
                        return;
                    }
                    let opened = theirs.open(black_box(&mut out), 0, NOW);
                    opened.expect("it is authentic and new");
                });
            });
        }
        group.finish();
    }
}

fn ends(suite: Suite) -> (Transport, Transport) {
    let keys = |send, recv| TransportKeys {
        suite,
        send: [send; 32],
        recv: [recv; 32],
    };
    let ends = |local, remote| Ends {
        peer: PeerId([1; 16]),
        epoch: 1,
        local: SessionIndex(local),
        remote: SessionIndex(remote),
    };
    (
        Transport::new(ends(1, 2), keys(3, 4), true, NOW),
        Transport::new(ends(2, 1), keys(4, 3), false, NOW),
    )
}

fn records(c: &mut Criterion) {
    let identity = identity(1);
    let neighbours: Vec<_> = (2..10).map(|n| mesh_benches::identity(n).id()).collect();
    let body = links(&neighbours);
    let signed = record(&identity, Topic::LINKS, &body);
    let key = identity.sign_key();
    let mut group = c.benchmark_group("record");
    group.bench_function("sign", |b| {
        b.iter(|| record(&identity, Topic::LINKS, black_box(&body)));
    });
    group.bench_function("verify", |b| b.iter(|| black_box(&signed).verify(&key)));
    group.bench_function("parse", |b| {
        b.iter(|| SignedRecord::parse(black_box(signed.bytes())));
    });
    group.finish();
}

/// Measures both sides of a complete handshake.
fn handshakes(c: &mut Criterion) {
    let mut group = c.benchmark_group("handshake");
    for (name, pattern, messages) in [("xx", Pattern::XxPsk3, 3), ("ik", Pattern::IkPsk2, 2)] {
        group.bench_function(name, |b| b.iter(|| handshake(pattern, messages)));
    }
    group.finish();
}

fn handshake(pattern: Pattern, messages: u8) -> bool {
    let (a, b) = (identity(1), identity(2));
    let known = matches!(pattern, Pattern::IkPsk2).then(|| b.dh_key());
    let psk = [9; 32];
    let new = |role, own: &_, remote| Handshake::new(pattern, role, b"bench", own, remote, &psk);
    let mut sides = [
        new(Role::Initiator, a.dh_secret(), known),
        new(Role::Responder, b.dh_secret(), None),
    ];
    for n in 0..messages {
        let from = usize::from(n % 2);
        let mut message = Vec::new();
        let written = sides[from].write_message([n + 1; 32], b"", &mut message);
        written.expect("a handshake can go on");
        sides[1 - from]
            .read_message(&message)
            .expect("a message in order");
    }
    sides.iter().all(Handshake::is_finished)
}

criterion_group!(benches, aead, transport, records, handshakes);
criterion_main!(benches);
