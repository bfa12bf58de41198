//! Inclusion and consistency, against known roots, the model and ct-merkle.

use core::convert::Infallible;

use counterfoil_tlog::proof::{
    BuildError, HashReader, LeafSlice, ProofError, consistency_length, consistency_nodes,
    inclusion_length, inclusion_nodes, prove_consistency, prove_inclusion, root,
    root_from_inclusion, verify_consistency, verify_inclusion,
};
use counterfoil_tlog::tree::{EMPTY_ROOT, Frontier, Hash, NodeId, TreeError, leaf_hash};
use proptest::prelude::*;

use crate::model;

/// Every size from the smallest to beyond one full tile level of 128.
const SIZES: std::ops::RangeInclusive<usize> = 1..=130;

fn hash(hex: &str) -> Hash {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    Hash::from_slice(&bytes).unwrap()
}

/// The entries and roots that the Certificate Transparency implementations have shared since
/// RFC 6962.
#[test]
fn roots_match_the_certificate_transparency_vectors() {
    let entries: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let mut frontier = Frontier::new();
    assert_eq!(
        frontier.root().to_string(),
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    );
    for (count, expected) in (1..).zip(roots) {
        frontier.append(leaves[count - 1]).unwrap();
        assert_eq!(frontier.root(), hash(expected), "size {count}");
        assert_eq!(
            root(count as u64, &LeafSlice(&leaves)).unwrap(),
            hash(expected)
        );
        assert_eq!(model::mth(&leaves[..count]), hash(expected));
    }
}

#[test]
fn frontier_agrees_with_the_model_at_every_size() {
    let leaves = model::leaves(*SIZES.end());
    let mut frontier = Frontier::new();
    for size in SIZES {
        frontier.append(leaves[size - 1]).unwrap();
        assert_eq!(frontier.root(), model::mth(&leaves[..size]), "size {size}");
        assert_eq!(frontier.size(), size as u64);
        let stored = LeafSlice(&leaves)
            .read(&Frontier::node_ids(size as u64))
            .unwrap();
        assert_eq!(frontier.nodes(), stored);
        assert_eq!(Frontier::from_nodes(size as u64, stored).unwrap(), frontier);
    }
    assert_eq!(
        Frontier::from_nodes(3, vec![EMPTY_ROOT]),
        Err(TreeError::NodeCount {
            size: 3,
            expected: 2,
            got: 1
        })
    );
}

#[test]
fn inclusion_holds_for_every_leaf_of_every_size() {
    let leaves = model::leaves(*SIZES.end());
    for size in SIZES {
        let tree = &leaves[..size];
        let (root, count) = (model::mth(tree), size as u64);
        for (index, leaf) in tree.iter().enumerate() {
            let at = index as u64;
            let path = prove_inclusion(at, count, &LeafSlice(tree)).unwrap();
            assert_eq!(path, model::path(index, tree), "leaf {index} of {size}");
            assert_eq!(inclusion_length(at, count), Ok(path.len()));
            assert_eq!(verify_inclusion(leaf, at, count, &path, &root), Ok(()));
        }
    }
}

/// One fault each, for every leaf of every size.
#[test]
fn faulty_inclusion_is_refused_for_every_leaf_of_every_size() {
    let leaves = model::leaves(64);
    let stranger = leaf_hash(b"never logged");
    for size in 1..=64 {
        let tree = &leaves[..size];
        let (root, count) = (model::mth(tree), size as u64);
        let depth = count.next_power_of_two().ilog2();
        for (index, leaf) in tree.iter().enumerate() {
            let at = index as u64;
            let path = model::path(index, tree);
            let verify = |leaf: &Hash, at, count, path: &[Hash]| {
                verify_inclusion(leaf, at, count, path, &root)
            };
            let wrong_length = |got| {
                Err(ProofError::WrongLength {
                    expected: path.len(),
                    got,
                })
            };

            let mut trailing = path.clone();
            trailing.push(root);
            assert_eq!(
                verify(leaf, at, count, &trailing),
                wrong_length(path.len() + 1)
            );
            if let [_, missing_first @ ..] = path.as_slice() {
                assert_eq!(
                    verify(leaf, at, count, missing_first),
                    wrong_length(path.len() - 1)
                );
                let missing_last = &path[..path.len() - 1];
                assert_eq!(
                    verify(leaf, at, count, missing_last),
                    wrong_length(path.len() - 1)
                );
            }
            for position in 0..path.len() {
                let mut altered = path.clone();
                altered[position] = stranger;
                assert_eq!(
                    verify(leaf, at, count, &altered),
                    Err(ProofError::RootMismatch)
                );
            }
            assert_eq!(
                verify(&stranger, at, count, &path),
                Err(ProofError::RootMismatch)
            );
            // Aliases: indices that lead through the same sides of the same levels.
            for turn in 1..=4 {
                let alias = at + (turn << depth);
                assert_eq!(
                    verify(leaf, alias, count, &path),
                    Err(ProofError::IndexOutOfRange {
                        index: alias,
                        size: count
                    })
                );
            }
            for other in (0..count).filter(|other| *other != at) {
                assert!(
                    verify(leaf, other, count, &path).is_err(),
                    "{index} as {other} of {size}"
                );
            }
        }
        // The last leaf's path has another length when the tree is said to be larger by one.
        let (last, path) = (count - 1, model::path(size - 1, tree));
        assert!(matches!(
            verify_inclusion(&tree[size - 1], last, count + 1, &path, &root),
            Err(ProofError::WrongLength { .. })
        ));
        assert_eq!(
            verify_inclusion(&tree[size - 1], last, count - 1, &path, &root),
            Err(ProofError::IndexOutOfRange {
                index: last,
                size: count - 1
            })
        );
    }
}

/// Statements that the verifier of rs_merkle 1.5.0 accepts: leaf 3 of 7 under other positions.
#[test]
fn positions_that_loose_verifiers_accept_are_refused() {
    let leaves = model::leaves(7);
    let (root, path) = (model::mth(&leaves), model::path(3, &leaves));
    assert_eq!(verify_inclusion(&leaves[3], 3, 7, &path, &root), Ok(()));
    for (index, size) in [(11, 4), (19, 5), (35, 7), (11, 7), (4, 4)] {
        assert_eq!(
            verify_inclusion(&leaves[3], index, size, &path, &root),
            Err(ProofError::IndexOutOfRange { index, size })
        );
    }
    for size in [4, 9, 16, 17] {
        assert!(
            verify_inclusion(&leaves[3], 3, size, &path, &root).is_err(),
            "size {size}"
        );
    }
    // An inner node offered as a leaf of a smaller tree: only the signed size stops this, and with
    // the signed size it is stopped.
    let inner = model::mth(&leaves[2..4]);
    assert!(verify_inclusion(&inner, 1, 7, &path[1..], &root).is_err());
}

#[test]
fn consistency_holds_between_all_sizes() {
    let leaves = model::leaves(*SIZES.end());
    for new in SIZES {
        let tree = &leaves[..new];
        let new_root = model::mth(tree);
        for old in 1..=new {
            let (from, to) = (old as u64, new as u64);
            let old_root = model::mth(&leaves[..old]);
            let path = prove_consistency(from, to, &LeafSlice(tree)).unwrap();
            assert_eq!(path, model::consistency(old, tree), "{old} to {new}");
            assert_eq!(consistency_length(from, to), Ok(path.len()));
            assert_eq!(
                verify_consistency(from, &old_root, to, &new_root, &path),
                Ok(())
            );
        }
    }
}

/// One fault each, between all sizes.
#[test]
fn faulty_consistency_is_refused_between_all_sizes() {
    let leaves = model::leaves(40);
    let stranger = leaf_hash(b"never logged");
    for new in 1..=40 {
        let new_root = model::mth(&leaves[..new]);
        let to = new as u64;
        for old in 1..=new {
            let (from, old_root) = (old as u64, model::mth(&leaves[..old]));
            let path = model::consistency(old, &leaves[..new]);
            let verify = |from, old_root: &Hash, new_root: &Hash, path: &[Hash]| {
                verify_consistency(from, old_root, to, new_root, path)
            };
            let wrong_length = |got| {
                Err(ProofError::WrongLength {
                    expected: path.len(),
                    got,
                })
            };

            let mut trailing = path.clone();
            trailing.push(stranger);
            assert_eq!(
                verify(from, &old_root, &new_root, &trailing),
                wrong_length(path.len() + 1)
            );
            if !path.is_empty() {
                for missing in [&path[1..], &path[..path.len() - 1]] {
                    assert_eq!(
                        verify(from, &old_root, &new_root, missing),
                        wrong_length(path.len() - 1)
                    );
                }
            }
            for position in 0..path.len() {
                let mut altered = path.clone();
                altered[position] = stranger;
                assert!(verify(from, &old_root, &new_root, &altered).is_err());
            }
            assert!(verify(from, &stranger, &new_root, &path).is_err());
            assert!(verify(from, &old_root, &stranger, &path).is_err());
            for wrong in (1..=to).filter(|wrong| *wrong != from) {
                assert!(
                    verify(wrong, &old_root, &new_root, &path).is_err(),
                    "{old} as {wrong}, to {new}"
                );
            }
        }
        let root = model::mth(&leaves[..new]);
        assert_eq!(
            verify_consistency(0, &EMPTY_ROOT, to, &root, &[]),
            Err(ProofError::OldSizeZero)
        );
        assert_eq!(
            verify_consistency(to + 1, &root, to, &root, &[]),
            Err(ProofError::OldSizeLarger {
                old: to + 1,
                new: to
            })
        );
    }
}

#[test]
fn ct_merkle_makes_the_same_roots_and_proofs() {
    let mut theirs = ct_merkle::mem_backed_tree::MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new();
    let leaves = model::leaves(70);
    for size in 1..=70 {
        theirs.push(model::entry(size - 1));
        let tree = LeafSlice(&leaves[..size]);
        assert_eq!(
            root(size as u64, &tree).unwrap().as_ref(),
            &theirs.root().as_bytes()[..]
        );
        for index in 0..size {
            let ours = prove_inclusion(index as u64, size as u64, &tree).unwrap();
            let theirs = theirs.prove_inclusion(index);
            assert_eq!(concat(&ours), theirs.as_bytes(), "leaf {index} of {size}");
        }
        for old in 1..size {
            let ours = prove_consistency(old as u64, size as u64, &tree).unwrap();
            let theirs = theirs.prove_consistency(size - old);
            assert_eq!(concat(&ours), theirs.as_bytes(), "{old} to {size}");
        }
    }
}

fn concat(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

#[test]
fn builders_name_the_nodes_they_read() {
    struct Recorder<'a>(LeafSlice<'a>, std::cell::RefCell<Vec<NodeId>>);
    impl HashReader for Recorder<'_> {
        type Error = ProofError;
        fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, ProofError> {
            self.1.borrow_mut().extend(ids);
            self.0.read(ids)
        }
    }
    let leaves = model::leaves(13);
    let reader = Recorder(LeafSlice(&leaves), Default::default());
    prove_inclusion(3, 13, &reader).unwrap();
    assert_eq!(reader.1.take(), inclusion_nodes(3, 13).unwrap());
    prove_consistency(6, 13, &reader).unwrap();
    assert_eq!(reader.1.take(), consistency_nodes(6, 13).unwrap());
}

#[test]
fn a_reader_with_the_wrong_count_is_an_error() {
    struct Short;
    impl HashReader for Short {
        type Error = Infallible;
        fn read(&self, _: &[NodeId]) -> Result<Vec<Hash>, Infallible> {
            Ok(vec![EMPTY_ROOT])
        }
    }
    assert_eq!(
        prove_inclusion(0, 3, &Short),
        Err(BuildError::ReaderCount { asked: 2, got: 1 })
    );
    let leaves = model::leaves(2);
    let outside = prove_inclusion(0, 3, &LeafSlice(&leaves));
    assert!(matches!(
        outside,
        Err(BuildError::Read(ProofError::IndexOutOfRange { .. }))
    ));
}

proptest! {
    #[test]
    fn larger_trees_agree_with_the_model(size in 1usize..3000, a in any::<usize>(), b in any::<usize>()) {
        let leaves = model::leaves(size);
        let (index, old) = (a % size, b % size + 1);
        let (count, expected) = (size as u64, model::mth(&leaves));
        let tree = LeafSlice(&leaves);
        prop_assert_eq!(root(count, &tree).unwrap(), expected);
        let path = prove_inclusion(index as u64, count, &tree).unwrap();
        prop_assert_eq!(&path, &model::path(index, &leaves));
        prop_assert_eq!(root_from_inclusion(&leaves[index], index as u64, count, &path), Ok(expected));
        let proof = prove_consistency(old as u64, count, &tree).unwrap();
        prop_assert_eq!(&proof, &model::consistency(old, &leaves));
        let old_root = model::mth(&leaves[..old]);
        prop_assert_eq!(verify_consistency(old as u64, &old_root, count, &expected, &proof), Ok(()));
    }
}
