//! CBOR taken apart so that anything can be changed and written again, byte strings that hold CBOR
//! with it.

use std::sync::Arc;

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// Major type 0 or 1, and its argument.
    Number(u8, u64),
    Bytes(Vec<u8>),
    Text(Vec<u8>),
    Array(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Tag(u64, Box<Node>),
    Simple(u8),
    /// A byte string that holds CBOR.
    Wrapped(Box<Wrapped>),
    /// Bytes as they are, whatever they mean.
    Raw(Vec<u8>),
}

/// CBOR inside a byte string, or a whole object.
#[derive(Clone, Debug)]
pub(crate) struct Wrapped {
    pub(crate) node: Node,
    /// What it was when its digests were made: see `repair`.
    pub(crate) known: Option<Arc<Known>>,
}

/// An object and its digests.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) node: Node,
    pub(crate) digests: Vec<[u8; 32]>,
}

impl Wrapped {
    pub(crate) fn new(node: Node) -> Self {
        Self { node, known: None }
    }
}

impl PartialEq for Wrapped {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

/// The head of an item, in its shortest form.
pub(crate) fn head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    match argument {
        0..24 => out.push(major | argument as u8),
        24..0x100 => out.extend([major | 24, argument as u8]),
        0x100..0x1_0000 => {
            out.push(major | 25);
            out.extend((argument as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 26);
            out.extend((argument as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend(argument.to_be_bytes());
        }
    }
}

/// The head of an item with an argument of so many bytes, which may be more than it needs.
pub(crate) fn long_head(major: u8, argument: u64, width: usize, out: &mut Vec<u8>) {
    let info = 24 + width.trailing_zeros() as u8;
    out.push(major << 5 | info);
    out.extend(&argument.to_be_bytes()[8 - width..]);
}

impl Node {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        let string = |major, content: &[u8], out: &mut Vec<u8>| {
            head(major, content.len() as u64, out);
            out.extend_from_slice(content);
        };
        match self {
            Self::Number(major, value) => head(*major, *value, out),
            Self::Bytes(content) => string(2, content, out),
            Self::Text(content) => string(3, content, out),
            Self::Wrapped(wrapped) => string(2, &wrapped.node.encode(), out),
            Self::Array(items) => {
                head(4, items.len() as u64, out);
                items.iter().for_each(|item| item.write(out));
            }
            Self::Map(entries) => {
                head(5, entries.len() as u64, out);
                for (key, value) in entries {
                    key.write(out);
                    value.write(out);
                }
            }
            Self::Tag(number, inner) => {
                head(6, *number, out);
                inner.write(out);
            }
            Self::Simple(value) => out.push(0xe0 | value),
            Self::Raw(bytes) => out.extend_from_slice(bytes),
        }
    }

    /// The value of a key that is a number.
    pub(crate) fn get(&self, key: i64) -> Option<&Node> {
        let Self::Map(entries) = self else {
            return None;
        };
        entries
            .iter()
            .find_map(|(found, value)| (*found == number(key)).then_some(value))
    }

    pub(crate) fn get_mut(&mut self, key: i64) -> Option<&mut Node> {
        let Self::Map(entries) = self else {
            return None;
        };
        entries
            .iter_mut()
            .find_map(|(found, value)| (*found == number(key)).then_some(value))
    }

    /// What a byte string holds.
    pub(crate) fn content(&self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(content) => Some(content.clone()),
            Self::Wrapped(wrapped) => Some(wrapped.node.encode()),
            _ => None,
        }
    }

    /// The CBOR in a byte string.
    pub(crate) fn inside(&self) -> Option<&Node> {
        match self {
            Self::Wrapped(wrapped) => Some(&wrapped.node),
            _ => None,
        }
    }

    pub(crate) fn inside_mut(&mut self) -> Option<&mut Node> {
        match self {
            Self::Wrapped(wrapped) => Some(&mut wrapped.node),
            _ => None,
        }
    }

    pub(crate) fn uint(&self) -> Option<u64> {
        match self {
            Self::Number(0, value) => Some(*value),
            _ => None,
        }
    }

    /// Calls `visit` with each item but keys until it says that it is done.
    pub(crate) fn values(&mut self, visit: &mut dyn FnMut(&mut Node) -> bool) -> bool {
        if visit(self) {
            return true;
        }
        match self {
            Self::Array(items) => items.iter_mut().any(|item| item.values(visit)),
            Self::Map(entries) => entries.iter_mut().any(|(_, value)| value.values(visit)),
            Self::Tag(_, inner) => inner.values(visit),
            Self::Wrapped(wrapped) => wrapped.node.values(visit),
            _ => false,
        }
    }

    /// Calls `visit` with each item until it says that it is done: keys and values, and what is
    /// inside byte strings.
    pub(crate) fn walk(&mut self, visit: &mut dyn FnMut(&mut Node) -> bool) -> bool {
        if visit(self) {
            return true;
        }
        match self {
            Self::Array(items) => items.iter_mut().any(|item| item.walk(visit)),
            Self::Map(entries) => entries
                .iter_mut()
                .any(|(key, value)| key.walk(visit) || value.walk(visit)),
            Self::Tag(_, inner) => inner.walk(visit),
            Self::Wrapped(wrapped) => wrapped.node.walk(visit),
            _ => false,
        }
    }
}

/// An integer.
pub(crate) fn number(value: i64) -> Node {
    if value < 0 {
        Node::Number(1, value.unsigned_abs() - 1)
    } else {
        Node::Number(0, value.unsigned_abs())
    }
}

/// The items that `bytes` are, if they are CBOR in the only form that is written here.
pub(crate) fn sequence(bytes: &[u8]) -> Option<Vec<Node>> {
    let mut rest = bytes;
    let mut items = Vec::new();
    while !rest.is_empty() {
        items.push(item(&mut rest, 0)?);
    }
    let again: Vec<u8> = items.iter().flat_map(Node::encode).collect();
    (again == bytes && !items.is_empty()).then_some(items)
}

fn item(rest: &mut &[u8], depth: usize) -> Option<Node> {
    let first = take(rest, 1)?[0];
    let (major, info) = (first >> 5, first & 31);
    if major == 7 {
        return (info < 24).then_some(Node::Simple(info));
    }
    let argument = match info {
        0..24 => u64::from(info),
        24..28 => take(rest, 1 << (info - 24))?
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
        _ => return None,
    };
    let length = usize::try_from(argument).ok();
    if depth > 16 {
        return None;
    }
    Some(match major {
        0 | 1 => Node::Number(major, argument),
        2 => wrapped(take(rest, length?)?),
        3 => Node::Text(take(rest, length?)?.to_vec()),
        4 => Node::Array(
            (0..argument)
                .map(|_| item(rest, depth + 1))
                .collect::<Option<_>>()?,
        ),
        5 => Node::Map(
            (0..argument)
                .map(|_| Some((item(rest, depth + 1)?, item(rest, depth + 1)?)))
                .collect::<Option<_>>()?,
        ),
        _ => Node::Tag(argument, Box::new(item(rest, depth + 1)?)),
    })
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

/// A byte string: with CBOR in it if that is what it holds.
fn wrapped(content: &[u8]) -> Node {
    let mut rest = content;
    let structured = matches!(content.first().map(|first| first >> 5), Some(4..=6));
    match item(&mut rest, 0) {
        Some(node) if structured && rest.is_empty() && node.encode() == content => {
            Node::Wrapped(Box::new(Wrapped::new(node)))
        }
        _ => Node::Bytes(content.to_vec()),
    }
}
