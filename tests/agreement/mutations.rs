//! Case number n, the same in every run.

use super::cases::{Case, Seeds, written};
use super::keys::Keys;
use super::random::Random;
use super::{edits, repair, text};

/// How many of a hundred cases are of which object.
const SHARES: [(&str, usize); 16] = [
    ("receipt", 29),
    ("record", 15),
    ("fault", 14),
    ("contract", 10),
    ("bundle", 9),
    ("manifest", 4),
    ("cose-receipt", 4),
    ("commitment", 3),
    ("trust", 3),
    ("transparent-statement", 1),
    ("tlog-proof", 2),
    ("note", 2),
    ("cbor", 1),
    ("checkpoint", 1),
    ("add-checkpoint", 1),
    ("tile-path", 1),
];
/// How many of a hundred cases begin with a good object.
const GOOD: usize = 75;
/// Objects that COSE receipts are for.
const ENTRIES: [&str; 3] = ["record", "commitment", "manifest"];
/// Objects whose bytes are text that is read as such.
const TEXTS: [&str; 2] = ["checkpoint", "tile-path"];

/// The mutation with this number.
pub(crate) fn mutation(number: u64, seeds: &Seeds, keys: &Keys) -> Case {
    let mut random = Random::new(number);
    let object = object(&mut random);
    let names = &seeds.names[object];
    let mut name = random.pick(names);
    while seeds.case(name).get("expect") != "success" && random.chance(GOOD) {
        name = random.pick(names);
    }
    let mut case = seeds.case(name).clone();
    if object == "cose-receipt" && random.chance(15) {
        let entries: &Vec<String> = &seeds.names[*random.pick(&ENTRIES)];
        let entry: &String = random.pick(entries);
        case = case.with_line("entry", entry);
    }
    let other = random.pick(names).as_str();
    let other = &seeds.case(other).body;
    let edits = 1 + usize::from(random.chance(20)) + usize::from(random.chance(5));

    let body = match seeds.trees.get(name) {
        Some(tree) if random.chance(85) => {
            let mut tree = tree.clone();
            let gentle = random.chance(65);
            for _ in 0..edits {
                if gentle {
                    edits::exchange(&mut tree, &seeds.pool, keys, &mut random);
                } else {
                    edits::edit(&mut tree, &seeds.pool, keys, &mut random);
                }
            }
            if random.chance(85) {
                let roots = random.chance(75);
                repair::repair(&mut tree, keys, roots);
                if let Some(entry) = case.optional("entry") {
                    repair::sign_receipt(&mut tree, &seeds.case(entry).body, keys);
                }
            }
            written(&tree)
        }
        _ => {
            let mut body = case.body.clone();
            let lines = object == "trust" || body.first().is_some_and(u8::is_ascii);
            for _ in 0..edits {
                if lines && object != "cbor" && random.chance(75) {
                    text::edit(&mut body, other, keys, &mut random);
                } else {
                    edits::bytes(&mut body, other, &mut random);
                }
            }
            if text::is_note(&body) && random.chance(50) {
                body = text::signed_again(&body, keys);
            }
            body
        }
    };
    if TEXTS.contains(&object) {
        return case.with(String::from_utf8_lossy(&body).into_owned().into_bytes());
    }
    case.with(body)
}

fn object(random: &mut Random) -> &'static str {
    let mut left = random.below(100);
    for (object, share) in SHARES {
        if left < share {
            return object;
        }
        left -= share;
    }
    SHARES[0].0
}
