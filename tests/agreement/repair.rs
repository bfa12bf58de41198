//! Makes the rest of an object fit what was changed in it, so that a change is seen by the later
//! steps of a verifier: signatures are made again, links and digests follow, roots and checkpoints
//! are those of what is in the tree now.

use std::sync::Arc;

use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_tlog::proof::root_from_inclusion;
use counterfoil_tlog::tree::{Hash, leaf_hash, node_hash};
use sha2::{Digest as _, Sha256};

use super::keys::Keys;
use super::text;
use super::tree::{Known, Node, Wrapped, head};

/// How many objects can follow from one another in a file.
const ROUNDS: usize = 6;
const NONE: [u8; 32] = [0; 32];

/// Whether other objects name an object by these, in this order: SHA-256 and BLAKE3 of its bytes,
/// its id if it is a signed object, and SHA-256 of a receipt without its presentation.
fn digests(node: &Node) -> Vec<[u8; 32]> {
    let bytes = node.encode();
    vec![
        Sha256::digest(&bytes).into(),
        *ContentDigest::of(&bytes).as_bytes(),
        message(node).map_or(NONE, |message| Sha256::digest(message).into()),
        unpresented(node).map_or(NONE, |bytes| Sha256::digest(bytes).into()),
    ]
}

/// What a signed object's signature is over.
fn message(node: &Node) -> Option<Vec<u8>> {
    let [protected, _, payload, _] = parts(node)?;
    Some(to_be_signed(&protected.content()?, &payload.content()?))
}

fn to_be_signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = b"\x84\x6aSignature1".to_vec();
    for part in [protected, &[], payload] {
        head(2, part.len() as u64, &mut out);
        out.extend(part);
    }
    out
}

fn parts(node: &Node) -> Option<&[Node; 4]> {
    match node {
        Node::Tag(18, inner) => match &**inner {
            Node::Array(parts) => parts.as_slice().try_into().ok(),
            _ => None,
        },
        _ => None,
    }
}

fn parts_mut(node: &mut Node) -> Option<&mut [Node; 4]> {
    match node {
        Node::Tag(18, inner) => match &mut **inner {
            Node::Array(parts) => parts.as_mut_slice().try_into().ok(),
            _ => None,
        },
        _ => None,
    }
}

fn unpresented(node: &Node) -> Option<Vec<u8>> {
    node.get(9)?;
    let Node::Map(entries) = node else {
        return None;
    };
    let entries: Vec<_> = entries
        .iter()
        .filter(|(key, _)| *key != Node::Number(0, 9))
        .cloned()
        .collect();
    Some(Node::Map(entries).encode())
}

/// Notes what the digests are now. To be called before anything is changed.
pub(crate) fn remember(items: &mut [Node]) {
    each_object(items, &mut |wrapped| know(wrapped));
}

fn know(wrapped: &mut Wrapped) {
    wrapped.known = Some(Arc::new(Known {
        digests: digests(&wrapped.node),
        node: wrapped.node.clone(),
    }));
}

fn each_object(items: &mut [Node], visit: &mut dyn FnMut(&mut Wrapped)) {
    for item in items {
        item.walk(&mut |node| {
            if let Node::Wrapped(wrapped) = node {
                visit(wrapped);
            }
            false
        });
    }
}

/// Signs a COSE receipt for `entry` anew over the root that its path leads to, if its key is known.
pub(crate) fn sign_receipt(items: &mut [Node], entry: &[u8], keys: &Keys) {
    let signed = |receipt: &Node| {
        let [protected, unprotected, _, _] = parts(receipt)?;
        let Node::Array(proofs) = unprotected.get(396)?.get(-1)? else {
            return None;
        };
        let Node::Array(proof) = proofs.first()?.inside()? else {
            return None;
        };
        let [size, index, path] = proof.as_slice() else {
            return None;
        };
        let (size, index) = (size.uint()?, index.uint()?);
        let root = root_from_inclusion(&leaf_hash(entry), index, size, &hashes(path)?).ok()?;
        let message = to_be_signed(&protected.content()?, root.as_bytes());
        Some(key(protected, keys)?.sign(&message).to_vec())
    };
    for item in items {
        if let Node::Wrapped(wrapped) = item
            && let Some(signature) = signed(&wrapped.node)
            && let Some([_, _, _, place]) = parts_mut(&mut wrapped.node)
        {
            *place = Node::Bytes(signature);
        }
    }
}

/// The key that a protected header names.
fn key<'a>(protected: &Node, keys: &'a Keys) -> Option<&'a SigningKey> {
    let kid = protected.inside()?.get(4)?.content()?;
    keys.signers.get(<&[u8; 32]>::try_from(&kid[..]).ok()?)
}

/// Makes things fit again. `roots`: also the roots of batches and logs.
pub(crate) fn repair(items: &mut [Node], keys: &Keys, roots: bool) {
    for _ in 0..ROUNDS {
        if roots {
            for item in items.iter_mut() {
                item.walk(&mut |node| {
                    batch_root(node);
                    log_root(node, keys);
                    false
                });
            }
        }
        let mut changes = Vec::new();
        each_object(items, &mut |wrapped| {
            let Some(known) = wrapped.known.clone() else {
                return;
            };
            if known.node == wrapped.node {
                return;
            }
            sign(wrapped, &known.digests, keys);
            know(wrapped);
            let now = wrapped.known.iter().flat_map(|known| &known.digests);
            let pairs = known.digests.iter().zip(now);
            changes.extend(
                pairs
                    .filter(|(was, is)| was != is)
                    .map(|(was, is)| (*was, *is)),
            );
        });
        if changes.is_empty() {
            return;
        }
        for item in items.iter_mut() {
            item.walk(&mut |node| {
                if let Node::Bytes(content) = node {
                    let follows = changes.iter().find(|(was, _)| was[..] == content[..]);
                    if let Some((_, is)) = follows {
                        *content = is.to_vec();
                    }
                }
                false
            });
        }
    }
}

/// Signs an object anew if what is signed has changed and its key is known.
fn sign(wrapped: &mut Wrapped, digests: &[[u8; 32]], keys: &Keys) {
    let signed = || {
        let message = message(&wrapped.node)?;
        let id: [u8; 32] = Sha256::digest(&message).into();
        if digests.get(2) == Some(&id) {
            return None;
        }
        let [protected, ..] = parts(&wrapped.node)?;
        Some(key(protected, keys)?.sign(&message).to_vec())
    };
    if let Some(signature) = signed()
        && let Some([_, _, _, place]) = parts_mut(&mut wrapped.node)
    {
        *place = Node::Bytes(signature);
    }
}

/// The record's sequence, or the batch's first sequence and count.
fn sequence(record: &Node) -> Option<u64> {
    let [_, _, payload, _] = parts(record)?;
    payload.inside()?.get(2)?.uint()
}

fn range(commitment: &Node) -> Option<(u64, u64)> {
    let [protected, ..] = parts(commitment)?;
    let batch = protected.inside()?.get(-65537)?;
    Some((batch.get(2)?.uint()?, batch.get(3)?.uint()?))
}

fn hash(node: &Node) -> Option<Hash> {
    Hash::from_slice(&node.content()?)
}

fn hashes(node: &Node) -> Option<Vec<Hash>> {
    let Node::Array(items) = node else {
        return None;
    };
    items.iter().map(hash).collect()
}

/// Of a receipt, or a part of a bundle: the commitment's root.
fn batch_root(node: &mut Node) {
    let root = || {
        if let (Some(record), Some(path)) = (node.get(2), node.get(4)) {
            let (first, count) = range(node.get(5)?.inside()?)?;
            let index = sequence(record.inside()?)?.checked_sub(first)?;
            let leaf = leaf_hash(&record.content()?);
            return root_from_inclusion(&leaf, index, count, &hashes(path)?).ok();
        }
        None
    };
    let many = || {
        let (first, count) = range(node.get(1)?.inside()?)?;
        let Node::Array(records) = node.get(3)? else {
            return None;
        };
        let leaves = records
            .iter()
            .map(|record| {
                let index = sequence(record.inside()?)?.checked_sub(first)?;
                Some((index, leaf_hash(&record.content()?)))
            })
            .collect::<Option<Vec<_>>>()?;
        root_of_many(leaves, count, &hashes(node.get(4)?)?)
    };
    let (place, root) = match (root(), many()) {
        (Some(root), _) => (5, root),
        (_, Some(root)) => (1, root),
        _ => return,
    };
    let commitment = node.get_mut(place).and_then(Node::inside_mut);
    if let Some([_, _, payload, _]) = commitment.and_then(parts_mut) {
        *payload = Node::Bytes(root.as_bytes().to_vec());
    }
}

fn root_of_many(mut leaves: Vec<(u64, Hash)>, mut size: u64, proof: &[Hash]) -> Option<Hash> {
    let mut proof = proof.iter();
    while size > 1 {
        let mut above: Vec<(u64, Hash)> = Vec::new();
        let mut nodes = leaves.into_iter().peekable();
        while let Some((index, node)) = nodes.next() {
            let parent = if index ^ 1 >= size {
                node
            } else if let Some((_, right)) = nodes.next_if(|(next, _)| *next == index ^ 1) {
                node_hash(&node, &right)
            } else {
                let other = proof.next()?;
                match index & 1 {
                    0 => node_hash(&node, other),
                    _ => node_hash(other, &node),
                }
            };
            above.push((index >> 1, parent));
        }
        (leaves, size) = (above, size.div_ceil(2));
    }
    leaves.first().map(|(_, root)| *root)
}

/// Of an entry and its log proof, wherever they stand together: the checkpoint's root.
fn log_root(node: &mut Node, keys: &Keys) {
    let fix = |entry: Option<&Node>, proof: Option<&Node>| {
        let entry = entry?.content()?;
        let Node::Bytes(proof) = proof? else {
            return None;
        };
        text::rooted(proof, keys, |index, size, path| {
            let path: Vec<Hash> = path.iter().map(|hash| Hash::from_bytes(*hash)).collect();
            let root = root_from_inclusion(&leaf_hash(&entry), index, size, &path).ok()?;
            Some(*root.as_bytes())
        })
    };
    if let Node::Array(items) = node {
        if let [entry, proof] = items.as_mut_slice()
            && let Some(fixed) = fix(Some(entry), Some(proof))
        {
            *proof = Node::Bytes(fixed);
        }
        return;
    }
    for (entry, proof) in [(5, 6), (1, 2)] {
        if let Some(fixed) = fix(node.get(entry), node.get(proof))
            && let Some(place) = node.get_mut(proof)
        {
            *place = Node::Bytes(fixed);
        }
    }
}
