//! Changes to CBOR that know what they change, and to bytes that know nothing.

use super::cases::Pool;
use super::keys::Keys;
use super::random::Random;
use super::text;
use super::tree::{Node, Wrapped, head, long_head, number};

/// Numbers at which something may turn.
const NUMBERS: [u64; 24] = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    9,
    15,
    19,
    22,
    23,
    24,
    64,
    65,
    255,
    256,
    65_535,
    65_536,
    65_537,
    1 << 32,
    u64::MAX - 1,
    u64::MAX,
];
/// Lengths at which something may turn.
const LENGTHS: [usize; 14] = [0, 1, 15, 16, 17, 31, 32, 33, 64, 65, 128, 256, 257, 1025];
const KEYS: [i64; 16] = [-65537, -2, -1, 0, 1, 3, 5, 6, 7, 8, 10, 12, 19, 20, 24, 395];
/// Words that stand somewhere in the protocol, or nearly.
const WORDS: [&str; 34] = [
    "acme.example",
    "globex.example",
    "Acme.example",
    "-acme.example",
    "acme..example",
    "initech.example",
    "record",
    "commitment",
    "refund",
    "refund*",
    "*",
    "support",
    "low",
    "high",
    "CREDITS",
    "/a/b",
    "/~2",
    "https://a.example",
    "support-desk",
    "tools/call",
    "mail",
    "send",
    "delete",
    "money",
    "outside",
    "RISK_POINTS",
    "T-*",
    "T-1001",
    "*1*",
    "/ticket",
    "/amount_cents",
    "/content/0/text",
    "/a~1b/~0",
    "log.example/2026",
];
/// Beginnings of items that are not allowed, and some that are.
const RAW: [&[u8]; 14] = [
    b"\xf9\x3c\x00",
    b"\xfa\x47\xc3\x50\x00",
    b"\xf7",
    b"\xf8\x20",
    b"\xf0",
    b"\xff",
    b"\x1c",
    b"\x5f\x41\x00\xff",
    b"\x9f\xff",
    b"\xbf\xff",
    b"\xc1\x00",
    b"\xd2\x80",
    b"\x1f",
    b"\xdf\x00",
];

/// Changes one item somewhere in the tree. `pool` has items of other objects.
pub(crate) fn edit(items: &mut [Node], pool: &Pool, keys: &Keys, random: &mut Random) {
    let mut count = 0;
    for item in items.iter_mut() {
        item.walk(&mut |_| {
            count += 1;
            false
        });
    }
    let mut left = random.below(count);
    for item in items.iter_mut() {
        let done = item.walk(&mut |node| {
            if left == 0 {
                change(node, pool, keys, random);
                return true;
            }
            left -= 1;
            false
        });
        if done {
            break;
        }
    }
}

/// Exchanges something for what may stand in its place, so that most rules hold afterwards.
pub(crate) fn exchange(items: &mut [Node], pool: &Pool, keys: &Keys, random: &mut Random) {
    let mut count = 0;
    for item in items.iter_mut() {
        item.values(&mut |_| {
            count += 1;
            false
        });
    }
    let mut left = random.below(count);
    for item in items.iter_mut() {
        let done = item.values(&mut |node| {
            if left == 0 {
                exchanged(node, pool, keys, random);
                return true;
            }
            left -= 1;
            false
        });
        if done {
            break;
        }
    }
}

fn exchanged(node: &mut Node, pool: &Pool, keys: &Keys, random: &mut Random) {
    match node {
        Node::Number(_, value) => {
            let by = *random.pick(&[1, 1, 1, 2, 250, 1_000, 60_000, 86_400_000]);
            *value = match random.below(3) {
                0 => value.wrapping_add(by),
                1 => value.wrapping_sub(by),
                _ => *random.pick(&NUMBERS),
            };
        }
        Node::Bytes(content) if text::is_note(content) => {
            let other = other_note(pool, random);
            text::edit(content, &other, keys, random);
            *content = text::signed_again(content, keys);
        }
        Node::Bytes(content) if content.starts_with(b"{") => text::edit_json(content, random),
        Node::Bytes(content) => {
            let size = content.len();
            for _ in 0..20 {
                if let Node::Bytes(other) = random.pick(&pool.all)
                    && other.len() == size
                {
                    *content = other.clone();
                    return;
                }
            }
            string(content, random);
        }
        Node::Text(content) if content.contains(&b'\n') => {
            let other = content.clone();
            text::edit(content, &other, keys, random);
        }
        Node::Text(content) => *content = random.pick(&WORDS).as_bytes().to_vec(),
        Node::Simple(_) => *node = Node::Bytes(random.bytes(32)),
        Node::Array(items) if !items.is_empty() => {
            let (at, with) = (random.below(items.len()), random.below(items.len()));
            match random.below(4) {
                0 => items.swap(at, with),
                1 => items.insert(at, items[with].clone()),
                2 => {
                    items.remove(at);
                }
                _ => items[at] = random.pick(&pool.all).clone(),
            }
        }
        Node::Map(entries) => exchange_entry(entries, pool, random),
        _ => {}
    }
}

/// Exchanges the value of a key for one that the same key has elsewhere, adds one, or takes one out.
fn exchange_entry(entries: &mut Vec<(Node, Node)>, pool: &Pool, random: &mut Random) {
    let add = random.chance(20);
    if add {
        let keys: Vec<_> = pool.of.keys().collect();
        let key = random.pick(&keys).to_vec();
        let place = entries.partition_point(|(found, _)| found.encode() < key);
        let value = random.pick(&pool.of[&key]).clone();
        if entries
            .get(place)
            .is_none_or(|(found, _)| found.encode() != key)
        {
            entries.insert(place, (Node::Raw(key), value));
        }
        return;
    }
    if entries.is_empty() {
        return;
    }
    let at = random.below(entries.len());
    if random.chance(15) {
        entries.remove(at);
        return;
    }
    let (key, value) = &mut entries[at];
    if let Some(others) = pool.of.get(&key.encode()) {
        *value = random.pick(others).clone();
    }
}

fn change(node: &mut Node, pool: &Pool, keys: &Keys, random: &mut Random) {
    if random.chance(10) {
        *node = anything(node, pool, random);
        return;
    }
    match node {
        Node::Number(major, value) => match random.below(8) {
            0 | 1 => *value = value.wrapping_add(1),
            2 | 3 => *value = value.wrapping_sub(1),
            4 => *major ^= 1,
            5 => {
                let mut raw = Vec::new();
                long_head(*major, *value, *random.pick(&[1, 2, 4, 8]), &mut raw);
                *node = Node::Raw(raw);
            }
            6 => *value ^= 1 << random.below(64),
            _ => *value = *random.pick(&NUMBERS),
        },
        Node::Bytes(content) => {
            let lines = text::is_note(content);
            if lines && random.chance(80) {
                let other = other_note(pool, random);
                text::edit(content, &other, keys, random);
                if random.chance(60) {
                    *content = text::signed_again(content, keys);
                }
            } else {
                string(content, random);
            }
        }
        Node::Text(content) => {
            if content.contains(&b'\n') && random.chance(80) {
                let other = content.clone();
                text::edit(content, &other, keys, random);
            } else if random.chance(30) {
                *content = random.pick(&WORDS).as_bytes().to_vec();
            } else {
                string(content, random);
            }
        }
        Node::Array(items) => array(items, pool, random),
        Node::Map(entries) => map(entries, pool, random),
        Node::Tag(number, inner) => match random.below(3) {
            0 => *number = *random.pick(&NUMBERS),
            1 => *node = (**inner).clone(),
            _ => *node = Node::Tag(18, Box::new(node.clone())),
        },
        Node::Simple(value) => *value = *random.pick(&[20, 21, 22, 23, 0]),
        Node::Wrapped(wrapped) => inside(wrapped, random),
        Node::Raw(bytes) => string(bytes, random),
    }
}

/// A note of another object, if there is one.
fn other_note(pool: &Pool, random: &mut Random) -> Vec<u8> {
    for _ in 0..8 {
        if let Node::Bytes(content) = random.pick(&pool.all)
            && text::is_note(content)
        {
            return content.clone();
        }
    }
    b"index 0".to_vec()
}

/// Something else in the place of an item.
fn anything(node: &Node, pool: &Pool, random: &mut Random) -> Node {
    match random.below(8) {
        0 => Node::Simple(22),
        1 => Node::Raw(random.pick(&RAW).to_vec()),
        2 => Node::Bytes(random.bytes(32)),
        3 => Node::Text(random.pick(&WORDS).as_bytes().to_vec()),
        4 => {
            // The same content with another type, or with a length in a longer form.
            let Some(content) = node.content() else {
                return Node::Number(0, *random.pick(&NUMBERS));
            };
            let mut raw = Vec::new();
            let (major, length) = (*random.pick(&[2, 3]), content.len() as u64);
            match random.below(2) {
                0 => head(major, length, &mut raw),
                _ => long_head(major, length, *random.pick(&[4, 8]), &mut raw),
            }
            raw.extend(content);
            Node::Raw(raw)
        }
        5 => (0..random.below(9)).fold(node.clone(), |inner, _| Node::Array(vec![inner])),
        _ => random.pick(&pool.all).clone(),
    }
}

/// Changes bytes that nothing is known of.
pub(crate) fn string(content: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(content.len().max(1));
    match random.below(9) {
        0..=2 if !content.is_empty() => content[at] ^= 1 << random.below(8),
        3 if !content.is_empty() => {
            content.remove(at);
        }
        4 => content.insert(at.min(content.len()), random.next() as u8),
        5 => content.truncate(at),
        6 => content.push(*random.pick(b"\0\n aA0-./+\x80\xff")),
        7 => content.resize(*random.pick(&LENGTHS), *random.pick(b"\0aA0")),
        _ if !content.is_empty() => content[at] = *random.pick(b"\0\x7f\xff\n aA0"),
        _ => {}
    }
}

fn array(items: &mut Vec<Node>, pool: &Pool, random: &mut Random) {
    if items.is_empty() || random.chance(20) {
        let place = random.below(items.len() + 1);
        items.insert(place, random.pick(&pool.all).clone());
        return;
    }
    let at = random.below(items.len());
    match random.below(6) {
        0 => {
            items.remove(at);
        }
        1 => items.insert(at, items[at].clone()),
        2 => {
            let with = random.below(items.len());
            items.swap(at, with);
        }
        3 => items.reverse(),
        4 => {
            let last = items[items.len() - 1].clone();
            items.resize(*random.pick(&[2, 3, 17, 64, 65]), last);
        }
        _ => items.clear(),
    }
}

fn map(entries: &mut Vec<(Node, Node)>, pool: &Pool, random: &mut Random) {
    if entries.is_empty() || random.chance(25) {
        let key = number(*random.pick(&KEYS));
        let value = random.pick(&pool.all).clone();
        let sorted = entries.partition_point(|(found, _)| found.encode() < key.encode());
        let place = if random.chance(80) {
            sorted
        } else {
            random.below(entries.len() + 1)
        };
        entries.insert(place, (key, value));
        return;
    }
    let at = random.below(entries.len());
    match random.below(6) {
        0..=2 => {
            entries.remove(at);
        }
        3 => entries.insert(at, entries[at].clone()),
        4 => {
            let with = random.below(entries.len());
            entries.swap(at, with);
        }
        _ => entries[at].0 = number(*random.pick(&KEYS)),
    }
}

/// Changes the bytes of a byte string that holds CBOR.
fn inside(wrapped: &mut Wrapped, random: &mut Random) {
    let mut bytes = wrapped.node.encode();
    string(&mut bytes, random);
    wrapped.node = Node::Raw(bytes);
}

/// Changes the bytes of an object. `other` is another one.
pub(crate) fn bytes(content: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let length = content.len();
    let range = |random: &mut Random, length: usize| {
        let begin = random.below(length + 1);
        begin..begin + random.below((length - begin).min(40) + 1)
    };
    match random.below(6) {
        0 => {
            let from = range(random, other.len());
            let to = range(random, length);
            content.splice(to, other[from].iter().copied());
        }
        1 => {
            let from = range(random, length);
            let copy = content[from].to_vec();
            let to = random.below(length + 1);
            content.splice(to..to, copy);
        }
        2 => {
            content.drain(range(random, length));
        }
        3 => {
            content.truncate(random.below(length + 1));
            content.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
        _ => string(content, random),
    }
}
