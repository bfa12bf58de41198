//! Tile names, tile contents and bundles.

use core::convert::Infallible;
use std::cell::Cell;
use std::collections::BTreeMap;

use counterfoil_tlog::proof::{
    inclusion_nodes, prove_consistency, prove_inclusion, root, verify_consistency, verify_inclusion,
};
use counterfoil_tlog::tile::{
    BundleId, MAX_ENTRY_BYTES, NodeLocation, ResourcePath, RightEdge, TileError, TileId,
    TileReadError, TileReader, Width, new_bundles, new_tiles, parse_bundle, push_entry,
    tiles_for_nodes,
};
use counterfoil_tlog::tree::{Hash, NodeId};
use proptest::prelude::*;

use crate::model;

fn tile(level: u8, index: u64, width: u16) -> TileId {
    TileId::new(level, index, Width::new(width).unwrap()).unwrap()
}

#[test]
fn paths_are_those_of_the_specification() {
    assert_eq!(tile(0, 1_234_067, 256).path(), "tile/0/x001/x234/067");
    assert_eq!(tile(63, 0, 1).path(), "tile/63/000.p/1");
    assert_eq!(tile(1, 999, 255).path(), "tile/1/999.p/255");
    assert_eq!(tile(1, 1000, 256).path(), "tile/1/x001/000");
    assert_eq!(
        tile(0, u64::MAX, 256).path(),
        "tile/0/x018/x446/x744/x073/x709/x551/615"
    );
    let bundle = BundleId::new(67, Width::new(8).unwrap());
    assert_eq!(bundle.path(), "tile/entries/067.p/8");
    assert_eq!(bundle.full().path(), "tile/entries/067");
    assert_eq!(BundleId::parse("tile/entries/067.p/8"), Ok(bundle));
    assert_eq!(TileId::parse("tile/entries/067.p/8"), Err(TileError::Path));
    assert_eq!(BundleId::parse("tile/0/067.p/8"), Err(TileError::Path));
    assert_eq!(TileId::new(64, 0, Width::FULL), None);
}

#[test]
fn other_spellings_of_a_path_are_refused() {
    for refused in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/000/",
        "tile//000",
        "tile/00/000",
        "tile/01/000",
        "tile/+1/000",
        "tile/64/000",
        "tile/256/000",
        "tile/-1/000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/000",
        "tile/0/x000/x001/000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/x001/x000",
        "tile/0//001",
        "tile/0/x001//001",
        "tile/0/X001/000",
        "tile/0/x1/000",
        "tile/0/x+01/000",
        "tile/0/+01",
        "tile/0/٣٣٣",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/65792",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/0/.p/1",
        "tile/entries/000.p/0",
        "tile/entries/x000/000",
        "tile/Entries/000",
        "tile/data/000",
        "tile/8/0/000",
        "tile/0/../000",
        "tile/0/000\n",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert_eq!(
            ResourcePath::parse(refused),
            Err(TileError::Path),
            "{refused:?}"
        );
    }
}

/// The examples of tlog-tiles, section "Partial Tiles".
#[test]
fn trees_of_the_specification_have_its_tiles() {
    let count = |level: u8, full: bool| {
        new_tiles(0, 70_000)
            .filter(|t| t.level() == level && t.width().is_full() == full)
            .count()
    };
    assert_eq!(
        (count(0, true), count(1, true), count(2, true)),
        (273, 1, 0)
    );
    let partial: Vec<String> = new_tiles(0, 70_000)
        .filter(|t| !t.width().is_full())
        .map(TileId::path)
        .collect();
    assert_eq!(
        partial,
        ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    );
    let paths: Vec<String> = new_tiles(0, 256).map(TileId::path).collect();
    assert_eq!(paths, ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(RightEdge::tiles(256), [tile(1, 0, 1)]);

    assert_eq!(tile(0, 1, 7).start_index(), Some(256));
    assert_eq!(tile(1, 1, 7).end_index(), Some(131_072));
    assert_eq!(tile(7, 0, 1).end_index(), None);
    assert_eq!(tile(63, u64::MAX, 1).start_index(), None);
}

#[test]
fn growing_writes_what_changed_and_nothing_else() {
    let paths = |old, new| new_tiles(old, new).map(TileId::path).collect::<Vec<_>>();
    assert_eq!(paths(0, 0), Vec::<String>::new());
    assert_eq!(paths(5, 5), Vec::<String>::new());
    assert_eq!(paths(5, 3), Vec::<String>::new());
    assert_eq!(paths(0, 1), ["tile/0/000.p/1"]);
    assert_eq!(paths(255, 256), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(paths(256, 257), ["tile/0/001.p/1"]);
    assert_eq!(
        paths(511, 513),
        ["tile/0/001", "tile/0/002.p/1", "tile/1/000.p/2"]
    );
    let bundles = |old, new| {
        new_bundles(old, new)
            .map(BundleId::path)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        bundles(255, 257),
        ["tile/entries/000", "tile/entries/001.p/1"]
    );
    assert_eq!(bundles(1, 1), Vec::<String>::new());
    let (bundle, position) = BundleId::of_entry(511, 513).unwrap();
    assert_eq!(
        (bundle.path().as_str(), position),
        ("tile/entries/001", 255)
    );
    assert_eq!(BundleId::of_entry(513, 513), None);
}

/// Tiles as a server keeps them, by path, and the tree they must represent.
#[derive(Default)]
struct Store {
    files: BTreeMap<String, Vec<u8>>,
    edge: RightEdge,
}

impl Store {
    fn append(&mut self, leaves: &[Hash]) {
        let old = self.edge.size();
        let written = self.edge.append(leaves).unwrap();
        let mut names: Vec<TileId> = written.iter().map(|tile| tile.id).collect();
        names.sort();
        let mut expected: Vec<TileId> = new_tiles(old, self.edge.size()).collect();
        expected.sort();
        assert_eq!(names, expected);
        for tile in written {
            assert_eq!(tile.bytes.len(), tile.id.byte_len());
            self.files.insert(tile.id.path(), tile.bytes);
        }
    }

    fn fetch(&self, tile: TileId) -> Result<Vec<u8>, String> {
        self.files
            .get(&tile.path())
            .cloned()
            .ok_or_else(|| format!("no `{tile}`"))
    }
}

#[test]
fn tiles_hold_the_hashes_the_specification_defines() {
    let leaves = model::leaves(70_000);
    let mut store = Store::default();
    store.append(&leaves);
    assert_eq!(store.edge.root(), model::mth(&leaves));
    // i-th hash of tile (l, n) = MTH(D[(n * 256 + i) * 256^l : (n * 256 + i + 1) * 256^l])
    for (level, index, position) in [
        (0, 0, 0),
        (0, 273, 111),
        (0, 100, 7),
        (1, 0, 255),
        (1, 1, 16),
        (2, 0, 0),
    ] {
        let id = TileId::in_tree(level, index, 70_000).unwrap();
        let hashes = id.hashes(&store.fetch(id).unwrap()).unwrap();
        let span = 256usize.pow(u32::from(level));
        let first = (index as usize * 256 + position) * span;
        assert_eq!(hashes[position], model::mth(&leaves[first..first + span]));
        assert_eq!(hashes.len(), usize::from(id.width().get()));
    }
    assert_eq!(TileId::in_tree(0, 274, 70_000), None);
    assert_eq!(TileId::in_tree(3, 0, 70_000), None);
}

#[test]
fn proofs_come_out_of_tiles_at_every_published_size() {
    let leaves = model::leaves(1300);
    let mut store = Store::default();
    let mut published = vec![];
    for step in [1, 1, 2, 3, 100, 148, 1, 1, 255, 256, 257, 275] {
        let start = store.edge.size() as usize;
        store.append(&leaves[start..start + step]);
        published.push(store.edge.size());
        let restored = RightEdge::load(store.edge.size(), |tile| store.fetch(tile)).unwrap();
        assert_eq!(restored, store.edge);
    }
    assert_eq!(store.edge.size(), 1300);
    for size in published.iter().copied() {
        let reader = TileReader::new(size, |tile| store.fetch(tile));
        let head = model::mth(&leaves[..size as usize]);
        assert_eq!(root(size, &reader).unwrap(), head);
        for index in (0..size).step_by(37).chain([size - 1]) {
            let path = prove_inclusion(index, size, &reader).unwrap();
            let leaf = &leaves[index as usize];
            assert_eq!(verify_inclusion(leaf, index, size, &path, &head), Ok(()));
        }
        for old in published.iter().copied().filter(|old| *old <= size) {
            let path = prove_consistency(old, size, &reader).unwrap();
            let old_head = model::mth(&leaves[..old as usize]);
            assert_eq!(
                verify_consistency(old, &old_head, size, &head, &path),
                Ok(())
            );
        }
    }
}

#[test]
fn a_full_tile_serves_where_the_partial_one_is_gone() {
    let leaves = model::leaves(300);
    let mut store = Store::default();
    store.append(&leaves);
    // At size 200 tile 0 was partial; now only the full one exists.
    let reader = TileReader::new(200, |tile: TileId| {
        store.fetch(tile).or_else(|_| store.fetch(tile.full()))
    });
    let path = prove_inclusion(150, 200, &reader).unwrap();
    let head = model::mth(&leaves[..200]);
    assert_eq!(
        verify_inclusion(&leaves[150], 150, 200, &path, &head),
        Ok(())
    );
}

#[test]
fn each_tile_is_fetched_once_and_wrong_tiles_are_errors() {
    let leaves = model::leaves(300);
    let mut store = Store::default();
    store.append(&leaves);
    let fetched = Cell::new(0);
    let reader = TileReader::new(300, |tile| {
        fetched.set(fetched.get() + 1);
        store.fetch(tile)
    });
    prove_inclusion(3, 300, &reader).unwrap();
    let needed = tiles_for_nodes(&inclusion_nodes(3, 300).unwrap(), 300).unwrap();
    assert_eq!(fetched.get(), needed.len());

    let node = NodeId::leaf(299).unwrap();
    for wrong in [
        vec![],
        vec![0; 43 * 32],
        vec![0; 44 * 32 + 1],
        vec![0; 45 * 32],
        vec![0; 8191],
    ] {
        let reader = TileReader::new(300, |_| Ok::<_, Infallible>(wrong.clone()));
        assert_eq!(
            counterfoil_tlog::proof::HashReader::read(&reader, &[node]),
            Err(TileReadError::Tile(TileError::TileLength {
                expected: 44 * 32,
                got: wrong.len()
            }))
        );
        assert!(RightEdge::load(300, |_| Ok::<_, Infallible>(wrong.clone())).is_err());
    }
    let missing = TileReader::new(301, |tile| store.fetch(tile));
    assert!(matches!(
        counterfoil_tlog::proof::HashReader::read(&missing, &[NodeId::leaf(300).unwrap()]),
        Err(TileReadError::Fetch { .. })
    ));
    assert_eq!(
        NodeLocation::of(NodeId::new(2, 75).unwrap(), 300),
        Err(TileError::NodeOutsideTree {
            level: 2,
            index: 75,
            size: 300
        })
    );
    let location = NodeLocation::of(NodeId::new(7, 1).unwrap(), 300).unwrap();
    assert_eq!(location.tile(), tile(0, 0, 256));
    let hashes = location
        .tile()
        .hashes(&store.fetch(location.tile()).unwrap())
        .unwrap();
    assert_eq!(
        location.hash(&hashes).unwrap(),
        model::mth(&leaves[128..256])
    );
    assert!(location.hash(&hashes[..255]).is_err());
}

#[test]
fn bundles_keep_entries_of_any_allowed_size() {
    let mut bundle = vec![];
    let largest = vec![7; MAX_ENTRY_BYTES];
    push_entry(&mut bundle, b"").unwrap();
    push_entry(&mut bundle, b"abc").unwrap();
    push_entry(&mut bundle, &largest).unwrap();
    assert_eq!(&bundle[..7], b"\0\0\0\x03abc");
    let before = bundle.clone();
    assert_eq!(
        push_entry(&mut bundle, &vec![7; MAX_ENTRY_BYTES + 1]),
        Err(TileError::EntryTooLarge(65_536))
    );
    assert_eq!(bundle, before);

    let width = |width| Width::new(width).unwrap();
    assert_eq!(
        parse_bundle(&bundle, width(3)).unwrap(),
        [&b""[..], b"abc", &largest]
    );
    assert_eq!(
        parse_bundle(&bundle, width(2)),
        Err(TileError::BundleCount(2))
    );
    assert_eq!(
        parse_bundle(&bundle, width(4)),
        Err(TileError::BundleCount(4))
    );
    assert_eq!(
        parse_bundle(&bundle[..bundle.len() - 1], width(3)),
        Err(TileError::BundleCutOff(2))
    );
    assert_eq!(
        parse_bundle(&bundle[..3], width(3)),
        Err(TileError::BundleCutOff(1))
    );
    assert_eq!(parse_bundle(b"", width(1)), Err(TileError::BundleCount(1)));
    assert_eq!((Width::new(0), Width::new(257)), (None, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_batching_gives_the_same_tree(steps in proptest::collection::vec(1usize..400, 1..8)) {
        let total = steps.iter().sum();
        let leaves = model::leaves(total);
        let (mut store, mut whole) = (Store::default(), Store::default());
        let mut start = 0;
        for step in steps {
            store.append(&leaves[start..start + step]);
            start += step;
            prop_assert_eq!(store.edge.root(), model::mth(&leaves[..start]));
        }
        whole.append(&leaves);
        prop_assert_eq!(&whole.edge, &store.edge);
        for (path, bytes) in &whole.files {
            prop_assert_eq!(store.files.get(path), Some(bytes));
        }
    }
}

proptest! {
    #[test]
    fn paths_round_trip(level in 0u8..=63, index in prop_oneof![any::<u64>(), 0u64..3_000_000], width in 1u16..=256) {
        let id = tile(level, index, width);
        prop_assert_eq!(TileId::parse(&id.path()), Ok(id));
        let bundle = BundleId::new(index, Width::new(width).unwrap());
        prop_assert_eq!(BundleId::parse(&bundle.path()), Ok(bundle));
    }

    #[test]
    fn bundles_round_trip(entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..=256)) {
        let mut bytes = vec![];
        for entry in &entries {
            push_entry(&mut bytes, entry).unwrap();
        }
        let width = Width::new(entries.len() as u16).unwrap();
        prop_assert_eq!(parse_bundle(&bytes, width).unwrap(), entries);
    }
}
