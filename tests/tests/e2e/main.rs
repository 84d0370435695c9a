//! First light, end to end: unmodified clients and servers, the agent as it ships, real eBPF. Needs root; each test has a
//! network, mounts and cgroups of its own.

mod attribution;
mod cancel;
mod clients;
mod compression;
mod container;
mod crash;
mod drain;
mod failures;
mod failures_limits;
mod failures_midway;
mod failures_start;
mod handover;
mod handover_halfway;
mod hostile_h2;
mod hostile_http;
mod hostile_json;
mod hostile_tls;
mod http;
mod legacy;
mod life;
mod names;
mod oauth;
mod refusals;
mod scene;
mod scope;
mod secrets;
mod session;
mod story;
mod streaming;
mod telemetry;
