use std::path::Path;

use http::Request;

use super::*;
use crate::{
    datapath::CgroupId,
    identity::{Process, WorkloadKind},
};

fn workload() -> Workload {
    let process = Process { pid: 1, uid: 0, comm: "app".into(), exe: None, started_ns: None, audit_session: None };
    Workload {
        kind: WorkloadKind::Process,
        id: "process/app".into(),
        name: "process/app".into(),
        cgroup: None,
        cgroup_id: CgroupId(1),
        unit: None,
        container: None,
        spiffe_id: None,
        pod: None,
        process,
    }
}

fn credential(table: &str) -> Arc<Credential> {
    let text = format!(
        "[[endpoint]]\nname = \"mcp\"\nhosts = [\"mcp.test\", \"*.tools.test\"]\nports = [443, 8443]\ncredentials = {table}\n"
    );
    let config = Config::parse(&text, Path::new("weir.toml")).expect("valid");
    Arc::clone(Credentials::new(&config).expect("credentials").of("mcp").expect("some"))
}

async fn obtain(credential: &Credential, verified: Option<&str>, port: u16) -> Result<Grant, CredentialError> {
    let (workload, file) = (workload(), |_: &str| Err(String::new()));
    let asking = Asking { workload: &workload, caller: None, file: &file };
    let head = Request::post("/mcp").body(()).expect("a request").into_parts().0;
    credential.obtain(Wanted::of(&head), Upstream { verified, port }, &asking).await
}

#[tokio::test]
async fn a_credential_is_for_its_endpoints_verified_servers_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("token");
    std::fs::write(&path, "s3cr3t\n").expect("write");
    let bearer = credential(&format!("{{ bearer = {{ file = {path:?} }} }}"));
    for (name, port) in [("mcp.test", 443), ("a.b.tools.test", 8443), ("MCP.test.", 443)] {
        let grant = obtain(&bearer, Some(name), port).await.expect(name);
        assert_eq!(**grant.used(), Used::of("bearer"));
        let theirs = Request::post("/mcp").header("authorization", "Bearer theirs");
        let mut head = theirs.body(()).expect("a request").into_parts().0;
        grant.apply(&mut head, name, b"{}").expect("applied");
        assert_eq!(head.headers.get_all("authorization").iter().collect::<Vec<_>>(), ["Bearer s3cr3t"]);
        assert!(head.headers["authorization"].is_sensitive());
        assert!(!format!("{grant:?}").contains("s3cr3t"));
    }
    for (name, port) in [("evil.test", 443), ("tools.test", 443), ("xtools.test", 443), ("mcp.test", 444)] {
        let refused = obtain(&bearer, Some(name), port).await.expect_err(name);
        assert_eq!(refused.rule(), "credential-unbound");
    }
    assert_eq!(obtain(&bearer, None, 443).await.expect_err("plain text").rule(), "credential-plain-text");
}

#[tokio::test]
async fn what_is_no_token_is_never_sent() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("token");
    let bearer = credential(&format!("{{ bearer = {{ file = {path:?} }} }}"));
    for content in ["", "two\nlines", "two words", "ü"] {
        std::fs::write(&path, content).expect("write");
        let refused = obtain(&bearer, Some("mcp.test"), 443).await.expect_err(content);
        assert_eq!(refused.rule(), "credential-secret", "{content:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_leaves_the_request_as_it_is() {
    let mtls = credential("{ mtls = { cert = \"/c\", key = \"/k\" } }");
    assert!(mtls.is_of_connection());
    let grant = obtain(&mtls, Some("mcp.test"), 443).await.expect("nothing is fetched");
    let mut head = Request::post("/mcp").header("authorization", "Bearer theirs").body(()).expect("one").into_parts().0;
    grant.apply(&mut head, "mcp.test", b"").expect("applied");
    assert_eq!(head.headers["authorization"], "Bearer theirs");
}
