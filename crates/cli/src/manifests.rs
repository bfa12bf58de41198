//! Making manifests: the newest version, what is changed in it, and having it logged.
//!
//! A version is made once, is durable before it leaves, and is sent again until the log has it. Two
//! different versions of one number would convict their operator (faults §3, kind 13), so one
//! process at a time makes them, in the one home that has the root key.

use counterfoil_durable::file::{self, Access};
use counterfoil_durable::lock::DirectoryLock;
use counterfoil_enforcer::environment::{Clock as _, SystemClock};
use counterfoil_gateway::home::{Home, manifest_files, read_key};
use counterfoil_protocol::keys::PublicKey;
use counterfoil_protocol::manifest::{Manifest, UnverifiedManifest, VerifiedManifest};
use counterfoil_protocol::numbers::ManifestVersion;
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::trust::Trust;
use counterfoil_tlog::tlog_proof::TlogProof;
use counterfoil_tlog::tree::leaf_hash;
use zeroize::Zeroizing;

use crate::answer::{OrProblem as _, Problem};
use crate::home::{config, own_manifests, trust};
use crate::log_client::LogClient;
use crate::refresh::{fetch_verified, keep_own};

/// The index of an entry, and the size of the tree that it was proved in.
pub(crate) type Logged = (u64, u64);

/// Checks the manifests against each other only: whoever shows them need not trust them.
pub(crate) fn chain(parts: &[LoggedManifest]) -> Result<Vec<VerifiedManifest>, Problem> {
    let mut chain: Vec<VerifiedManifest> = Vec::with_capacity(parts.len());
    for part in parts {
        let manifest = UnverifiedManifest::parse(&part.manifest)?;
        chain.push(match chain.last() {
            None => manifest.verify_first(|_| true)?,
            Some(before) => manifest.verify_next(before)?,
        });
    }
    Ok(chain)
}

/// Has one version logged and keeps the log's proof.
pub(crate) async fn register(
    home: &Home,
    client: &LogClient,
    trust: &Trust,
    version: u64,
    manifest: &[u8],
    token: Option<&Zeroizing<String>>,
) -> Result<Logged, Problem> {
    let proof = client.register(manifest, token).await?;
    let checked = TlogProof::parse(&proof)
        .at("the log's proof")
        .and_then(|checked| {
            let quorum = checked
                .verify(&leaf_hash(manifest), trust.policy())
                .at("the log's proof does not verify")?;
            Ok((checked.index(), quorum.checkpoint().size()))
        })
        .or_next(format!(
            "check the lines `log` and `witness` of {}",
            home.trust().display()
        ))?;
    let (_, path) = manifest_files(&home.manifests(), ManifestVersion::new(version));
    file::replace(&path, &proof, Access::Everyone)?;
    Ok(checked)
}

/// Makes the next version with what `edit` changes, and has it logged. If nothing changes, as when
/// an earlier attempt came this far, the newest version stays the newest.
pub(crate) async fn change(
    home: &Home,
    edit: impl FnOnce(&mut Manifest) -> Result<(), Problem>,
) -> Result<VerifiedManifest, Problem> {
    let _lock = DirectoryLock::acquire(&home.manifests())
        .or_next("another command makes a manifest: wait until it is done")?;
    let trust = trust(home)?;
    let client = match config(home)?.log {
        Some(log) => Some(LogClient::new(log.url.as_str())?),
        None => None,
    };
    let chain = bring_up_to_date(home, client.as_ref(), &trust).await?;
    let newest = chain
        .last()
        .ok_or_else(|| Problem::new("there is no manifest"))?;
    let mut next = newest.manifest().clone();
    edit(&mut next)?;
    for keys in [&mut next.roots, &mut next.enforcers] {
        keys.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        keys.dedup_by(|a, b| a.as_bytes() == b.as_bytes());
    }
    next.revoked.sort();
    next.revoked.dedup();
    if next == *newest.manifest() {
        return Ok(newest.clone());
    }
    let version = newest
        .manifest()
        .version
        .next()
        .ok_or_else(|| Problem::new("the manifest has no more version numbers"))?;
    next.version = version;
    next.previous = Some(newest.digest());
    next.time = SystemClock.now().max(newest.manifest().time);
    let root = read_key(&home.root_key()).or_next(
        "manifests are made in the home that has the root key: name it with --root-home",
    )?;
    let bytes = next.sign(&root);
    // With a key that is no root key any more, it would be refused by everybody.
    let verified = UnverifiedManifest::parse(&bytes)?
        .verify_next(newest)
        .at(format!(
            "`{}` cannot sign the next manifest",
            home.root_key().display()
        ))?;
    let (path, _) = manifest_files(&home.manifests(), version);
    file::create(&path, &bytes, Access::Everyone)?;
    if let Some(client) = &client {
        register(home, client, &trust, version.get(), &bytes, None).await?;
    }
    Ok(verified)
}

/// Takes over what the log has, and has logged what it does not have.
async fn bring_up_to_date(
    home: &Home,
    client: Option<&LogClient>,
    trust: &Trust,
) -> Result<Vec<VerifiedManifest>, Problem> {
    if let Some(client) = client {
        let own = chain(&own_manifests(home)?)?;
        let operator = own
            .last()
            .map(|manifest| manifest.manifest().operator.clone())
            .ok_or_else(|| Problem::new("there is no manifest"))?;
        let fetched = fetch_verified(client, &operator, trust).await?;
        keep_own(home, &fetched)?;
        for (version, part) in (1_u64..).zip(own_manifests(home)?).skip(fetched.len()) {
            register(home, client, trust, version, &part.manifest, None).await?;
        }
    }
    chain(&own_manifests(home)?)
}

/// Copies the manifests of one home of an operator to another.
pub(crate) fn copy(from: &Home, to: &Home) -> Result<(), Problem> {
    if from.directory() == to.directory() {
        return Ok(());
    }
    let parts = own_manifests(from)?;
    file::ensure_directory(&to.manifests())?;
    for (version, part) in (1_u64..).zip(parts) {
        let (manifest, proof) = manifest_files(&to.manifests(), ManifestVersion::new(version));
        if let Some(bytes) = &part.log_proof {
            file::replace(&proof, bytes, Access::Everyone)?;
        }
        file::replace(&manifest, &part.manifest, Access::Everyone)?;
    }
    Ok(())
}

/// Takes a key out of a list and puts another one in.
pub(crate) fn replace_key(keys: &mut Vec<PublicKey>, old: &PublicKey, new: &PublicKey) {
    keys.retain(|key| key.as_bytes() != old.as_bytes());
    keys.push(new.clone());
}
