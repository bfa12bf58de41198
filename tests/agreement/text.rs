//! Changes to objects that are lines of text: notes, proofs, policies, paths. Notes can be signed
//! again after a change.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::keys::{Keys, key_id};
use super::random::Random;

const DASH: &str = "\u{2014} ";
/// What may be put in between.
const PIECES: [&str; 24] = [
    " ", "\t", "\n", "\r", "\0", "+", "=", "/", "0", "1", "x", "\u{e9}", "\u{7f}", "\u{a0}",
    "\u{2003}", "#", "any", "none", ".p/", "00", "-", "~", "\n\n", "\u{2014}",
];
/// Numbers at which something may turn.
const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "2",
    "3",
    "00",
    "63",
    "64",
    "255",
    "256",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775808",
];
/// Public keys that are none: the identity, y = p, no point, a point of order 4 and one of mixed
/// order.
const BAD_KEYS: [&str; 4] = [
    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "7f///////////////////////////////////////38=",
    "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
];

/// What may be put into JSON.
const JSON: [&str; 40] = [
    " ",
    "\n",
    "\u{feff}",
    "\u{a0}",
    ",",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    "0",
    "-0",
    "01",
    "1.",
    "1e5",
    "1e999",
    "-",
    "+1",
    ".5",
    "NaN",
    "null",
    "tru",
    "true",
    "\\u0054",
    "\\u0074",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\ude00",
    "\\/",
    "\\x",
    "\u{1}",
    "\"ticket\":\"T-2\",",
    "\"Ticket\":\"T-2\",",
    "\"tic\u{212a}et\":\"T-2\",",
    "\"ti\\u0063ket\":1,",
    "\"\u{17f}\":[{\"S\":1}],",
    "\"ticket\":[\"T-2\"],",
    "T",
    "-",
];

/// One change somewhere in JSON.
pub(crate) fn edit_json(content: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(content.len() + 1);
    match random.below(6) {
        0 if at < content.len() => {
            content.remove(at);
        }
        1 if at < content.len() => content[at] ^= 0x20,
        2 => {
            let depth = 120 + random.below(20);
            let nested = ["\"n\":", &"[".repeat(depth), &"]".repeat(depth), ","].concat();
            content.splice(1..1, nested.bytes());
        }
        // Most of these are right only between members.
        3 | 4 => {
            let piece = random.pick(&JSON).bytes();
            content.splice(1..1, piece);
        }
        _ => {
            let piece = random.pick(&JSON).bytes();
            content.splice(at..at, piece);
        }
    }
}

/// One change somewhere.
pub(crate) fn edit(content: &mut Vec<u8>, other: &[u8], keys: &Keys, random: &mut Random) {
    let mut lines = split(content);
    let at = random.below(lines.len());
    match random.below(16) {
        0 => {
            lines.remove(at);
        }
        1 => {
            let line = lines[at].clone();
            lines.insert(random.below(lines.len() + 1), line);
        }
        2 => {
            let with = random.below(lines.len());
            lines.swap(at, with);
        }
        3 => {
            let theirs = split(other);
            lines.insert(at, random.pick(&theirs).clone());
        }
        4 => {
            let theirs = split(other);
            lines[at] = random.pick(&theirs).clone();
        }
        5 | 6 => words(&mut lines[at], other, random),
        7 | 8 => {
            let place = random.below(lines[at].len() + 1);
            let piece = random.pick(&PIECES).bytes();
            lines[at].splice(place..place, piece);
        }
        9 | 10 => {
            if !lines[at].is_empty() {
                let place = random.below(lines[at].len());
                lines[at].remove(place);
            }
        }
        11 => digits(&mut lines[at], random),
        12 | 13 => encoded(&mut lines[at], random),
        14 => rekey(&mut lines[at], random),
        _ => {
            *content = retimed(content, keys, random);
            return;
        }
    }
    *content = lines.join(&b'\n');
}

fn split(content: &[u8]) -> Vec<Vec<u8>> {
    content
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

/// Takes, doubles, exchanges or replaces a word.
fn words(line: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let mut words: Vec<Vec<u8>> = line
        .split(|byte| *byte == b' ')
        .map(<[u8]>::to_vec)
        .collect();
    let at = random.below(words.len());
    match random.below(5) {
        0 => {
            words.remove(at);
        }
        1 => words.insert(at, words[at].clone()),
        2 => {
            let with = random.below(words.len());
            words.swap(at, with);
        }
        3 => words[at].make_ascii_uppercase(),
        _ => {
            let theirs: Vec<&[u8]> = other
                .split(|byte| *byte == b' ' || *byte == b'\n')
                .collect();
            words[at] = random.pick(&theirs).to_vec();
        }
    }
    *line = words.join(&b' ');
}

/// Replaces a run of digits.
fn digits(line: &mut Vec<u8>, random: &mut Random) {
    let Some(begin) = line.iter().position(u8::is_ascii_digit) else {
        return;
    };
    let length = line[begin..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let by = random.pick(&NUMBERS).bytes();
    line.splice(begin..begin + length, by);
}

/// Changes what the last word of a line encodes in base64.
fn encoded(line: &mut Vec<u8>, random: &mut Random) {
    let begin = line
        .iter()
        .rposition(|byte| *byte == b' ')
        .map_or(0, |at| at + 1);
    let Ok(mut content) = BASE64.decode(&line[begin..]) else {
        return;
    };
    match random.below(4) {
        0 if !content.is_empty() => {
            content.pop();
        }
        1 => content.push(0),
        _ if !content.is_empty() => {
            let at = random.below(content.len());
            content[at] ^= 1 << random.below(8);
        }
        _ => {}
    }
    line.truncate(begin);
    line.extend(BASE64.encode(content).bytes());
}

/// Changes the key, the type or the name in a verifier key, and makes its id fit.
fn rekey(line: &mut Vec<u8>, random: &mut Random) {
    let begin = line
        .iter()
        .rposition(|byte| *byte == b' ')
        .map_or(0, |at| at + 1);
    let word = line[begin..].to_vec();
    let mut parts = word.splitn(3, |byte| *byte == b'+');
    let (Some(name), Some(_), Some(material)) = (parts.next(), parts.next(), parts.next()) else {
        return;
    };
    let Ok(mut material) = BASE64.decode(material) else {
        return;
    };
    let mut name = name.to_vec();
    if material.is_empty() {
        return;
    }
    match random.below(4) {
        0 => material[0] = random.below(8) as u8,
        1 => {
            let bad = BASE64.decode(random.pick(&BAD_KEYS)).unwrap();
            material.splice(1.., bad);
        }
        2 => name.extend(random.pick(&PIECES).bytes()),
        _ => {
            let at = 1 + random.below(material.len() - 1).min(material.len() - 2);
            material[at] ^= 1 << random.below(8);
        }
    }
    let id = key_id(&name, material[0], &material[1..]);
    line.truncate(begin);
    line.extend(name);
    line.push(b'+');
    line.extend(
        id.iter()
            .flat_map(|byte| format!("{byte:02x}").into_bytes()),
    );
    line.push(b'+');
    line.extend(BASE64.encode(material).bytes());
}

/// Where the text of a note ends and its signatures begin.
fn signatures_at(note: &[u8]) -> Option<usize> {
    note.windows(2)
        .rposition(|pair| pair == b"\n\n")
        .map(|at| at + 2)
}

/// Where the note in a tlog-proof begins; of a note, 0.
fn note_at(content: &[u8]) -> usize {
    if !content.starts_with(b"c2sp.org/tlog-proof") {
        return 0;
    }
    content
        .windows(2)
        .position(|pair| pair == b"\n\n")
        .map_or(0, |at| at + 2)
}

/// Whether the bytes are a note, or a proof with one.
pub(crate) fn is_note(content: &[u8]) -> bool {
    let separator = "\n\n\u{2014} ".as_bytes();
    content
        .windows(separator.len())
        .any(|window| window == separator)
}

/// The note with each signature made anew by a key that is known, cosignatures at `time` of the
/// one that was there.
fn signed(content: &[u8], keys: &Keys, mut time: impl FnMut(u64) -> u64) -> Vec<u8> {
    let begin = note_at(content);
    let Some(signatures) = signatures_at(&content[begin..]).map(|at| at + begin) else {
        return content.to_vec();
    };
    let text = &content[begin..signatures - 1];
    let lines = content[signatures..]
        .split(|byte| *byte == b'\n')
        .map(|line| {
            let again = || {
                let words = line.strip_prefix(DASH.as_bytes())?;
                let at = words.iter().position(|byte| *byte == b' ')?;
                let old = BASE64.decode(&words[at + 1..]).ok()?;
                let id: [u8; 4] = *old.first_chunk()?;
                let key = keys.notes.get(&(words[..at].to_vec(), id))?;
                let was = old.get(4..12)?.try_into().ok().map(u64::from_be_bytes)?;
                let signature = key.sign(text, time(was));
                let blob = BASE64.encode([&id[..], &signature].concat());
                Some([DASH.as_bytes(), &words[..=at], blob.as_bytes()].concat())
            };
            let mut again = again;
            again().unwrap_or_else(|| line.to_vec())
        });
    let lines: Vec<Vec<u8>> = lines.collect();
    [&content[..signatures], &lines.join(&b'\n')].concat()
}

/// The note, or the proof with one, signed again as it is now.
pub(crate) fn signed_again(content: &[u8], keys: &Keys) -> Vec<u8> {
    signed(content, keys, |time| time)
}

/// Cosigned at other times.
fn retimed(content: &[u8], keys: &Keys, random: &mut Random) -> Vec<u8> {
    signed(content, keys, |time| match random.below(8) {
        0 => 0,
        1 => time + 1,
        2 => time.saturating_sub(1),
        3 => time + 100,
        4 => time.saturating_sub(100),
        5 => i64::MAX as u64,
        6 => i64::MAX as u64 + 1,
        _ => time,
    })
}

/// A tlog-proof whose checkpoint has the root that the path leads to from `leaf`; `root_of` is
/// given index, size and path.
pub(crate) fn rooted(
    proof: &[u8],
    keys: &Keys,
    root_of: impl Fn(u64, u64, &[[u8; 32]]) -> Option<[u8; 32]>,
) -> Option<Vec<u8>> {
    let begin = note_at(proof);
    let top = split(proof.get(..begin.checked_sub(2)?)?);
    let mut note = split(&proof[begin..]);
    let index = std::str::from_utf8(top.get(1)?.strip_prefix(b"index ")?)
        .ok()?
        .parse()
        .ok()?;
    let path: Vec<[u8; 32]> = top[2..]
        .iter()
        .map(|line| BASE64.decode(line).ok()?.try_into().ok())
        .collect::<Option<_>>()?;
    let size = std::str::from_utf8(note.get(1)?).ok()?.parse().ok()?;
    let root = BASE64.encode(root_of(index, size, &path)?).into_bytes();
    if *note.get(2)? == root {
        return None;
    }
    note[2] = root;
    let whole = [&proof[..begin], &note.join(&b'\n')].concat();
    Some(signed_again(&whole, keys))
}
