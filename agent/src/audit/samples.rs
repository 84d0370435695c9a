//! Events for tests: one of every kind, with everything in them that a record can hold.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    chain::{Hash, Link, LogId},
    checkpoint::{
        PublicKey,
        statement::{Attestation, Checkpoint, Host, Interval, KeyChange, Place, Signature, Signed},
    },
    event::{
        Action, Agent, Call, Catalogue, CatalogueKind, Counts, Defined, EndpointTally, Event, Flow, FlowEnd, Http,
        HttpRequest, Life, Login, LoginKind, Mcp, Outcome, Phase, Reconciliation, Requester, Route, Shadow, ShadowKind,
        Sighting, StreamEvents, Verdict, What, WorkloadTally,
    },
    head::{Head, HeadFile},
    payload::{DigestKey, Payload, Payloads},
    segment::Segment,
};
use crate::{
    credentials::Used,
    datapath::CgroupId,
    identity::{Caller, Container, EcsTask, HostFacts, Pod, PodOwner, Process, Workload, WorkloadKind},
    mcp::Era,
};

pub(crate) fn payload(json: &str) -> Payload {
    payloads(1 << 20).fit(json.as_bytes()).unwrap()
}

pub(crate) fn payloads(limit: usize) -> Payloads {
    static KEY: OnceLock<DigestKey> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        DigestKey::load_or_create(&dir.path().join("key")).unwrap()
    });
    Payloads::new(key.clone(), limit)
}

/// A directory in memory where there is one, for tests that write thousands of files and do not look at durability.
pub(crate) fn scratch_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn workload() -> Workload {
    Workload {
        kind: WorkloadKind::Pod,
        id: "pod/0a1b/agent".into(),
        name: "ns/payments/sa/agent".into(),
        spiffe_id: Some("spiffe://example.org/agent".into()),
        cgroup: Some("/kubepods/x".into()),
        cgroup_id: CgroupId(4711),
        unit: Some("billing.service".into()),
        container: Some(container()),
        pod: Some(pod()),
        process: Process {
            pid: 42,
            uid: 1000,
            comm: "python3".into(),
            exe: Some("/usr/bin/python3".into()),
            started_ns: Some(1),
            audit_session: Some(3),
        },
    }
}

fn container() -> Container {
    let task = EcsTask {
        arn: "arn:aws:ecs:eu-central-1:111122223333:task/main/0a1b".into(),
        cluster: "main".into(),
        family: "agent".into(),
        revision: "7".into(),
    };
    Container {
        id: "c".repeat(64),
        runtime: "containerd",
        name: Some("app".into()),
        image: Some("registry.example.com/agent:1.4.2".into()),
        task: Some(task),
    }
}

fn pod() -> Pod {
    Pod {
        uid: "0a1b".into(),
        name: Some("agent-x2v9k".into()),
        namespace: Some("payments".into()),
        service_account: Some("agent".into()),
        labels: BTreeMap::from([("app".to_owned(), "agent".to_owned())]),
        owner: Some(PodOwner { kind: "ReplicaSet".into(), name: "agent".into() }),
    }
}

pub(crate) fn caller() -> Option<Arc<Caller>> {
    let groups = vec!["developers".into(), "on-call".into()];
    Some(Arc::new(Caller { sub: "jane".into(), issuer: "https://idp.example.com".into(), groups }))
}

pub(crate) fn route() -> Route {
    Route {
        src: "10.0.0.7:40000".parse().unwrap(),
        dst: "[2001:db8::1]:443".parse().unwrap(),
        hostname: Some("mcp.billing.example.com".into()),
        flow_id: Uuid::from_u128(7),
    }
}

pub(crate) fn allow() -> Verdict {
    Verdict { action: Action::Allow, policy: None, version: None, reason: None }
}

pub(crate) fn deny() -> Verdict {
    Verdict {
        action: Action::Deny,
        policy: Some("json-rpc-duplicate-key".into()),
        version: Some("00ff".into()),
        reason: Some("two params".into()),
    }
}

pub(crate) fn http_request() -> HttpRequest {
    HttpRequest {
        method: "POST".into(),
        path: "/mcp?key=s3cret".into(),
        user_agent: Some("python-httpx/0.28".into()),
        version: "2",
    }
}

fn credential() -> Option<Arc<Used>> {
    Some(Arc::new(Used {
        kind: "sigv4",
        role_arn: Some("arn:aws:iam::111122223333:role/mcp".into()),
        session_name: Some("systemd=billing.service".into()),
        access_key_id: Some("ASIAIOSFODNN7EXAMPLE".into()),
        presented: Some("placeholder"),
    }))
}

pub(crate) fn call(phase: Phase, call_id: Uuid) -> Call {
    Call {
        workload: workload(),
        caller: caller(),
        route: route(),
        mcp: Mcp {
            http_status: None,
            phase,
            call_id,
            outcome: None,
            method: Some("tools/call".into()),
            name: Some("refund".into()),
            endpoint: "billing".into(),
            era: Era::Modern,
            protocol_version: Some("2026-07-28".into()),
            session_id: None,
            id: Some(payload("10000000000000000000000000000001")),
            params: None,
            result: None,
            error: None,
            duration_ms: None,
            trace_id: None,
            events: None,
            edits: Vec::new(),
        },
        verdict: allow(),
        credential: None,
        masked: BTreeMap::new(),
        http: http_request(),
    }
}

fn shadow(kind: ShadowKind) -> Shadow {
    Shadow { kind, evidence: "message tools/list".into() }
}

pub(crate) fn event(what: What) -> Event {
    Event { time: Timestamp::from_millisecond(1_785_000_000_123).unwrap(), what }
}

pub(crate) fn request(call_id: Uuid) -> Event {
    let mut call = call(Phase::Request, call_id);
    call.mcp.params = Some(payload(r#"{"name":"refund","arguments":{"amount":5}}"#));
    event(What::Call(Box::new(call)))
}

pub(crate) fn response(call_id: Uuid, outcome: Outcome) -> Event {
    let mut call = call(Phase::Response, call_id);
    call.mcp.outcome = Some(outcome);
    call.mcp.http_status = Some(200);
    call.mcp.result = Some(payload(r#"{"content":[{"type":"text","text":"Zürich"}]}"#));
    call.mcp.duration_ms = Some(12);
    event(What::Call(Box::new(call)))
}

/// A tally of one endpoint, which was redirected to `redirected` times with `closed` flow records.
pub(crate) fn tally(settled: bool, redirected: u64, closed: u64) -> Reconciliation {
    let counts = Counts { seen: redirected, redirected, ..Counts::default() };
    let workload = WorkloadTally { cgroup_id: 4711, cgroup: Some("/kubepods/x".into()), counts };
    let endpoint = EndpointTally {
        endpoint: "billing".into(),
        counts,
        flows_open: redirected - closed,
        flows_closed: closed,
        workloads: vec![workload],
        workloads_left_out: 0,
    };
    Reconciliation {
        counters: "1a2b".into(),
        epoch: 1,
        opens: false,
        settled,
        stopped: Some(0),
        endpoints: vec![endpoint],
    }
}

/// An event that says little.
pub(crate) fn small() -> Event {
    event(What::Agent(Agent::Attached { takeover: false }))
}

/// Every kind of event, with every enumeration's every value.
pub(crate) fn every_kind() -> Vec<Event> {
    let id = Uuid::from_u128(1);
    let mut all = vec![request(id)];
    for outcome in [
        Outcome::Ok,
        Outcome::Error,
        Outcome::Cancelled,
        Outcome::Broken,
        Outcome::Timeout,
        Outcome::Refused,
        Outcome::Unknown,
    ] {
        all.push(response(id, outcome));
    }
    for method in ["initialize", "tools/list", "logging/setLevel", "tasks/cancel", "x/unheard-of"] {
        let mut call = call(Phase::Request, id);
        call.mcp.method = Some(method.into());
        call.verdict = deny();
        all.push(event(What::Call(Box::new(call))));
    }
    for phase in [Phase::ServerRequest, Phase::ClientResponse, Phase::Response] {
        let mut call = call(phase, id);
        call.mcp.method = None;
        call.mcp.error = Some(payload(r#"{"code":-32000,"message":"no"}"#));
        call.mcp.session_id = Some("s".into());
        call.mcp.events = Some(StreamEvents { count: 9, kept: vec![payload(r#"{"progress":1}"#)] });
        call.mcp.edits = vec!["content-encoding"];
        call.credential = credential();
        call.masked = BTreeMap::from([("cards".to_owned(), 2)]);
        all.push(event(What::Call(Box::new(call))));
    }
    for (method, status, verdict) in
        [("GET", Some(200), allow()), ("BREW", Some(418), allow()), ("DELETE", None, allow()), ("POST", None, deny())]
    {
        let request = HttpRequest { method: method.into(), ..http_request() };
        let http = Http {
            workload: workload(),
            caller: caller(),
            route: route(),
            endpoint: "billing".into(),
            request,
            status,
            verdict,
            credential: credential(),
            duration: Some(Duration::from_millis(3)),
            request_id: Uuid::nil(),
            events: 3,
        };
        all.push(event(What::Http(Box::new(http))));
    }
    for end in [
        FlowEnd::Closed,
        FlowEnd::Spliced,
        FlowEnd::UpstreamUnreachable,
        FlowEnd::UpstreamTls,
        FlowEnd::ClientTls,
        FlowEnd::Refused,
        FlowEnd::Unknown,
        FlowEnd::Predates,
    ] {
        let flow = Flow {
            workload: workload(),
            route: Route { dst: "192.0.2.1:443".parse().unwrap(), hostname: None, ..route() },
            endpoint: (end != FlowEnd::Spliced).then(|| "billing".into()),
            tally: (end != FlowEnd::Predates).then(|| "billing".into()),
            end,
            reason: (end != FlowEnd::Closed).then(|| "certificate expired".into()),
            duration: Duration::from_secs(2),
            bytes_out: 10,
            bytes_in: 20,
            protocol: "tls",
            shadow: (end == FlowEnd::Spliced).then(|| shadow(ShadowKind::LikelyMcp)),
        };
        all.push(event(What::Flow(Box::new(flow))));
    }
    all.extend(logins());
    for attestation in attestations() {
        all.push(event(What::Attestation(attestation)));
    }
    for (kind, action) in
        [(ShadowKind::Mcp, Action::Allow), (ShadowKind::Mcp, Action::Deny), (ShadowKind::LikelyMcp, Action::Allow)]
    {
        let sighting = Sighting { workload: workload(), route: route(), shadow: shadow(kind), action, count: 3 };
        all.push(event(What::Sighting(Box::new(sighting))));
    }
    for agent in [
        Agent::Started { version: "0.1.0", config_digest: "d".into(), boot_id: "b".into(), instance: Some(instance()) },
        Agent::Stopped { reason: "SIGTERM".into() },
        Agent::Recovered { cut_bytes: 1, lost_records: 2, open_calls: 3 },
        Agent::Attached { takeover: true },
        Agent::Tally(Box::new(tally(true, 7, 5))),
        Agent::Detached { by: Requester { uid: 0, pid: Some(7), login_uid: Some(1000) } },
        Agent::Life(Life::TookOver { pid: 7, version: "0.1.0".into() }),
        Agent::Life(Life::KeptOn { reason: "it has ended".into() }),
        Agent::Life(Life::Drained { pid: 7, open_calls: 1 }),
        Agent::Life(Life::FailedOpen { connections: 3, since: Timestamp::UNIX_EPOCH, until: Timestamp::UNIX_EPOCH }),
        Agent::Life(Life::Watched { check: "links", healthy: false, detail: "weir_connect4 is detached".into() }),
        Agent::Life(Life::PoliciesChanged { policy_version: "00ff".into(), policies: 3 }),
        Agent::Life(Life::PoliciesRefused { policy_version: "00ff".into(), reason: "p.cedar:1:1: no".into() }),
        Agent::Life(Life::Catalogue(catalogue(CatalogueKind::Seen))),
        Agent::Life(Life::Catalogue(catalogue(CatalogueKind::Changed))),
        Agent::Life(Life::Catalogue(catalogue(CatalogueKind::Accepted))),
        Agent::Life(Life::Catalogue(catalogue(CatalogueKind::Lost))),
        Agent::Life(Life::Retired { through_seq: 9, through_hash: Hash::ZERO, segments: 1, bytes: 4096 }),
    ] {
        all.push(event(What::Agent(agent)));
    }
    all
}

fn catalogue(kind: CatalogueKind) -> Catalogue {
    let is_new = kind == CatalogueKind::Seen;
    let defined = Defined {
        item: "tool".into(),
        name: "refund".into(),
        server: "mcp.billing.example.com:443/mcp".into(),
        fingerprint: "5f78c33274e43fa9de5659265c1d917e25c03722dcb0b8d27db8d5feaa813953".into(),
        was: (!is_new).then(|| "25c03722dcb0b8d27db8d5feaa8139535f78c33274e43fa9de5659265c1d917e".into()),
        members: if is_new { Vec::new() } else { vec!["description".into()] },
    };
    let is_lost = kind == CatalogueKind::Lost;
    Catalogue {
        kind,
        endpoint: "billing".into(),
        by: (kind == CatalogueKind::Accepted).then_some(Requester { uid: 0, pid: Some(7), login_uid: Some(1000) }),
        definitions: if is_lost { Vec::new() } else { vec![defined] },
        reason: is_lost.then(|| "its digest is not that of its content".into()),
    }
}

fn instance() -> HostFacts {
    HostFacts {
        instance_id: "i-0a1b2c3d4e5f60718".into(),
        account: "111122223333".into(),
        region: "eu-central-1".into(),
        zone: "eu-central-1a".into(),
        ami: "ami-0a1b2c3d4e5f60718".into(),
    }
}

/// Somebody signs in and out, in every way.
fn logins() -> impl Iterator<Item = Event> {
    let kinds = [LoginKind::SignedIn, LoginKind::Refused, LoginKind::SignedOut, LoginKind::Expired];
    kinds.into_iter().map(|kind| {
        let refused = kind == LoginKind::Refused;
        let login = Login {
            kind,
            caller: caller().filter(|_| !refused),
            workload: Some(workload()),
            uid: 1000,
            login_uid: Some(1000),
            until: (kind == LoginKind::SignedIn).then_some(Timestamp::UNIX_EPOCH),
            reason: refused.then(|| "the token has expired".into()),
        };
        event(What::Login(Box::new(login)))
    })
}

/// A checkpoint, a first key, and a key that replaces another, signed by nobody's key.
fn attestations() -> [Attestation; 3] {
    let public = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let key: PublicKey = serde_json::from_value(public.into()).unwrap();
    let log = LogId::parse("sample").unwrap();
    let checkpoint = Checkpoint {
        log: log.clone(),
        epoch: 1,
        head: Place { seq: 9, hash: Hash([7; 32]) },
        previous: Place::NONE,
        interval: Interval { records: 10_000, seconds: 60 },
        time: 1_785_000_000_123,
        since_boot_ns: 1,
        boot_id: "b".into(),
        host: Host { id: "h".into(), name: "host".into() },
        key: key.clone(),
    };
    let change = |replaces| KeyChange { log: log.clone(), epoch: 1, key: key.clone(), replaces, time: 1 };
    let sign = |signed: Signed| {
        let signature = Some(Signature { key_id: key.id(), value: vec![1; 64] });
        Signed { signature, ..signed }
    };
    [
        Attestation::Checkpoint(sign(Signed::unsigned(&checkpoint).unwrap())),
        Attestation::KeyChange(Signed::unsigned(&change(None)).unwrap()),
        Attestation::KeyChange(sign(Signed::unsigned(&change(Some(key.id()))).unwrap())),
    ]
}

/// A log written without [`Log`](super::log::Log): `events[i]` in the epoch `epochs[i]`, a new segment every `per_segment`.
pub(crate) fn write_log(dir: &std::path::Path, epochs: &[u64], per_segment: usize) -> Vec<Vec<u8>> {
    let log = LogId::parse("sample").unwrap();
    let mut link = Link::START;
    let mut lines = Vec::new();
    for (index, epoch) in epochs.iter().enumerate() {
        let mut line = Vec::new();
        link.append(&mut line, &log, *epoch, &format!(r#"{{"class_uid":6002,"n":{index},"ü":"\n"}}"#));
        lines.push(line);
    }
    write_segments(dir, &lines, per_segment);
    let epoch = epochs.last().copied().unwrap_or(0);
    let head = Head { epoch, seq: link.seq, hash: link.hash, synced: link.seq, ..Head::new(log, "boot".into()) };
    HeadFile::create(dir, &head).unwrap();
    lines
}

/// Writes `lines` as segments named for their position.
pub(crate) fn write_segments(dir: &std::path::Path, lines: &[Vec<u8>], per_segment: usize) {
    for (index, lines) in lines.chunks(per_segment).enumerate() {
        let segment = Segment::at(dir, (index * per_segment + 1) as u64);
        std::fs::write(segment.path, lines.concat()).unwrap();
    }
}
