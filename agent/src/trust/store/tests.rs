//! On throw-away trees. The Debian one is made of this machine's own tools, which are run in it by `chroot`; Red Hat's tool
//! is not packaged for Debian, so a script in its place does what it does with anchors.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
};

use tempfile::TempDir;
use weir_certs::pki::TestPki;

use super::*;

/// Copies programs, and the libraries that they are linked with, to the same paths below `tree`.
fn copy_programs(tree: &Path, programs: &[&str]) {
    for dir in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(tree.join("usr").join(dir)).unwrap();
        symlink(Path::new("usr").join(dir), tree.join(dir)).unwrap();
    }
    let mut files = BTreeSet::new();
    for program in programs {
        let found = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter().map(|dir| Path::new(dir).join(program));
        let program = found.clone().find(|path| path.exists()).unwrap_or_else(|| panic!("{program} is not installed"));
        let linked = Command::new("ldd").arg(&program).output().expect("ldd runs");
        let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
        files.extend(linked.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from));
        files.insert(program);
    }
    for file in files {
        let copy = tree.join(file.strip_prefix("/").unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(&file, &copy).unwrap();
    }
}

fn debian_tree() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    copy_programs(
        tree.path(),
        &[
            "update-ca-certificates",
            "sh",
            "sed",
            "find",
            "readlink",
            "mktemp",
            "ln",
            "rm",
            "cat",
            "mv",
            "chmod",
            "basename",
            "wc",
            "sort",
            "openssl",
            "test",
            "run-parts",
        ],
    );
    for dir in ["tmp", "dev", "etc/ssl/certs", "usr/share/ca-certificates", "usr/local/share/ca-certificates"] {
        fs::create_dir_all(tree.path().join(dir)).unwrap();
    }
    fs::write(tree.path().join("dev/null"), "").unwrap();
    let public = TestPki::new().unwrap();
    fs::write(tree.path().join("usr/share/ca-certificates/public.crt"), public.root_pem()).unwrap();
    fs::write(tree.path().join("etc/ca-certificates.conf"), "public.crt\n").unwrap();
    tree
}

fn red_hat_tree() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    copy_programs(tree.path(), &["sh", "cat", "mkdir"]);
    fs::create_dir_all(tree.path().join("dev")).unwrap();
    let tool = tree.path().join("usr/bin/update-ca-trust");
    let script = "#!/bin/sh -e\n[ \"$1\" = extract ]\ncd /etc/pki/ca-trust\nmkdir -p extracted/pem\n\
                  cat source/anchors/* > extracted/pem/tls-ca-bundle.pem\n";
    fs::write(&tool, script).unwrap();
    fs::set_permissions(&tool, Permissions::from_mode(0o755)).unwrap();
    let anchors = tree.path().join("etc/pki/ca-trust/source/anchors");
    fs::create_dir_all(&anchors).unwrap();
    fs::write(anchors.join("public.pem"), TestPki::new().unwrap().root_pem()).unwrap();
    tree
}

fn certificates(bundle: &Path) -> usize {
    CertificateDer::pem_file_iter(bundle).unwrap().flatten().count()
}

fn comes_and_goes(tree: &TempDir, layout: Layout) {
    let store = Store::detect(tree.path()).unwrap();
    assert_eq!(store.layout(), layout);
    let root = TestPki::new().unwrap().root().clone();

    assert!(!store.is_trusted(&root).unwrap());
    assert_eq!(store.install(&root).unwrap(), Change::Made);
    assert!(store.is_trusted(&root).unwrap());
    assert_eq!(certificates(&store.bundle()), 2, "the public root is no longer there");
    assert_eq!(fs::metadata(store.anchor()).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(store.install(&root).unwrap(), Change::None);

    let next = TestPki::new().unwrap().root().clone();
    assert_eq!(store.install(&next).unwrap(), Change::Made);
    assert!(store.is_trusted(&next).unwrap() && !store.is_trusted(&root).unwrap());

    assert_eq!(store.uninstall(&next).unwrap(), Change::Made);
    assert!(!store.is_trusted(&next).unwrap());
    assert_eq!(certificates(&store.bundle()), 1);
    assert_eq!(store.uninstall(&next).unwrap(), Change::None);
}

#[test]
fn debian_trusts_the_root_and_forgets_it() {
    comes_and_goes(&debian_tree(), Layout::Debian);
}

#[test]
fn debian_links_follow_the_root() {
    let tree = debian_tree();
    let store = Store::detect(tree.path()).unwrap();
    let links = || -> BTreeSet<PathBuf> {
        let entries = fs::read_dir(tree.path().join("etc/ssl/certs")).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("weir"))).collect()
    };
    let (root, next) = (TestPki::new().unwrap().root().clone(), TestPki::new().unwrap().root().clone());
    store.install(&root).unwrap();
    let first = links();
    assert_eq!(first.len(), 2, "not a name and a hash: {first:?}");
    store.install(&next).unwrap();
    assert_eq!(links().len(), 2);
    assert_ne!(links(), first, "the hash is still the first root's");
    store.uninstall(&next).unwrap();
    assert!(links().is_empty());
}

#[test]
fn red_hat_trusts_the_root_and_forgets_it() {
    comes_and_goes(&red_hat_tree(), Layout::RedHat);
}

#[test]
fn a_bundle_that_was_made_without_the_root_is_made_again() {
    let tree = red_hat_tree();
    let store = Store::detect(tree.path()).unwrap();
    let root = TestPki::new().unwrap().root().clone();
    store.install(&root).unwrap();
    fs::write(store.bundle(), TestPki::new().unwrap().root_pem()).unwrap();
    assert!(!store.is_trusted(&root).unwrap());
    assert_eq!(store.install(&root).unwrap(), Change::Made);
    assert!(store.is_trusted(&root).unwrap());
}

#[test]
fn a_tool_that_fails_or_does_nothing_is_reported() {
    let tree = red_hat_tree();
    let store = Store::detect(tree.path()).unwrap();
    let root = TestPki::new().unwrap().root().clone();
    let tool = tree.path().join("usr/bin/update-ca-trust");
    fs::write(&tool, "#!/bin/sh\necho broken store >&2\nexit 3\n").unwrap();
    let error = store.install(&root).unwrap_err().to_string();
    assert!(error.contains("update-ca-trust") && error.contains("broken store"), "{error}");
    fs::write(&tool, "#!/bin/sh\n").unwrap();
    let error = store.install(&root).unwrap_err().to_string();
    assert!(error.contains("does not hold the root"), "{error}");
}

#[test]
fn a_tree_without_a_store_is_refused_with_the_fix() {
    let tree = tempfile::tempdir().unwrap();
    let error = Store::detect(tree.path()).unwrap_err().to_string();
    assert!(error.contains("install the distribution's `ca-certificates` package"), "{error}");
}
