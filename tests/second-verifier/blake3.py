"""BLAKE3, the plain hash of 32 bytes: what salted digests are made with."""

IV = (
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
    0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
)  # fmt: skip
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
MASK = 0xFFFFFFFF
COLUMNS_AND_DIAGONALS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip


def compress(chaining, block, counter, length, flags):
    words = [int.from_bytes(block[at : at + 4], "little") for at in range(0, 64, 4)]
    state = [*chaining, *IV[:4], counter & MASK, counter >> 32, length, flags]
    for _ in range(7):
        for number, (a, b, c, d) in enumerate(COLUMNS_AND_DIAGONALS):
            va, vb, vc, vd = state[a], state[b], state[c], state[d]
            va = va + vb + words[2 * number] & MASK
            vd ^= va
            vd = (vd >> 16 | vd << 16) & MASK
            vc = vc + vd & MASK
            vb ^= vc
            vb = (vb >> 12 | vb << 20) & MASK
            va = va + vb + words[2 * number + 1] & MASK
            vd ^= va
            vd = (vd >> 8 | vd << 24) & MASK
            vc = vc + vd & MASK
            vb ^= vc
            state[a], state[b], state[c], state[d] = va, (vb >> 7 | vb << 25) & MASK, vc, vd
        words = [words[index] for index in PERMUTATION]
    return [state[index] ^ state[index + 8] for index in range(8)]


def chunk(content, counter, flags):
    """The chaining value of up to 1,024 bytes."""
    value = IV
    blocks = [content[at : at + 64] for at in range(0, len(content), 64)] or [b""]
    for number, block in enumerate(blocks):
        now = (CHUNK_START if number == 0 else 0) | (
            CHUNK_END | flags if number == len(blocks) - 1 else 0
        )
        value = compress(value, block.ljust(64, b"\0"), counter, len(block), now)
    return value


def tree(content, counter, flags):
    if len(content) <= 1024:
        return chunk(content, counter, flags)
    chunks = (len(content) - 1) // 1024
    left = 1 << chunks.bit_length() - 1
    halves = tree(content[: left * 1024], counter, 0) + tree(
        content[left * 1024 :], counter + left, 0
    )
    block = b"".join(word.to_bytes(4, "little") for word in halves)
    return compress(IV, block, 0, 64, PARENT | flags)


def hash(content):
    return b"".join(word.to_bytes(4, "little") for word in tree(content, 0, ROOT))
