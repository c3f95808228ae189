//! Routes and broadcast trees of one router.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mesh_proto::topology::routes::Routes;

fn routes(c: &mut Criterion) {
    let mut group = c.benchmark_group("routes");
    for n in [100, 1_000] {
        let (lsdb, me) = mesh_benches::lsdb(n);
        assert_eq!(Routes::compute(&lsdb, me).reachable().count(), n);
        group.bench_function(BenchmarkId::new("compute", n), |b| {
            b.iter(|| Routes::compute(black_box(&lsdb), me));
        });
    }
    group.finish();
}

criterion_group!(benches, routes);
criterion_main!(benches);
