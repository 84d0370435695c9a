//! What can be wrong, each with a name for programs and a text for people.

use jiff::Timestamp;

use super::{
    super::{chain::Malformed, checkpoint::KeyId},
    reconcile::Gap,
};

/// What is wrong with a record, or with a log from there on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its line is not in the format.
    #[error("altered or damaged: {0}")]
    Malformed(#[from] Malformed),
    /// Its hash is not that of its fields.
    #[error("altered: its hash does not match its content")]
    Altered,
    /// It belongs to another log.
    #[error("foreign: it belongs to log {0}")]
    Foreign(String),
    /// Another record stands in its place.
    #[error("removed or moved: record {found} stands in its place")]
    Displaced {
        /// The seq found.
        found: u64,
    },
    /// It is not linked to the record before it.
    #[error("not linked: its prev is not the hash of the record before it, so one of the two was replaced")]
    Unlinked,
    /// The epoch does not follow.
    #[error("epoch anomaly: epoch {found} after epoch {before}")]
    Epoch {
        /// The epoch of the record before it; 0 before the first.
        before: u64,
        /// The epoch found.
        found: u64,
    },
    /// Its segment is named for another record.
    #[error("misplaced: it opens the segment named for record {named}")]
    Misnamed {
        /// The seq in the segment's name.
        named: u64,
    },
    /// The head has another hash for it.
    #[error("replaced: the head states another hash for it")]
    HeadDiffers,
    /// The log ends before it, though the head says that it was there.
    #[error("cut: the log ends before it, but its head states {head} records")]
    Cut {
        /// The seq that the head states.
        head: u64,
    },
    /// It and perhaps more after it are not there, though later records are.
    #[error("missing, with all up to record {last}")]
    Missing {
        /// The last that is missing.
        last: u64,
    },
    /// The records before the first are not there, and nothing says that they may be.
    #[error("missing, with all up to record {last}: the log begins later, and no retirement record says so")]
    FrontMissing {
        /// The last that is missing.
        last: u64,
    },
    /// The copies do not have the records before the first, though the host deleted them because the copies have them.
    #[error(
        "missing from the copies, with all up to record {last}, which the host deleted because they had been shipped; where \
         the copies may begin later, say so with --from"
    )]
    FrontRetired {
        /// The last that is missing.
        last: u64,
    },
    /// There are two different records of this seq, each with a right hash.
    #[error("forked: two different records have this seq, as after a restored backup; the other is in {other}")]
    Forked {
        /// Where the other is.
        other: String,
    },
    /// No checkpoint covers it, though one was due.
    #[error("unsigned: no checkpoint covers it or what follows, though one was due")]
    Unsigned,
    /// The checkpoint's statement is not one.
    #[error("a checkpoint or change of key whose statement is not in its form: {0}")]
    Statement(String),
    /// The checkpoint has no signature.
    #[error("a checkpoint whose signature is missing")]
    NotSigned,
    /// The signature is not over what is stated.
    #[error("a checkpoint whose signature is wrong: it was altered, or signed by somebody else")]
    SignatureWrong,
    /// The checkpoint is signed by a key that is not trusted.
    #[error("a checkpoint signed by key {0}, which is not trusted")]
    UnknownKey(KeyId),
    /// The checkpoint is signed by a key that was replaced.
    #[error("a checkpoint signed by key {0}, which another key had replaced")]
    StaleKey(KeyId),
    /// The checkpoint is signed by a key that was given for another host.
    #[error("a checkpoint of host {host} signed by key {key}, which is another host's")]
    KeyOfAnother {
        /// The key.
        key: KeyId,
        /// The host that the checkpoint states.
        host: String,
    },
    /// One key signs for several hosts.
    #[error(
        "in a log signed by key {key}, which signs for several hosts ({}): one may pose as another; where they share it, \
         say so with --key '*=FILE'", .hosts.join(", ")
    )]
    KeyShared {
        /// The key.
        key: KeyId,
        /// The first of the hosts.
        hosts: Vec<String>,
    },
    /// A key was replaced without the old key's word.
    #[error("a change to key {0} that the key before it did not sign")]
    KeyNotVouched(KeyId),
    /// The checkpoint was made for another log or epoch.
    #[error("a checkpoint made for log {log}, epoch {epoch}")]
    CheckpointForeign {
        /// The log it states.
        log: String,
        /// The epoch it states.
        epoch: u64,
    },
    /// The checkpoint does not follow the one before it.
    #[error("a checkpoint that does not follow the one before it: one was removed or repeated")]
    CheckpointUnlinked,
    /// The checkpoint covers a record with another hash.
    #[error("rewritten, or one before it: the signed checkpoint in record {checkpoint} states another hash for it")]
    CheckpointDiffers {
        /// The checkpoint's seq.
        checkpoint: u64,
    },
    /// The checkpoint covers a record that does not come before it, or too long before it.
    #[error("a checkpoint that states a head out of its reach: record {head}")]
    CheckpointReach {
        /// The head that it states.
        head: u64,
    },
    /// The host's clock since boot went back within one boot.
    #[error("a checkpoint made earlier in the same boot than the one before it, as on a host restored from a snapshot")]
    ClockBack,
    /// A file cannot be decompressed to its end.
    #[error("unreadable from there on: {0}")]
    Unreadable(String),
    /// Nothing came after the last checkpoint, though more was due.
    #[error("silent: no checkpoint came after {since}, though one was due every {seconds} s")]
    Silent {
        /// The last checkpoint's time.
        since: Timestamp,
        /// The interval that it stated, in seconds.
        seconds: u64,
    },
    /// The kernel's counters and the flow records do not add up at this tally.
    #[error("where connections to endpoint {} do not add up since record {}: {}", .0.endpoint, .0.from, .0.what)]
    Unreconciled(Gap),
    /// A log or host of the inventory is not there at all.
    #[error("absent: nothing of {0} was found")]
    Absent(String),
}

impl Fault {
    /// Its name for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Altered => "altered",
            Self::Foreign(_) => "foreign",
            Self::Displaced { .. } => "displaced",
            Self::Unlinked => "unlinked",
            Self::Epoch { .. } => "epoch",
            Self::Misnamed { .. } => "misnamed",
            Self::HeadDiffers => "head_differs",
            Self::Cut { .. } => "cut",
            Self::Missing { .. } => "missing",
            Self::FrontMissing { .. } => "front_missing",
            Self::FrontRetired { .. } => "front_retired",
            Self::Forked { .. } => "forked",
            Self::Unsigned => "unsigned",
            Self::Statement(_) => "statement",
            Self::NotSigned => "not_signed",
            Self::SignatureWrong => "signature_wrong",
            Self::UnknownKey(_) => "unknown_key",
            Self::StaleKey(_) => "stale_key",
            Self::KeyOfAnother { .. } => "key_of_another",
            Self::KeyShared { .. } => "key_shared",
            Self::KeyNotVouched(_) => "key_not_vouched",
            Self::CheckpointForeign { .. } => "checkpoint_foreign",
            Self::CheckpointUnlinked => "checkpoint_unlinked",
            Self::CheckpointDiffers { .. } => "checkpoint_differs",
            Self::CheckpointReach { .. } => "checkpoint_reach",
            Self::ClockBack => "clock_back",
            Self::Unreadable(_) => "unreadable",
            Self::Silent { .. } => "silent",
            Self::Unreconciled(_) => "unreconciled",
            Self::Absent(_) => "absent",
        }
    }
}
