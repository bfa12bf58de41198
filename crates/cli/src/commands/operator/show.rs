//! `counterfoil operator show`: the manifests kept here, and what they say of each key.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use counterfoil_gateway::home::{Home, read_manifests};
use counterfoil_protocol::digest::KeyThumbprint;
use counterfoil_protocol::keys::PublicKey;
use counterfoil_protocol::manifest::VerifiedManifest;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::trust::Trust;
use counterfoil_tlog::tlog_proof::TlogProof;
use serde_json::{Value, json};

use crate::answer::{Answer, OrProblem as _, Problem};
use crate::home::{HomeArgument, trust};
use crate::{manifests, show};

/// Show operators: their keys with their states, their manifests, and whether we trust them.
///
/// A key is `active` while the newest manifest lists it, `retired` once a later one leaves it out,
/// and `revoked` from the place in the log where a manifest says so. It shows what is kept here; the
/// log may have newer manifests.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  counterfoil operator show --home acme
  counterfoil operator show --home acme globex.example")]
pub(crate) struct Show {
    #[command(flatten)]
    home: HomeArgument,
    /// Which operator; by default this one and all that are kept here.
    #[arg(value_name = "NAME")]
    operator: Option<String>,
}

/// What the manifests say of one key.
#[derive(Debug)]
struct KeyState {
    role: &'static str,
    /// In which version it is listed first.
    since: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Active,
    /// Left out from this version on.
    Retired(u64),
    /// Revoked by this version, at this index of the log.
    Revoked(u64, Option<u64>),
}

pub(super) fn show(command: &Show) -> Result<Answer, Problem> {
    let home = command.home.layout();
    let trust = trust(&home)?;
    let wanted = command
        .operator
        .as_deref()
        .map(OperatorName::new)
        .transpose()?;
    let mut list = Vec::new();
    let mut text = String::new();
    let mut folders = vec![home.manifests()];
    folders.extend(trust.operators().map(|operator| home.peer(operator)));
    for folder in folders {
        let parts = read_manifests(&folder)?;
        let chain = manifests::chain(&parts).at(folder.display())?;
        let Some(newest) = chain.last() else { continue };
        let name = &newest.manifest().operator;
        if wanted.as_ref().is_none_or(|wanted| wanted == name) {
            let (value, lines) = operator(&home, &trust, &chain, &parts)?;
            list.push(value);
            text.push_str(&lines);
        }
    }
    match wanted {
        Some(wanted) if list.is_empty() => Err(Problem::new(format!(
            "no manifest of {wanted} is kept here"
        ))
        .next(format!("counterfoil operator fetch {wanted}"))),
        _ => Ok(Answer::good(Value::Array(list), text)),
    }
}

fn operator(
    home: &Home,
    trust: &Trust,
    chain: &[VerifiedManifest],
    parts: &[LoggedManifest],
) -> Result<(Value, String), Problem> {
    let newest = chain
        .last()
        .map(VerifiedManifest::manifest)
        .ok_or_else(|| Problem::new("there is no manifest"))?;
    let indexes: Vec<Option<u64>> = parts.iter().map(log_index).collect();
    let trusted = chain.first().is_some_and(|first| {
        let roots = trust.roots(&newest.operator).unwrap_or_default();
        let mut listed = first.manifest().roots.iter();
        listed.any(|root| roots.contains(root))
    });
    let keys = key_states(chain, &indexes);
    let versions: Vec<Value> = chain
        .iter()
        .zip(&indexes)
        .map(|(version, index)| version_value(version, *index))
        .collect();
    let exchange = newest.exchange.as_deref();

    let mut text = format!(
        "{}, manifest {}, {}\n  exchange {}\n",
        newest.operator,
        newest.version,
        if trusted {
            "trusted by its root key"
        } else {
            "not named by the trust file"
        },
        exchange.unwrap_or("none"),
    );
    let own = counterfoil_gateway::home::read_key(&home.enforcer_key())
        .ok()
        .map(|key| key.public().thumbprint());
    for (kid, key) in &keys {
        let here = if own == Some(*kid) {
            ", of this home"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "  {} {kid} {}{here}",
            key.role,
            state_text(&key.state)
        );
    }
    for (version, index) in chain.iter().zip(&indexes) {
        let manifest = version.manifest();
        let place = index.map_or("not logged".to_owned(), |index| {
            format!("log entry {index}")
        });
        let time = show::millis(manifest.time.get());
        let _ = writeln!(text, "  manifest {} of {time}, {place}", manifest.version);
    }
    let keys: Vec<Value> = keys.iter().map(|(kid, key)| key_value(*kid, key)).collect();
    let value = json!({
        "operator": newest.operator.as_str(),
        "version": newest.version.get(),
        "trusted": trusted,
        "exchange": exchange,
        "keys": keys,
        "manifests": versions,
    });
    Ok((value, text))
}

/// Follows each key through the versions.
fn key_states(
    chain: &[VerifiedManifest],
    indexes: &[Option<u64>],
) -> BTreeMap<KeyThumbprint, KeyState> {
    let mut keys: BTreeMap<KeyThumbprint, KeyState> = BTreeMap::new();
    for (version, index) in chain.iter().zip(indexes) {
        let manifest = version.manifest();
        let number = manifest.version.get();
        let roles = [("root", &manifest.roots), ("enforcer", &manifest.enforcers)];
        for (role, listed) in roles {
            for kid in listed.iter().map(PublicKey::thumbprint) {
                let key = keys.entry(kid).or_insert(KeyState {
                    role,
                    since: number,
                    state: State::Active,
                });
                if matches!(key.state, State::Retired(_)) {
                    key.state = State::Active;
                }
            }
        }
        for (kid, key) in &mut keys {
            let listed = manifest.roots.iter().chain(&manifest.enforcers);
            let listed = listed.map(PublicKey::thumbprint).any(|each| each == *kid);
            let revoked = manifest.revoked.contains(kid);
            match key.state {
                State::Revoked(..) => {}
                _ if revoked => key.state = State::Revoked(number, *index),
                State::Active if !listed => key.state = State::Retired(number),
                _ => {}
            }
        }
    }
    keys
}

fn state_text(state: &State) -> String {
    match state {
        State::Active => "active".to_owned(),
        State::Retired(version) => format!("retired by manifest {version}"),
        State::Revoked(version, Some(index)) => {
            format!("revoked by manifest {version}, at log entry {index}")
        }
        State::Revoked(version, None) => format!("revoked by manifest {version}, not logged"),
    }
}

fn key_value(kid: KeyThumbprint, key: &KeyState) -> Value {
    let (state, version, index) = match key.state {
        State::Active => ("active", None, None),
        State::Retired(version) => ("retired", Some(version), None),
        State::Revoked(version, index) => ("revoked", Some(version), index),
    };
    json!({
        "key": kid.to_string(),
        "role": key.role,
        "state": state,
        "since_version": key.since,
        "ended_by_version": version,
        "revoked_at_log_index": index,
    })
}

fn version_value(version: &VerifiedManifest, index: Option<u64>) -> Value {
    let manifest = version.manifest();
    let keys = |keys: &[PublicKey]| -> Vec<String> {
        keys.iter()
            .map(|key| key.thumbprint().to_string())
            .collect()
    };
    json!({
        "version": manifest.version.get(),
        "time": show::millis(manifest.time.get()),
        "root_keys": keys(&manifest.roots),
        "enforcer_keys": keys(&manifest.enforcers),
        "exchange": manifest.exchange,
        "revoked": manifest.revoked.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "log_index": index,
    })
}

fn log_index(part: &LoggedManifest) -> Option<u64> {
    let proof = TlogProof::parse(part.log_proof.as_deref()?).ok()?;
    Some(proof.index())
}
