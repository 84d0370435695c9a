//! What the agent is put together from, as the configuration says.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use weir_certs::Host as CertHost;

use super::failed;
use crate::{
    admin::Failure,
    audit::{
        chain::LogId,
        objects::Shelf,
        payload::{DigestKey, Longer, Payloads},
    },
    config::{self, Config, Oversized},
    datapath::{CgroupPath, CgroupTree},
    guard::definitions::{Definitions, Lost},
    identity::Workloads,
    tls::{Upstream, Upstreams},
    trust::Authority,
};

/// The names and addresses that the intermediate may sign for.
pub(super) fn certificate_hosts(config: &Config) -> Result<Vec<CertHost>, Failure> {
    let patterns = config.endpoints.iter().flat_map(|endpoint| &endpoint.hosts);
    patterns.map(|host| host.parse().map_err(failed)).collect()
}

/// What verifies servers: by the system's roots, and by each endpoint's own.
pub(super) fn verifiers(
    config: &Config,
    authority: &Authority,
) -> Result<(Upstream, HashMap<String, Upstream>), Failure> {
    let upstreams =
        Upstreams::load(std::slice::from_ref(authority.root()), &config.tls.upstream_roots).map_err(failed)?;
    let system = upstreams.endpoint(None, None).map_err(failed)?;
    let verifier = |endpoint: &config::Endpoint| {
        let ca: Option<&PathBuf> = endpoint.upstream_ca.as_ref();
        let shows = match &endpoint.credentials {
            config::Credentials::Mtls(certificate) => Some(certificate),
            _ => None,
        };
        Ok((endpoint.name.clone(), upstreams.endpoint(ca.map(PathBuf::as_path), shows).map_err(failed)?))
    };
    Ok((system, config.endpoints.iter().map(verifier).collect::<Result<_, Failure>>()?))
}

/// What records keep of payloads.
pub(super) fn payloads(config: &config::Audit, key: DigestKey, log: &LogId) -> Payloads {
    let longer = match (config.oversized, &config.objects) {
        (Oversized::Split, _) => Longer::Split,
        (Oversized::S3, Some(objects)) => Longer::Object(Shelf::of(objects, log)),
        // Validation has seen to it that the last has its table.
        (Oversized::Truncate | Oversized::S3, _) => Longer::Cut,
    };
    Payloads::new(key, config.payload_bytes).keeping(longer)
}

/// What is known of servers' definitions, and where that was damaged.
pub(super) fn definitions(config: &Config) -> Result<(Arc<Definitions>, Vec<Lost>), Failure> {
    let stances = config.endpoints.iter().map(|endpoint| (endpoint.name.as_str(), config.catalogue_of(endpoint)));
    let (known, lost) = Definitions::open(&config.state_dir.join("catalogue"), stances).map_err(failed)?;
    Ok((Arc::new(known), lost))
}

/// From kernel facts to workloads.
pub(super) fn workloads(config: &Config, cgroups: &Arc<CgroupTree>) -> Workloads {
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
