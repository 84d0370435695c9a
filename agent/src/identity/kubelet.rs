//! Pods by the kubelet's list (`GET /pods`, a v1 `PodList`): names, service account, labels, owner, containers.
//!
//! It needs leave to get `nodes/pods` (Kubernetes' fine-grained kubelet authorization), or `nodes/proxy` before that.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::Deserialize;
use url::Url;

use super::{
    Pod, PodOwner, Workload,
    fetch::{FetchError, Fetcher},
    roster::{Authority, Roster},
};
use crate::config::Kubernetes;

/// Largest list, in bytes.
const LIST_BYTES: usize = 64 << 20;
/// Most labels of a pod that records keep.
const LABELS: usize = 64;

/// Asks the kubelet.
#[derive(Debug)]
pub(super) struct Kubelet(Arc<Roster<Pods>>);

/// Its list.
#[derive(Debug)]
struct Pods {
    url: Url,
    fetcher: Fetcher,
}

/// What is known of a pod.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    pod: Pod,
    /// Name and image, by the runtime's container id.
    containers: HashMap<String, (String, String)>,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the kubelet's answer is no list of pods: {0}")]
    Read(#[from] serde_json::Error),
}

impl Kubelet {
    /// # Errors
    /// When the roots that verify it cannot be read.
    pub(super) fn new(config: &Kubernetes) -> Result<Self, FetchError> {
        let fetcher = Fetcher::new(Some(&config.ca), Some(&config.token_file))?;
        let mut url = config.address();
        url.set_path("/pods");
        Ok(Self(Roster::new(Pods { url, fetcher })))
    }

    /// Adds what it says of a pod and its container.
    pub(super) async fn name(&self, workload: &mut Workload) {
        let Some(pod) = &workload.pod else { return };
        let container = workload.container.as_ref().map(|container| container.id.clone());
        let has_container = |known: &Known| container.as_ref().is_none_or(|id| known.containers.contains_key(id));
        let Some(known) = self.0.find(&pod.uid, has_container).await else { return };
        workload.pod = Some(known.pod.clone());
        let named = container.and_then(|id| known.containers.get(&id));
        if let (Some(container), Some((name, image))) = (&mut workload.container, named) {
            container.name = Some(name.clone());
            container.image = Some(image.clone());
        }
    }

    /// Asks anew, if that is due.
    pub(super) async fn refresh(&self) {
        self.0.refresh().await;
    }
}

impl Authority for Pods {
    const NAME: &'static str = "the kubelet";
    type Known = Known;
    type Error = ListError;

    async fn list(&self) -> Result<Vec<(String, Known)>, ListError> {
        read(&self.fetcher.get(&self.url, LIST_BYTES).await?).map_err(ListError::Read)
    }
}

#[derive(Deserialize)]
struct PodList {
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: String,
    name: String,
    namespace: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    owner_references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    kind: String,
    name: String,
    #[serde(default)]
    controller: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    service_account_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    #[serde(default)]
    image: String,
    #[serde(rename = "containerID", default)]
    container_id: String,
    #[serde(default)]
    last_state: LastState,
}

#[derive(Default, Deserialize)]
struct LastState {
    terminated: Option<Terminated>,
}

#[derive(Deserialize)]
struct Terminated {
    #[serde(rename = "containerID", default)]
    container_id: String,
}

fn read(text: &[u8]) -> serde_json::Result<Vec<(String, Known)>> {
    let list: PodList = serde_json::from_slice(text)?;
    Ok(list.items.into_iter().map(Item::known).collect())
}

impl Item {
    /// By the pod's uid alone, which the API server chose, or for a static pod the kubelet: it lists that by its manifest's
    /// hash, which its cgroup is called by, and leaves its mirror out (`pkg/kubelet/config/common.go` and `pkg/kubelet/pod`).
    /// Annotations that say so too are any user's to write.
    fn known(self) -> (String, Known) {
        let Self { metadata, spec, status } = self;
        let Metadata { uid, name, namespace, labels, owner_references } = metadata;
        let owner = owner_references.into_iter().find(|reference| reference.controller);
        let pod = Pod {
            uid: uid.clone(),
            name: Some(name),
            namespace: Some(namespace),
            service_account: spec.service_account_name,
            labels: labels.into_iter().take(LABELS).collect(),
            owner: owner.map(|Reference { kind, name, .. }| PodOwner { kind, name }),
        };
        let Status { container_statuses, init_container_statuses, ephemeral_container_statuses } = status;
        let statuses =
            container_statuses.into_iter().chain(init_container_statuses).chain(ephemeral_container_statuses);
        let mut containers = HashMap::new();
        for ContainerStatus { name, image, container_id, last_state } in statuses {
            let former = last_state.terminated.map(|terminated| terminated.container_id);
            for id in std::iter::once(container_id).chain(former) {
                // `containerd://<id>`
                if let Some((_, id)) = id.split_once("://") {
                    containers.insert(id.to_owned(), (name.clone(), image.clone()));
                }
            }
        }
        (uid, Known { pod, containers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelets_list_names_pods_and_containers() {
        let text = include_bytes!("kubelet/pods.json");
        let known: HashMap<_, _> = read(text).unwrap().into_iter().collect();
        let agent = &known["6a1c0b52-3f0e-4a53-9d57-8a1e5a3f2c11"];
        assert_eq!(agent.pod.namespace.as_deref(), Some("payments"));
        assert_eq!(agent.pod.name.as_deref(), Some("agent-7c9d8f6b54-x2v9k"));
        assert_eq!(agent.pod.service_account.as_deref(), Some("agent"));
        assert_eq!(agent.pod.labels["app"], "agent");
        assert_eq!(agent.pod.owner, Some(PodOwner { kind: "ReplicaSet".into(), name: "agent-7c9d8f6b54".into() }));
        let (name, image) = &agent.containers[&"a".repeat(64)];
        assert_eq!((name.as_str(), image.as_str()), ("app", "registry.example.com/agent:1.4.2"));
        assert_eq!(agent.containers[&"b".repeat(64)].0, "app", "the container before the restart");
        assert_eq!(agent.containers[&"c".repeat(64)].0, "setup");

        let hash = "0123456789abcdef0123456789abcdef";
        assert_eq!(known[hash].pod.name.as_deref(), Some("kube-proxy-node-1"));
        assert_eq!(known[hash].pod.uid, hash, "the uid that the cgroup has");
        assert_eq!(known.len(), 3, "two pods, one of them static, and one that has just been made");
        assert!(read(b"{}").unwrap().is_empty() && read(b"Unauthorized").is_err());
    }

    #[test]
    fn no_annotation_gives_a_pod_anothers_name() {
        let mut list: serde_json::Value = serde_json::from_slice(include_bytes!("kubelet/pods.json")).unwrap();
        for victim in ["6a1c0b52-3f0e-4a53-9d57-8a1e5a3f2c11", "0123456789abcdef0123456789abcdef"] {
            let metadata = serde_json::json!({
                "name": "impostor", "namespace": "default", "uid": "00000000-9a4c-4c1e-8a53-0c7d5e6f7a89",
                "annotations": {
                    "kubernetes.io/config.hash": victim,
                    "kubernetes.io/config.mirror": victim,
                    "kubernetes.io/config.source": "file",
                },
            });
            list["items"].as_array_mut().unwrap().push(serde_json::json!({ "metadata": metadata }));
        }
        let known = read(list.to_string().as_bytes()).unwrap();
        let named: Vec<_> = known.iter().filter(|(_, known)| known.pod.name.as_deref() == Some("impostor")).collect();
        assert_eq!(named.len(), 2);
        assert!(named.iter().all(|(uid, known)| uid.starts_with("00000000-") && *uid == known.pod.uid), "{named:?}");
    }
}
