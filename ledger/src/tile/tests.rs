// SPDX-License-Identifier: EUPL-1.2
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::merkle::{MemoryNodes, leaf_hash, root};

#[test]
fn paths_have_one_spelling() {
    for (path, expected) in [
        (
            "tile/0/x001/x234/067",
            TilePath::Tile(Tile {
                level: 0,
                index: 1_234_067,
                width: 256,
            }),
        ),
        (
            "tile/0/x001/234.p/5",
            TilePath::Tile(Tile {
                level: 0,
                index: 1_234,
                width: 5,
            }),
        ),
        (
            "tile/63/000.p/255",
            TilePath::Tile(Tile {
                level: 63,
                index: 0,
                width: 255,
            }),
        ),
        (
            "tile/entries/000",
            TilePath::Bundle(Bundle {
                index: 0,
                width: 256,
            }),
        ),
        (
            "tile/entries/x001/000.p/1",
            TilePath::Bundle(Bundle {
                index: 1_000,
                width: 1,
            }),
        ),
        (
            "tile/0/x018/x446/x744/x073/x709/x551/615",
            TilePath::Tile(Tile {
                level: 0,
                index: u64::MAX,
                width: 256,
            }),
        ),
    ] {
        assert_eq!(TilePath::parse(path), Ok(expected));
        assert_eq!(expected.to_string(), path);
    }
    for other in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/05",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000/",
        "tile/0/00a",
        "tile/0/+01",
        "tile/data/000",
        "tile/0/000.p/1.p/1",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/X001/000",
        "tile/0/٠٠٠",
    ] {
        assert_eq!(TilePath::parse(other), Err(TileError::Path), "{other}");
    }
}

#[test]
fn partial_tiles_of_the_specification() {
    let paths = |size| {
        partial(TreeSize(size))
            .iter()
            .map(|path| path.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        paths(70_000),
        [
            "tile/0/273.p/112",
            "tile/entries/273.p/112",
            "tile/1/001.p/17",
            "tile/2/000.p/1"
        ]
    );
    assert_eq!(paths(256), ["tile/1/000.p/1"]);
    assert_eq!(paths(0), Vec::<alloc::string::String>::new());
    let widest =
        |level, index, size| Tile::in_tree(level, index, TreeSize(size)).map(|tile| tile.width);
    assert_eq!(widest(0, 272, 70_000), Some(256));
    assert_eq!(widest(0, 273, 70_000), Some(112));
    assert_eq!(widest(0, 274, 70_000), None);
    assert_eq!(widest(1, 1, 70_000), Some(17));
    assert_eq!(widest(2, 0, 65_535), None);
    assert_eq!(widest(8, 0, u64::MAX), None);
    assert_eq!(widest(0, u64::MAX, u64::MAX), None);
    assert!(
        Tile {
            level: 0,
            index: 273,
            width: 111
        }
        .within(TreeSize(70_000))
    );
    assert!(
        !Tile {
            level: 0,
            index: 273,
            width: 113
        }
        .within(TreeSize(70_000))
    );
    assert!(
        !Tile {
            level: 0,
            index: 0,
            width: 0
        }
        .within(TreeSize(70_000))
    );
    assert!(
        !Bundle {
            index: 0,
            width: 257
        }
        .within(TreeSize(70_000))
    );
}

#[test]
fn a_tile_one_level_up_holds_the_roots_of_full_tiles() {
    let tree = MemoryNodes::from_leaf_hashes(
        (0..600).map(|number| leaf_hash(format!("{number}").as_bytes())),
    );
    let upper = Tile::in_tree(1, 0, tree.size()).unwrap();
    assert_eq!(upper.width, 2);
    let hashes = upper.decode(&upper.read(&tree).unwrap()).unwrap();
    for (index, hash) in hashes.iter().enumerate() {
        let lower = Tile::in_tree(0, index as u64, tree.size()).unwrap();
        let below = lower.decode(&lower.read(&tree).unwrap()).unwrap();
        assert_eq!(MemoryNodes::from_leaf_hashes(below).root(), *hash);
    }
    assert_eq!(root(TreeSize(256), &tree).unwrap(), hashes[0]);
    assert_eq!(upper.decode(&[0; 65]), Err(TileError::Width));
}

#[test]
fn bundles_are_exact() {
    let bundle = Bundle { index: 0, width: 2 };
    let bytes = encode_bundle([b"visto-leaf-0".as_slice(), b"visto-leaf-1"]).unwrap();
    assert_eq!(
        hex::encode(&bytes),
        "000c766973746f2d6c6561662d30000c766973746f2d6c6561662d31"
    );
    assert_eq!(
        bundle.decode(&bytes),
        Ok(vec![b"visto-leaf-0".as_slice(), b"visto-leaf-1"])
    );
    assert_eq!(
        bundle.decode(&bytes[..bytes.len() - 1]),
        Err(TileError::Bundle)
    );
    assert_eq!(bundle.decode(&bytes[..14]), Err(TileError::Width));
    assert_eq!(
        Bundle { index: 0, width: 1 }.decode(&bytes),
        Err(TileError::Width)
    );
    assert_eq!(
        encode_bundle([vec![0; 65_536].as_slice()]),
        Err(TileError::Leaf)
    );
    assert_eq!(
        encode_bundle((0..257).map(|_| b"".as_slice())),
        Err(TileError::Width)
    );
}

proptest! {
    #[test]
    fn parse_of_format_is_the_same(level in 0u8..64, index: u64, width in 1u16..=256, entries: bool) {
        let path = if entries { TilePath::Bundle(Bundle { index, width }) } else { TilePath::Tile(Tile { level, index, width }) };
        prop_assert_eq!(TilePath::parse(&path.to_string()), Ok(path));
    }

    #[test]
    fn what_parses_formats_to_the_same(path in "tile/(0|1|63|entries)/(x?[0-9]{3}/){0,3}[0-9]{3}(\\.p/[0-9]{1,3})?") {
        if let Ok(parsed) = TilePath::parse(&path) {
            prop_assert_eq!(parsed.to_string(), path);
        }
    }

    #[test]
    fn bundles_round_trip(leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..=256)) {
        let bytes = encode_bundle(leaves.iter().map(Vec::as_slice)).unwrap();
        let bundle = Bundle { index: 0, width: leaves.len() as u16 };
        prop_assert_eq!(bundle.decode(&bytes).unwrap(), leaves.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_panics(text in ".{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..600), width: u16, index: u64, level: u8, size: u64) {
        let _ = TilePath::parse(&text);
        let _ = Bundle { index, width }.decode(&bytes);
        let _ = Tile { level, index, width }.decode(&bytes);
        let _ = (Bundle { index, width }.within(TreeSize(size)), Tile { level, index, width }.within(TreeSize(size)));
        let _ = partial(TreeSize(size));
    }
}
