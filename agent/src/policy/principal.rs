//! Who asks: a workload, with the caller that it speaks for.
//!
//! Both stay the same for most of a flow, and a pod may have dozens of labels: Cedar's entities for them are made once and
//! cloned for each question.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use cedar_policy::{Entity, EntityUid, RestrictedExpression as Expression};
use serde::{Deserialize, Deserializer};

use super::{
    entities::{Attributes, Unaskable, attribute, entity, optional, record, uid},
    schema::shipped,
};
use crate::identity::{Caller, Container, EcsTask, Pod, PodOwner, Process, Workload};

/// Who asks. Read from a [`Workload`], or from a record of one.
#[derive(Debug, Default, Deserialize)]
pub struct Principal {
    /// `event.workload.id`.
    pub id: String,
    /// `event.workload.name`; records of former versions have none.
    #[serde(default)]
    pub name: String,
    /// `pod`, `container`, `unit`, `user`, `process` or `unknown`.
    pub kind: String,
    /// Its SPIFFE ID, where SPIRE has told it.
    pub spiffe_id: Option<String>,
    /// The cgroup's path.
    pub cgroup: Option<String>,
    /// The systemd unit.
    pub unit: Option<String>,
    /// The container.
    pub container: Option<ContainerFacts>,
    /// The pod.
    pub pod: Option<PodFacts>,
    /// The process that connected.
    #[serde(default)]
    pub process: ProcessFacts,
    /// What Cedar was last told of it.
    #[serde(skip)]
    pub made: Made,
}

/// `event.workload.container`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ContainerFacts {
    /// Its id.
    pub id: String,
    /// Its runtime.
    pub runtime: String,
    /// Its name in its pod or task.
    pub name: Option<String>,
    /// Its image.
    pub image: Option<String>,
    /// The ECS task that it belongs to.
    pub task: Option<TaskFacts>,
}

/// `event.workload.container.task`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct TaskFacts {
    /// Its ARN.
    pub arn: String,
    /// The cluster.
    pub cluster: String,
    /// The task definition's family.
    pub family: String,
    /// The task definition's revision.
    pub revision: String,
}

/// `event.workload.pod`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PodFacts {
    /// Its uid.
    pub uid: String,
    /// Its name, where the kubelet has told it.
    pub name: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// The service account that it runs as.
    pub service_account: Option<String>,
    /// Its labels; records write them as `key=value`.
    #[serde(default, deserialize_with = "from_pairs")]
    pub labels: BTreeMap<String, String>,
    /// What controls it.
    pub owner: Option<OwnerFacts>,
}

/// `event.workload.pod.owner`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct OwnerFacts {
    /// `ReplicaSet`, `Job` …
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// `event.workload.process`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ProcessFacts {
    /// The executable.
    pub exe: Option<String>,
    /// The effective user.
    #[serde(default)]
    pub uid: u32,
}

/// Cedar's entities for a principal, kept from one question to the next.
#[derive(Default)]
pub struct Made(Mutex<Option<MadeFor>>);

struct MadeFor {
    caller: Option<Caller>,
    entities: Arc<[Entity]>,
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Made")
    }
}

fn from_pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let pairs = Vec::<String>::deserialize(deserializer)?;
    // A label's key has no `=`; its value may be empty.
    let pair = |pair: &String| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok(pairs.iter().filter_map(pair).collect())
}

impl From<&Workload> for Principal {
    fn from(workload: &Workload) -> Self {
        let Workload { kind, id, name, spiffe_id, cgroup, cgroup_id: _, unit, container, pod, process } = workload;
        let Process { exe, uid, pid: _, comm: _, started_ns: _, audit_session: _ } = process;
        Self {
            id: id.clone(),
            name: name.clone(),
            kind: kind.name().to_owned(),
            spiffe_id: spiffe_id.clone(),
            cgroup: cgroup.clone(),
            unit: unit.clone(),
            container: container.as_ref().map(ContainerFacts::from),
            pod: pod.as_ref().map(PodFacts::from),
            process: ProcessFacts { exe: exe.clone(), uid: *uid },
            made: Made::default(),
        }
    }
}

impl From<&Container> for ContainerFacts {
    fn from(Container { id, runtime, name, image, task }: &Container) -> Self {
        let task = task.as_ref().map(|EcsTask { arn, cluster, family, revision }| TaskFacts {
            arn: arn.clone(),
            cluster: cluster.clone(),
            family: family.clone(),
            revision: revision.clone(),
        });
        Self { id: id.clone(), runtime: (*runtime).to_owned(), name: name.clone(), image: image.clone(), task }
    }
}

impl From<&Pod> for PodFacts {
    fn from(Pod { uid, name, namespace, service_account, labels, owner }: &Pod) -> Self {
        let owner = owner.as_ref();
        Self {
            uid: uid.clone(),
            name: name.clone(),
            namespace: namespace.clone(),
            service_account: service_account.clone(),
            labels: labels.clone(),
            owner: owner.map(|PodOwner { kind, name }| OwnerFacts { kind: kind.clone(), name: name.clone() }),
        }
    }
}

impl Principal {
    /// The entity that stands for it.
    pub(super) fn uid(&self) -> EntityUid {
        uid(&shipped().types.workload, &self.id)
    }

    /// It, and for whom it asks.
    pub(super) fn entities(&self, caller: Option<&Caller>) -> Result<Arc<[Entity]>, Unaskable> {
        let mut made = self.made.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some(kept) if kept.caller.as_ref() == caller => Ok(Arc::clone(&kept.entities)),
            _ => {
                let entities: Arc<[Entity]> = self.make(caller)?.into();
                *made = Some(MadeFor { caller: caller.cloned(), entities: Arc::clone(&entities) });
                Ok(entities)
            }
        }
    }

    fn make(&self, caller: Option<&Caller>) -> Result<Vec<Entity>, Unaskable> {
        let Self { id, name, kind, spiffe_id, cgroup, unit, container, pod, process, made: _ } = self;
        let mut attributes = vec![attribute("id", id), attribute("name", name), attribute("kind", kind)];
        attributes.extend(optional("cgroup", cgroup.as_ref()));
        attributes.extend(optional("spiffe_id", spiffe_id.as_ref()));
        attributes.extend(optional("unit", unit.as_ref()));
        attributes.extend(optional("exe", process.exe.as_ref()));
        attributes.push(("uid".to_owned(), Expression::new_long(process.uid.into())));
        if let Some(container) = container {
            attributes.push(("container".to_owned(), record(container.attributes()?)?));
        }
        if let Some(pod) = pod {
            attributes.push(("pod".to_owned(), record(pod.attributes()?)?));
        }
        let tags = pod.iter().flat_map(|pod| &pod.labels).map(|(key, value)| attribute(key, value));
        let Some(caller) = caller else { return Ok(vec![workload(self.uid(), attributes, [], tags)?]) };
        let types = &shipped().types;
        let Caller { sub, issuer, groups } = caller;
        let caller = uid(&types.caller, sub);
        attributes.push(("caller".to_owned(), Expression::new_entity_uid(caller.clone())));
        let groups: HashSet<EntityUid> = groups.iter().map(|group| uid(&types.group, group)).collect();
        let mut entities = vec![workload(self.uid(), attributes, [caller.clone()], tags)?];
        entities.extend(groups.iter().map(|group| Entity::new_no_attrs(group.clone(), HashSet::new())));
        entities.push(entity(caller, vec![attribute("sub", sub), attribute("issuer", issuer)], groups)?);
        Ok(entities)
    }
}

impl ContainerFacts {
    fn attributes(&self) -> Result<Attributes, Unaskable> {
        let Self { id, runtime, name, image, task } = self;
        let mut container = vec![attribute("id", id), attribute("runtime", runtime)];
        container.extend(optional("name", name.as_ref()));
        container.extend(optional("image", image.as_ref()));
        if let Some(TaskFacts { arn, cluster, family, revision }) = task {
            let task = [("arn", arn), ("cluster", cluster), ("family", family), ("revision", revision)];
            let task = task.map(|(name, value)| attribute(name, value));
            container.push(("task".to_owned(), record(task.to_vec())?));
        }
        Ok(container)
    }
}

impl PodFacts {
    fn attributes(&self) -> Result<Attributes, Unaskable> {
        let Self { uid, name, namespace, service_account, labels: _, owner } = self;
        let mut pod = vec![attribute("uid", uid)];
        pod.extend(optional("name", name.as_ref()));
        pod.extend(optional("namespace", namespace.as_ref()));
        pod.extend(optional("service_account", service_account.as_ref()));
        if let Some(OwnerFacts { kind, name }) = owner {
            pod.push(("owner".to_owned(), record(vec![attribute("kind", kind), attribute("name", name)])?));
        }
        Ok(pod)
    }
}

fn workload(
    own: EntityUid,
    attributes: Attributes,
    parents: impl IntoIterator<Item = EntityUid>,
    labels: impl Iterator<Item = (String, Expression)>,
) -> Result<Entity, Unaskable> {
    Entity::new_with_tags(own, attributes, parents, labels).map_err(|_| Unaskable)
}
