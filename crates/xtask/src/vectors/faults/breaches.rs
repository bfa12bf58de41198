//! Terms that were agreed on and not kept.

use anyhow::{Context as _, Result};
use counterfoil_protocol::contract::ContractFile;
use counterfoil_protocol::fault::{FaultKind, FaultProof, Statement};
use counterfoil_protocol::names::{ServerName, Tier, ToolName};
use counterfoil_protocol::record::Body;
use counterfoil_tlog::note::Note;

use super::logs::commitment;
use super::{Shown, against, changed, contracts, made, statement};
use crate::world::{START, World, beacon, both};

pub(super) fn shown(world: &World) -> Result<Vec<Shown>> {
    // Long after globex was seen to have decided about the request.
    let long_after = world
        .log
        .checkpoint(8, &both(&world.witnesses, START + 1_000_000))?;
    Ok(vec![
        (
            "outside-contract",
            "a tool that the contract does not name",
            outside_contract(world)?,
        ),
        (
            "evidence-too-low",
            "logged, where the contract asks for witnessed",
            evidence_too_low(world)?,
        ),
        (
            "published-late",
            "globex had decided about the request long before its batch was closed",
            published(world, &long_after)?,
        ),
    ])
}

/// The contract of the world, in force.
pub(super) fn contract(world: &World) -> Result<Statement> {
    let file = ContractFile {
        end: None,
        ..contracts::file(world)?
    };
    Ok(Statement::Contract(file.encode()))
}

fn outside_contract(world: &World) -> Result<FaultProof> {
    let stream = &world.acme_stream;
    let tool = ToolName::new("delete")?;
    let asked = changed(stream, 2, |record| {
        if let Body::Request(request) = &mut record.body {
            request.action.tool = tool;
        }
    })?;
    let statements = vec![statement(&asked.1), contract(world)?];
    against(world, stream, FaultKind::OutsideContract, statements)
}

fn evidence_too_low(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let (server, tier) = (ServerName::new("mail")?, Tier::new("outside")?);
    let decision = changed(stream, 1, |record| {
        if let Body::Decision(decision) = &mut record.body {
            decision.action.server = server;
            decision.action.tier = Some(tier);
        }
    })?;
    let statements = vec![statement(&decision.1), contract(world)?];
    against(world, stream, FaultKind::EvidenceTooLow, statements)
}

/// Acme's request, globex's decision about it, and a batch that names a checkpoint as its beacon.
pub(super) fn published(world: &World, checkpoint: &Note) -> Result<FaultProof> {
    let stream = &world.acme_stream;
    let batch = stream.batches.first().context("no batch")?;
    let mut late = batch.commitment.clone();
    late.beacon = Some(beacon(checkpoint)?);
    let statements = vec![
        statement(&made(stream, 2)?.1),
        Statement::Receipt(world.globex_receipt(1)?.encode()),
        commitment(late.sign(&stream.operator, &stream.key)),
        Statement::Checkpoint(checkpoint.to_string().into_bytes()),
        contract(world)?,
    ];
    against(world, stream, FaultKind::PublishedLate, statements)
}
