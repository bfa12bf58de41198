"""Trees and paths: spec/2-batches.md, section 2, and multiproofs: spec/9-bundles.md, section 3."""

import hashlib

from failures import Failure, demand


def sha256(content):
    return hashlib.sha256(content).digest()


def leaf(content):
    return sha256(b"\0" + content)


def node(left, right):
    return sha256(b"\1" + left + right)


def root_of(hash, index, size, path):
    """The root that a path leads to, or None if it has not the length that it must have."""
    at, last = index, size - 1
    for sibling in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            hash = node(sibling, hash)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            hash = node(hash, sibling)
        at, last = at >> 1, last >> 1
    return hash if last == 0 else None


def root_of_many(leaves, size, multiproof):
    """The root that pairs of index and leaf hash lead to."""
    indexes = [index for index, _ in leaves]
    ascending = all(a < b for a, b in zip(indexes, indexes[1:]))
    demand(indexes and ascending and indexes[-1] < size, "batch_path_invalid")
    hashes = iter(multiproof)
    while size > 1:
        above, at = [], 0
        while at < len(leaves):
            index, hash = leaves[at]
            at += 1
            sibling = index ^ 1
            if sibling >= size:
                parent = hash
            elif at < len(leaves) and leaves[at][0] == sibling:
                parent = node(hash, leaves[at][1])
                at += 1
            else:
                other = next(hashes, None)
                if other is None:
                    raise Failure("batch_path_invalid")
                parent = node(other, hash) if index & 1 else node(hash, other)
            above.append((index >> 1, parent))
        leaves, size = above, size + 1 >> 1
    demand(next(hashes, None) is None, "batch_path_invalid")
    return leaves[0][1]
