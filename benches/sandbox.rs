//! What does one invocation cost, and one recorded host call? For regressions; the comparison with the floor is `ratios.rs`.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use host_benches::{Floor, Ours, guests, in_steps, plan};
use serde_json::json;
use wasmtime::component::Val;

fn invocation(criterion: &mut Criterion) {
    const STEPS: usize = 200;
    let mut group = criterion.benchmark_group("invocation");
    let ours = Ours::new(guests::ADD);
    let steps = plan(STEPS, "add", &json!({ "a": 1, "b": 2 }));
    group.bench_function("recorded", |bencher| {
        bencher.iter_custom(|times| {
            let runs = (0..times.div_ceil(STEPS as u64)).map(|_| in_steps(&ours.run(&steps)));
            runs.sum::<Duration>().mul_f64(times as f64 / (times.div_ceil(STEPS as u64) * STEPS as u64) as f64)
        });
    });
    let floor = Floor::new(guests::ADD);
    group.bench_function("floor", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| floor.call("add", &[Val::U32(1), Val::U32(2)], None)).sum());
    });
    group.finish();
}

fn host_call(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("host-call/write");
    let (ours, floor) = (Ours::new(guests::WRITES), Floor::new(guests::WRITES));
    let folder = tempfile::tempdir().unwrap();
    for len in [64_u32, 4_096, 65_536] {
        group.bench_function(BenchmarkId::new("recorded", len), |bencher| {
            bencher.iter_custom(|times| {
                in_steps(&ours.run(&plan(1, "writes", &json!({ "n": times.min(1 << 20), "len": len }))))
            });
        });
        group.bench_function(BenchmarkId::new("floor", len), |bencher| {
            bencher.iter_custom(|times| {
                let times = u32::try_from(times.min(1 << 20)).unwrap();
                floor.call("writes", &[Val::U32(times), Val::U32(len)], Some(folder.path()))
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = invocation, host_call
}
criterion_main!(benches);
