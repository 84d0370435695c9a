//! Whether each sink would take records, without giving it any: for `weir doctor`.

use std::{path::Path, time::Duration};

use rustix::fs::{Access, access};
use tokio::time::timeout;

use super::{kinesis::Kinesis, objects::Bucket, otlp::Otlp};
use crate::config;

/// Longest wait for a sink's answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What asking a sink brought.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The sink's name.
    pub sink: &'static str,
    /// What it says of itself, or what is wrong.
    pub answer: Result<String, String>,
}

/// Asks every sink of `audit` that can be asked.
pub async fn probe(audit: &config::Audit) -> Vec<Probe> {
    let mut probes = Vec::new();
    if let Some(kinesis) = &audit.kinesis {
        let kinesis = Kinesis::new(kinesis.clone());
        probes.push(Probe { sink: "kinesis", answer: within(Box::pin(kinesis.probe())).await });
    }
    if let Some(file) = &audit.file {
        probes.push(Probe { sink: "file", answer: directory(&file.path) });
    }
    if let Some(otlp) = &audit.otlp {
        let mut otlp = Otlp::new(otlp.clone());
        probes.push(Probe { sink: "otlp", answer: within(otlp.probe()).await });
    }
    if let Some(objects) = &audit.objects {
        let mut bucket = Bucket::new(objects.clone());
        probes.push(Probe { sink: "objects", answer: within(Box::pin(bucket.probe())).await });
    }
    probes
}

async fn within(answer: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}

/// Files are rotated beside each other, so the directory must be writable, not the file alone.
fn directory(file: &Path) -> Result<String, String> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    access(dir, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(file.display().to_string())
}
