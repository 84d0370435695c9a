//! `weir run`: puts the rooms together, in the order in which they depend on each other, runs until a signal or until another
//! agent takes over ([`handover`]), and takes them apart again.
//!
//! Until the last step of the start nothing is redirected that could not be served; from the first step of the stop on,
//! what would be redirected is denied. The programs stay attached: a stopped agent leaves registered endpoints
//! unreachable, not unwatched. `weir detach` removes them.

mod catalog;
mod ending;
mod numbers;
mod operations;
mod origin;
mod parts;
mod policies;
mod pulse;
mod reporting;
mod scope;
mod sinks;
mod watchdog;

use std::{
    fmt::Display,
    io,
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use weir_certs::Host as CertHost;

pub(super) use self::watchdog::Health;
use self::{
    ending::{Ending, StopSignals},
    numbers::Numbers,
    operations::Running,
    origin::{Begun, Origin},
    parts::{certificate_hosts, definitions, payloads, verifiers, workloads},
    pulse::Pulse,
    reporting::Reporting,
    scope::{Keep, Keeper, Resolved},
    watchdog::Watchdog,
};
use super::{
    Context, Ended, Failure,
    handover::{
        self, Terms,
        offer::{Estate, HandedOver},
    },
    login::{self, server::LoginServer},
    socket::{Mode, SocketFile},
};
use crate::{
    audit::{
        checkpoint::{self, Checkpointer},
        event::{Agent, Event, Life, What},
        log::{AppendError, Log, LogOptions},
        payload::DigestKey,
        ship::Shipper,
    },
    config::{self, Config, LinkLayer, OnFailure, RawSockets, TcpScope},
    credentials::{Credentials, Placeholders},
    datapath::{AttachOptions, Attached, CgroupTree, Datapath, Verbosity},
    identity::{Callers, host_facts},
    mask::{MaskKey, Masks},
    policy,
    proxy::{Namespaces, Parts, Proxy},
    tls::Minter,
    trust::Authority,
};

/// Most leaves kept ready.
const LEAVES: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// How often the intermediate's age is looked at.
const RENEWAL_CHECK: Duration = Duration::from_secs(600);

/// Arguments of `weir run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// After another agent has taken over and everything open has ended, wait for the signal to stop: for supervisors
    /// that start again what ends.
    #[arg(long)]
    stay: bool,
}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever keeps it from starting, with what to do.
pub fn execute(args: &Args, context: &Context) -> Result<Ended, Failure> {
    let config = config::load_with_files(&context.config)?;
    start_diagnostics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(run(Arc::new(config), args.stay))?;
    Ok(Ended::Done)
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

async fn run(config: Arc<Config>, stay: bool) -> Result<(), Failure> {
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
    let placeholder_key = digest_key.derive("weir-placeholder-v1");
    let placeholders =
        config.placeholder.as_ref().map(|placeholder| Arc::new(Placeholders::new(placeholder, &placeholder_key)));
    let config_digest = digest_key.digest(&serde_json::to_vec(&*config).map_err(failed)?);
    let (system_roots, verifiers) = verifiers(&config, &authority)?;
    let credentials = Credentials::new(&config).map_err(failed)?;
    let masks = Masks::compile(&config.masks).map_err(failed)?;
    let policies = Arc::new(policy::Live::load(&config.policy).map_err(failed)?);
    let (definitions, lost) = definitions(&config)?;
    let cgroups = Arc::new(CgroupTree::open(&config.intercept.base).map_err(failed)?);
    let resolved = Resolved::look(&config.intercept, &cgroups).map_err(failed)?;
    let options = LogOptions::from_config(&config).map_err(failed)?;
    let (origin, log) = Origin::find(&config, &options)?;
    let log = log.within(&config.audit);

    // What can fail without the kernel's help fails before anything is attached: it would stay, and deny.
    let mut socket = origin.bind_admin(&config).await?;
    let mut next = SocketFile::bind_aside(&handover::socket_path(&config.state_dir), Mode::Root).map_err(failed)?;
    let instance = match &config.host {
        Some(host) => host_facts(host).await,
        None => None,
    };
    let login_socket = config.login.as_ref().map(login::server::bind).transpose().map_err(failed)?;
    let reporting = Reporting::start(&config)?;
    let Attached { datapath, log: kernel_log, takeover, announcements } = Datapath::attach(&AttachOptions {
        cgroups: &cgroups,
        bpffs: config.intercept.bpffs.clone(),
        take_all: config.intercept.tcp == TcpScope::All,
        allow_raw: config.intercept.raw_sockets == RawSockets::Allow,
        deny_link_layer: config.intercept.link_layer == LinkLayer::Deny,
        verbosity: if tracing::enabled!(tracing::Level::DEBUG) { Verbosity::Flows } else { Verbosity::Denials },
        max_pending: None,
    })
    .map_err(failed)?;
    let registration = datapath.register_agent(&cgroups).map_err(failed)?;
    tokio::spawn(async move {
        let Err(error) = kernel_log.forward().await;
        tracing::warn!(%error, "the eBPF programs' log has ended");
    });

    let workloads = Arc::new(workloads(&config, &cgroups).with_names(&config).map_err(failed)?);
    let callers = Arc::new(Callers::new(&config).map_err(failed)?);
    let proxy = Proxy::new(Parts {
        datapath: datapath.clone(),
        cgroups: Arc::clone(&cgroups),
        boot_id: options.boot_id.clone(),
        workloads: Arc::clone(&workloads),
        callers: Arc::clone(&callers),
        minter: Arc::clone(&minter),
        system_roots,
        verifiers,
        credentials,
        placeholders,
        masks,
        mask_key,
        policies: Arc::clone(&policies),
        definitions: Arc::clone(&definitions),
        payloads: payloads(&config.audit, digest_key, &log.status().log),
        log: log.clone(),
        telemetry: reporting.telemetry.clone(),
        config: Arc::clone(&config),
    })
    .map_err(failed)?;

    let started = Agent::Started {
        version: env!("CARGO_PKG_VERSION"),
        config_digest,
        boot_id: options.boot_id.clone(),
        instance,
    };
    let first = [started, Agent::Attached { takeover }];
    let Begun { namespaces, predecessor } = origin.begin(&log, &options, &proxy, first).await?;
    // Who signed in is known before the first call, and after the other agent's last login.
    let login = config.login.as_ref().zip(login_socket).map(|(login, socket)| {
        let since = (&*config.state_dir, &*options.boot_id);
        LoginServer::new(login, socket, callers, workloads, log.clone(), since)
    });
    catalog::begin(&definitions, &log, lost).await?;
    datapath.set_fail_open(config.intercept.on_failure == OnFailure::Open).map_err(failed)?;
    // Taking over, at once: the other agent has stopped saying that it is alive.
    let begin_pulse = || Pulse::start(datapath.clone(), log.clone()).map_err(failed);
    let early = predecessor.is_some().then(begin_pulse).transpose()?;
    proxy.open_books(registration.alone()).await.map_err(failed)?;
    let checkpoints = checkpoint::Options::from_config(&config, &options.boot_id);
    let checkpointer = Checkpointer::start(log.clone(), checkpoints).await.map_err(failed)?;
    let shipper = Arc::new(Shipper::new(&config, &log));
    shipper.start().map_err(failed)?;
    proxy.begin_names();
    let namespaces = Namespaces::open(&proxy, Arc::clone(&cgroups), resolved.scope.clone(), announcements, namespaces)
        .await
        .map_err(failed)?;
    learn_names(&proxy, predecessor.is_some()).await;
    proxy.start_housekeeping();
    proxy.start_tallies();
    datapath.set_scope(&resolved.scope.include, &resolved.scope.exclude).map_err(failed)?;
    datapath.retire_others().map_err(failed)?;
    let pulse = early.map_or_else(begin_pulse, Ok)?;
    namespaces.recount();
    namespaces.close_old_connections();

    let health = Health::new();
    reporting.add(Numbers {
        config: Arc::clone(&config),
        proxy: proxy.clone(),
        datapath: datapath.clone(),
        log: log.clone(),
        checkpoints: checkpointer.progress(),
        shipper: Arc::clone(&shipper),
        namespaces: namespaces.clone(),
        health: health.clone(),
    });
    let watching =
        policies::Watching::start(&config.policy, Arc::clone(&policies), log.clone()).await.map_err(failed)?;
    let keeper = Keeper::start(Keep {
        intercept: config.intercept.clone(),
        cgroups,
        datapath: datapath.clone(),
        namespaces: namespaces.clone(),
        health: health.clone(),
        log: log.clone(),
        resolved,
    })
    .map_err(failed)?;
    let watchdog = Watchdog::start(health.clone(), datapath.clone(), proxy.clone(), log.clone());
    let running = Arc::new(Running {
        config: Arc::clone(&config),
        proxy: proxy.clone(),
        datapath: datapath.clone(),
        log: log.clone(),
        checkpoints: checkpointer.progress(),
        shipper: Arc::clone(&shipper),
        namespaces: namespaces.clone(),
        minter: Arc::clone(&minter),
        policies: Arc::clone(&policies),
        definitions,
        health: health.clone(),
        started: Instant::now(),
    });
    let stop = CancellationToken::new();
    let renewal = tokio::spawn(renew(authority, hosts, Arc::clone(&minter)));
    origin::put_in_place(&mut socket, &mut next)?;
    let admin = tokio::spawn(socket.serve(running, stop.clone()));
    let signing_in = stop.child_token();
    if let Some(login) = login {
        tokio::spawn(login.serve(signing_in.clone()));
    }
    // The main process follows the work: it is another one after a hand-over.
    notify(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
    tracing::info!(endpoints = config.endpoints.len(), takeover, "ready");

    let estate = Estate {
        terms: Terms::of(&config),
        proxy: proxy.clone(),
        namespaces: namespaces.clone(),
        datapath: datapath.clone(),
        health,
        log: log.clone(),
        log_options: options,
        checkpoints: checkpointer.gate(),
        shipper: Arc::clone(&shipper),
    };
    let ending = stop_signals.or_successor(&next, Arc::new(estate)).await?;
    drop((next, watching, keeper, watchdog, pulse));
    signing_in.cancel();
    reporting.withdraw();
    let patience = Duration::from_millis(config.limits.drain_ms);
    match &ending {
        Ending::Ordered(reason) => {
            notify(&[NotifyState::Stopping]);
            tracing::info!(reason, "draining");
            // From here on new connections are denied in the kernel instead of waiting for an accept that never comes.
            namespaces.withdraw();
            if let Err(error) = datapath.fall_silent() {
                tracing::warn!(%error, "the programs find out by themselves that the agent ends");
            }
            proxy.drain(patience).await;
            // The log says by its last tally how far connections are accounted for.
            if let Err(error) = proxy.close_books().await {
                tracing::error!(%error, "the last connections could not be tallied");
            }
        }
        Ending::Replaced(HandedOver { lost, .. }) => {
            tracing::info!("another agent serves; draining");
            tokio::select! {
                () = proxy.drain_gently(patience) => {}
                () = lost.cancelled() => return Err(failed("the agent that took over has ended: what was open is cut")),
            }
        }
    }
    stop.cancel();
    let _ = admin.await;
    renewal.abort();
    reporting.stop().await;
    drop(registration);
    if let Some(ended) = predecessor {
        // It drains for as long as this one would, and began earlier.
        let _ = tokio::time::timeout(patience, ended).await;
    }
    if let Ending::Ordered(reason) = ending {
        record(&log, Agent::Stopped { reason: reason.into() }).await?;
        checkpointer.finish().await;
        shipper.stop(Duration::from_millis(config.audit.drain_ms)).await;
        return log.close().await.map_err(failed);
    }
    log.close().await.map_err(failed)?;
    if stay {
        stop_signals.next().await;
    }
    Ok(())
}

/// Learns the registered addresses. Those that another agent knew need no answer from a name server.
async fn learn_names(proxy: &Proxy, are_known: bool) {
    let learning = {
        let proxy = proxy.clone();
        tokio::spawn(async move { proxy.start_names().await })
    };
    if !are_known {
        let _ = learning.await;
    }
}

/// Records one event of the agent's life.
pub(super) async fn record_life(log: &Log, life: Life) -> Result<(), AppendError> {
    let event = Event { time: Timestamp::now(), what: What::Agent(Agent::Life(life)) };
    log.append(event).await.map(drop)
}

async fn record(log: &Log, what: Agent) -> Result<(), Failure> {
    let event = Event { time: Timestamp::now(), what: What::Agent(what) };
    log.append(event).await.map(drop).map_err(failed)
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

/// Tells systemd, where it is there to be told.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
