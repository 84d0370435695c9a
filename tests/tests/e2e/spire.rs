//! SPIFFE IDs of workloads, from an agent of SPIRE's: a server of its Delegated Identity API, which attests by cgroup.

use std::{
    convert::Infallible,
    fs,
    future::{pending, ready},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hyper::{Request, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SanType};
use serde_json::Value;
use spire_api::pb::spire::api::{
    agent::delegatedidentity::v1::{SubscribeToX509sviDsRequest, SubscribeToX509sviDsResponse, X509svidWithKey},
    types::X509svid,
};
use tokio::net::UnixListener;
use tonic::{
    Response, Status,
    codegen::tokio_stream::{self, Once},
    server::{Grpc, ServerStreamingService},
};
use tonic_prost::ProstCodec;
use weir_tests::fixture::{APP, Agent, ConfigToml, Curl, ServerKind, Stage, eventually};

use crate::story::initialize;

const ID: &str = "spiffe://example.org/ns/payments/sa/agent";
/// Nothing is ever said about what runs here.
const SLOW: &str = "/slow";
const METHOD: &str = "/spire.api.agent.delegatedidentity.v1.DelegatedIdentity/SubscribeToX509SVIDs";

/// SPIRE's agent, which knows what runs in [`APP`]. It ends with this value.
struct Spire {
    socket: PathBuf,
    asked: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
}

impl Spire {
    fn start(dir: &Path) -> Self {
        let socket = dir.join("spire.sock");
        let _ = fs::remove_file(&socket);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("run");
        let asked = Arc::new(AtomicUsize::new(0));
        let listener = runtime.block_on(async { UnixListener::bind(&socket) }).expect("listen");
        runtime.spawn(serve(listener, Attestor { svid: Arc::new(svid()), asked: Arc::clone(&asked) }));
        Self { socket, asked, _runtime: runtime }
    }
}

async fn serve(listener: UnixListener, attestor: Attestor) {
    while let Ok((stream, _)) = listener.accept().await {
        let attestor = attestor.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let attestor = attestor.clone();
            async move {
                assert_eq!(request.uri().path(), METHOD);
                Ok::<_, Infallible>(Grpc::new(ProstCodec::default()).server_streaming(attestor, request).await)
            }
        });
        tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
    }
}

#[derive(Clone)]
struct Attestor {
    svid: Arc<X509svidWithKey>,
    asked: Arc<AtomicUsize>,
}

impl ServerStreamingService<SubscribeToX509sviDsRequest> for Attestor {
    type Response = SubscribeToX509sviDsResponse;
    type ResponseStream = Once<Result<SubscribeToX509sviDsResponse, Status>>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<SubscribeToX509sviDsRequest>) -> Self::Future {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", request.get_ref().pid)).unwrap_or_default();
        if cgroup.lines().any(|line| line.ends_with(SLOW)) {
            return Box::pin(pending());
        }
        let known = cgroup.lines().any(|line| line.ends_with(APP));
        let x509_svids = if known { vec![X509svidWithKey::clone(&self.svid)] } else { Vec::new() };
        let answer = SubscribeToX509sviDsResponse { x509_svids, federates_with: Vec::new() };
        Box::pin(ready(Ok(Response::new(tokio_stream::once(Ok(answer))))))
    }
}

fn svid() -> X509svidWithKey {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(ID.try_into().expect("a URI"))];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let leaf = params.self_signed(&key).expect("a certificate");
    let svid = X509svid { cert_chain: vec![leaf.der().to_vec().into()], ..X509svid::default() };
    X509svidWithKey { x509_svid: Some(svid), x509_svid_key: key.serialize_der().into() }
}

#[test]
fn records_have_the_spiffe_id_that_spire_attests() {
    let mut stage = Stage::new("spire");
    let server = stage.serve(ServerKind::Python, "mcp.test");
    let spire = Spire::start(stage.world().dir());
    let table = format!("[spire]\nsocket = \"{}\"", spire.socket.display());
    let elsewhere = "/elsewhere";
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]).scope(&[APP, elsewhere]).and(&table));
    let call = |cgroup: &str| {
        let reply = Curl::post(&server.url(), &initialize("2025-06-18")).run(&stage, cgroup);
        assert_eq!(reply.status, 200);
    };
    call(APP);
    call(elsewhere);
    assert_eq!(spire.asked.load(Ordering::SeqCst), 2, "once for each process");
    let dir = stage.world().dir().to_owned();
    drop(spire);
    call(APP);
    // It is back: what was lost is the connection to the one before.
    let spire = Spire::start(&dir);
    call(APP);
    assert_eq!(spire.asked.load(Ordering::SeqCst), 1);

    let log = agent.records_once("four calls", |log| log.calls("initialize").len() == 4);
    let ids: Vec<Value> =
        log.calls("initialize").iter().map(|call| call.request.workload("spiffe_id").clone()).collect();
    assert_eq!(ids, [ID.into(), Value::Null, Value::Null, Value::from(ID)]);
    agent.verify();
}

#[test]
fn processes_that_spire_says_nothing_about_hold_up_no_others() {
    let mut stage = Stage::new("spire-slow");
    let server = stage.serve(ServerKind::Python, "mcp.test");
    let spire = Spire::start(stage.world().dir());
    let table = format!("[spire]\nsocket = \"{}\"", spire.socket.display());
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]).scope(&[APP, SLOW]).and(&table));
    let ping = Curl::post(&server.url(), &initialize("2025-06-18"));
    let waiting: Vec<_> = (0..6).map(|_| ping.start(&stage, SLOW)).collect();
    eventually("SPIRE is asked", || (spire.asked.load(Ordering::SeqCst) > 0).then_some(()));
    assert_eq!(ping.run(&stage, APP).status, 200);
    let log = agent.records_once("its call", |log| {
        log.calls("initialize").iter().any(|call| call.request.workload("cgroup") == APP)
    });
    let calls = log.calls("initialize");
    let own = calls.iter().find(|call| call.request.workload("cgroup") == APP).expect("a call");
    assert_eq!(own.request.workload("spiffe_id"), ID, "{}", own.request.line);

    // Those go on without.
    agent.records_once("the others", |log| log.calls("initialize").len() == 7);
    drop(waiting);
    agent.verify();
}
