// SPDX-License-Identifier: EUPL-1.2
use super::*;
use crate::engine::Spell;

/// A millisecond for nearly everything would hide what is looked for: these are small and round.
fn costs() -> Costs {
    Costs {
        verify: 50e-6,
        sign: 30e-6,
        request: 100e-6,
        entry_in_order: 20e-6,
        entry_aside: 30e-6,
        sync: Spell {
            p50: 200e-6,
            p99: 200e-6,
        },
        sync_byte: 1e-9,
        client_entry: 20e-6,
        entry_bytes: 1_000,
        disk_bytes: 1_300.0,
        page: Spell {
            p50: 5e-3,
            p99: 9e-3,
        },
    }
}

fn limits() -> Limits {
    Limits {
        batch_entries_max: 64,
        batch_bytes_max: 256 * 1024,
        in_flight_max: 4,
        queue_entries_max: 20_000,
        append_entries_max: 64,
        verify_chunk: 32,
        publish_interval: ns(0.005),
        publish_gather: ns(0.02),
        fold_pause: 1.0,
    }
}

fn setup(one_way: f64, load: Load) -> Setup {
    Setup {
        nodes: 3,
        cores: 8,
        shared: false,
        link: Link {
            one_way,
            jitter: 0.1,
            bytes_per_s: 125e6,
        },
        kind: Kind {
            entries: 1,
            batch_signed: false,
        },
        load,
        warm_up: 0.5,
        counted: 1.0,
        no_leader: None,
        seed: 3,
    }
}

fn open(entries_per_s: f64) -> Load {
    Load::Open { entries_per_s }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let times = |seed| {
        let setup = Setup {
            seed,
            ..setup(0.001, open(500.0))
        };
        let outcome = run(&setup, &costs(), limits());
        let requests = outcome.requests.iter();
        requests
            .map(|request| (request.arrived, request.committed, request.published))
            .collect::<Vec<_>>()
    };
    assert_eq!(times(3), times(3));
    assert_ne!(times(3), times(4));
}

#[test]
fn every_entry_is_committed_or_still_waits() {
    for (kind, load, no_leader) in [
        (1, open(2_000.0), None),
        (100, open(5_000.0), None),
        // More than it can take: refused, and sent again.
        (1, open(40_000.0), None),
        (7, open(3_000.0), Some((0.4, 0.9))),
        (
            100,
            Load::Closed {
                clients: 64,
                until_published: true,
            },
            None,
        ),
    ] {
        for nodes in [1, 3, 5] {
            let mut setup = Setup {
                nodes,
                no_leader,
                ..setup(0.01, load.clone())
            };
            setup.kind.entries = kind;
            let outcome = run(&setup, &costs(), limits());
            let all = outcome.requests.len() as u64 * u64::from(kind);
            assert_eq!(all, outcome.applied + outcome.waiting, "{nodes}, {load:?}");
            // What is applied is answered, but for answers on their way and requests of which a part is in the next batch.
            let answered = outcome.requests.iter().filter(|r| r.committed > 0).count();
            let entries = answered as u64 * u64::from(kind);
            let open = outcome.applied - entries;
            assert!(
                answered > 0 && open <= all / 10 + 200,
                "{nodes}, {load:?}: {open}"
            );
            for request in &outcome.requests {
                let (committed, published) = (request.committed, request.published);
                assert!(committed == 0 || committed > request.arrived);
                assert!(published == 0 || published >= committed && committed > 0);
            }
        }
    }
}

#[test]
fn everything_that_arrives_is_published_once_nothing_more_comes() {
    let times: Vec<Time> = (0..2_000).map(|number| number * 500_000).collect();
    let outcome = run(&setup(0.01, Load::Given(times)), &costs(), limits());
    assert_eq!((outcome.requests.len(), outcome.waiting), (2_000, 0));
    assert!(outcome.requests.iter().all(|request| request.published > 0));
}

/// Those who sent at the same time have their receipts at the same time, though their entries went in two raft_entries; one alone waits for nobody.
#[test]
fn a_round_waits_for_what_is_under_way() {
    let published = |times: Vec<Time>, gather| {
        let limits = Limits {
            publish_gather: gather,
            ..limits()
        };
        let setup = Setup {
            nodes: 1,
            ..setup(0.001, Load::Given(times))
        };
        let requests = run(&setup, &costs(), limits).requests;
        requests.iter().map(|it| it.published).collect::<Vec<_>>()
    };
    // The second comes while the first is written, and is in the next raft_entry.
    let together = |gather| match published(vec![0, 1_000], gather)[..] {
        [first, second] => first == second,
        _ => panic!("two were sent"),
    };
    assert!(together(ns(0.02)) && !together(0));
    assert_eq!(published(vec![0], ns(0.02)), published(vec![0], 0));
}

/// What was applied before is published with what waited for somebody who leads.
#[test]
fn a_round_that_waited_when_the_lead_was_lost_begins_anew() {
    // One every tenth of a millisecond, so that something is always under way.
    let times = (0..100).map(|number| number * 100_000).collect();
    let setup = Setup {
        nodes: 1,
        no_leader: Some((0.005, 0.1)),
        ..setup(0.001, Load::Given(times))
    };
    let requests = run(&setup, &costs(), limits()).requests;
    let (first, last) = (requests[0], requests[99]);
    assert!(first.committed < ns(0.005) && last.committed > ns(0.1));
    assert_eq!(first.published, last.published);
}

/// No answer is faster than the way there and back, and the disks on it.
#[test]
fn nothing_is_faster_than_its_links_and_disks() {
    for one_way in [0.001, 0.01, 0.05] {
        let outcome = run(&setup(one_way, open(300.0)), &costs(), limits());
        let sync = costs().sync.p50 * f64::from(APPEND_SYNCS);
        for request in outcome.requests.iter().filter(|r| r.committed > 0) {
            // To a follower and back; from another door also to the leader and back.
            let ways = if request.door == 0 { 2.0 } else { 4.0 };
            let waited = seconds(request.committed - request.arrived);
            assert!(
                waited >= ways * one_way + 2.0 * sync,
                "{waited} over {one_way}"
            );
            if request.published > 0 {
                // A cosignature there and back, then a commit; and to another door once more. A round that was
                // under way when the entry was applied does not cover it.
                let published = seconds(request.published - request.arrived);
                let ways = if request.door == 0 { 6.0 } else { 7.0 };
                assert!(published >= ways * one_way, "{published} over {one_way}");
            }
        }
        // And without load, not much slower either.
        let bound = 4.0 * one_way * 1.1 * 2.0 + 0.01;
        assert!(outcome.commit.p50_ms / 1e3 < bound, "{:?}", outcome.commit);
    }
}

/// With cores to spare, so many full batches go there and back at once, or half as many: one append is under way at a time, and of four batches
/// one may go first and three with the next.
#[test]
fn long_links_bound_a_group_by_its_batches_in_flight() {
    for in_flight_max in [4, 8] {
        let load = Load::Closed {
            clients: 4_000,
            until_published: false,
        };
        let mut setup = setup(0.05, load);
        setup.link.jitter = 0.0;
        setup.cores = 1_000;
        setup.counted = 2.0;
        let limits = Limits {
            in_flight_max,
            ..limits()
        };
        let outcome = run(&setup, &costs(), limits);
        let most = f64::from(in_flight_max * 64) / 0.1;
        let rate = outcome.entries_per_s / most;
        assert!((0.48..=1.0).contains(&rate), "{in_flight_max}: {rate}");
    }
}

/// With short links, what an entry costs the leader's cores.
#[test]
fn cores_bound_a_group_on_short_links() {
    let load = Load::Closed {
        clients: 4_000,
        until_published: false,
    };
    let setup = Setup {
        cores: 1,
        ..setup(0.000_05, load)
    };
    let outcome = run(&setup, &costs(), limits());
    // Every node verifies each entry once and takes a third of the requests.
    let costs = costs();
    let each = costs.verify + costs.entry_in_order + costs.entry_aside + costs.request / 3.0;
    let rate = outcome.entries_per_s * each;
    assert!((0.9..=1.02).contains(&rate), "{rate}");
    assert!(outcome.cpu > 0.97, "{}", outcome.cpu);
}

/// On one machine, what an entry costs all nodes and its client; the rest is publishing.
#[test]
fn shared_cores_bound_what_an_entry_costs_all_nodes() {
    for entries in [1, 100] {
        let load = Load::Closed {
            clients: 2_000 / entries,
            until_published: false,
        };
        let mut setup = setup(0.000_05, load);
        (setup.cores, setup.shared, setup.kind.entries) = (2, true, entries);
        setup.counted = 3.0;
        let each = costs().cpu_of_entry(3, entries) + costs().client_entry;
        let share = run(&setup, &costs(), limits()).entries_per_s * each / 2.0;
        assert!((0.9..=1.01).contains(&share), "{entries}: {share}");
    }
}

#[test]
fn apply_in_order_bounds_a_group_whatever_its_cores() {
    let load = Load::Closed {
        clients: 8_000,
        until_published: false,
    };
    let slow = Costs {
        entry_in_order: 200e-6,
        ..costs()
    };
    let setup = Setup {
        cores: 64,
        ..setup(0.000_05, load)
    };
    let rate = run(&setup, &slow, limits()).entries_per_s * 200e-6;
    assert!((0.9..=1.01).contains(&rate), "{rate}");
}

#[test]
fn who_finds_no_leader_waits_for_the_next_and_no_longer() {
    let setup = Setup {
        no_leader: Some((0.5, 1.5)),
        counted: 3.0,
        warm_up: 0.0,
        ..setup(0.001, open(500.0))
    };
    let outcome = run(&setup, &costs(), limits());
    let wait = |request: &Request| seconds(request.committed - request.arrived);
    let at = |request: &&Request| seconds(request.arrived);
    let longest = outcome
        .requests
        .iter()
        .filter(|r| r.committed > 0)
        .map(wait);
    let longest = longest.fold(0.0, f64::max);
    assert!((0.95..1.3).contains(&longest), "{longest}");
    let mut after = outcome
        .requests
        .iter()
        .filter(|r| at(r) > 2.0 && at(r) < 2.8);
    assert!(after.all(|request| request.committed > 0 && wait(request) < 0.1));
    let mut without = outcome
        .requests
        .iter()
        .filter(|r| (0.6..1.4).contains(&at(r)));
    assert!(without.all(|request| seconds(request.committed) >= 1.5));
}
