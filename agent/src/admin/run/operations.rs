//! What the running agent does for the admin socket.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{catalog, policies, watchdog::Health};
use crate::{
    admin::{
        detach::{login_uid, record_and_detach},
        protocol::{
            self, CaStatus, Catalog, CatalogAccepted, CatalogAsk, CatalogEntries, CheckStatus, Detached, DnsStatus,
            EndpointStatus, FlowsStatus, ListenerStatus, LogStatus, Status, UnregisteredStatus,
        },
        server::{Operations, Peer},
    },
    audit::{
        checkpoint::{CheckpointerStatus, Progress},
        event::Requester,
        log::Log,
        ship::Shipper,
    },
    config::{Config, OnFull, TcpScope},
    datapath::{Datapath, DnsCounts, EndpointCounts, EndpointIndex},
    guard::definitions::Definitions,
    policy::{Live, live::Reloaded},
    proxy::{Addresses, Namespaces, NamespacesStatus, Proxy, ShadowStatus},
    tls::Minter,
};

/// The agent as the admin socket sees it.
pub(super) struct Running {
    pub(super) config: Arc<Config>,
    pub(super) proxy: Proxy,
    pub(super) datapath: Datapath,
    pub(super) log: Log,
    pub(super) checkpoints: Progress,
    pub(super) shipper: Arc<Shipper>,
    pub(super) namespaces: Namespaces,
    pub(super) minter: Arc<Minter>,
    pub(super) policies: Arc<Live>,
    pub(super) definitions: Arc<Definitions>,
    pub(super) health: Health,
    pub(super) started: Instant,
}

impl Running {
    fn endpoints(&self) -> Vec<EndpointStatus> {
        let of = |(n, endpoint): (usize, &crate::config::Endpoint)| {
            let counts = EndpointIndex::of_endpoint(n).map(|index| self.datapath.counts(index));
            let EndpointCounts { redirected, denied, guarded, failed_open, .. } = match counts {
                Some(Ok(counts)) => counts,
                _ => EndpointCounts::default(),
            };
            let (calls, refused) = self.proxy.calls_of(&endpoint.name);
            let Addresses { all, known, answered, listed } = self.proxy.addresses_of(&endpoint.name);
            EndpointStatus {
                name: endpoint.name.clone(),
                addresses: all.into_iter().collect(),
                known: known as u64,
                answered: answered as u64,
                listed: listed as u64,
                redirected,
                denied,
                guarded,
                failed_open,
                calls,
                refused,
            }
        };
        self.config.endpoints.iter().enumerate().map(of).collect()
    }

    fn unregistered(&self, shadow: ShadowStatus) -> Option<UnregisteredStatus> {
        if self.config.intercept.tcp != TcpScope::All {
            return None;
        }
        let counts = self.datapath.counts(EndpointIndex::UNREGISTERED).unwrap_or_default();
        let EndpointCounts { redirected, denied, guarded, .. } = counts;
        let ShadowStatus { mcp: shadow_mcp, likely: likely_mcp, unreported } = shadow;
        Some(UnregisteredStatus { redirected, denied, guarded, shadow_mcp, likely_mcp, unreported })
    }

    fn namespaces(&self, status: &NamespacesStatus) -> protocol::NamespacesStatus {
        let &NamespacesStatus {
            listeners: _,
            serving,
            opened,
            closed,
            refused,
            vanished,
            failed,
            lost,
            last_ready,
            slowest_ready,
        } = status;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        protocol::NamespacesStatus {
            serving,
            limit: self.config.limits.namespaces as u64,
            opened,
            closed,
            refused,
            vanished,
            failed,
            lost,
            last_ready_us: micros(last_ready),
            slowest_ready_us: micros(slowest_ready),
            denied: self.datapath.denials().map(|denials| denials.no_listener).unwrap_or_default(),
        }
    }

    fn dns(&self) -> DnsStatus {
        let DnsCounts { believed, stranger, no_room, unread, refused } = self.proxy.dns_counts();
        DnsStatus { believed, stranger, no_room, unread, refused }
    }

    /// Whether the log's head is signed as often as was promised.
    fn signing(&self) -> CheckStatus {
        let CheckpointerStatus { covered, failure, since, .. } = self.checkpoints.status();
        let detail = match (&failure, covered) {
            (Some(failure), _) => failure.clone(),
            (None, Some(covered)) => format!("a checkpoint covers record {covered}"),
            (None, None) => "no checkpoint yet".to_owned(),
        };
        CheckStatus {
            name: "signing".to_owned(),
            ok: failure.is_none(),
            since: since.unwrap_or_else(Timestamp::now),
            detail,
        }
    }

    /// Whether what is recorded can leave, where that takes a sync of its own.
    fn syncing(&self) -> Option<CheckStatus> {
        let unsynced = self.log.status().unsynced?;
        let detail = format!("records are kept, but wait to be shipped: {}", unsynced.error);
        Some(CheckStatus { name: "syncing".to_owned(), ok: false, since: unsynced.since, detail })
    }

    /// What a full log means, in words.
    fn full(&self) -> Option<String> {
        match self.config.audit.on_full {
            OnFull::Refuse => Some(format!("audit.max_bytes is reached, and {}", self.log.full()?)),
            OnFull::Metadata => None,
        }
    }

    fn ca(&self) -> Option<CaStatus> {
        let intermediate = self.minter.intermediate();
        let facts = intermediate.facts();
        Some(CaStatus { subject: facts.subject.clone(), not_after: Timestamp::try_from(facts.not_after).ok()? })
    }
}

fn requester(Peer { uid, gid: _, pid }: Peer) -> Requester {
    Requester { uid, pid, login_uid: pid.and_then(login_uid) }
}

impl Operations for Running {
    async fn status(&self) -> Status {
        let log = self.log.status();
        let proxy = self.proxy.status();
        let mut namespaces = self.namespaces.status();
        let listeners = std::mem::take(&mut namespaces.listeners);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            log: LogStatus {
                id: log.log.as_str().to_owned(),
                epoch: log.epoch,
                seq: (log.appended > 0).then_some(log.last_seq),
                failure: log.failing.map(|failing| failing.error).or_else(|| self.full()),
            },
            sinks: self.shipper.status(),
            flows: FlowsStatus {
                open: proxy.flows_open,
                limit: self.config.limits.flows as u64,
                over_limit: proxy.flows_over_limit,
            },
            endpoints: self.endpoints(),
            dns: self.dns(),
            unregistered: self.unregistered(proxy.shadow),
            namespaces: self.namespaces(&namespaces),
            listeners: listeners
                .into_iter()
                .map(|(netns, address)| ListenerStatus { netns: netns.0, address })
                .collect(),
            reconciliation: self.proxy.tally().await.ok(),
            ca: self.ca(),
            policies: self.policies.status(),
            checks: self.health.checks().into_iter().chain([self.signing()]).chain(self.syncing()).collect(),
        }
    }

    async fn reload_policies(&self) -> Result<protocol::Reloaded, String> {
        match policies::reload(&self.policies, &self.log, true).await {
            Reloaded::Refused { version, why } => Err(format!("version {version} stays in force:\n{why}")),
            reloaded => Ok(protocol::Reloaded {
                changed: matches!(reloaded, Reloaded::Changed { .. }),
                policies: self.policies.status(),
            }),
        }
    }

    async fn catalog(&self) -> Catalog {
        catalog::list(&self.definitions)
    }

    async fn catalog_entries(&self, asked: CatalogAsk) -> Result<CatalogEntries, String> {
        catalog::entries(&self.definitions, &asked)
    }

    async fn accept_definitions(&self, asked: CatalogAsk, by: Peer) -> Result<CatalogAccepted, String> {
        catalog::accept(&self.definitions, &self.log, &asked, requester(by)).await
    }

    async fn detach(&self, by: Peer) -> Result<Detached, String> {
        let by = requester(by);
        // Or the watchdog would attach again what is detached.
        self.health.hands_off(true);
        let detached = record_and_detach(&self.log, &self.config.intercept.bpffs, by).await;
        match detached {
            Ok(_) => self.health.detached(),
            Err(_) => self.health.hands_off(false),
        }
        detached
    }
}
