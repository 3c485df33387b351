// SPDX-License-Identifier: BSD-3-Clause
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

fn open(folder: &Path, segment_bytes: u64) -> (Journal, Vec<(Place, Vec<u8>)>) {
    let mut found = Vec::new();
    let journal = Journal::open(folder, segment_bytes, |place, payload| {
        found.push((place, payload.to_vec()));
    });
    (journal.unwrap(), found)
}

fn payloads(found: &[(Place, Vec<u8>)]) -> Vec<&[u8]> {
    found
        .iter()
        .map(|(_, payload)| payload.as_slice())
        .collect()
}

async fn write(journal: &Journal, payload: &[u8]) -> Place {
    journal.append(vec![payload.to_vec()]).await.unwrap()[0]
}

#[tokio::test]
async fn what_was_acknowledged_is_there_again_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, found) = open(folder.path(), 200);
    assert!(found.is_empty());
    let mut expected = Vec::new();
    for n in 0..20_u8 {
        let place = write(&journal, &[n; 30]).await;
        assert_eq!(journal.read(place).unwrap(), [n; 30]);
        expected.push((place, vec![n; 30]));
    }
    assert!(journal.current_segment() > 3, "it never turned a page");
    let bytes = journal.bytes();
    assert!(matches!(
        Journal::open(folder.path(), 200, |_, _| {}),
        Err(JournalError::Locked(_))
    ));
    drop(journal);
    let (journal, found) = open(folder.path(), 200);
    assert_eq!(found, expected);
    assert_eq!(journal.bytes(), bytes);
    // The oldest go, the current one stays whatever is asked.
    journal.remove_below(3);
    journal.remove_below(u64::MAX);
    write(&journal, b"last").await;
    let current = journal.current_segment();
    drop(journal);
    let (journal, found) = open(folder.path(), 200);
    assert!(found.iter().all(|(place, _)| place.segment >= current - 1));
    assert_eq!(payloads(&found).last(), Some(&b"last".as_slice()));
    let on_disk: u64 = segments(folder.path())
        .unwrap()
        .into_iter()
        .map(|number| {
            fs::metadata(segment_path(folder.path(), number))
                .unwrap()
                .len()
        })
        .sum();
    assert_eq!(journal.bytes(), on_disk);
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_at_every_length() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path(), 1 << 20);
    write(&journal, b"first").await;
    let last = write(&journal, b"second and last").await;
    drop(journal);
    let path = segment_path(folder.path(), 1);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let (journal, found) = open(folder.path(), 1 << 20);
        let expected = (length as u64 >= last.offset) as usize;
        assert_eq!(found.len(), expected, "cut at {length}");
        // What is written next is found behind what was whole.
        write(&journal, b"next").await;
        drop(journal);
        let (_, found) = open(folder.path(), 1 << 20);
        assert_eq!(payloads(&found).last(), Some(&b"next".as_slice()));
        assert_eq!(found.len(), expected + 1);
    }
}

#[tokio::test]
async fn a_spoiled_byte_of_what_was_acknowledged_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path(), 1 << 20);
    let mut places = Vec::new();
    for text in [b"one".as_slice(), b"two", b"three"] {
        places.push(write(&journal, text).await);
    }
    drop(journal);
    let path = segment_path(folder.path(), 1);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut spoiled = whole.clone();
        spoiled[at] ^= 0x10;
        fs::write(&path, &spoiled).unwrap();
        let opened = Journal::open(folder.path(), 1 << 20, |_, _| {});
        // The last record alone cannot be told from one that was being written.
        if (at as u64) < places[2].offset {
            assert!(
                matches!(opened, Err(JournalError::Damaged { .. })),
                "byte {at}"
            );
        } else {
            drop(opened.unwrap());
        }
    }
    // In a segment that others follow, nothing may be torn.
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    fs::write(segment_path(folder.path(), 2), HEAD).unwrap();
    let opened = Journal::open(folder.path(), 1 << 20, |_, _| {});
    assert!(matches!(opened, Err(JournalError::Damaged { .. })));
}

#[tokio::test]
async fn many_at_once_are_each_found_once() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path(), 4096);
    let journal = Arc::new(journal);
    let tasks: Vec<_> = (0..200_u32)
        .map(|n| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move { write(&journal, &n.to_be_bytes()).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    drop(journal);
    let (_, found) = open(folder.path(), 4096);
    let mut numbers: Vec<_> = payloads(&found)
        .into_iter()
        .map(|payload| u32::from_be_bytes(payload.try_into().unwrap()))
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
}
