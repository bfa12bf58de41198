//! `log.toml`.
//!
//! ```toml
//! # Where to answer. A reverse proxy adds TLS.
//! listen = "127.0.0.1:7801"
//! # The witnesses and how many of them must cosign before a checkpoint is published: a tlog-policy
//! # file (c2sp.org/tlog-policy) in this directory, without a log line. Each witness needs a URL.
//! # Without this key a checkpoint is published as soon as it is signed.
//! witness_policy = "witnesses.policy"
//!
//! [limits]
//! # Submissions that are answered at the same time before the answer is 503.
//! requests = 256
//! # How long the body of a request may take to arrive, in milliseconds, before the answer is 408.
//! body_ms = 10000
//! # Entries that may wait to be sequenced before the answer is 503.
//! pool_entries = 4096
//! # Entries that may wait to be published, for example while witnesses are away.
//! backlog_entries = 65536
//! # How long a request waits for what it asked, in milliseconds, before the answer is 504.
//! wait_ms = 20000
//! # How long to wait for an answer of a witness, in milliseconds.
//! witness_ms = 5000
//! # Least time between two checkpoints, in milliseconds. 0: an entry never waits for others.
//! interval_ms = 0
//! ```

use std::{path::Path, time::Duration};

use counterfoil_durable::file;
use counterfoil_tlog::{note::VerifierKey, policy::Policy};
use serde::Deserialize;

use crate::Error;

/// The file's name in a log directory.
pub const FILE_NAME: &str = "log.toml";

/// The file name that [`init`](crate::init) gives a witness policy.
pub(crate) const POLICY_FILE_NAME: &str = "witnesses.policy";

/// The configuration of a log. A key in the file that is not one of these is an error.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: String,
    /// File name of the witness policy, relative to the log directory.
    pub witness_policy: Option<String>,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
}

/// Bounds of a log. Defaults as in the module's example.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Submissions that are answered at the same time.
    pub requests: usize,
    /// Milliseconds the body of a request may take to arrive.
    pub body_ms: u64,
    /// Entries that may wait to be sequenced.
    pub pool_entries: usize,
    /// Entries that may wait to be published.
    pub backlog_entries: u64,
    /// Milliseconds a request waits for what it asked.
    pub wait_ms: u64,
    /// Milliseconds to wait for an answer of a witness.
    pub witness_ms: u64,
    /// Least milliseconds between two checkpoints.
    pub interval_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 256,
            body_ms: 10_000,
            pool_entries: 4_096,
            backlog_entries: 65_536,
            wait_ms: 20_000,
            witness_ms: 5_000,
            interval_ms: 0,
        }
    }
}

impl Limits {
    pub(crate) const fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }

    pub(crate) const fn body(&self) -> Duration {
        Duration::from_millis(self.body_ms)
    }

    pub(crate) const fn witness(&self) -> Duration {
        Duration::from_millis(self.witness_ms)
    }

    pub(crate) const fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }
}

impl Config {
    /// Reads the configuration in a log directory.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with file and line, or [`Error::Durable`] if it cannot be read.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(FILE_NAME);
        let text = file::read_text(&path)?;
        toml::from_str(&text).map_err(|error| {
            let before = error
                .span()
                .and_then(|span| text.get(..span.start))
                .unwrap_or_default();
            let line = 1 + before.matches('\n').count();
            Error::Config {
                path,
                line,
                detail: error.message().to_owned(),
            }
        })
    }

    /// Reads the witness policy; without one, a policy that needs no witness.
    ///
    /// # Errors
    ///
    /// [`Error::Policy`] or [`Error::PolicyUse`] with file and reason.
    pub(crate) fn read_policy(&self, directory: &Path, log: &VerifierKey) -> Result<Policy, Error> {
        let Some(name) = &self.witness_policy else {
            return Ok(Policy::of_logs(vec![log.clone()]));
        };
        let path = directory.join(name);
        let bytes = file::read(&path)?;
        let policy = Policy::parse(&bytes).map_err(|source| Error::Policy {
            path: path.clone(),
            source,
        })?;
        check_policy(&policy).map_err(|detail| Error::PolicyUse { path, detail })?;
        Ok(policy.with_log(log.clone()))
    }

    /// The text of a new configuration.
    pub(crate) fn text(listen: &str, witness_policy: bool) -> String {
        let policy = if witness_policy {
            format!(
                "# The witnesses and their quorum, as a tlog-policy file (c2sp.org/tlog-policy).\n\
                 witness_policy = {POLICY_FILE_NAME:?}\n"
            )
        } else {
            String::new()
        };
        format!("# Where to answer. A reverse proxy adds TLS.\nlisten = {listen:?}\n{policy}")
    }
}

/// Each witness must have a URL at which this process can ask it.
pub(crate) fn check_policy(policy: &Policy) -> Result<(), String> {
    for witness in policy.witnesses() {
        let name = String::from_utf8_lossy(witness.name());
        let url = witness.url().and_then(|url| core::str::from_utf8(url).ok());
        let Some(url) = url else {
            return Err(format!("witness `{name}` has no URL"));
        };
        let refused = |what: &str| Err(format!("witness `{name}`: `{url}` {what}"));
        let parsed = match reqwest::Url::parse(url) {
            Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => parsed,
            _ => return refused("is not an http or https URL"),
        };
        // Paths are put behind it, and it is shown in messages.
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return refused("has a query or a fragment");
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(format!(
                "witness `{name}`: its URL has a user or a password"
            ));
        }
    }
    Ok(())
}

/// Whether what is sent to this URL can be read and changed on the way.
pub(crate) fn is_exposed(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else {
        return true;
    };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    url.scheme() == "http" && !loopback
}

#[cfg(test)]
mod tests {
    use counterfoil_tlog::note::{Algorithm, KeyName, SignerKey};

    use super::*;

    fn check(url: &str) -> Result<(), String> {
        let name = KeyName::parse("witness.example/w").unwrap();
        let signer = SignerKey::from_seed(name, Algorithm::CosignatureEd25519, &[3; 32]);
        let text = format!("witness w {} {url}\nquorum w\n", signer.verifier());
        check_policy(&Policy::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_witness_needs_a_url_to_which_paths_can_be_added() {
        for good in [
            "http://127.0.0.1:7802",
            "https://witness.example/w1/",
            "http://[::1]:80/x",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("ftp://witness.example/", "is not an http or https URL"),
            ("witness.example", "is not an http or https URL"),
            ("https://witness.example/?a=b", "has a query or a fragment"),
            ("https://witness.example/?", "has a query or a fragment"),
            ("https://witness.example/#a", "has a query or a fragment"),
            (
                "https://me@witness.example/",
                "its URL has a user or a password",
            ),
            (
                "https://:secret@witness.example/",
                "its URL has a user or a password",
            ),
        ] {
            let detail = check(bad).unwrap_err();
            assert!(detail.contains(why), "{bad}: {detail}");
            assert!(!detail.contains("secret"), "{detail}");
        }
    }

    #[test]
    fn only_plain_http_to_another_machine_is_exposed() {
        for (url, exposed) in [
            ("http://127.0.0.1:7802", false),
            ("http://127.8.0.1", false),
            ("http://[::1]:7802/w", false),
            ("http://localhost:1/", false),
            ("https://witness.example", false),
            ("http://witness.example", true),
            ("http://10.0.0.1", true),
            ("http://localhost.example", true),
        ] {
            assert_eq!(is_exposed(url), exposed, "{url}");
        }
    }
}
