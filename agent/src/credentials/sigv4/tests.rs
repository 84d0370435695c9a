use std::time::SystemTime;

use aws_smithy_async::time::TimeSource as _;
use http::{Request, Response};

use super::*;

fn head(target: &str, headers: &[(&'static str, &str)]) -> http::request::Parts {
    let mut request = Request::post(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

fn sigv4(config: &str) -> SigV4 {
    let config: config::SigV4 = serde_json::from_str(config).expect("a table");
    SigV4::new(&config, "mcp", &Arc::new(Aws::new()))
}

const SIGNED: &str =
    "AWS4-HMAC-SHA256 Credential=AKID/20261123/eu-west-1/aws-mcp/aws4_request, SignedHeaders=host, Signature=00";

#[test]
fn the_configuration_wins_over_the_client_and_the_client_over_the_name() {
    let host = "gw.gateway.bedrock-agentcore.us-east-1.amazonaws.com";
    let scope = |config: &str, headers: &[(&'static str, &str)], host: &str| {
        let scope = sigv4(config).scope(Claimed::of(&head("/mcp", headers)), host);
        scope.map(|scope| format!("{} {}", scope.service, scope.region)).map_err(|error| error.to_string())
    };
    let client = [("authorization", SIGNED)];
    let both = r#"{"service":"lambda","region":"us-west-2"}"#;
    assert_eq!(scope(both, &client, host).as_deref(), Ok("lambda us-west-2"));
    assert_eq!(scope(r#"{"region":"us-west-2"}"#, &client, host).as_deref(), Ok("aws-mcp us-west-2"));
    assert_eq!(scope("{}", &client, host).as_deref(), Ok("aws-mcp eu-west-1"));
    assert_eq!(scope("{}", &[], host).as_deref(), Ok("bedrock-agentcore us-east-1"));
    let unknown = scope("{}", &[("authorization", "Bearer x")], "mcp.example.com").expect_err("nothing tells");
    assert!(unknown.contains("set `credentials.sigv4.service`"), "{unknown}");
}

#[test]
fn a_presigned_or_multi_region_request_says_its_scope_too() {
    let presigned = "/mcp?X-Amz-Credential=AKID%2F20261123%2Fus-east-2%2Fexecute-api%2Faws4_request&x=1";
    let claimed = Claimed::of(&head(presigned, &[])).expect("a scope");
    assert_eq!((claimed.service.as_deref(), claimed.region.as_deref()), (Some("execute-api"), Some("us-east-2")));
    let everywhere =
        "AWS4-ECDSA-P256-SHA256 Credential=AKID/20261123/vpc-lattice-svcs/aws4_request, SignedHeaders=host";
    let claimed = Claimed::of(&head("/mcp", &[("authorization", everywhere)])).expect("a scope");
    assert_eq!((claimed.service.as_deref(), claimed.region), (Some("vpc-lattice-svcs"), None));
    for nonsense in ["AWS4-HMAC-SHA256 Credential=a/b", "AWS4-HMAC-SHA256", "Basic AWS4-"] {
        assert_eq!(Claimed::of(&head("/mcp", &[("authorization", nonsense)])), None, "{nonsense}");
    }
    let odd = "AWS4-HMAC-SHA256 Credential=AKID/20261123/EU/Aws Mcp/aws4_request, SignedHeaders=host";
    assert_eq!(
        Claimed::of(&head("/mcp", &[("authorization", odd)])),
        Some(Claimed::default()),
        "never into a signature"
    );
}

#[test]
fn the_clients_signature_goes_and_everything_else_stays() {
    let headers = [
        ("authorization", SIGNED),
        ("x-amz-date", "20261123T000000Z"),
        ("x-amz-security-token", "t"),
        ("x-amz-content-sha256", "e3b0"),
        ("x-amz-user-agent", "sdk"),
        ("x-amzn-bedrock-agentcore-runtime-session-id", "r"),
        ("mcp-session-id", "s"),
    ];
    let target = "/a%2Fb?q=%41&X-Amz-Algorithm=AWS4-HMAC-SHA256&x%2Damz-signature=00&&k&X-Amz-Expires=60&z=a%20b";
    let mut head = head(target, &headers);
    take_off(&mut head).expect("taken off");
    assert_eq!(head.uri, "/a%2Fb?q=%41&&k&z=a%20b");
    let names: Vec<_> = head.headers.keys().map(http::HeaderName::as_str).collect();
    assert!(names.len() == 2 && names.contains(&"mcp-session-id"), "{names:?}");
    assert!(names.contains(&"x-amzn-bedrock-agentcore-runtime-session-id"), "{names:?}");
    let mut alone = self::head("https://mcp.test/mcp?X-Amz-Signature=00", &[]);
    take_off(&mut alone).expect("taken off");
    assert_eq!(alone.uri, "https://mcp.test/mcp");
}

#[test]
fn only_a_refusal_about_the_time_corrects_the_clock() {
    let refusal = |status: u16, code: Option<&str>, date: &str| {
        let mut response = Response::builder().status(status).header("date", date);
        if let Some(code) = code {
            response = response.header("x-amzn-errortype", code);
        }
        response.body(()).expect("a response").into_parts().0
    };
    let past = &(jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2))
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    let aws = Arc::new(Aws::new());
    let signer = |aws| SigV4::new(&serde_json::from_str("{}").expect("a table"), "mcp", aws);
    let (signer, other) = (signer(&aws), signer(&aws));
    for (status, code, body) in [
        (403, Some("AccessDeniedException"), "not authorized"),
        (401, Some("InvalidSignatureException"), ""),
        (200, None, "Signature expired"),
    ] {
        assert!(!signer.heed(&refusal(status, code, past), body.as_bytes()), "{status} {code:?}");
    }
    assert!(!signer.heed(&refusal(403, None, "never"), b"Signature expired: 2024"));
    assert!(signer.heed(&refusal(403, None, past), b"{\"message\":\"Signature expired: 2024\"}"));
    assert!(!signer.heed(&refusal(403, Some("InvalidSignatureException"), past), b""), "right already");
    let off =
        |clock: &Clock| clock.now().duration_since(SystemTime::now()).is_err_and(|off| off.duration().as_secs() > 3600);
    assert!(off(&signer.clock));
    assert!(!off(&other.clock) && !off(aws.clock()), "one server's time is not another's, nor that of STS");
}
