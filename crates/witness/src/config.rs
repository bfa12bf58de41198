//! `witness.toml`.
//!
//! ```toml
//! # Where to answer. A reverse proxy adds TLS.
//! listen = "127.0.0.1:7802"
//! # The logs to witness, as verifier keys (c2sp.org/signed-note). The name of a key is the origin
//! # of its log; a log that is changing keys has two lines.
//! logs = [
//!     "log.example+3f1f5f0c+AZ...",
//! ]
//! ```

use std::path::Path;

use counterfoil_durable::file;
use counterfoil_tlog::note::{Algorithm, VerifierKey};
use serde::Deserialize;
use toml::Spanned;

use crate::Error;

/// The file's name in a witness directory.
pub const FILE_NAME: &str = "witness.toml";

/// The configuration of a witness. A key in the file that is not one of these is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: String,
    /// Keys of the logs to witness, plain Ed25519 (type 0x01).
    pub logs: Vec<VerifierKey>,
}

/// The file as it stands, with the places of what is checked after parsing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: String,
    logs: Vec<Spanned<String>>,
}

impl Config {
    /// Reads the configuration in a witness directory.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with file and line, or [`Error::Durable`] if it cannot be read.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(FILE_NAME);
        let text = file::read_text(&path)?;
        let refused = |offset: usize, detail: String| {
            let before = text.get(..offset).unwrap_or(&text);
            let line = 1 + before.matches('\n').count();
            Error::Config {
                path: path.clone(),
                line,
                detail,
            }
        };
        let file: File = toml::from_str(&text).map_err(|error| {
            refused(
                error.span().map_or(0, |span| span.start),
                error.message().to_owned(),
            )
        })?;
        let logs = file.logs.iter().map(|log| {
            parse_log_key(log.get_ref()).map_err(|detail| refused(log.span().start, detail))
        });
        Ok(Self {
            listen: file.listen,
            logs: logs.collect::<Result<_, _>>()?,
        })
    }

    /// The text of a new configuration.
    pub(crate) fn text(listen: &str, logs: &[VerifierKey]) -> String {
        let lines: String = logs
            .iter()
            .map(|key| format!("    {:?},\n", key.to_string()))
            .collect();
        format!(
            "# Where to answer. A reverse proxy adds TLS.\n\
             listen = {listen:?}\n\
             # The logs to witness, as verifier keys. The name of a key is the origin of its log.\n\
             # A change takes effect when the witness starts again.\n\
             logs = [\n{lines}]\n"
        )
    }
}

fn parse_log_key(text: &str) -> Result<VerifierKey, String> {
    let key = VerifierKey::parse(text).map_err(|error| format!("log key `{text}`: {error}"))?;
    if key.algorithm() == Algorithm::Ed25519 {
        Ok(key)
    } else {
        Err(format!(
            "log key `{text}` is a cosignature key, not a log's"
        ))
    }
}
