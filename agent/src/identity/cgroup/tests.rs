use proptest::prelude::*;

use super::*;

const ID: &str = "3f4e5d6c7b8a99887766554433221100ffeeddccbbaa00112233445566778899";
const OTHER: &str = "00000000000000000000000000000000000000000000000000000000deadbeef";
const UID: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
const UID_: &str = "0a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9";
const STATIC: &str = "d41d8cd98f00b204e9800998ecf8427e";

fn box_(runtime: &'static str) -> Container {
    Container::of_path(ID, runtime)
}
fn pod(runtime: &'static str) -> Owner {
    Owner::Pod { uid: UID.into(), container: Some(box_(runtime)) }
}
fn bare_pod() -> Owner {
    Owner::Pod { uid: UID.into(), container: None }
}
fn container(runtime: &'static str) -> Owner {
    Owner::Container(box_(runtime))
}
fn unit(name: &str) -> Owner {
    Owner::Unit(name.into())
}
fn user(uid: u32, unit: &str) -> Owner {
    Owner::User { uid, unit: Some(unit.into()) }
}

/// `ID`, `OTHER`, `UID`, `UID_` and `STATIC` in a path stand for the constants.
fn path(template: &str) -> String {
    template
        .split('/')
        .map(|part| {
            let part = part.replace("<id>", ID).replace("<other>", OTHER);
            part.replace("<uid>", UID).replace("<uid_>", UID_).replace("<static>", STATIC)
        })
        .collect::<Vec<_>>()
        .join("/")
}

/// Paths whose last component ends the reading: whatever is appended belongs to the same owner.
fn complete() -> Vec<(&'static str, Owner)> {
    vec![
        // Kubernetes, systemd driver.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid_>.slice/cri-containerd-<id>.scope",
            pod("containerd"),
        ),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod<uid_>.slice/crio-<id>.scope", pod("cri-o")),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid_>.slice/docker-<id>.scope",
            pod("docker"),
        ),
        ("/kubepods.slice/kubepods-pod<uid_>.slice/cri-containerd-<id>.scope", pod("containerd")),
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod<uid_>.slice/cri-containerd-<id>.scope",
            pod("containerd"),
        ),
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod<uid_>.slice/cri-containerd-<id>.scope",
            pod("containerd"),
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<static>.slice/cri-containerd-<id>.scope",
            Owner::Pod { uid: STATIC.into(), container: Some(box_("containerd")) },
        ),
        // Kubernetes, cgroupfs driver.
        ("/kubepods/burstable/pod<uid>/<id>", pod("unknown")),
        ("/kubepods/besteffort/pod<uid>/<id>", pod("unknown")),
        ("/kubepods/pod<uid>/<id>", pod("unknown")),
        ("/kubepods/burstable/pod<uid>/crio-<id>", pod("cri-o")),
        ("/kubelet/kubepods/burstable/pod<uid>/<id>", pod("unknown")),
        // Runtimes by themselves.
        ("/k8s.io/<id>", container("containerd")),
        ("/docker/<id>", container("docker")),
        ("/system.slice/docker-<id>.scope", container("docker")),
        ("/batch.slice/batch-night.slice/docker-<id>.scope", container("docker")),
        ("/system.slice/nerdctl-<id>.scope", container("containerd")),
        ("/system.slice/cri-containerd-<id>.scope", container("containerd")),
        ("/system.slice/crio-<id>.scope", container("cri-o")),
        ("/machine.slice/libpod-<id>.scope", container("podman")),
        ("/libpod_parent/libpod-<id>", container("podman")),
        ("/ecs/<static>/<id>", container("docker")),
        ("/ecs/<uid>/<id>", container("docker")),
        ("/ecstasks.slice/ecstasks-<static>.slice/docker-<id>.scope", container("docker")),
        // systemd.
        ("/init.scope", unit("init.scope")),
        ("/billing.service", unit("billing.service")),
        ("/system.slice/billing.service", unit("billing.service")),
        ("/system.slice/system-getty.slice/getty@tty1.service", unit("getty@tty1.service")),
        (r"/system.slice/system-serial\x2dgetty.slice/serial-getty@ttyS0.service", unit("serial-getty@ttyS0.service")),
        ("/app.slice/billing.service", unit("billing.service")),
        ("/system.slice/run-r1234.scope", unit("run-r1234.scope")),
        ("/system.slice/docker.socket", unit("docker.socket")),
        ("/machine.slice/libpod-conmon-<id>.scope", unit(&path("libpod-conmon-<id>.scope"))),
        ("/machine.slice/systemd-nspawn@build.service", unit("systemd-nspawn@build.service")),
        // Users.
        ("/user.slice/user-1000.slice/session-3.scope", user(1000, "session-3.scope")),
        ("/user.slice/user-1000.slice/user@1000.service", user(1000, "user@1000.service")),
    ]
}

#[test]
fn known_forms() {
    for (template, owner) in complete() {
        assert_eq!(Owner::of(&path(template)), owner, "{template}");
    }
}

#[test]
fn what_is_below_belongs_to_the_owner() {
    let below = [
        "/container",
        "/runtime",
        "/init.scope",
        "/app.slice/app-x.scope",
        "/libpod-payload-<other>",
        "/docker/<other>",
        "/system.slice/docker-<other>.scope",
        "/user.slice/user-0.slice/session-1.scope",
        "/kubepods.slice/kubepods-pod<uid_>.slice/cri-containerd-<other>.scope",
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod<uid_>.slice/cri-containerd-<other>.scope",
    ];
    for (template, owner) in complete() {
        for tail in below {
            assert_eq!(Owner::of(&path(&format!("{template}{tail}"))), owner, "{template}{tail}");
        }
    }
}

#[test]
fn forged_paths_stay_with_whoever_could_create_them() {
    let forged = [
        (
            "/system.slice/evil.service/kubepods.slice/kubepods-pod<uid_>.slice/cri-containerd-<id>.scope",
            unit("evil.service"),
        ),
        (
            "/system.slice/containerd.service/kubepods-burstable-pod<uid_>.slice:cri-containerd:<id>",
            unit("containerd.service"),
        ),
        ("/system.slice/web.service/libpod-payload-<id>", unit("web.service")),
        // A rootless container lives in a tree that its user owns: it is the user's, and the id proves nothing.
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-<id>.scope/container",
            user(1000, "user@1000.service"),
        ),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/docker-<id>.scope", user(1000, "user@1000.service")),
        ("/user.slice/user-1000.slice/kubepods.slice", Owner::User { uid: 1000, unit: None }),
        ("/docker/<id>/kubepods/pod<uid>/<other>", container("docker")),
    ];
    for (template, owner) in forged {
        assert_eq!(Owner::of(&path(template)), owner, "{template}");
    }
}

#[test]
fn a_pod_without_a_container() {
    for template in [
        "/kubepods.slice/kubepods-pod<uid_>.slice",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid_>.slice/crio-conmon-<id>.scope",
        "/kubepods/burstable/pod<uid>",
        "/kubepods/burstable/pod<uid>/crio-conmon-<id>",
    ] {
        assert_eq!(Owner::of(&path(template)), bare_pod(), "{template}");
    }
}

#[test]
fn look_alikes_name_nobody() {
    for template in [
        "",
        "/",
        "/system.slice",
        "/system.slice/evil.slice/x.service",
        "/system.slice/other-evil.slice/x.service",
        "/system-getty.slice/x.service",
        "/.service",
        "/something/docker-<id>.scope",
        "/something/system.slice/x.service",
        "/something/kubepods/pod<uid>/<id>",
        "/docker",
        "/docker/short",
        "/docker/<id>0",
        "/docker/buildkit/<id>",
        "/DOCKER/<id>",
        "/kubepods.slice/cri-containerd-<id>.scope",
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-burstable-pod<uid_>.slice/cri-containerd-<id>.scope",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-pod<uid_>.slice/cri-containerd-<id>.scope",
        "/kubepods.slice/kubepods-pod<uid>x.slice/cri-containerd-<id>.scope",
        "/kubepods/burstable/pod../<id>",
        "/kubepods/podnot-a-uid/<id>",
        "/kubelet.slice/kubepods.slice/kubepods-pod<uid_>.slice",
        "/ecs/task/<id>",
        "/ecs/<static>/<static>",
        "/user.slice",
        "/user.slice/user-.slice/x.scope",
        "/user.slice/user-+5.slice/x.scope",
        "/user.slice/user-root.slice/x.scope",
        "/user.slice/user-4294967296.slice/x.scope",
        "/k8s.io/name",
    ] {
        assert_eq!(Owner::of(&path(template)), Owner::Nobody, "{template}");
    }
}

fn component() -> impl Strategy<Value = String> {
    let telling = prop::sample::select(vec![
        path("docker-<other>.scope"),
        path("cri-containerd-<other>.scope"),
        path("pod<uid>"),
        OTHER.to_owned(),
        "kubepods.slice".to_owned(),
        "kubepods".to_owned(),
        "system.slice".to_owned(),
        "user.slice".to_owned(),
        "user-0.slice".to_owned(),
        "victim.service".to_owned(),
    ]);
    prop_oneof![telling, r"[^/\x00]{1,40}"]
}

proptest! {
    #[test]
    fn nothing_below_changes_the_owner(
        (template, owner) in prop::sample::select(complete()),
        below in prop::collection::vec(component(), 0..6),
    ) {
        let mut forged = path(template);
        for part in below {
            forged.push('/');
            forged.push_str(&part);
        }
        prop_assert_eq!(Owner::of(&forged), owner);
    }

    #[test]
    fn any_text_is_read(text in ".{0,300}") {
        let _ = Owner::of(&text);
    }

    #[test]
    fn a_directory_nobody_knows_hides_what_is_below(
        root in "[a-z]{1,12}",
        (template, _) in prop::sample::select(complete()),
    ) {
        prop_assume!(!["docker", "kubepods", "kubelet", "ecs"].contains(&root.as_str()));
        prop_assert_eq!(Owner::of(&format!("/{root}{}", path(template))), Owner::Nobody);
    }
}
