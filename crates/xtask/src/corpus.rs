//! The seeds of the fuzz corpus: good vectors, and a few messages.

use std::collections::BTreeMap;

use anyhow::Result;
use counterfoil_protocol::receipt::Receipt;
use counterfoil_tlog::tile::push_entry;

use crate::vectors;
use crate::world::World;

/// A seed has at most so many bytes.
const MAX_BYTES: usize = 8 << 10;
/// A target has at most so many seeds.
const MAX_SEEDS: usize = 12;

/// Which target reads which objects of the vectors.
const FROM_VECTORS: &[(&str, &str)] = &[
    ("add_checkpoint", "add-checkpoint"),
    ("bundle", "bundle"),
    ("cbor", "cbor"),
    ("checkpoint", "checkpoint"),
    ("commitment", "commitment"),
    ("contract_file", "contract"),
    ("fault", "fault"),
    ("manifest", "manifest"),
    ("note", "note"),
    ("policy", "trust"),
    ("receipt", "receipt"),
    ("record", "record"),
    ("tile_path", "tile-path"),
    ("tlog_proof", "tlog-proof"),
    ("trust", "trust"),
    ("verify", "receipt"),
];

/// Messages and streams for the gateway's targets.
const MESSAGES: &[(&str, &str, &str)] = &[
    (
        "message",
        "call",
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"refund","arguments":{"ticket":"T-1"}}}"#,
    ),
    (
        "message",
        "result",
        r#"{"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"ok"}]}}"#,
    ),
    (
        "message",
        "error",
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no","data":"text"}}"#,
    ),
    (
        "message",
        "notification",
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    ),
    (
        "splice",
        "no-meta",
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#,
    ),
    (
        "splice",
        "meta",
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"b":2},"name":"a"}}"#,
    ),
    (
        "splice",
        "meta-null",
        r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":null}}"#,
    ),
    (
        "splice",
        "error-text",
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no","data":"text"}}"#,
    ),
    (
        "splice",
        "carried",
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"dev.counterfoil/evidence":{"meta":"added","records":["AA=="]}},"name":"a"}}"#,
    ),
    (
        "evidence",
        "one-record",
        r#"{"records":["AA=="],"salt":"AAAAAAAAAAAAAAAAAAAAAA=="}"#,
    ),
    ("evidence", "two-records", r#"{"records":["AA==","AQ=="]}"#),
    ("lines", "mixed", "{\"a\":1}\n\r\n{\"b\":2}\r\n{\"c\""),
    (
        "event_stream",
        "mixed",
        "event: message\ndata: {\"a\":1}\n\n: comment\r\nid: 7\r\ndata: x\r\ndata: y\r\n\r\nretry: 10\n\n",
    ),
];

/// All seeds, by their paths below `fuzz/corpus/`.
///
/// # Errors
/// When the world cannot be made.
pub fn files() -> Result<BTreeMap<String, Vec<u8>>> {
    let mut seeds = BTreeMap::new();
    let vectors = vectors::cases()?;
    for (target, object) in FROM_VECTORS {
        vectors
            .iter()
            .filter(|case| case.object() == *object && case.is_good())
            .filter(|case| case.body().len() <= MAX_BYTES)
            .take(MAX_SEEDS)
            .for_each(|case| {
                seeds.insert(format!("{target}/{}", case.name()), case.body().to_vec());
            });
    }
    for (target, name, text) in MESSAGES {
        seeds.insert(format!("{target}/{name}"), text.as_bytes().to_vec());
    }
    for case in &vectors {
        if case.object() == "receipt"
            && case.is_good()
            && let Some(part) = Receipt::parse(case.body())?.presentation
        {
            seeds.insert(format!("presentation/{}", case.name()), part.presentation);
        }
    }
    let world = World::build()?;
    let mut add = |path: &str, bytes: Vec<u8>| {
        seeds.insert(path.to_owned(), bytes);
    };
    add(
        "disclosure/parameters",
        world.disclosures.parameters.encode(),
    );
    add(
        "contract_terms/world",
        world.agreement.terms.encoded().to_vec(),
    );
    add("disclosure/result", world.disclosures.result.encode());
    add(
        "verifier_key/log",
        world.log.key().verifier().to_string().into_bytes(),
    );
    add(
        "secret_key/log",
        world.log.key().to_secret_text().as_bytes().to_vec(),
    );
    let lines: String = world
        .checkpoints
        .six
        .signatures()
        .iter()
        .map(ToString::to_string)
        .collect();
    add("signature_lines/three", lines.into_bytes());
    let mut bundle = vec![1];
    push_entry(&mut bundle, b"one")?;
    push_entry(&mut bundle, b"")?;
    add("entry_bundle/two", bundle);
    Ok(seeds)
}
