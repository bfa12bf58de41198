//! Has anyone seen another history of this log?
//!
//! A lock restored from a backup would let the log sign a second history without noticing. Its
//! witnesses would notice, but only after it was signed. So they are asked first: what is the last
//! checkpoint of mine that you have cosigned? Only what carries this log's own signature counts,
//! so a witness cannot stop the log by lying.
//!
//! A witness that is away says nothing either way. Therefore nothing is sequenced before enough of
//! them have cosigned the checkpoint of the lock again; the publisher sees to that.

use std::sync::Arc;

use counterfoil_tlog::{checkpoint::Origin, note::Note, witness::monitoring_path};
use tokio::task::JoinSet;

use crate::{
    Error,
    lock::SignedHead,
    node::Node,
    sequencer::root_at,
    witnesses::{Witness, describe, read_body},
};

/// Asks all witnesses at once. Returns the contradiction, if one of them has one.
pub(crate) async fn ask_all(node: &Arc<Node>, witnesses: &[Witness]) -> Option<String> {
    let mut tasks = JoinSet::new();
    for witness in witnesses {
        let (node, witness) = (Arc::clone(node), witness.clone());
        tasks.spawn(async move { ask(&node, &witness).await });
    }
    let mut found = None;
    while let Some(answer) = tasks.join_next().await {
        if let Ok(Some(contradiction)) = answer {
            found.get_or_insert(contradiction);
        }
    }
    found
}

/// Asks one witness. `None` if it shows nothing that contradicts the tree, or does not answer.
pub(crate) async fn ask(node: &Arc<Node>, witness: &Witness) -> Option<String> {
    let shown = match last_seen(node, witness).await {
        Ok(Some(shown)) => shown,
        Ok(None) => return None,
        Err(reason) => {
            tracing::info!(witness = %witness.name, %reason, "no last checkpoint from witness");
            return None;
        }
    };
    let own = node.signed.borrow().head;
    let size = shown.head.size;
    if size > own.size {
        return Some(format!(
            "witness `{}` has a checkpoint of size `{size}` with this log's signature, but the log \
             is at size `{}`",
            witness.name, own.size
        ));
    }
    let root = node
        .blocking(move |node| root_at(&node.store, size, own.size))
        .await;
    match root {
        Ok(Ok(root)) if root == shown.head.root => None,
        Ok(Ok(_)) => Some(format!(
            "witness `{}` has a checkpoint of size `{size}` with this log's signature and another \
             root than the log's tree",
            witness.name
        )),
        Ok(Err(error)) | Err(error) => {
            Some(format!("the tree at size `{size}` cannot be read: {error}"))
        }
    }
}

/// The witness's newest checkpoint of this log; `None` if it has none.
async fn last_seen(node: &Node, witness: &Witness) -> Result<Option<SignedHead>, String> {
    let origin = Origin::from(node.key.name().clone());
    let url = format!("{}/{}", witness.url, monitoring_path(&origin));
    let response = witness
        .client
        .get(url)
        .send()
        .await
        .map_err(|error| describe(&error))?;
    match response.status().as_u16() {
        200 => {}
        404 => return Ok(None),
        status => return Err(format!("status `{status}`")),
    }
    let body = read_body(response).await?;
    let note = Note::parse(&body).map_err(|error| error.to_string())?;
    SignedHead::of_log(note, &node.key)
        .map(Some)
        .map_err(|error: Error| error.to_string())
}
