// SPDX-License-Identifier: EUPL-1.2
//! Times every hot function: `cargo bench -p ledger-bench`, or those whose name matches: `cargo bench -p ledger-bench -- receipt`.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

fn hot(criterion: &mut Criterion) {
    for mut hot in ledger_bench::all() {
        criterion.bench_function(hot.name, |bencher| {
            bencher.iter_batched(|| hot.ready(), |work| work(), BatchSize::SmallInput);
        });
    }
}

criterion_group!(benches, hot);
criterion_main!(benches);
