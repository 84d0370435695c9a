//! The files of a log's directory: `segment-<first seq, 20 digits>.ndjson`, `head` and `lock`.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

const PREFIX: &str = "segment-";
const SUFFIX: &str = ".ndjson";

/// One segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The seq that its name promises for its first record.
    pub first: u64,
    /// Where it is.
    pub path: PathBuf,
}

impl Segment {
    /// The segment of `dir` that starts at `first`.
    pub fn at(dir: &Path, first: u64) -> Self {
        Self { first, path: dir.join(format!("{PREFIX}{first:020}{SUFFIX}")) }
    }

    fn from_path(path: PathBuf) -> Option<Self> {
        let digits = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let first = (digits.len() == 20).then(|| digits.parse().ok()).flatten()?;
        Some(Self { first, path })
    }

    /// The segments of `dir` in order.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(dir: &Path) -> io::Result<Vec<Self>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(dir)? {
            segments.extend(Self::from_path(entry?.path()));
        }
        segments.sort_by_key(|segment| segment.first);
        Ok(segments)
    }
}

/// Creates `dir` and its missing parents, mode 0700.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Makes the names in `dir` survive a power loss.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}
