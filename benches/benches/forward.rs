//! Frames through the data plane, and the MAC table.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mesh_benches::{PlanePair, Sink, frame};
use mesh_proto::entropy::SeededEntropy;
use mesh_proto::fdb::{Fdb, Owner};
use mesh_proto::ids::{Mac, PeerId};
use mesh_proto::time::Instant;

/// Loads: frame size in bytes, and frames per batch.
const LOADS: [(usize, usize); 4] = [(64, 1), (1_390, 1), (64, 32), (1_390, 32)];

fn egress(c: &mut Criterion) {
    let mut group = c.benchmark_group("egress");
    for (size, count) in LOADS {
        group.throughput(Throughput::Elements(count as u64));
        let mut pair = PlanePair::new();
        let mut sink = Sink::default();
        let frames = vec![frame(size); count];
        group.bench_function(BenchmarkId::new(size.to_string(), count), |b| {
            b.iter(|| {
                sink.clear();
                pair.egress(black_box(&frames), &mut sink);
            });
        });
        assert!(!sink.outgoing.is_empty());
    }
    group.finish();
}

fn ingress(c: &mut Criterion) {
    let mut group = c.benchmark_group("ingress");
    for (size, count) in LOADS {
        group.throughput(Throughput::Elements(count as u64));
        let mut pair = PlanePair::new();
        let mut received = Sink::default();
        let frames = vec![frame(size); count];
        group.bench_function(BenchmarkId::new(size.to_string(), count), |b| {
            // A datagram is accepted once, so each iteration needs new ones.
            b.iter_custom(|runs| {
                let mut spent = core::time::Duration::ZERO;
                let mut sent = Sink::default();
                for _ in 0..runs {
                    sent.clear();
                    pair.egress(&frames, &mut sent);
                    received.clear();
                    let begun = std::time::Instant::now();
                    take_all(&mut pair, &sent, &mut received);
                    spent += begun.elapsed();
                    assert_eq!(received.frames, count);
                }
                spent
            });
        });
    }
    group.finish();
}

fn take_all(pair: &mut PlanePair, sent: &Sink, received: &mut Sink) {
    for (_, datagram) in sent.outgoing.datagrams() {
        // Opened in place, so each iteration needs its own copy.
        pair.ingress(&mut datagram.to_vec(), received);
    }
}

fn fdb(c: &mut Criterion) {
    const KNOWN: u32 = 4_096;
    let now = Instant::from_nanos(1);
    let mac = |n: u32| {
        let [a, b, c, d] = n.to_be_bytes();
        Mac([2, 0, a, b, c, d])
    };
    let owner = Owner::Peer(PeerId([1; 16]));
    let new = || {
        let fdb = Fdb::new(&mut SeededEntropy::new(1));
        for n in 0..KNOWN {
            fdb.learn(mac(n), owner, now);
        }
        fdb
    };
    let known = new();
    let mut n = 0;
    let mut next = move || {
        n = (n + 997) % KNOWN;
        n
    };
    let mut group = c.benchmark_group("fdb");
    group.bench_function("lookup", |b| b.iter(|| known.lookup(mac(next()), now)));
    group.bench_function("learn known", |b| {
        b.iter(|| known.learn(mac(next()), owner, now));
    });
    group.bench_function("learn new", |b| {
        b.iter_batched_ref(
            new,
            |fdb| {
                for n in 0..1_000 {
                    fdb.learn(mac(KNOWN + n), owner, now);
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, egress, ingress, fdb);
criterion_main!(benches);
