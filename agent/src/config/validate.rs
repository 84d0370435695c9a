//! What a well-formed configuration must also mean.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    hash::Hash,
    path::Path,
};

use super::{
    Config, Endpoint, HostPattern, Paths, TcpScope, Unregistered, caller, credentials, guard,
    load::{Findings, Step},
    login, mask, objects, placeholder, policy, ranges, sinks, workloads,
};

/// Longest path of a unix socket: `sun_path` with its final zero byte (unix(7)).
const MAX_SOCKET_PATH: usize = 107;
/// Longest name of an endpoint or a mask.
const MAX_NAME: usize = 64;

/// Checks everything that the file itself can tell.
pub(super) fn meaning(config: &Config, findings: &mut Findings<'_>) {
    directories(config, findings);
    intercept(config, findings);
    endpoints(config, findings);
    mask::meaning(config, findings);
    guard::meaning(config, findings);
    policy::meaning(&config.policy, findings);
    limits(config, findings);
    sinks::meaning(&config.audit, findings);
    objects::meaning(&config.audit, findings);
    admin(config, findings);
    login::meaning(config.login.as_ref(), findings);
    placeholder::meaning(config, findings);
    workloads::meaning(config, findings);
    telemetry(config, findings);
}

/// Checks that the files which the configuration names can be read.
pub(super) fn files(config: &Config, findings: &mut Findings<'_>) {
    let mut check = |path: &Path, place: &[Step<'_>]| {
        if let Err(error) = File::open(path)
            .and_then(|file| file.metadata())
            .and_then(|meta| if meta.is_file() { Ok(()) } else { Err(std::io::Error::other("not a regular file")) })
        {
            findings.add(place, format!("cannot read {}: {error}", path.display()), "name a readable PEM file");
        }
    };
    for (i, endpoint) in config.endpoints.iter().enumerate() {
        if let Some(path) = &endpoint.upstream_ca {
            check(path, &["endpoint".into(), i.into(), "upstream_ca".into()]);
        }
        if let Some(path) = endpoint.caller.as_ref().and_then(|rule| rule.ca.as_ref()) {
            check(path, &["endpoint".into(), i.into(), "caller".into(), "ca".into()]);
        }
    }
    for (i, path) in config.tls.upstream_roots.iter().enumerate() {
        check(path, &["tls".into(), "upstream_roots".into(), i.into()]);
    }
    for (i, endpoint) in config.endpoints.iter().enumerate() {
        credentials::files(i, &endpoint.credentials, findings);
    }
}

fn directories(config: &Config, findings: &mut Findings<'_>) {
    absolute(&config.state_dir, &["state_dir".into()], findings);
    absolute(&config.intercept.bpffs, &["intercept".into(), "bpffs".into()], findings);
    if let Some(dir) = &config.audit.dir {
        absolute(dir, &["audit".into(), "dir".into()], findings);
    }
    for (i, path) in config.tls.upstream_roots.iter().enumerate() {
        absolute(path, &["tls".into(), "upstream_roots".into(), i.into()], findings);
    }
}

fn absolute(path: &Path, place: &[Step<'_>], findings: &mut Findings<'_>) {
    if !path.is_absolute() {
        findings.add(place, "a relative path", "the agent has no working directory of yours: begin the path with `/`");
    }
}

fn intercept(config: &Config, findings: &mut Findings<'_>) {
    let intercept = &config.intercept;
    let place = |key| ["intercept".into(), Step::Key(key)];
    cgroup(&intercept.base, &place("base"), findings);
    for (key, paths) in [("cgroups", &intercept.cgroups), ("exclude", &intercept.exclude)] {
        for (i, path) in paths.iter().enumerate() {
            cgroup(path, &["intercept".into(), key.into(), i.into()], findings);
        }
    }
    if intercept.cgroups.is_empty() {
        findings.add(&place("cgroups"), "no cgroup is in scope", "name at least one, or leave the key out for all");
    }
    for (i, path) in intercept.exclude.iter().enumerate() {
        if intercept.cgroups.contains(path) {
            let place = ["intercept".into(), "exclude".into(), i.into()];
            findings.add(&place, format!("`{path}` is both in `cgroups` and in `exclude`"), "keep one of them");
        }
    }
    if intercept.unregistered != Unregistered::Allow && intercept.tcp != TcpScope::All {
        let message = "connections that are no endpoint's are not taken, so they cannot be denied";
        findings.add(&place("unregistered"), message, "add `tcp = \"all\"`, or leave the key out");
    }
}

fn cgroup(path: &str, place: &[Step<'_>], findings: &mut Findings<'_>) {
    let below = path.strip_prefix('/');
    let is_normal = below.is_some_and(|below| {
        below.is_empty() || below.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
    });
    if !is_normal {
        let hint = "begin with `/`, without `//`, `.`, `..` or a `/` at the end, as in `/system.slice`";
        findings.add(place, format!("`{}` is not a cgroup's path", path.escape_debug()), hint);
    }
}

fn endpoints(config: &Config, findings: &mut Findings<'_>) {
    let mut names = HashMap::new();
    let mut claims = HashMap::new();
    for (i, endpoint) in config.endpoints.iter().enumerate() {
        let place = |key| ["endpoint".into(), i.into(), Step::Key(key)];
        name(&endpoint.name, &place("name"), findings);
        if let Some(first) = names.insert(&endpoint.name, i) {
            let message = format!("`{}` is already the name of endpoint {}", endpoint.name, first + 1);
            findings.add(&place("name"), message, "give each endpoint its own name");
        }
        hosts(i, endpoint, &mut claims, findings);
        ports(i, endpoint, findings);
        for (j, path) in endpoint.paths.iter().enumerate() {
            path_prefix(path, &["endpoint".into(), i.into(), "paths".into(), j.into()], findings);
        }
        if let Some(path) = &endpoint.upstream_ca {
            absolute(path, &place("upstream_ca"), findings);
        }
        caller::meaning(i, endpoint, findings);
        credentials::meaning(i, endpoint, findings);
    }
}

/// Which endpoint registered a host and port.
type Claims<'c> = HashMap<(HostPattern, u16), (usize, &'c str)>;

fn hosts<'c>(i: usize, endpoint: &'c Endpoint, claims: &mut Claims<'c>, findings: &mut Findings<'_>) {
    if endpoint.hosts.is_empty() {
        let place = ["endpoint".into(), i.into(), "hosts".into()];
        findings.add(&place, "an endpoint without a host", "name at least one, as in `hosts = [\"mcp.example.com\"]`");
    }
    let mut own = HashSet::new();
    for (j, host) in endpoint.hosts.iter().enumerate() {
        let place = ["endpoint".into(), i.into(), "hosts".into(), j.into()];
        let pattern: HostPattern = match host.parse() {
            Ok(pattern) => pattern,
            Err(error) => {
                findings.add(&place, error.to_string(), error.hint());
                continue;
            }
        };
        if !own.insert(pattern.clone()) {
            findings.add(&place, format!("`{pattern}` twice in one endpoint"), "keep one of them");
            continue;
        }
        for &port in &endpoint.ports {
            let claimed = claims.insert((pattern.clone(), port), (i, &endpoint.name));
            if let Some((_, other)) = claimed.filter(|(by, _)| *by != i) {
                let message = format!("`{pattern}` port {port} already belongs to endpoint `{other}`");
                findings.add(&place, message, "merge the two, or give them different hosts or ports");
                break;
            }
        }
    }
}

fn ports(i: usize, endpoint: &Endpoint, findings: &mut Findings<'_>) {
    let place = ["endpoint".into(), i.into(), Step::Key("ports")];
    if endpoint.ports.is_empty() {
        findings.add(&place, "an endpoint without a port", "name at least one, or leave the key out for 443");
    }
    for (j, port) in endpoint.ports.iter().enumerate() {
        let place = [place[0], place[1], place[2], j.into()];
        if *port == 0 {
            findings.add(&place, "0 is not a port", "use 1 to 65535");
        } else if endpoint.ports[..j].contains(port) {
            findings.add(&place, format!("port {port} twice"), "keep one of them");
        }
    }
}

fn path_prefix(path: &str, place: &[Step<'_>], findings: &mut Findings<'_>) {
    let hint = "write the path as clients send it, without the query, as in `/mcp`";
    if path.contains(['?', '#']) {
        findings.add(place, format!("`{path}` has a query or a fragment, which prefixes are not compared with"), hint);
    } else if let Err(refusal) = Paths::new([path]) {
        findings.add(place, format!("`{}` cannot be a prefix: {refusal}", path.escape_debug()), hint);
    }
}

pub(super) fn each_once<T: Eq + Hash + std::fmt::Display>(
    items: &[T],
    place: &[Step<'_>; 3],
    findings: &mut Findings<'_>,
) {
    let mut seen = HashSet::new();
    for (j, item) in items.iter().enumerate().filter(|(_, item)| !seen.insert(*item)) {
        findings.add(&[place[0], place[1], place[2], j.into()], format!("`{item}` twice"), "keep one of them");
    }
}

pub(super) fn name(name: &str, place: &[Step<'_>], findings: &mut Findings<'_>) {
    let fits = (1..=MAX_NAME).contains(&name.len());
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !(fits && plain) {
        let hint = format!("use 1 to {MAX_NAME} letters, digits, `.`, `_` and `-`");
        findings.add(place, format!("`{}` cannot be a name", name.escape_debug()), hint);
    }
}

fn limits(config: &Config, findings: &mut Findings<'_>) {
    let tables = [
        (&["audit"][..], ranges::outside(&config.audit)),
        (&["audit", "checkpoint"], ranges::outside(&config.audit.checkpoint)),
        (&["limits"], ranges::outside(&config.limits)),
    ];
    for (table, outside) in tables {
        for ranges::Outside { key, value, min, max } in outside {
            let place: Vec<_> = table.iter().copied().chain([key.as_str()]).map(Step::Key).collect();
            findings.add(&place, format!("{value} is outside the limits of `{key}`"), format!("use {min} to {max}"));
        }
    }
}

fn admin(config: &Config, findings: &mut Findings<'_>) {
    let place = ["admin".into(), Step::Key("listen")];
    let hint = "use a unix socket, as in `unix:/run/weir/admin.sock`";
    match config.admin.socket() {
        Some(path) if path.is_absolute() && path.file_name().is_some() => {
            if path.as_os_str().len() > MAX_SOCKET_PATH {
                let message = format!("a unix socket's path has at most {MAX_SOCKET_PATH} bytes");
                findings.add(&place, message, "use a shorter path");
            }
        }
        _ => findings.add(&place, format!("`{}` cannot be listened on", config.admin.listen.escape_debug()), hint),
    }
    if let Some(metrics) = config.admin.metrics.filter(|metrics| !metrics.ip().is_loopback()) {
        let place = ["admin".into(), Step::Key("metrics")];
        let message = format!("{metrics} can be reached from other hosts, and nobody would be asked who they are");
        findings.add(
            &place,
            message,
            "use an address of the loopback, as in `127.0.0.1:9464`, behind a proxy of yours",
        );
    }
}

fn telemetry(config: &Config, findings: &mut Findings<'_>) {
    let Some(otlp) = &config.telemetry.otlp else { return };
    let place = |key| ["telemetry".into(), "otlp".into(), Step::Key(key)];
    if !matches!(otlp.endpoint.scheme(), "http" | "https") {
        let message = format!("`{}` is neither http nor https", otlp.endpoint);
        findings.add(&place("endpoint"), message, "name an OTLP/HTTP collector, as in `http://127.0.0.1:4318`");
    }
    if !(0.0..=1.0).contains(&otlp.sample) {
        let message = format!("{} is outside the limits of `sample`", otlp.sample);
        findings.add(&place("sample"), message, "use 0 to 1");
    }
    for ranges::Outside { key, value, min, max } in ranges::outside(otlp) {
        let message = format!("{value} is outside the limits of `{key}`");
        findings.add(&["telemetry".into(), "otlp".into(), Step::Key(&key)], message, format!("use {min} to {max}"));
    }
}
