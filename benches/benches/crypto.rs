//! AEAD, record signatures and handshakes.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mesh_benches::{identity, record};
use mesh_proto::crypto::aead::AeadKey;
use mesh_proto::noise::{Handshake, Pattern, Role};
use mesh_proto::topology::record::SignedRecord;

const SIZES: [usize; 3] = [64, 1_400, 8_900];

fn aead(c: &mut Criterion) {
    let key = AeadKey::new([7; 32]);
    let mut group = c.benchmark_group("aead");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let mut body = vec![1; size];
        group.bench_with_input(BenchmarkId::new("seal", size), &size, |b, _| {
            b.iter(|| black_box(key.seal(1, &[0; 16], black_box(&mut body))));
        });
        let mut sealed = vec![1; size];
        let tag = key.seal(1, &[0; 16], &mut sealed);
        group.bench_with_input(BenchmarkId::new("open", size), &size, |b, _| {
            b.iter_batched_ref(
                || sealed.clone(),
                |body| key.open(1, &[0; 16], black_box(body), &tag),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn records(c: &mut Criterion) {
    let identity = identity(1);
    let neighbours: Vec<_> = (2..10).map(|n| mesh_benches::identity(n).id()).collect();
    let body = record(&identity, &neighbours);
    let signed = SignedRecord::sign(&body, &identity).expect("a small record can be signed");
    let mut group = c.benchmark_group("record");
    group.bench_function("sign", |b| {
        b.iter(|| SignedRecord::sign(black_box(&body), &identity));
    });
    group.bench_function("verify", |b| b.iter(|| black_box(&signed).verify()));
    group.bench_function("parse", |b| {
        b.iter(|| SignedRecord::parse(black_box(signed.bytes())));
    });
    group.finish();
}

/// Both sides of a whole handshake.
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

criterion_group!(benches, aead, records, handshakes);
criterion_main!(benches);
