//! Which namespaces hold a process in scope.

use std::process::{self, Stdio};

use weir::datapath::{Netns, NetnsId, Scope};
use weir_tests::world::Running;

use crate::scene::{Scene, eventually};

/// A process alone in a namespace of its own.
fn alone(scene: &Scene, cgroup: &str) -> (Running, NetnsId) {
    let mut command = scene.world.command(cgroup, "unshare");
    let process = Running(command.args(["--net", "sleep", "3600"]).stdin(Stdio::null()).spawn().unwrap());
    let own = Netns::current().unwrap().id();
    let netns = eventually(|| NetnsId::of_process(process.0.id()).ok().filter(|netns| *netns != own));
    (process, netns)
}

#[test]
fn a_census_sees_the_scope_and_nothing_else() {
    let scene = Scene::new("census");
    let [(_a, inside), (_b, excluded), (_c, inside_again), (_d, outside)] =
        ["/app/deep/er", "/app/out", "/app/out/in/er", "/other"].map(|cgroup| alone(&scene, cgroup));
    let ids = |paths: &[&str]| paths.iter().map(|path| scene.cgroup(path)).collect::<Vec<_>>();
    let scope = Scope { include: ids(&["/app", "/app/out/in"]), exclude: ids(&["/app/out"]) };
    let census = scene.cgroups.census(&scope).unwrap();
    // This test's process is in scope too, by its first thread, which is in another namespace than this one.
    let own = NetnsId::of_process(process::id()).unwrap();
    for expected in [own, inside, inside_again] {
        let member = census.get(&expected).expect("it holds a process in scope");
        assert_eq!(NetnsId::of_process(member.pid).unwrap(), expected, "the process vouches for it");
    }
    assert_eq!(census[&inside_again].cgroup, scene.cgroup("/app/out/in/er"));
    assert!(!census.contains_key(&excluded) && !census.contains_key(&outside));
    assert_eq!(census.len(), 3);

    let both = Scope { include: ids(&["/app"]), exclude: ids(&["/app"]) };
    assert!(scene.cgroups.census(&both).unwrap().is_empty(), "what is named both ways is excluded");
}
