//! Spans and metrics while the agent runs.

use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{failed, numbers::Numbers};
use crate::{
    admin::{Failure, metrics::MetricsServer},
    config::Config,
    telemetry::{Service, Telemetry},
};

/// What reports.
pub(super) struct Reporting {
    /// For whoever has something to report.
    pub(super) telemetry: Telemetry,
    server: Option<JoinHandle<()>>,
}

impl Reporting {
    /// Starts what the configuration asks for.
    ///
    /// # Errors
    /// It cannot be had.
    pub(super) fn start(config: &Config) -> Result<Self, Failure> {
        let host = rustix::system::uname();
        let service = Service {
            version: env!("CARGO_PKG_VERSION"),
            instance: &Uuid::now_v7().to_string(),
            host: host.nodename().to_str().unwrap_or_default(),
        };
        let telemetry = Telemetry::start(&config.telemetry, config.admin.metrics.is_some(), service).map_err(failed)?;
        let listen = |address| {
            let server = MetricsServer::bind(address);
            server.map_err(|error| Failure::Failed(format!("cannot listen at {address} (admin.metrics): {error}")))
        };
        let server = config.admin.metrics.map(listen).transpose()?;
        let server = server.map(|server| tokio::spawn(server.serve(telemetry.clone())));
        Ok(Self { telemetry, server })
    }

    /// Has the agent's own numbers reported as well.
    pub(super) fn add(&self, numbers: Numbers) {
        if let Some(meter) = self.telemetry.meter() {
            numbers.register(&meter);
        }
    }

    /// No longer answers Prometheus: the agent stops, or another one answers.
    pub(super) fn withdraw(&self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }

    /// Sends what is left.
    pub(super) async fn stop(self) {
        self.telemetry.stop().await;
    }
}
