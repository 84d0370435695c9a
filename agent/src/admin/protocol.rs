//! What passes over the admin socket: HTTP/1.1 with JSON bodies.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `POST /v1/detach` | [`Detached`], once the kernel side is gone |
//! | `POST /v1/policy/reload` | [`Reloaded`] |
//! | `GET /v1/catalog` | [`Catalog`] |
//! | `POST /v1/catalog/entries` with a [`CatalogAsk`] | [`CatalogEntries`] |
//! | `POST /v1/catalog/accept` with a [`CatalogAsk`] | [`CatalogAccepted`], once it is recorded and counts |
//!
//! Anything but 200 carries a [`Refused`].

mod catalog;

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::catalog::{Catalog, CatalogAccepted, CatalogAsk, CatalogEndpoint, CatalogEntries, CatalogEntry};
use crate::audit::event::Reconciliation;
pub use crate::{audit::ship::SinkStatus, policy::live::LiveStatus};

/// Path of the request for [`Status`].
pub(super) const STATUS: &str = "/v1/status";
/// Path of the request to detach.
pub(super) const DETACH: &str = "/v1/detach";
/// Path of the request to read the policies again.
pub(super) const RELOAD: &str = "/v1/policy/reload";
/// Path of the request for [`Catalog`].
pub(super) const CATALOG: &str = "/v1/catalog";
/// Path of the request for [`CatalogEntries`].
pub(super) const CATALOG_ENTRIES: &str = "/v1/catalog/entries";
/// Path of the request to accept definitions.
pub(super) const CATALOG_ACCEPT: &str = "/v1/catalog/accept";

/// How the running agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process id, as it sees it.
    pub pid: u32,
    /// How long it has run, in milliseconds.
    pub uptime_ms: u64,
    /// The audit log.
    pub log: LogStatus,
    /// Where its records go.
    #[serde(default)]
    pub sinks: Vec<SinkStatus>,
    /// Intercepted connections.
    pub flows: FlowsStatus,
    /// In the order of the configuration.
    pub endpoints: Vec<EndpointStatus>,
    /// Questions and answers about registered names, as the kernel saw them.
    pub dns: DnsStatus,
    /// What is no endpoint's; absent unless every TCP connection is taken.
    pub unregistered: Option<UnregisteredStatus>,
    /// Network namespaces with a process in scope.
    pub namespaces: NamespacesStatus,
    /// At most two in each network namespace: IPv4 and IPv6.
    pub listeners: Vec<ListenerStatus>,
    /// The connections that the kernel counted, by endpoint and workload, beside their records; absent when it cannot be asked.
    /// Since the kernel's counters began, at the first start after a boot or a detach, but for `flows_closed`.
    pub reconciliation: Option<Reconciliation>,
    /// The intermediate that signs leaves; absent when there is none.
    pub ca: Option<CaStatus>,
    /// The policies in force.
    #[serde(default)]
    pub policies: LiveStatus,
    /// What the watchdog looks at (links, maps, a canary), and whether checkpoints are signed.
    pub checks: Vec<CheckStatus>,
}

/// One thing that should be so at any time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// `links`, `maps`, `canary` or `signing`.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// Since when.
    pub since: Timestamp,
    /// What was found last, in words.
    pub detail: String,
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Its id.
    pub id: String,
    /// Which start of the agent this is.
    pub epoch: u64,
    /// The last durable record's number; absent while there is none.
    pub seq: Option<u64>,
    /// Why it takes no records, and every call is therefore refused; absent while it is healthy.
    pub failure: Option<String>,
}

/// Intercepted connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsStatus {
    /// Open now.
    pub open: u64,
    /// Most at once (`limits.flows`).
    pub limit: u64,
    /// Closed on arrival because of the limit, or because their workload had half of it, since the start.
    pub over_limit: u64,
}

/// One registered endpoint. The kernel's counts go on across agents; calls are since this one's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// Its name.
    pub name: String,
    /// Addresses that the kernel knows for it.
    pub addresses: Vec<IpAddr>,
    /// How many of them the agent resolved itself, or read in the host's hosts file.
    pub known: u64,
    /// How many are from answers that applications got, each namespace's for itself.
    pub answered: u64,
    /// How many are from the hosts files of containers, each namespace's for itself.
    pub listed: u64,
    /// Connections that the kernel redirected.
    pub redirected: u64,
    /// Connections and datagrams that the kernel denied.
    pub denied: u64,
    /// Packets that the kernel stopped on their way out.
    pub guarded: u64,
    /// Let through by the kernel because no agent was alive (`on_failure = "open"`).
    pub failed_open: u64,
    /// Calls judged.
    pub calls: u64,
    /// Calls refused, of these.
    pub refused: u64,
}

/// Questions and answers about registered names, as the kernel saw them. Counts are since its side was attached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsStatus {
    /// Answers that addresses were learnt from, or that had none.
    pub believed: u64,
    /// Answers from servers that the namespace is not configured with: passed on, and not believed.
    pub stranger: u64,
    /// Answers dropped for want of room, or quota, for their addresses.
    pub no_room: u64,
    /// Answers dropped because they could not be read to their end.
    pub unread: u64,
    /// Questions refused because they could not be remembered.
    pub refused: u64,
}

/// Destinations that are no endpoint's, with `tcp = "all"`. Counts of the kernel go on across agents that take over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnregisteredStatus {
    /// Connections that the kernel redirected.
    pub redirected: u64,
    /// Connections, and datagrams of QUIC, that the kernel denied.
    pub denied: u64,
    /// Packets that the kernel stopped on their way out.
    pub guarded: u64,
    /// Flows on which MCP was seen in clear text, since the agent's start.
    pub shadow_mcp: u64,
    /// Flows to names that look like an MCP server's, since the agent's start.
    pub likely_mcp: u64,
    /// Of both, those without a report of their own, because one workload had too many destinations.
    pub unreported: u64,
}

/// Network namespaces with a process in scope. Counts are since the agent's start, unless they say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespacesStatus {
    /// Served now.
    pub serving: u64,
    /// Most at once (`limits.namespaces`).
    pub limit: u64,
    /// Opened.
    pub opened: u64,
    /// Closed again, when the last process in scope had gone.
    pub closed: u64,
    /// Turned away because of the limit, each as often as it was noticed.
    pub refused: u64,
    /// Announced by the kernel, and nobody left in there by then.
    pub vanished: u64,
    /// Times that listeners could not be opened.
    pub failed: u64,
    /// Announcements that the kernel had no room for. A census finds what they would have told.
    pub lost: u64,
    /// From the kernel's announcement to a namespace that is served, in microseconds: the last one.
    pub last_ready_us: u64,
    /// The slowest one.
    pub slowest_ready_us: u64,
    /// Connections denied because their namespace was not served, or not yet, since the kernel's side was attached.
    pub denied: u64,
}

/// A listener in a network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// The namespace's cookie.
    pub netns: u64,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The intermediate that signs leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaStatus {
    /// Its subject.
    pub subject: String,
    /// When it ends.
    pub not_after: Timestamp,
}

/// The kernel side was removed: from now on nothing is intercepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detached {
    /// The record that says so.
    pub seq: u64,
}

/// The policies were read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Whether others are in force now.
    pub changed: bool,
    /// The policies in force.
    pub policies: LiveStatus,
}

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// In words.
    pub error: String,
}
