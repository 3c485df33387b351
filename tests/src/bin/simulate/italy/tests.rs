// SPDX-License-Identifier: EUPL-1.2
use super::*;

#[test]
fn accesses_fall_on_as_many_shards_as_chance_has_it() {
    let mut dice = Dice::new(5);
    for shards in [1, 4, 64] {
        let all = arrivals(1_000.0, shards, 30.0, &mut dice);
        let entries: usize = all.shards.iter().map(Vec::len).sum();
        let mean = entries as f64 / all.accesses.len() as f64;
        let expected = SIDES * mean_touched(shards);
        assert!(
            (mean / expected - 1.0).abs() < 0.05,
            "{shards}: {mean} {expected}"
        );
        let persons: f64 = all.accesses.iter().map(|a| f64::from(a.persons)).sum();
        let persons = persons / all.accesses.len() as f64;
        assert!((persons / mean_persons() - 1.0).abs() < 0.1, "{persons}");
    }
    assert!((mean_touched(1) - 1.0).abs() < 1e-9);
    // Ever more shards, and no two persons fall together.
    assert!((mean_touched(1 << 40) / mean_persons() - 1.0).abs() < 0.01);
    let sizes: u32 = HOUSEHOLD_SIZES.iter().sum();
    assert_eq!(sizes, 100);
}

#[test]
fn demands_are_those_of_their_sources() {
    let [today, goal, estonia] = demands();
    assert!((today.mean_per_s - 17.1).abs() < 0.1 && (today.peak_per_s - 382.0).abs() < 2.0);
    assert!((goal.mean_per_s - 158.0).abs() < 1.0);
    assert!((estonia.mean_per_s - 10_590.0).abs() < 20.0);
}
