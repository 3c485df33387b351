// SPDX-License-Identifier: EUPL-1.2
//! What a stranger sees of the ledger (C2SP tlog-tiles bundles), and what the supervisory authority sees (searches).

use std::collections::BTreeMap;

use ledger::{base64, hash::Hash};
use serde_json::{Value, json};
use wire::token::Role;

use crate::{http::Http, world};

/// Entries in a full bundle (tlog-tiles).
const BUNDLE_ENTRIES: u64 = 256;

/// Leaf hashes of a tree of this size, as base64url, from the node's entry bundles.
///
/// # Panics
/// If a bundle is missing or malformed.
pub async fn leaf_hashes(http: &Http, url: &str, size: u64) -> Vec<String> {
    let mut hashes = Vec::new();
    let mut number = 0;
    while number * BUNDLE_ENTRIES < size {
        let width = (size - number * BUNDLE_ENTRIES).min(BUNDLE_ENTRIES);
        let partial = if width < BUNDLE_ENTRIES {
            format!(".p/{width}")
        } else {
            String::new()
        };
        let path = format!("{url}/tile/entries/{}{partial}", tile_number(number));
        let answer = http.get(&path, None).await.expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let mut rest = answer.bytes.as_slice();
        for _ in 0..width {
            let (length, after) = rest.split_first_chunk::<2>().expect("a length");
            let (leaf, after) = after
                .split_at_checked(usize::from(u16::from_be_bytes(*length)))
                .expect("a leaf");
            hashes.push(base64::url_encode(Hash::of(&[&[0], leaf]).as_bytes()));
            rest = after;
        }
        assert!(rest.is_empty(), "{path}: more than {width} leaves");
        number += 1;
    }
    hashes
}

/// Ids of all entries that institutions wrote, by index, as the supervisory authority finds them.
///
/// # Panics
/// If a search is not answered.
pub async fn entry_ids(http: &Http, url: &str) -> BTreeMap<u64, String> {
    let mut ids = BTreeMap::new();
    for (institution, _) in world::INSTITUTIONS {
        let mut cursor = Value::Null;
        loop {
            let mut search = json!({"institution": institution, "limit": 100, "types": ["access", "consent", "household"]});
            if !cursor.is_null() {
                search["cursor"] = cursor;
            }
            let token = world::token(world::GARANTE, Role::Authority);
            let answer = http
                .post(&format!("{url}/v1/accesses/search"), Some(&token), &search)
                .await
                .expect("an answer");
            assert_eq!(
                answer.status, 200,
                "search for {institution}: {}",
                answer.text
            );
            let page = answer.json();
            for item in page["items"].as_array().expect("items") {
                let id = item["body"]["id"].as_str().expect("an id");
                ids.insert(item["index"].as_u64().expect("an index"), id.to_owned());
            }
            cursor = page["next_cursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
    }
    ids
}

/// The number of a tile in its path: groups of three digits, all but the last with an x.
fn tile_number(number: u64) -> String {
    let mut path = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

#[cfg(test)]
mod tests {
    #[test]
    fn tile_numbers_as_in_the_specification() {
        for (number, path) in [
            (0, "000"),
            (999, "999"),
            (1000, "x001/000"),
            (1_234_067, "x001/x234/067"),
        ] {
            assert_eq!(super::tile_number(number), path);
        }
    }
}
