use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt::Write as _,
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::{ProvideCredentials, future};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::TcpListener;

use super::*;
use crate::{
    config::{SessionTag, SourceIdentity},
    credentials::error::StsTrouble,
    datapath::CgroupId,
    identity::{Caller, Pod, Process, Workload, WorkloadKind},
};

const ROLE: &str = "arn:aws:iam::111122223333:role/mcp";

/// STS as far as it matters here: it counts, remembers what it was told, and answers as it is told.
#[derive(Default)]
struct Server {
    asked: AtomicU32,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    told: Mutex<Vec<BTreeMap<String, String>>>,
    says: Mutex<Says>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Says {
    #[default]
    Granted,
    /// A session of so many seconds.
    Short(i64),
    Error(u16, &'static str),
}

impl Server {
    async fn start() -> (Arc<Self>, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = Arc::new(Self::default());
        let shared = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&server), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        (server, url)
    }

    fn says(&self, says: Says) {
        *self.says.lock().expect("a lock") = says;
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn answer(server: Arc<Server>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let under_way = server.under_way.fetch_add(1, Ordering::Relaxed) + 1;
    server.most_under_way.fetch_max(under_way, Ordering::Relaxed);
    let number = server.asked.fetch_add(1, Ordering::Relaxed);
    let body = request.into_body().collect().await.expect("a body").to_bytes();
    let form: BTreeMap<_, _> = url::form_urlencoded::parse(&body).into_owned().collect();
    let action = form["Action"].clone();
    server.told.lock().expect("a lock").push(form);
    // As long as it takes, so that those who come meanwhile find somebody asking.
    tokio::time::sleep(Duration::from_millis(2)).await;
    server.under_way.fetch_sub(1, Ordering::Relaxed);
    let says = *server.says.lock().expect("a lock");
    let (status, body) = match says {
        Says::Error(status, code) => {
            let message = "canonical: x-amz-security-token:leaked-by-sts";
            (
                status,
                format!(
                    "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
                ),
            )
        }
        Says::Granted | Says::Short(_) => {
            let seconds = if let Says::Short(seconds) = says { seconds } else { 3600 };
            let expires = Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
            let mut body = format!("<{action}Response><{action}Result><Credentials>");
            let _ = write!(
                body,
                "<AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>secret-{number}</SecretAccessKey>\
                 <SessionToken>token-{number}</SessionToken><Expiration>{expires}</Expiration>"
            );
            let _ = write!(body, "</Credentials></{action}Result></{action}Response>");
            (200, body)
        }
    };
    Ok(Response::builder().status(status).body(Full::new(body.into())).expect("a response"))
}

async fn aws() -> Arc<Aws> {
    let own = AwsCredentials::new("AKIDAGENT", "agent-secret", None, None, "test");
    let loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new("us-east-1"));
    Arc::new(Aws::with(loader.credentials_provider(own).load().await))
}

fn role(url: &str, proof: RoleProof) -> Role {
    Role { arn: ROLE.into(), proof, session_policy: None, duration_s: 3600, endpoint_url: Some(url.into()) }
}

fn by_agent() -> RoleProof {
    RoleProof::Agent {
        external_id: Some("ext".into()),
        tags: vec![SessionTag::Workload, SessionTag::Endpoint, SessionTag::Unit, SessionTag::Caller],
        transitive: true,
        source_identity: SourceIdentity::Caller,
    }
}

async fn sts(url: &str, most: usize) -> Arc<Sts> {
    let most = NonZeroUsize::new(most).expect("some");
    Arc::new(Sts::keeping(most, role(url, by_agent()), None, "billing", &aws().await))
}

fn workload(number: usize) -> Workload {
    let process = Process { pid: 1, uid: 0, comm: "app".into(), exe: None, started_ns: None, audit_session: None };
    Workload {
        kind: WorkloadKind::Unit,
        id: format!("systemd/app-{number}.service"),
        name: format!("systemd/app-{number}.service"),
        cgroup: None,
        cgroup_id: CgroupId(1),
        unit: Some(format!("app-{number}.service")),
        container: None,
        spiffe_id: None,
        pod: None,
        process,
    }
}

fn no_file(path: &str) -> Result<String, String> {
    Err(format!("{path} is not there"))
}

async fn session(sts: &Sts, workload: &Workload) -> Result<Arc<AwsCredentials>, CredentialError> {
    sts.session("us-east-1", &Asking { workload, caller: None, file: &no_file }).await
}

fn trouble(result: Result<Arc<AwsCredentials>, CredentialError>) -> StsTrouble {
    match result {
        Err(CredentialError::Sts { role_arn, trouble }) if role_arn == ROLE => trouble,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a session"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_workloads_are_ten_thousand_calls_and_no_stampede() {
    const WORKLOADS: usize = 10_000;
    let (server, url) = Server::start().await;
    let sts = sts(&url, SESSIONS.get()).await;
    for round in 0..2 {
        let asking: Vec<_> = (0..3 * WORKLOADS)
            .map(|number| {
                let sts = Arc::clone(&sts);
                tokio::spawn(async move { session(&sts, &workload(number % WORKLOADS)).await })
            })
            .collect();
        for asked in asking {
            asked.await.expect("a task").expect("a session");
        }
        assert_eq!(server.asked(), 10_000, "round {round}: one call for each workload, whoever else asked meanwhile");
    }
    assert!(server.most_under_way.load(Ordering::Relaxed) <= AT_ONCE);
}

#[tokio::test]
async fn no_more_sessions_are_kept_than_allowed() {
    let (server, url) = Server::start().await;
    let sts = sts(&url, 10).await;
    for number in 0..50 {
        session(&sts, &workload(number)).await.expect("a session");
        assert!(sts.sessions.lock().expect("a lock").len() <= 10);
    }
    session(&sts, &workload(49)).await.expect("a session");
    assert_eq!(server.asked(), 50, "the last ones are kept");
    session(&sts, &workload(0)).await.expect("a session");
    assert_eq!(server.asked(), 51, "the first ones are not");
}

#[tokio::test]
async fn sts_is_told_who_it_is_for() {
    let (server, url) = Server::start().await;
    let sts = sts(&url, 10).await;
    let (workload, file) = (workload(7), no_file);
    let caller = Caller { sub: "ada@example.com".into(), issuer: "https://idp.test".into(), groups: Vec::new() };
    let asking = Asking { workload: &workload, caller: Some(&caller), file: &file };
    let keys = sts.session("us-east-1", &asking).await.expect("a session");
    assert_eq!((keys.access_key_id(), keys.session_token()), ("ASIA0", Some("token-0")));
    session(&sts, &workload).await.expect("a session");
    let told = server.told.lock().expect("a lock").clone();
    assert_eq!(told.len(), 2, "a caller has a session of its own");
    let expected = [
        ("Action", "AssumeRole"),
        ("RoleArn", ROLE),
        ("ExternalId", "ext"),
        ("DurationSeconds", "3600"),
        ("RoleSessionName", "ada@example.com+systemd=app-7.service"),
        ("SourceIdentity", "ada@example.com"),
        ("Tags.member.1.Key", "weir-workload"),
        ("Tags.member.1.Value", "systemd/app-7.service"),
        ("Tags.member.2.Value", "billing"),
        ("Tags.member.3.Value", "app-7.service"),
        ("Tags.member.4.Value", "ada@example.com"),
        ("TransitiveTagKeys.member.4", "weir-caller"),
    ];
    for (key, value) in expected {
        assert_eq!(told[0].get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(told[1]["SourceIdentity"], "systemd=app-7.service");
    assert!(!told[1].contains_key("Tags.member.4.Key"), "no caller, no tag");
    assert_eq!(sts.intended(&asking).session_name.as_deref(), Some("ada@example.com+systemd=app-7.service"));

    let namesake = Caller { issuer: "https://other.test".into(), ..caller.clone() };
    let asking = Asking { caller: Some(&namesake), ..asking };
    let keys = sts.session("us-east-1", &asking).await.expect("a session");
    assert_eq!(keys.access_key_id(), "ASIA2", "another provider's ada is somebody else");
}

#[tokio::test]
async fn sts_is_told_where_a_pod_is_from() {
    let (server, url) = Server::start().await;
    let RoleProof::Agent { external_id, transitive, source_identity, .. } = by_agent() else { panic!("by the agent") };
    let tags = vec![SessionTag::Namespace, SessionTag::ServiceAccount, SessionTag::Pod];
    let proof = RoleProof::Agent { external_id, tags, transitive, source_identity };
    let sts = Sts::new(role(&url, proof), None, "billing", &aws().await);
    let pod = Pod {
        uid: "6a1c".into(),
        namespace: Some("payments".into()),
        service_account: Some("agent".into()),
        ..Pod::default()
    };
    session(&sts, &Workload { pod: Some(pod), ..workload(1) }).await.expect("a session");
    // A pod whose names are not known yet.
    let pod = Pod { uid: "6a1c".into(), ..Pod::default() };
    session(&sts, &Workload { pod: Some(pod), ..workload(1) }).await.expect("a session");
    let told = server.told.lock().expect("a lock").clone();
    let tag = |told: &BTreeMap<String, String>, number: usize| {
        let part = |part: &str| told.get(&format!("Tags.member.{number}.{part}")).cloned();
        Some((part("Key")?, part("Value")?))
    };
    let known = ["weir-namespace=payments", "weir-service-account=agent", "weir-pod=6a1c"];
    for (number, expected) in known.into_iter().enumerate() {
        let (key, value) = tag(&told[0], number + 1).expect("a tag");
        assert_eq!(format!("{key}={value}"), expected);
    }
    assert_eq!((tag(&told[1], 1).map(|(key, _)| key).as_deref(), tag(&told[1], 2)), (Some("weir-pod"), None));
}

#[tokio::test]
async fn a_workloads_own_token_is_its_proof() {
    let (server, url) = Server::start().await;
    let proof = RoleProof::WebIdentity { token_file: "/var/run/token".into() };
    let sts = Sts::new(role(&url, proof), None, "billing", &aws().await);
    let (workload, file) = (workload(1), |path: &str| Ok(format!("token of {path}\n")));
    sts.session("us-east-1", &Asking { workload: &workload, caller: None, file: &file }).await.expect("a session");
    let told = server.told.lock().expect("a lock")[0].clone();
    assert_eq!(told["Action"], "AssumeRoleWithWebIdentity");
    assert_eq!(told["WebIdentityToken"], "token of /var/run/token");
    assert_eq!(told["RoleSessionName"], "systemd=app-1.service");
    assert!(!told.contains_key("Tags.member.1.Key"));

    let error = session(&sts, &self::workload(2)).await.expect_err("no token");
    assert_eq!(error.rule(), "credential-workload-token");
}

#[tokio::test]
async fn every_failure_says_what_it_is_and_is_not_asked_again_at_once() {
    let (server, url) = Server::start().await;
    let sts = sts(&url, 10).await;
    for (number, says, expected) in [
        (1, Says::Error(403, "AccessDenied"), "credential-sts-denied"),
        (2, Says::Error(400, "Throttling"), "credential-sts-throttled"),
        (3, Says::Error(500, "InternalFailure"), "credential-sts-unreachable"),
        (4, Says::Error(400, "MalformedPolicyDocument"), "credential-sts-refused"),
    ] {
        server.says(says);
        let error = session(&sts, &workload(number)).await.expect_err("no session");
        let since = Instant::now();
        assert_eq!(error.rule(), expected);
        assert!(!format!("{error} {error:?}").contains("leaked-by-sts"), "{error}");
        let asked = server.asked();
        assert_eq!(session(&sts, &workload(number)).await.err(), Some(error));
        // On a host so busy that half a second has passed, it may be asked again.
        assert!(server.asked() == asked || since.elapsed() > Duration::from_millis(400), "asked again at once");
    }
    server.says(Says::Granted);
    let again = async || session(&sts, &workload(1)).await.is_ok();
    while !again().await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The agent's own keys, which it looks up so often.
#[derive(Debug, Default, Clone)]
struct Looked(Arc<AtomicU32>);

impl ProvideCredentials for Looked {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        future::ProvideCredentials::ready(Ok(AwsCredentials::new(
            format!("AKID{number}"),
            "secret",
            None,
            None,
            "test",
        )))
    }
}

#[tokio::test]
async fn keys_that_ended_before_their_time_are_looked_up_again_but_not_each_time() {
    let (server, url) = Server::start().await;
    let looked = Looked::default();
    let loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new("us-east-1"));
    let aws = Arc::new(Aws::with(loader.credentials_provider(looked.clone()).load().await));
    let sts = Sts::new(role(&url, by_agent()), None, "billing", &aws);
    server.says(Says::Error(403, "ExpiredToken"));
    for number in 0..5 {
        session(&sts, &workload(number)).await.expect_err("no session");
    }
    assert_eq!(looked.0.load(Ordering::Relaxed), 1);
    let mut number = 5;
    while looked.0.load(Ordering::Relaxed) == 1 {
        session(&sts, &workload(number)).await.expect_err("no session");
        tokio::time::sleep(Duration::from_millis(100)).await;
        number += 1;
    }
}

#[tokio::test]
async fn without_sts_there_is_no_session_and_an_old_one_ends() {
    let (server, url) = Server::start().await;
    let sts = sts(&url, 10).await;
    server.says(Says::Short(1));
    session(&sts, &workload(1)).await.expect("a session of a second");
    server.says(Says::Error(503, "ServiceUnavailable"));
    let mut last = session(&sts, &workload(1)).await;
    while last.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        last = session(&sts, &workload(1)).await;
    }
    assert!(matches!(trouble(last), StsTrouble::Unreachable(_)));
    let nobody = Sts::new(role("http://127.0.0.1:9", by_agent()), None, "billing", &aws().await);
    assert!(matches!(trouble(session(&nobody, &workload(1)).await), StsTrouble::Unreachable("no connection")));
}
