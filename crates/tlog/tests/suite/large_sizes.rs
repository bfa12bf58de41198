//! Sizes up to 2^64 - 1: a tree whose leaves are all alike, so that any node of it can be computed.

use core::convert::Infallible;

use counterfoil_tlog::proof::{
    HashReader, MAX_HASHES, ProofError, consistency_length, inclusion_length, prove_consistency,
    prove_inclusion, root, root_from_inclusion, verify_consistency, verify_inclusion,
};
use counterfoil_tlog::tile::{NodeLocation, RightEdge, TileReader, new_bundles, new_tiles};
use counterfoil_tlog::tree::{Frontier, Hash, NodeId, TreeError, leaf_hash, node_hash};
use proptest::prelude::*;

struct UniformTree(Vec<Hash>);

impl UniformTree {
    fn new() -> Self {
        let mut levels = vec![leaf_hash(b"same")];
        for level in 0..63 {
            levels.push(node_hash(&levels[level], &levels[level]));
        }
        Self(levels)
    }

    fn tile(&self, level: u8, width: usize) -> Vec<u8> {
        self.0[usize::from(level) * 8].as_bytes().repeat(width)
    }
}

impl HashReader for UniformTree {
    type Error = Infallible;

    fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Infallible> {
        Ok(ids
            .iter()
            .map(|id| self.0[usize::from(id.level())])
            .collect())
    }
}

fn sizes() -> impl Strategy<Value = u64> {
    let near_power =
        (0u32..64, -2i64..=2).prop_map(|(bit, off)| (1u64 << bit).wrapping_add_signed(off));
    prop_oneof![any::<u64>(), near_power, 0u64..600, u64::MAX - 3..=u64::MAX]
}

proptest! {
    #[test]
    fn proofs_hold_at_any_size_or_are_too_long(size in sizes(), a in sizes(), b in sizes()) {
        prop_assume!(size > 0);
        let tree = UniformTree::new();
        let (index, old) = (a % size, b % size + 1);
        let head = root(size, &tree).unwrap();
        match inclusion_length(index, size) {
            Ok(length) => {
                let path = prove_inclusion(index, size, &tree).unwrap();
                prop_assert_eq!(path.len(), length);
                prop_assert_eq!(verify_inclusion(&tree.0[0], index, size, &path, &head), Ok(()));
            }
            Err(error) => {
                prop_assert_eq!(error, ProofError::TooLong);
                prop_assert!(size > 1 << 63);
                prop_assert!(prove_inclusion(index, size, &tree).is_err());
            }
        }
        match consistency_length(old, size) {
            Ok(length) => {
                let path = prove_consistency(old, size, &tree).unwrap();
                prop_assert_eq!(path.len(), length);
                let old_head = root(old, &tree).unwrap();
                prop_assert_eq!(verify_consistency(old, &old_head, size, &head, &path), Ok(()));
            }
            Err(error) => {
                prop_assert_eq!(error, ProofError::TooLong);
                prop_assert!(size > 1 << 62);
            }
        }
    }

    #[test]
    fn verifiers_never_panic(a in sizes(), b in sizes(), hashes in 0usize..70) {
        let hash = leaf_hash(b"x");
        let path = vec![hash; hashes];
        let _ = root_from_inclusion(&hash, a, b, &path);
        let _ = verify_consistency(a, &hash, b, &hash, &path);
        if hashes > MAX_HASHES {
            prop_assert!(root_from_inclusion(&hash, a, b, &path).is_err());
            prop_assert!(verify_consistency(a, &hash, b, &hash, &path).is_err());
        }
    }

    #[test]
    fn nodes_have_a_place_exactly_when_the_tree_has_them(level in 0u8..=255, index in sizes(), size in sizes()) {
        let width = 1u128.checked_shl(u32::from(level)).unwrap_or(u128::MAX >> 1);
        let end = (u128::from(index) + 1).checked_mul(width);
        let node = NodeId::new(level, index);
        prop_assert_eq!(node.is_some(), end.is_some_and(|end| end <= u128::from(u64::MAX)));
        if let Some(node) = node {
            prop_assert_eq!(NodeLocation::of(node, size).is_ok(), node.end() <= size);
        }
    }

    #[test]
    fn the_right_edge_of_any_size_gives_its_root(size in sizes()) {
        let tree = UniformTree::new();
        let fetch = |tile: counterfoil_tlog::tile::TileId| {
            Ok::<_, Infallible>(tree.tile(tile.level(), usize::from(tile.width().get())))
        };
        let mut edge = RightEdge::load(size, fetch).unwrap();
        prop_assert_eq!(edge.root(), root(size, &tree).unwrap());
        prop_assert_eq!(root(size, &TileReader::new(size, fetch)).unwrap(), edge.root());
        let grown = edge.append(&[tree.0[0]]);
        match size.checked_add(1) {
            Some(larger) => {
                let names: Vec<_> = grown.unwrap().iter().map(|tile| tile.id).collect();
                let mut expected: Vec<_> = new_tiles(size, larger).collect();
                expected.sort();
                let mut names = names;
                names.sort();
                prop_assert_eq!(names, expected);
                prop_assert_eq!(edge.root(), root(larger, &tree).unwrap());
            }
            None => prop_assert_eq!(grown, Err(TreeError::Full)),
        }
    }
}

#[test]
fn the_largest_tree_is_full() {
    let nodes = vec![leaf_hash(b"x"); 64];
    let mut frontier = Frontier::from_nodes(u64::MAX, nodes).unwrap();
    let before = frontier.clone();
    assert_eq!(frontier.append(leaf_hash(b"y")), Err(TreeError::Full));
    assert_eq!(frontier, before);
    assert_eq!(new_tiles(0, u64::MAX).next().unwrap().path(), "tile/0/000");
    assert_eq!(new_bundles(u64::MAX - 1, u64::MAX).count(), 1);
    assert_eq!(new_tiles(u64::MAX, 0).count(), 0);
}
