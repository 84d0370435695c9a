//! ECS tasks by the container agent's introspection (`GET /v1/tasks`, `/v1/metadata` at port 51678 of the container instance).
//! The task metadata endpoint answers only inside a task; this is what a host agent can ask.

use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use super::{
    EcsTask, Workload,
    fetch::{FetchError, Fetcher},
    roster::{Authority, Roster},
};
use crate::config::Ecs;

/// Largest answer, in bytes.
const ANSWER_BYTES: usize = 16 << 20;

/// Asks the ECS agent.
#[derive(Debug)]
pub(super) struct EcsAgent(Arc<Roster<Introspection>>);

/// Its list.
#[derive(Debug)]
struct Introspection {
    url: Url,
    fetcher: Fetcher,
}

/// What is known of a container.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    task: EcsTask,
    name: String,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the ECS agent's answer is no list of tasks: {0}")]
    Read(#[from] serde_json::Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    cluster: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tasks {
    #[serde(default)]
    tasks: Vec<Task>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Task {
    arn: String,
    family: String,
    version: String,
    #[serde(default)]
    containers: Vec<TaskContainer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskContainer {
    docker_id: String,
    name: String,
}

impl EcsAgent {
    /// # Errors
    /// When TLS cannot be set up.
    pub(super) fn new(config: &Ecs) -> Result<Self, FetchError> {
        Ok(Self(Roster::new(Introspection { url: config.agent.clone(), fetcher: Fetcher::new(None, None)? })))
    }

    /// Adds what it says of a container outside Kubernetes.
    pub(super) async fn name(&self, workload: &mut Workload) {
        let Some(container) = workload.container.as_mut().filter(|_| workload.pod.is_none()) else { return };
        let Some(known) = self.0.find(&container.id, |_| true).await else { return };
        container.name = Some(known.name.clone());
        container.task = Some(known.task.clone());
    }

    /// Asks anew, if that is due.
    pub(super) async fn refresh(&self) {
        self.0.refresh().await;
    }
}

impl Authority for Introspection {
    const NAME: &'static str = "the ECS agent";
    type Known = Known;
    type Error = ListError;

    async fn list(&self) -> Result<Vec<(String, Known)>, ListError> {
        let mut url = self.url.clone();
        url.set_path("/v1/metadata");
        let instance = self.fetcher.get(&url, ANSWER_BYTES).await?;
        url.set_path("/v1/tasks");
        Ok(read(&instance, &self.fetcher.get(&url, ANSWER_BYTES).await?)?)
    }
}

fn read(instance: &[u8], tasks: &[u8]) -> serde_json::Result<Vec<(String, Known)>> {
    let Instance { cluster } = serde_json::from_slice(instance)?;
    let Tasks { tasks } = serde_json::from_slice(tasks)?;
    let known = tasks.into_iter().flat_map(|Task { arn, family, version, containers }| {
        let task = EcsTask { arn, cluster: cluster.clone(), family, revision: version };
        containers
            .into_iter()
            .map(move |TaskContainer { docker_id, name }| (docker_id, Known { task: task.clone(), name }))
    });
    Ok(known.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_answer_names_tasks_and_containers() {
        // As in the developer guide, "Amazon ECS container introspection".
        let instance = br#"{"Cluster":"default","ContainerInstanceArn":"arn:aws:ecs:us-west-2:012345678910:container-instance/default/1f73d099b914411c9a9ff81633b7741d","Version":"Amazon ECS Agent - v1.75.3 (7f1b0b6)"}"#;
        let tasks = br#"{"Tasks":[{"Arn":"arn:aws:ecs:us-west-2:012345678910:task/default/example5-58ff-46c9-ae05-543f8example","DesiredStatus":"RUNNING","KnownStatus":"RUNNING","Family":"hello_world","Version":"8","Containers":[{"DockerId":"9581a69a761a557fbfce1d0f6745e4af5b9dbfb86b6b2c5c4df156f1a5932ff1","DockerName":"ecs-hello_world-8-mysql-fcae8ac8f9f1d89d8301","Name":"mysql","CreatedAt":"2023-10-08T20:09:11.44527186Z","StartedAt":"2023-10-08T20:09:11.44527186Z","ImageID":"sha256:2ae34abc2ed0a22e280d17e13f9c01aaf725688b09b7a1525d1a2750e2c0d1de"}]}]}"#;
        let known = read(instance, tasks).unwrap();
        let (id, Known { task, name }) = &known[0];
        assert_eq!((id.len(), name.as_str()), (64, "mysql"));
        assert_eq!(
            (task.cluster.as_str(), task.family.as_str(), task.revision.as_str()),
            ("default", "hello_world", "8")
        );
        assert!(read(instance, b"{}").unwrap().is_empty() && read(b"{}", tasks).is_err());
    }
}
