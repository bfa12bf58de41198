//! From signed to published: collecting cosignatures and showing the result to the world.

use std::{sync::Arc, time::Duration};

use counterfoil_tlog::note::Note;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    Error,
    lock::SignedHead,
    node::{Node, meets},
    witnesses::{self, Cosigned, Witness, is_by},
};

/// How long all witnesses work on one checkpoint before a newer one takes its place. Changing it
/// with every signed checkpoint would leave them with cosignatures on different ones.
const TARGET_LIFETIME: Duration = Duration::from_secs(10);

/// Publishes signed checkpoints until the log stops, meets a fault, or suspects a fork. Nothing of
/// it goes on after it has returned.
pub(crate) async fn run(node: Arc<Node>, witnesses: Vec<Witness>) {
    let (mut fork, mut stopping) = (node.fork.subscribe(), node.stopping.subscribe());
    let mut tasks = JoinSet::new();
    let result = tokio::select! {
        biased;
        _ = fork.wait_for(Option::is_some) => Ok(()),
        _ = stopping.wait_for(|stopping| *stopping) => Ok(()),
        result = publish_all(&node, witnesses, &mut tasks) => result,
    };
    tasks.shutdown().await;
    match result {
        Ok(()) | Err(Error::ForkSuspected(_)) => {}
        Err(error) => node.fail(error),
    }
}

/// One target at a time. It is published when it meets the quorum, at once if none is needed, and
/// again when more witnesses cosign it while nothing newer is there.
async fn publish_all(
    node: &Arc<Node>,
    witnesses: Vec<Witness>,
    tasks: &mut JoinSet<()>,
) -> Result<(), Error> {
    let mut signed = node.signed.subscribe();
    let mut target = first_target(node, signed.borrow_and_update().clone());
    // What this process has been told itself about the checkpoint that it has found in the lock.
    let mut confirmation = own_signature(node, &target)?;
    let (set_target, watch_target) = watch::channel(target.clone());
    let (sender, mut cosigned) = mpsc::channel(64);
    for witness in witnesses {
        let (node, target) = (Arc::clone(node), watch_target.clone());
        tasks.spawn(witnesses::run(node, witness, target, sender.clone()));
    }
    let mut deadline = Instant::now() + TARGET_LIFETIME;
    loop {
        let met = meets(&node.policy, &target.note);
        if met && node.published.borrow().as_ref() != Some(&target) {
            publish(node, target.clone()).await?;
        }
        let newest = signed.borrow_and_update().clone();
        let newer = newest.head.size > target.head.size;
        if newer && (met || Instant::now() >= deadline) {
            target = newest;
            deadline = Instant::now() + TARGET_LIFETIME;
            set_target.send_replace(target.clone());
            continue;
        }
        tokio::select! {
            Some(next) = cosigned.recv() => {
                if next.head == confirmation.head && !*node.confirmed.borrow() {
                    confirmation.note = add(&confirmation.note, &next)?;
                    if meets(&node.policy, &confirmation.note) {
                        tracing::info!(size = next.head.size, "confirmed by the witnesses");
                        node.confirmed.send_replace(true);
                    }
                }
                // Late for another checkpoint: the witness goes on with the newest one.
                if next.head == target.head {
                    target.note = add(&target.note, &next)?;
                }
            }
            changed = signed.changed() => if changed.is_err() { return Ok(()) },
            () = sleep_until(deadline), if newer => {}
            // They end with this function; one that ends before it has panicked.
            Some(Err(error)) = tasks.join_next() => {
                return Err(Error::System(format!("the task of a witness has ended: {error}")));
            }
        }
    }
}

/// The newest signed checkpoint, with the cosignatures it has been published with.
fn first_target(node: &Node, signed: SignedHead) -> SignedHead {
    match &*node.published.borrow() {
        Some(published) if published.head == signed.head => published.clone(),
        _ => signed,
    }
}

/// A checkpoint without any cosignature.
fn own_signature(node: &Node, signed: &SignedHead) -> Result<SignedHead, Error> {
    let note = signed.note.clone();
    let note = note.retain_signatures(|line| is_by(line, &node.key));
    Ok(SignedHead {
        head: signed.head,
        note: note.ok_or_else(|| Error::Damaged("checkpoint is not signed".to_owned()))?,
    })
}

/// Puts a witness's cosignature in, over an earlier one of the same key.
fn add(note: &Note, cosigned: &Cosigned) -> Result<Note, Error> {
    let too_many = |error| Error::Damaged(format!("checkpoint: {error}"));
    note.clone()
        .retain_signatures(|line| !is_by(line, &cosigned.key))
        .ok_or_else(|| Error::Damaged("checkpoint lost its signature".to_owned()))?
        .with_signatures(cosigned.lines.clone())
        .map_err(too_many)
}

async fn publish(node: &Arc<Node>, next: SignedHead) -> Result<(), Error> {
    let size = next.head.size;
    node.blocking(move |node| node.publish(next)).await??;
    tracing::debug!(size, "published");
    Ok(())
}
