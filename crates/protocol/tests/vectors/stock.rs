//! Our objects in the form of others: COSE receipts and transparent statements.

use counterfoil_protocol::stock::{CoseReceipt, TransparentStatement};

use super::Outcome;
use super::file::{self, Vector};
use super::native::{key, refusal};

pub(crate) fn receipt(vector: &Vector) -> Outcome {
    let entry = file::named(vector.get("entry")).body;
    let receipt = CoseReceipt::parse(&vector.body, &entry).map_err(refusal)?;
    receipt.verify(&key(vector)).map_err(refusal)?;
    assert_eq!(receipt.encode(), vector.body, "{}", vector.name);
    Ok(vec![("root", receipt.root().to_string())])
}

pub(crate) fn statement(vector: &Vector) -> Outcome {
    let transparent = TransparentStatement::parse(&vector.body).map_err(refusal)?;
    assert_eq!(
        transparent.encode().unwrap(),
        vector.body,
        "{}",
        vector.name
    );
    let leaf = file::named(vector.get("statement")).body;
    assert_eq!(transparent.statement, leaf, "{}", vector.name);
    Ok(vec![("receipts", transparent.receipts.len().to_string())])
}
