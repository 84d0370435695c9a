//! Stores what waits in the spool ([`objects`](super::super::objects)) in S3: beside the sinks, and like them for as long as it
//! takes. A file goes only when S3 has accepted its bytes by their checksum; what is stored twice is the same object.

use std::{collections::VecDeque, io, time::Duration};

use aws_lc_rs::digest;
use aws_sdk_s3::{
    Client, config,
    error::SdkError,
    operation::put_object::{PutObjectError, PutObjectOutput},
    primitives::ByteStream,
    types::ChecksumAlgorithm,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        chain::LogId,
        objects::{Spool, Waiting},
    },
    aws::{Connector, code, describe, is_refusal, is_throttle},
    backoff::Backoff,
    status::Meter,
};
use crate::config::Objects;

/// So many are under way at once.
const AT_ONCE: usize = 4;
/// How often it is looked for what another agent has put there.
const LOOK: Duration = Duration::from_secs(5);

/// The task.
#[derive(Debug)]
pub(super) struct Uploader {
    pub(super) bucket: Bucket,
    pub(super) log: LogId,
    pub(super) spool: Spool,
    pub(super) meter: Meter,
    /// From then on, what is there is stored, and nothing is waited for.
    pub(super) finish: CancellationToken,
}

/// How an attempt ended.
enum Attempt {
    Stored {
        bytes: u64,
    },
    /// Somebody else has removed it.
    Gone,
    /// Its file cannot be read or removed.
    Unreadable(io::Error),
    /// S3 has not taken it, or cannot be reached.
    Refused(Box<SdkError<PutObjectError>>),
}

impl Uploader {
    /// Stores until it is told to finish and has everything.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            match self.list().await {
                Ok(waiting) if waiting.is_empty() => {
                    self.meter.nothing_waits();
                    if self.finish.is_cancelled() {
                        return;
                    }
                    tokio::select! {
                        () = self.spool.arrived() => {}
                        () = sleep(LOOK) => {}
                        () = self.finish.cancelled() => {}
                    }
                }
                Ok(waiting) => self.store(waiting, &mut backoff).await,
                Err(error) => {
                    self.meter.failed(format!("{}: {error}", self.spool.dir().display()), 0);
                    sleep(backoff.next()).await;
                }
            }
        }
    }

    async fn list(&self) -> io::Result<VecDeque<Waiting>> {
        let spool = self.spool.clone();
        spawn_blocking(move || spool.list()).await.map_err(io::Error::other)?.map(VecDeque::from)
    }

    /// Stores these, until S3 refuses one. What is left is found again, with what came meanwhile.
    async fn store(&mut self, mut waiting: VecDeque<Waiting>, backoff: &mut Backoff) {
        let (mut stored, mut refused) = (false, false);
        while let Some(oldest) = waiting.front()
            && !refused
        {
            self.meter.waits(waiting.len() as u64, oldest.time);
            let client = match self.bucket.client().await {
                Ok(client) => client,
                Err(error) => {
                    self.meter.failed(error, 0);
                    break;
                }
            };
            let mut attempts = JoinSet::new();
            for object in waiting.drain(..AT_ONCE.min(waiting.len())) {
                let key = format!("{}{}/{}", self.bucket.config.prefix, self.log, object.name);
                attempts.spawn(attempt(
                    client.clone(),
                    self.bucket.config.bucket.clone(),
                    key,
                    self.spool.clone(),
                    object,
                ));
            }
            for attempt in attempts.join_all().await {
                stored |= matches!(attempt, Attempt::Stored { .. });
                refused |= matches!(attempt, Attempt::Refused(_));
                self.settle(attempt);
            }
        }
        if stored {
            backoff.reset();
        }
        if refused || !stored {
            sleep(backoff.next()).await;
        }
    }

    /// Takes note of an attempt.
    fn settle(&mut self, attempt: Attempt) {
        match attempt {
            Attempt::Stored { bytes } => self.meter.stored(bytes),
            Attempt::Gone => self.meter.lost(),
            Attempt::Unreadable(error) => self.meter.failed(format!("{}: {error}", self.spool.dir().display()), 0),
            Attempt::Refused(error) => {
                self.meter.failed(describe(&error), u64::from(is_throttle(code(&error))));
                self.bucket.consider(&error);
            }
        }
    }
}

/// Stores one object, and lets go of its file.
async fn attempt(client: Client, bucket: String, key: String, spool: Spool, object: Waiting) -> Attempt {
    let (from, name) = (spool.clone(), object.clone());
    let bytes = match spawn_blocking(move || from.read(&name)).await.map_err(io::Error::other).flatten() {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Attempt::Gone,
        Err(error) => return Attempt::Unreadable(error),
    };
    let length = bytes.len() as u64;
    if let Err(error) = put(&client, &bucket, &key, bytes).await {
        return Attempt::Refused(Box::new(error));
    }
    match spawn_blocking(move || spool.remove(&object, length)).await.map_err(io::Error::other).flatten() {
        Ok(()) => Attempt::Stored { bytes: length },
        Err(error) => {
            tracing::warn!(%error, key, "an object is stored, and its file cannot be removed: it is stored again");
            Attempt::Unreadable(error)
        }
    }
}

async fn put(
    client: &Client,
    bucket: &str,
    key: &str,
    bytes: Vec<u8>,
) -> Result<PutObjectOutput, SdkError<PutObjectError>> {
    // S3 refuses bytes that are not those.
    let checksum = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, &bytes));
    let request = client.put_object().bucket(bucket).key(key).content_type("application/json");
    let request = request.checksum_algorithm(ChecksumAlgorithm::Sha256).checksum_sha256(checksum);
    request.body(ByteStream::from(bytes)).send().await
}

/// The bucket, and the connection to it.
#[derive(Debug)]
pub(super) struct Bucket {
    config: Objects,
    connector: Connector,
    /// Made at the first request, and anew when the service no longer knows who asks.
    client: Option<Client>,
}

impl Bucket {
    pub(super) fn new(config: Objects) -> Self {
        let connector = Connector::new("audit.objects", config.region.as_deref(), config.endpoint_url.as_deref());
        Self { config, connector, client: None }
    }

    async fn client(&mut self) -> Result<Client, String> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let shared = self.connector.prepare().await?;
        // Emulators and private endpoints have no name for each bucket.
        let by_path = self.config.endpoint_url.is_some();
        let client = Client::from_conf(config::Builder::from(&shared).force_path_style(by_path).build());
        Ok(self.client.insert(client).clone())
    }

    /// Takes over the service's time, or asks for credentials again, when that is what was refused.
    fn consider(&mut self, error: &SdkError<PutObjectError>) {
        if self.connector.corrects_clock(error) || is_refusal(error) {
            self.client = None;
        }
    }

    /// Asks for the bucket, as `weir doctor` does.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) async fn probe(&mut self) -> Result<String, String> {
        let client = self.client().await?;
        let url = self.config.url();
        match client.head_bucket().bucket(&self.config.bucket).send().await {
            Ok(_) => Ok(url),
            // Who may store objects need not be allowed to look at the bucket.
            Err(error) if error.raw_response().is_some_and(|response| response.status().as_u16() == 403) => {
                Ok(format!("{url} answers, and does not say whether objects may be stored"))
            }
            Err(error) => Err(describe(&error)),
        }
    }
}
