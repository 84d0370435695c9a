//! `weir run`: puts the rooms together, in the order in which they depend on each other, runs until a signal, and takes
//! them apart again.
//!
//! Until the last step of the start nothing is redirected that could not be served; from the first step of the stop on,
//! what would be redirected is denied. The programs stay attached: a stopped agent leaves registered endpoints
//! unreachable, not unwatched. `weir detach` removes them.

mod operations;

use std::{
    collections::HashMap,
    fmt::Display,
    io,
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use weir_certs::Host as CertHost;

use self::operations::Running;
use super::{Context, Ended, Failure, server::AdminSocket};
use crate::{
    audit::{
        event::{Agent, Event, What},
        log::{Log, LogOptions},
        payload::{DigestKey, Payloads},
    },
    config::{self, Config, OnFailure, RawSockets, TcpScope},
    datapath::{AttachOptions, Attached, CgroupPath, CgroupTree, Datapath, Scope, Verbosity},
    identity::Workloads,
    mask::{MaskKey, Masks},
    proxy::{Namespaces, Parts, Proxy},
    tls::{Minter, Upstream, Upstreams},
    trust::Authority,
};

/// Most leaves kept ready.
const LEAVES: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// How often the intermediate's age is looked at.
const RENEWAL_CHECK: Duration = Duration::from_secs(600);

/// Arguments of `weir run`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever keeps it from starting, with what to do.
pub fn execute(_args: &Args, context: &Context) -> Result<Ended, Failure> {
    let config = config::load_with_files(&context.config)?;
    refuse_what_is_not_there(&config)?;
    start_diagnostics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(run(Arc::new(config)))?;
    Ok(Ended::Done)
}

/// What the configuration can say and this version does not do: promising it silently would be worse than refusing.
///
/// # Errors
/// Names the key.
pub fn refuse_what_is_not_there(config: &Config) -> Result<(), Failure> {
    if config.intercept.tcp == TcpScope::All {
        return Err(Failure::Usage("intercept.tcp = \"all\" is not supported yet; use \"registered\"".into()));
    }
    if config.intercept.on_failure == OnFailure::Open {
        return Err(Failure::Usage("intercept.on_failure = \"open\" is not supported yet; use \"closed\"".into()));
    }
    Ok(())
}

fn failed(error: impl Display) -> Failure {
    Failure::Failed(error.to_string())
}

/// Diagnostics go to stderr; `WEIR_LOG` filters them as `RUST_LOG` would.
fn start_diagnostics() {
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let to_terminal = io::IsTerminal::is_terminal(&io::stderr());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(to_terminal);
    // Only fails when one is set already, which keeps its own.
    let _ = subscriber.try_init();
}

async fn run(config: Arc<Config>) -> Result<(), Failure> {
    // Before anything is opened: a signal that comes during the start is an order to stop, not a crash.
    let mut stop_signals = StopSignals::watch().map_err(failed)?;
    let hosts = certificate_hosts(&config)?;
    let authority = Authority::open(&config.state_dir).map_err(failed)?;
    // Read here and erased: from now on the root's key is not needed, and what stays in memory can only sign for the
    // registered hosts.
    let intermediate = authority.issue_intermediate(&hosts).map_err(failed)?;
    let minter = Arc::new(Minter::new(Arc::new(intermediate), LEAVES));

    let digest_key = DigestKey::load_or_create(&config.state_dir.join("digest.key")).map_err(failed)?;
    let mask_key = MaskKey::from_bytes(&digest_key.derive("weir-mask-v1"));
    let config_digest = digest_key.digest(&serde_json::to_vec(&*config).map_err(failed)?);
    let options = LogOptions::from_config(&config).map_err(failed)?;
    let (log, recovery) = Log::open(&options).map_err(failed)?;

    // What can fail without the kernel's help fails before anything is attached: it would stay, and deny.
    let socket = bind_admin(&config).await?;
    let cgroups = Arc::new(CgroupTree::open(&config.intercept.base).map_err(failed)?);
    let Attached { datapath, log: kernel_log, takeover, announcements } = Datapath::attach(&AttachOptions {
        cgroups: &cgroups,
        bpffs: config.intercept.bpffs.clone(),
        take_all: false,
        allow_raw: config.intercept.raw_sockets == RawSockets::Allow,
        verbosity: if tracing::enabled!(tracing::Level::DEBUG) { Verbosity::Flows } else { Verbosity::Denials },
        max_pending: None,
    })
    .map_err(failed)?;
    let registration = datapath.register_agent(&cgroups).map_err(failed)?;
    tokio::spawn(async move {
        let Err(error) = kernel_log.forward().await;
        tracing::warn!(%error, "the eBPF programs' log has ended");
    });

    let started = Agent::Started { version: env!("CARGO_PKG_VERSION"), config_digest, boot_id: options.boot_id };
    log.settle(recovery).await.map_err(failed)?;
    record(&log, started).await?;
    record(&log, Agent::Attached { takeover }).await?;

    let (system_roots, verifiers) = verifiers(&config, &authority)?;
    let proxy = Proxy::new(Parts {
        datapath: datapath.clone(),
        workloads: workloads(&config, &cgroups),
        minter: Arc::clone(&minter),
        system_roots,
        verifiers,
        masks: Masks::compile(&config.masks).map_err(failed)?,
        mask_key,
        payloads: Payloads::new(digest_key, config.audit.payload_bytes),
        log: log.clone(),
        config: Arc::clone(&config),
    })
    .map_err(failed)?;

    let scope = scope(&config, &cgroups)?;
    let namespaces = Namespaces::open(&proxy, cgroups, scope.clone(), announcements).await.map_err(failed)?;
    proxy.start_names().await;
    proxy.start_housekeeping();
    datapath.set_scope(&scope.include, &scope.exclude).map_err(failed)?;
    namespaces.recount();
    namespaces.close_old_connections();

    let running = Arc::new(Running::new(
        Arc::clone(&config),
        proxy.clone(),
        datapath,
        log.clone(),
        namespaces.clone(),
        Arc::clone(&minter),
    ));
    let stop = CancellationToken::new();
    let renewal = tokio::spawn(renew(authority, hosts, Arc::clone(&minter)));
    let admin = tokio::spawn(socket.serve(running, stop.clone()));
    notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(endpoints = config.endpoints.len(), takeover, "ready");

    let reason = stop_signals.next().await;
    notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!(reason, "draining");
    // From here on new connections are denied in the kernel instead of waiting for an accept that never comes.
    namespaces.withdraw();
    proxy.drain(Duration::from_millis(config.limits.drain_ms)).await;
    stop.cancel();
    let _ = admin.await;
    renewal.abort();
    drop(registration);
    record(&log, Agent::Stopped { reason: reason.into() }).await?;
    log.close().await.map_err(failed)
}

async fn record(log: &Log, what: Agent) -> Result<(), Failure> {
    let event = Event { time: Timestamp::now(), what: What::Agent(what) };
    log.append(event).await.map(drop).map_err(failed)
}

/// The names and addresses that the intermediate may sign for.
fn certificate_hosts(config: &Config) -> Result<Vec<CertHost>, Failure> {
    let patterns = config.endpoints.iter().flat_map(|endpoint| &endpoint.hosts);
    patterns.map(|host| host.parse().map_err(failed)).collect()
}

fn verifiers(config: &Config, authority: &Authority) -> Result<(Upstream, HashMap<String, Upstream>), Failure> {
    let upstreams =
        Upstreams::load(std::slice::from_ref(authority.root()), &config.tls.upstream_roots).map_err(failed)?;
    let system = upstreams.endpoint(None).map_err(failed)?;
    let verifier = |endpoint: &config::Endpoint| {
        let ca: Option<&PathBuf> = endpoint.upstream_ca.as_ref();
        Ok((endpoint.name.clone(), upstreams.endpoint(ca.map(PathBuf::as_path)).map_err(failed)?))
    };
    Ok((system, config.endpoints.iter().map(verifier).collect::<Result<_, Failure>>()?))
}

fn workloads(config: &Config, cgroups: &Arc<CgroupTree>) -> Workloads {
    let cgroups = Arc::clone(cgroups);
    Workloads::new(&config.intercept.base, move |id| match cgroups.path_of(id) {
        Ok(Some(CgroupPath::Inside(path))) => Some(path),
        // Outside the base nothing is known of how paths are to be read.
        Ok(Some(CgroupPath::Outside(_)) | None) => None,
        Err(error) => {
            tracing::warn!(%error, cgroup = id.0, "a cgroup's path could not be found");
            None
        }
    })
}

fn scope(config: &Config, cgroups: &CgroupTree) -> Result<Scope, Failure> {
    let ids = |paths: &[String]| {
        let id = |path: &String| {
            cgroups.id_of(path).map_err(|error| {
                Failure::Failed(format!(
                    "{error}; a cgroup in `intercept` must exist when the agent starts, or name its parent"
                ))
            })
        };
        paths.iter().map(id).collect::<Result<Vec<_>, Failure>>()
    };
    Ok(Scope { include: ids(&config.intercept.cgroups)?, exclude: ids(&config.intercept.exclude)? })
}

async fn bind_admin(config: &Config) -> Result<AdminSocket, Failure> {
    let path = config.admin.socket().ok_or_else(|| Failure::Usage("admin.listen is not `unix:<path>`".into()))?;
    let bound = AdminSocket::bind(path, config.admin.group).await;
    bound.map_err(|error| match rustix::process::geteuid().is_root() {
        true => failed(error),
        false => Failure::Failed(format!("{error}; weir run needs root")),
    })
}

/// Has the intermediate replaced when half its life is over, by a process of its own that may read the root's key.
async fn renew(authority: Authority, hosts: Vec<CertHost>, minter: Arc<Minter>) {
    let weir = PathBuf::from("/proc/self/exe");
    loop {
        tokio::time::sleep(RENEWAL_CHECK).await;
        if SystemTime::now() < minter.intermediate().period().half_life() {
            continue;
        }
        match authority.renew(&weir, &hosts).await {
            Ok(renewed) => minter.replace(Arc::new(renewed)),
            Err(error) => tracing::error!(%error, "the intermediate could not be renewed; it is tried again"),
        }
    }
}

/// The signals that end the agent in order.
struct StopSignals {
    term: Signal,
    int: Signal,
}

impl StopSignals {
    /// From here on neither ends the process by itself.
    fn watch() -> io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next, and names it.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}

/// Tells systemd, where it is there to be told.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
