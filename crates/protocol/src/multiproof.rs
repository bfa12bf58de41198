//! Multiproofs: one proof that many records stand in one batch.
//!
//! The hashes are those of rs_merkle, in its order: level by level from the leaves, from left to
//! right, what the leaves that are proven do not give themselves. They are checked here and not by
//! rs_merkle, which takes duplicate and aliased indexes and hashes that are too many. Indexes are
//! never part of a proof: they follow from the records' sequences.
//!
//! Spec: bundles §3.

use std::collections::BTreeMap;

use counterfoil_tlog::proof::root_from_inclusion;
use counterfoil_tlog::tree::{Hash, node_hash};

use crate::batch::{MAX_PATH, MAX_RECORDS};
use crate::failure::{Failure, FailureCode};

/// The part of a batch's tree that a multiproof shows, verified against the root. It gives the
/// path of each of its leaves, so that a record can be taken out with a proof of its own.
#[derive(Clone, Debug)]
pub struct PartialTree {
    count: u64,
    // From the leaves up, without the root: the nodes known, ascending by index. Where a node is
    // known, so is its sibling.
    levels: Vec<Vec<Node>>,
}

type Node = (u64, Hash);

impl PartialTree {
    /// Checks that `leaves`, pairs of index and leaf hash, are in the tree of `count` leaves with
    /// this `root`. `count` and `root` come from something signed.
    ///
    /// # Errors
    /// [`FailureCode::BatchPathInvalid`] when there is no leaf, the indexes do not ascend or lie
    /// outside the tree, there are not exactly as many hashes as the indexes call for, or they
    /// lead to another root.
    pub fn verify(
        leaves: Vec<Node>,
        count: u64,
        hashes: &[Hash],
        root: &Hash,
    ) -> Result<Self, Failure> {
        let indexes: Vec<u64> = leaves.iter().map(|(index, _)| *index).collect();
        let needed = hashes_needed(&indexes, count)?;
        if hashes.len() != needed {
            return Err(invalid(format!(
                "the multiproof has {} hashes, {needed} are called for",
                hashes.len()
            )));
        }
        let mut given = hashes.iter().copied();
        let mut levels = Vec::with_capacity(MAX_PATH);
        let mut width = count;
        let mut nodes = leaves;
        while width > 1 {
            let mut known = Vec::with_capacity(nodes.len().saturating_mul(2));
            let parents = climb(&nodes, width, &mut known, |_| given.next())
                .ok_or_else(|| invalid("the multiproof ends too early".to_owned()))?;
            levels.push(known);
            nodes = parents;
            width = width.div_ceil(2);
        }
        match nodes.as_slice() {
            [(0, computed)] if computed == root && given.next().is_none() => {
                Ok(Self { count, levels })
            }
            [(_, computed)] => Err(invalid(format!(
                "the multiproof leads to {computed}, the commitment holds {root}"
            ))),
            _ => Err(invalid("the multiproof leads to no root".to_owned())),
        }
    }

    /// The path from the leaf at `index` to the root, leaf side first; none when the multiproof
    /// does not show that leaf.
    pub fn path(&self, index: u64) -> Option<Vec<Hash>> {
        let (mut index, mut width) = (index, self.count);
        let mut path = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            node(level, index)?;
            let sibling = index ^ 1;
            if sibling < width {
                path.push(node(level, sibling)?);
            }
            index /= 2;
            width = width.div_ceil(2);
        }
        (index == 0).then_some(path)
    }
}

/// Puts the paths of several records of one batch together into one multiproof.
///
/// `proven` are index, leaf hash and path of each record, ascending by index.
///
/// # Errors
/// [`FailureCode::BatchPathInvalid`] when the indexes do not ascend or lie outside the tree, or a
/// path does not lead to `root`.
pub fn merge(
    proven: &[(u64, Hash, &[Hash])],
    count: u64,
    root: &Hash,
) -> Result<Vec<Hash>, Failure> {
    let indexes: Vec<u64> = proven.iter().map(|(index, _, _)| *index).collect();
    let needed = hashes_needed(&indexes, count)?;
    let mut siblings: BTreeMap<(usize, u64), Hash> = BTreeMap::new();
    for (index, leaf, path) in proven {
        let computed = root_from_inclusion(leaf, *index, count, path)
            .map_err(|error| invalid(error.to_string()))?;
        if computed != *root {
            return Err(invalid(format!(
                "a path leads to {computed}, the commitment holds {root}"
            )));
        }
        let (mut index, mut width, mut level) = (*index, count, 0_usize);
        for hash in *path {
            // A node without a sibling moves up and has no hash in the path.
            while index ^ 1 >= width && width > 1 {
                (index, width, level) = (index / 2, width.div_ceil(2), level + 1);
            }
            siblings.insert((level, index ^ 1), *hash);
            (index, width, level) = (index / 2, width.div_ceil(2), level + 1);
        }
    }
    let mut hashes = Vec::with_capacity(needed);
    let mut nodes: Vec<Node> = proven
        .iter()
        .map(|(index, leaf, _)| (*index, *leaf))
        .collect();
    let (mut width, mut level) = (count, 0);
    while width > 1 {
        let mut known = Vec::new();
        nodes = climb(&nodes, width, &mut known, |sibling| {
            let hash = siblings.get(&(level, sibling)).copied();
            hashes.extend(hash);
            hash
        })
        .ok_or_else(|| invalid("a path ends too early".to_owned()))?;
        width = width.div_ceil(2);
        level += 1;
    }
    Ok(hashes)
}

/// The parents of `nodes` in a level of `width` nodes. `sibling` gives the hash of a node that is
/// not among them; all that is known of the level then stands in `known`.
fn climb(
    nodes: &[Node],
    width: u64,
    known: &mut Vec<Node>,
    mut sibling: impl FnMut(u64) -> Option<Hash>,
) -> Option<Vec<Node>> {
    let mut parents = Vec::with_capacity(nodes.len() / 2 + 1);
    let mut rest = nodes.iter().copied().peekable();
    while let Some((index, hash)) = rest.next() {
        let other = index ^ 1;
        if other >= width {
            known.push((index, hash));
            parents.push((index / 2, hash));
            continue;
        }
        let (left, right) = if index % 2 == 1 {
            (sibling(other)?, hash)
        } else if let Some((_, right)) = rest.next_if(|(next, _)| *next == other) {
            (hash, right)
        } else {
            (hash, sibling(other)?)
        };
        known.push((index & !1, left));
        known.push((index | 1, right));
        parents.push((index / 2, node_hash(&left, &right)));
    }
    Some(parents)
}

/// How many hashes a multiproof of these leaves has.
fn hashes_needed(indexes: &[u64], count: u64) -> Result<usize, Failure> {
    if count == 0 || count > MAX_RECORDS {
        return Err(invalid(format!("a tree of {count} leaves")));
    }
    if !indexes.is_sorted_by(|a, b| a < b) {
        return Err(invalid("the indexes do not ascend".to_owned()));
    }
    match indexes.last() {
        Some(last) if *last < count => {}
        Some(last) => return Err(invalid(format!("index {last} in a tree of {count} leaves"))),
        None => return Err(invalid("a multiproof of no leaf".to_owned())),
    }
    let mut needed = 0;
    let mut width = count;
    let mut level = indexes.to_vec();
    while width > 1 {
        let mut parents = Vec::with_capacity(level.len() / 2 + 1);
        let mut rest = level.into_iter().peekable();
        while let Some(index) = rest.next() {
            let paired = index % 2 == 0 && rest.next_if_eq(&(index | 1)).is_some();
            if !paired && index ^ 1 < width {
                needed += 1;
            }
            parents.push(index / 2);
        }
        level = parents;
        width = width.div_ceil(2);
    }
    Ok(needed)
}

fn node(level: &[Node], index: u64) -> Option<Hash> {
    let at = level.binary_search_by_key(&index, |(index, _)| *index);
    level.get(at.ok()?).map(|(_, hash)| *hash)
}

#[cold]
fn invalid(detail: String) -> Failure {
    Failure::new(FailureCode::BatchPathInvalid, detail)
}

#[cfg(test)]
mod tests {
    use counterfoil_tlog::tree::leaf_hash;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::{BatchTree, verify_path};

    fn records(count: u64) -> Vec<Vec<u8>> {
        (0..count).map(|i| i.to_be_bytes().to_vec()).collect()
    }

    fn tree(count: u64) -> BatchTree {
        BatchTree::build(records(count).iter().map(Vec::as_slice)).unwrap()
    }

    fn leaf(index: u64) -> Node {
        (index, leaf_hash(&index.to_be_bytes()))
    }

    fn leaves(indexes: &[u64]) -> Vec<Node> {
        indexes.iter().map(|index| leaf(*index)).collect()
    }

    fn refused(leaves: Vec<Node>, count: u64, hashes: &[Hash], root: &Hash, why: &str) {
        let failure = PartialTree::verify(leaves, count, hashes, root).unwrap_err();
        assert_eq!(failure.code(), FailureCode::BatchPathInvalid);
        assert!(failure.detail().contains(why), "{failure}, not {why}");
    }

    /// Every subset of every tree of up to eleven leaves.
    #[test]
    fn every_multiproof_of_every_small_batch_verifies_and_gives_the_single_paths() {
        for count in 1..=11_u64 {
            let tree = tree(count);
            for subset in 1..1_u64 << count {
                let indexes: Vec<u64> = (0..count).filter(|i| subset & (1 << i) != 0).collect();
                let hashes = tree.multiproof(&indexes).unwrap();
                let partial =
                    PartialTree::verify(leaves(&indexes), count, &hashes, &tree.root()).unwrap();
                for index in &indexes {
                    assert_eq!(
                        partial.path(*index),
                        tree.path(*index),
                        "{index} of {count}"
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn multiproofs_agree_with_single_paths(
            count in 1..700_u64,
            picks in prop::collection::btree_set(any::<u64>(), 1..60),
            flip in any::<(usize, u8)>(),
        ) {
            let tree = tree(count);
            let indexes: Vec<u64> = picks
                .into_iter()
                .map(|pick| pick % count)
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect();
            let root = tree.root();
            let hashes = tree.multiproof(&indexes).unwrap();
            let partial = PartialTree::verify(leaves(&indexes), count, &hashes, &root).unwrap();
            let paths: Vec<Vec<Hash>> =
                indexes.iter().map(|index| partial.path(*index).unwrap()).collect();
            for (index, path) in indexes.iter().zip(&paths) {
            let single = tree.path(*index);
            prop_assert_eq!(Some(path), single.as_ref());
                verify_path(&index.to_be_bytes(), *index, count, path, &root).unwrap();
            }
            let proven: Vec<(u64, Hash, &[Hash])> = indexes
                .iter()
                .zip(&paths)
                .map(|(index, path)| (*index, leaf(*index).1, path.as_slice()))
                .collect();
            prop_assert_eq!(&merge(&proven, count, &root).unwrap(), &hashes);

            // One bit of anything changed, and it fails.
            let mut longer = hashes.clone();
            longer.push(root);
            prop_assert!(PartialTree::verify(leaves(&indexes), count, &longer, &root).is_err());
            let at = flip.0 % (hashes.len() + indexes.len());
            let (mut forged, mut changed) = (hashes, leaves(&indexes));
            let target = match forged.get_mut(at) {
                Some(hash) => hash,
                None => &mut changed[at % indexes.len()].1,
            };
            let mut bytes = *target.as_bytes();
            bytes[usize::from(flip.1 / 8)] ^= 1 << (flip.1 % 8);
            *target = Hash::from_bytes(bytes);
            prop_assert!(PartialTree::verify(changed, count, &forged, &root).is_err());
        }
    }

    #[test]
    fn what_is_not_exactly_the_proof_is_refused() {
        let tree = tree(7);
        let root = tree.root();
        let hashes = tree.multiproof(&[1, 3, 4]).unwrap();
        let good = || leaves(&[1, 3, 4]);
        PartialTree::verify(good(), 7, &hashes, &root).unwrap();

        // Duplicate, reordered, out of range, none.
        let (one, three, four) = (leaf(1), leaf(3), leaf(4));
        refused(vec![one, one, three, four], 7, &hashes, &root, "ascend");
        refused(vec![three, one, four], 7, &hashes, &root, "ascend");
        refused(vec![one, three, (7, four.1)], 7, &hashes, &root, "index 7");
        refused(
            vec![one, three, (u64::MAX, four.1)],
            7,
            &hashes,
            &root,
            "index",
        );
        refused(Vec::new(), 7, &hashes, &root, "no leaf");
        refused(good(), 0, &hashes, &root, "0 leaves");
        refused(good(), MAX_RECORDS + 1, &hashes, &root, "leaves");
        // Another place for a leaf.
        refused(vec![(0, one.1), three, four], 7, &hashes, &root, "leads to");
        refused(vec![one, (2, three.1), four], 7, &hashes, &root, "leads to");
        // Missing, surplus, reordered hashes.
        refused(good(), 7, &hashes[1..], &root, "called for");
        refused(good(), 7, &hashes[..hashes.len() - 1], &root, "called for");
        for at in 0..=hashes.len() {
            let mut more = hashes.clone();
            more.insert(at, root);
            refused(good(), 7, &more, &root, "called for");
        }
        let mut swapped = hashes.clone();
        swapped.swap(0, 1);
        refused(good(), 7, &swapped, &root, "leads to");
        // A leaf that is claimed as well, although its neighbours' proof already has it.
        refused(
            vec![leaf(0), one, three, four],
            7,
            &hashes,
            &root,
            "called for",
        );
        refused(good(), 5, &hashes, &root, "called for");
        refused(good(), 6, &hashes, &root, "called for");
        refused(good(), 9, &hashes, &root, "called for");
    }

    /// What rs_merkle's own verifier accepts although the leaf is not there: aliased indexes and
    /// sizes, an index twice, and hashes that nobody asked for.
    #[test]
    fn the_forged_proofs_of_rs_merkle_are_refused() {
        let tree = tree(7);
        let root = tree.root();
        let hashes = tree.multiproof(&[3]).unwrap();
        let three = leaf(3).1;
        for (index, count) in [(11, 4), (19, 5), (35, 7), (3, 5), (3, 6), (3, 8), (3, 9)] {
            let result = PartialTree::verify(vec![(index, three)], count, &hashes, &root);
            // Sizes that share the path have the same tree above the leaf: the size is signed.
            assert!(
                result.is_err() || (index == 3 && (5..=8).contains(&count)),
                "index {index} of {count}"
            );
        }
        let foreign = leaf_hash(b"a record that is not in the batch");
        refused(vec![(3, three), (3, foreign)], 7, &hashes, &root, "ascend");
        refused(vec![(3, foreign), (3, three)], 7, &hashes, &root, "ascend");
        refused(
            vec![(3, three), (35, foreign)],
            7,
            &hashes,
            &root,
            "index 35",
        );
        let mut trailing = hashes;
        trailing.push(foreign);
        refused(vec![(3, three)], 7, &trailing, &root, "called for");
    }

    #[test]
    fn a_multiproof_of_nothing_or_of_strangers_cannot_be_built() {
        let tree = tree(5);
        for indexes in [&[][..], &[5], &[1, 1], &[2, 1], &[0, u64::MAX]] {
            assert!(tree.multiproof(indexes).is_none(), "{indexes:?}");
        }
        assert_eq!(tree.multiproof(&[0, 1, 2, 3, 4]).unwrap(), []);
    }

    #[test]
    fn paths_of_different_trees_do_not_merge() {
        let (five, six) = (tree(5), tree(6));
        let (a, b) = (five.path(0).unwrap(), six.path(1).unwrap());
        let proven = [(0, leaf(0).1, a.as_slice()), (1, leaf(1).1, b.as_slice())];
        assert!(merge(&proven, 5, &five.root()).is_err());
        let twice = [(0, leaf(0).1, a.as_slice()), (0, leaf(0).1, a.as_slice())];
        assert!(merge(&twice, 5, &five.root()).is_err());
        assert!(merge(&[], 5, &five.root()).is_err());
    }
}
