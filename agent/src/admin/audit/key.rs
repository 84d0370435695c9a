//! `weir audit key` and `weir audit rotate-key`.

use std::io::Write;

use serde_json::json;

use super::{Ended, Failure, Stop};
use crate::{
    admin::client,
    audit::checkpoint::{KeyFiles, KeySource, PublicKey},
    config::Config,
};

/// Arguments of `weir audit key` and `weir audit rotate-key`.
#[derive(Debug, clap::Args)]
pub(super) struct KeyArgs {}

/// Prints the public key in use, and one that waits to be taken.
pub(super) fn show(config: &Config, json: bool, out: &mut dyn Write) -> Result<Ended, Stop> {
    let source = KeySource::from_config(config);
    let keys = client::wait(source.public()).map_err(Stop::Failed)?;
    let keys = keys.map_err(|error| failed(&error))?;
    if keys.is_empty() {
        let text = "there is no signing key yet; the agent makes one when it starts";
        return Err(Stop::Failed(Failure::Failed(text.into())));
    }
    print(&keys, json, out)
}

/// Makes the next key.
pub(super) fn rotate(config: &Config, json: bool, out: &mut dyn Write) -> Result<Ended, Stop> {
    if config.audit.checkpoint.kms.is_some() {
        let text =
            "the signing key is in KMS: change `audit.checkpoint.kms`, restart the agent, and give auditors both keys";
        return Err(Stop::Failed(Failure::Usage(text.into())));
    }
    let key = KeyFiles::new(&config.state_dir).prepare_next().map_err(|error| failed(&error))?;
    let _ = writeln!(anstream::stderr(), "the agent takes this key with its next checkpoint, or when it starts");
    print(&[key], json, out)
}

fn failed(error: &dyn std::fmt::Display) -> Stop {
    Stop::Failed(Failure::Failed(error.to_string()))
}

fn print(keys: &[PublicKey], json: bool, out: &mut dyn Write) -> Result<Ended, Stop> {
    for key in keys {
        if json {
            writeln!(out, "{}", json!({ "id": key.id(), "algorithm": key.algorithm(), "pem": key.to_pem() }))?;
        } else {
            write!(out, "{}", key.to_pem())?;
        }
    }
    Ok(Ended::Done)
}
