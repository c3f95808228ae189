//! Splitting and merging of super-frames, and the checksum of a frame.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mesh_benches::{segment, super_frame};
use mesh_proto::checksum::checksum;
use mesh_proto::offload::{Merger, Segments, VirtioHeader, finish_checksum};

/// Longest frame at the default MTU, and its TCP payload with timestamps, in bytes.
const MAX_FRAME: usize = 1_390;
const SEGMENT: usize = 1_324;
/// Segments per merge: 60 KiB.
const MERGED: usize = 46;

fn cut(c: &mut Criterion) {
    let payload = 65_535 - 52;
    let (header, frame) = super_frame(payload, SEGMENT);
    let mut group = c.benchmark_group("offload");
    group.throughput(Throughput::Bytes(payload as u64));
    let mut out = Vec::with_capacity(2 * frame.len());
    group.bench_function("cut 64 KiB", |b| {
        b.iter(|| {
            out.clear();
            let segments = Segments::new(black_box(&frame), &header, MAX_FRAME);
            let segments = segments.expect("a super-frame");
            for n in 0..segments.len() {
                segments.write(n, &mut out);
            }
            out.len()
        });
    });
    group.finish();
    assert!(out.len() > frame.len());
}

fn merge(c: &mut Criterion) {
    let mut group = c.benchmark_group("offload");
    group.throughput(Throughput::Bytes((MERGED * SEGMENT) as u64));
    for (name, partial) in [("partial", true), ("complete", false)] {
        let frames: Vec<Vec<u8>> = (0..MERGED)
            .map(|n| {
                let mut frame = segment(n, SEGMENT);
                if !partial {
                    finish_checksum(&mut frame).expect("a TCP segment");
                }
                frame
            })
            .collect();
        let mut merger = Merger::new(true);
        let mut emitted = (0, 0);
        group.bench_function(format!("merge {MERGED} {name}"), |b| {
            b.iter(|| {
                let mut emit = |_: &VirtioHeader, frame: &[u8]| {
                    emitted = (emitted.0 + 1, black_box(frame).len());
                };
                for frame in &frames {
                    merger.push(black_box(frame), partial, &mut emit);
                }
                merger.flush(&mut emit);
            });
        });
        assert!(emitted.0 == 0 || emitted.1 > MERGED * SEGMENT);
    }
    group.finish();
}

fn sums(c: &mut Criterion) {
    let mut group = c.benchmark_group("offload");
    for size in [64, 1_400] {
        let bytes = vec![0x5a; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("checksum {size}"), |b| {
            b.iter(|| checksum(black_box(&bytes)));
        });
    }
    group.finish();
}

criterion_group!(benches, cut, merge, sums);
criterion_main!(benches);
