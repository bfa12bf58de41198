//! `counterfoil operator revoke`: ends a key by a manifest that is logged.

use clap::Args;
use counterfoil_gateway::home::read_key;
use counterfoil_protocol::digest::KeyThumbprint;
use serde_json::json;

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::home::{HomeArgument, own_manifests};
use crate::manifests;
use crate::refresh::own_log_index;

/// Revoke a key: nothing that it signs counts once the log holds the revocation.
///
/// What it signed and had logged before stays valid; what is logged after does not, whatever time
/// it claims. A revocation is final. It works beside a gateway that is running, which stops deciding
/// when it hears of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  counterfoil operator show --home acme
  counterfoil operator revoke --home acme 5f0c...")]
pub(crate) struct Revoke {
    /// The home that has the root key.
    #[command(flatten)]
    home: HomeArgument,
    /// The key: its thumbprint in hexadecimal, as `operator show` prints it.
    #[arg(value_name = "KEY")]
    key: String,
}

pub(super) async fn revoke(command: &Revoke) -> Result<Answer, Problem> {
    let home = command.home.layout();
    let kid = KeyThumbprint::from_hex(&command.key)
        .or_next("a key is named by its thumbprint: 64 hexadecimal digits")?;
    let known = manifests::chain(&own_manifests(&home)?)?
        .iter()
        .any(|version| {
            let manifest = version.manifest();
            let keys = manifest.enforcers.iter().chain(&manifest.roots);
            keys.map(|key| key.thumbprint()).any(|listed| listed == kid)
        });
    if !known {
        return Err(Problem::new(format!("no manifest of ours lists key {kid}"))
            .next("`counterfoil operator show` lists the keys"));
    }
    let signing = read_key(&home.root_key())
        .or_next("manifests are made in the home that has the root key")?
        .public()
        .thumbprint();
    if signing == kid {
        return Err(
            Problem::new("that is the root key that would sign the revocation").next(
                "replace it first: counterfoil operator rotate --root; then revoke the old one",
            ),
        );
    }
    let manifest = manifests::change(&home, |next| {
        next.enforcers.retain(|key| key.thumbprint() != kid);
        next.roots.retain(|key| key.thumbprint() != kid);
        next.revoked.push(kid);
        Ok(())
    })
    .await?;
    let version = manifest.manifest().version.get();
    let index = own_log_index(&home, version)?;
    let place = index.map_or("which is in no log".to_owned(), |index| {
        format!("entry {index} of the log")
    });
    Ok(Answer::good(
        json!({ "key": kid.to_string(), "version": version, "log_index": index }),
        format!(
            "key {kid} is revoked by manifest {version}, {place}\n\
             what it had logged before stays valid, nothing after counts\n\
             \n\
             next, if it was the key of an enforcer that goes on:\n  \
             counterfoil operator rotate --home {}\n",
            home.directory().display()
        ),
    ))
}
