//! Weir: a host agent that makes every call to an MCP server visible, attributable, governed and signed,
//! without touching the application that makes it.
//!
//! One folder per room. A room imports downward only, in this order:
//!
//! | room | job |
//! |---|---|
//! | [`admin`] | the commands, the admin socket and what they print |
//! | [`proxy`] | drives: one flow from `accept` to the last byte, one call from request to response |
//! | [`audit`], [`guard`], [`policy`], [`credentials`], [`mask`], [`mcp`], [`tls`], [`identity`], [`trust`] | know nothing of the proxy or of each other's insides |
//! | [`telemetry`] | spans and metrics, by OpenTelemetry's conventions |
//! | [`datapath`] | the kernel: eBPF programs and maps, network namespaces, cgroups |
//! | [`config`] | `weir.toml`, typed and validated |
//!
//! `whole_file`, below them all, puts a file in place whole.

pub mod admin;
pub mod audit;
pub mod config;
pub mod credentials;
pub mod datapath;
pub mod guard;
pub mod identity;
pub mod mask;
pub mod mcp;
pub mod policy;
pub mod proxy;
pub mod telemetry;
pub mod tls;
pub mod trust;

mod whole_file;
