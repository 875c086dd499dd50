//! What do reading, validating and deciding cost, by the size of the plan and the policy? For regressions.

use std::fmt::Write as _;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use host_benches::rules::{Check, Plain};
use host_benches::{Ours, guests, plan};
use serde_json::json;
use skillhost::policy::{Policy, decide};

fn check(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check");
    let ours = Ours::new(guests::ADD);
    for steps in [10, 1_000, 10_000] {
        let plan = plan(steps, "add", &json!({ "a": 1, "b": 2 }));
        group.bench_function(BenchmarkId::new("steps", steps), |bencher| {
            bencher.iter(|| assert!(ours.host().check(&plan).unwrap().is_ok()));
        });
    }
    group.finish();
}

fn decision(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    for grants in [1, 10, 100] {
        let mut text = "schema = \"skillhost.policy/1\"\n".to_owned();
        for grant in 0..grants {
            writeln!(text, "[[grant]]\nskills = [\"skill-{grant}\"]\ntools = [\"*\"]").unwrap();
        }
        let policy = Policy::parse(&text).unwrap();
        let last = format!("skill-{}.tool", grants - 1).parse().unwrap();
        group.bench_function(BenchmarkId::new("grants", grants), |bencher| bencher.iter(|| decide(&policy, &last)));
    }
    group.finish();
}

/// What a run pays for asking the policy about its steps: grants, rules, the input that they read, and what is made once for the plan.
fn rules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy check");
    for steps in [1, 1_000] {
        let check = Check::new(steps);
        group.throughput(Throughput::Elements(steps as u64));
        group.bench_function(BenchmarkId::new("steps", steps), |bencher| bencher.iter(|| check.run()));
    }
    let plain = Plain::new(&Check::new(1));
    group.throughput(Throughput::Elements(1));
    group.bench_function("plain Cedar", |bencher| bencher.iter(|| plain.run()));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = check, decision, rules
}
criterion_main!(benches);
