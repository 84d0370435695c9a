//! What must be on disk, and whose it must be.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use rustix::fs::{Access, access, statvfs};

use super::Check;

/// Below this much free space the log is about to refuse calls, in bytes.
const SPACE_FAIL: u64 = 64 << 20;
/// Below this much free space somebody should look, in bytes.
const SPACE_WARN: u64 = 1 << 30;

/// The configuration was read; can others change it?
pub(super) fn config(path: &Path) -> Check {
    const NAME: &str = "config";
    match fs::metadata(path) {
        Ok(file) if file.mode() & 0o022 != 0 => Check::fail(
            NAME,
            format!("others than its owner can change {}", path.display()),
            format!("chmod go-w {}", path.display()),
        ),
        Ok(_) => Check::pass(NAME, path.display().to_string()),
        Err(error) => Check::fail(NAME, format!("{}: {error}", path.display()), "check the path"),
    }
}

/// A directory of the agent: private and writable, or one that can be made.
pub(super) fn directory(name: &'static str, path: &Path) -> Check {
    let shown = path.display();
    let nearest = existing(path);
    let needed = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    if let Err(error) = access(nearest, needed) {
        return Check::fail(name, format!("{}: {error}", nearest.display()), "make it writable for the agent");
    }
    match fs::metadata(nearest) {
        Err(error) => Check::fail(name, format!("{}: {error}", nearest.display()), "check the path"),
        Ok(found) if !found.is_dir() => {
            Check::fail(name, format!("{} is not a directory", nearest.display()), "move the file away")
        }
        Ok(_) if nearest != path => Check::pass(name, format!("{shown} will be made")),
        Ok(found) if found.mode() & 0o077 != 0 => Check::fail(
            name,
            format!("{shown} is open to others (mode {:04o})", found.mode() & 0o7777),
            format!("chmod 0700 {shown}"),
        ),
        Ok(_) => Check::pass(name, shown.to_string()),
    }
}

/// Room for the log: when it cannot be written, calls are refused.
pub(super) fn space(dir: &Path) -> Check {
    const NAME: &str = "disk space";
    const FIX: &str = "free some space, or move `audit.dir`";
    let stat = match statvfs(existing(dir)) {
        Ok(stat) => stat,
        Err(error) => return Check::fail(NAME, format!("{}: {error}", dir.display()), "check the path"),
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let detail = format!("{} MiB free for {}", free >> 20, dir.display());
    match free {
        ..SPACE_FAIL => Check::fail(NAME, detail, FIX),
        SPACE_FAIL..SPACE_WARN => Check::warn(NAME, detail, FIX),
        _ => Check::pass(NAME, detail),
    }
}

/// The path itself, or the nearest directory above it that exists.
pub(super) fn existing(path: &Path) -> &Path {
    path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, path::PathBuf};

    use super::{super::State, *};

    fn with_mode(path: PathBuf, mode: u32) -> PathBuf {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("own file");
        path
    }

    #[test]
    fn directories_must_be_private() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = with_mode(dir.path().to_owned(), 0o700);
        assert_eq!(directory("d", &path).state, State::Pass);
        assert_eq!(directory("d", &path.join("new/deep")).state, State::Pass);
        let open = directory("d", &with_mode(path.clone(), 0o755));
        assert_eq!(open.state, State::Fail);
        assert_eq!(open.fix, Some(format!("chmod 0700 {}", path.display())));
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        fs::write(&file, "").expect("written");
        let file = with_mode(file, 0o700);
        assert_eq!(directory("d", &file).detail, format!("{} is not a directory", file.display()));
    }

    #[test]
    fn a_configuration_others_can_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("weir.toml");
        fs::write(&file, "").expect("written");
        assert_eq!(config(&with_mode(file.clone(), 0o644)).state, State::Pass);
        assert_eq!(config(&with_mode(file, 0o664)).state, State::Fail);
    }

    #[test]
    fn space_is_looked_up_where_the_log_will_be() {
        let dir = tempfile::tempdir().expect("a directory");
        let check = space(&dir.path().join("not/yet"));
        assert!(check.detail.contains("MiB free"), "{}", check.detail);
    }
}
