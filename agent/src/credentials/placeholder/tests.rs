use std::{sync::Arc, time::SystemTime};

use aws_credential_types::Credentials as AwsCredentials;
use http::{HeaderName, HeaderValue, Method, Request, request::Parts};
use proptest::prelude::*;

use super::*;
use crate::{
    config,
    credentials::{
        CredentialError,
        clock::Clock,
        sigv4::{AwsKey, Content, Scope, sign, sign_again},
    },
    datapath::CgroupId,
    identity::{Pod, Process},
};

fn workload(kind: WorkloadKind, id: &str, name: &str) -> Workload {
    let process = Process { pid: 7, uid: 1000, comm: "app".into(), exe: None, started_ns: None, audit_session: None };
    Workload {
        kind,
        id: id.into(),
        name: name.into(),
        cgroup: None,
        cgroup_id: CgroupId(7),
        unit: None,
        container: None,
        spiffe_id: None,
        pod: None::<Pod>,
        process,
    }
}

fn unit(name: &str) -> Workload {
    let id = format!("systemd/{name}");
    workload(WorkloadKind::Unit, &id, &id)
}

fn placeholders(workloads: &[&str], key: u8) -> Placeholders {
    let config = config::Placeholder {
        workloads: workloads.iter().map(|pattern| (*pattern).to_owned()).collect(),
        role: "role".into(),
        region: None,
        duration_s: 900,
        others: config::OtherWorkloads::Pass,
        other_calls: config::OtherCalls::Fail,
    };
    Placeholders::new(&config, &[key; 32])
}

/// A client's key; its clock shows the time now.
fn key_of(placeholder: &Placeholder, service: &str) -> AwsKey {
    let Placeholder { key_id, secret, token, .. } = placeholder;
    let keys = AwsCredentials::new(key_id, secret.as_str(), Some(token.clone()), None, "test");
    let scope = Scope { service: service.into(), region: "us-east-1".into() };
    AwsKey { keys: Arc::new(keys), scope, clock: Clock::at(SystemTime::now()) }
}

fn request(target: &str) -> Parts {
    let request = Request::post(target).header("content-type", "application/json").header("mcp-session-id", "s");
    request.body(()).expect("a request").into_parts().0
}

fn signed(by: &Placeholder, body: &[u8]) -> Parts {
    let mut head = request("/mcp/a%20b?x=1&y=%2F");
    sign(&mut head, "mcp.test", body, &key_of(by, "bedrock-agentcore")).expect("signed");
    head
}

fn check(by: &Placeholders, head: &Parts, workload: &Workload, body: &[u8]) -> Result<Vouched, PlaceholderFault> {
    let presented = Presented::of(head).expect("a placeholder's signature");
    presented.check(by, workload, Some(body), Timestamp::now()).map_err(|error| match error {
        CredentialError::Placeholder(fault) => fault,
        other => panic!("{other}"),
    })
}

#[test]
fn what_its_workload_signed_holds_and_what_others_signed_does_not() {
    let ours = placeholders(&["systemd/*"], 1);
    let (app, other) = (unit("app.service"), unit("other.service"));
    let placeholder = ours.give(&app, Timestamp::now());
    assert_eq!((placeholder.key_id.len(), placeholder.secret.len()), (20, SECRET_LEN));
    let head = signed(&placeholder, b"{}");
    assert!(check(&ours, &head, &app, b"{}").is_ok());
    let of = |result: Result<Vouched, PlaceholderFault>| result.expect_err("refused");
    assert_eq!(of(check(&ours, &head, &other, b"{}")), PlaceholderFault::Foreign(app.id.clone()));
    assert_eq!(of(check(&ours, &head, &app, b"{ }")), PlaceholderFault::Altered);
    assert_eq!(of(check(&placeholders(&["systemd/*"], 2), &head, &app, b"{}")), PlaceholderFault::Forged);
    assert_eq!(of(check(&placeholders(&["user/*"], 1), &head, &app, b"{}")), PlaceholderFault::NotOptedIn);
    // After a restart the key is the same, and so is what it vouches for.
    assert!(check(&placeholders(&["systemd/*"], 1), &head, &app, b"{}").is_ok());
}

#[test]
fn it_ends() {
    let ours = placeholders(&["systemd/*"], 1);
    let app = unit("app.service");
    let long_ago = Timestamp::now().checked_sub(SignedDuration::from_secs(901)).expect("a time");
    let head = signed(&ours.give(&app, long_ago), b"{}");
    assert_eq!(check(&ours, &head, &app, b"{}").expect_err("refused"), PlaceholderFault::Expired);

    let mut late = key_of(&ours.give(&app, Timestamp::now()), "bedrock-agentcore");
    late.clock = Clock::at(SystemTime::now() - Duration::from_secs(1000));
    let mut head = request("/mcp");
    sign(&mut head, "mcp.test", b"{}", &late).expect("signed");
    assert_eq!(check(&ours, &head, &app, b"{}").expect_err("refused"), PlaceholderFault::Time);
}

#[test]
fn a_stated_payload_is_taken_at_its_word_where_the_server_compares_it() {
    let ours = placeholders(&["systemd/*"], 1);
    let app = unit("app.service");
    let placeholder = ours.give(&app, Timestamp::now());
    let with = |stated: &str, body: Option<&[u8]>| {
        let mut head = request("/key");
        head.headers.insert("x-amz-content-sha256", HeaderValue::from_str(stated).expect("a value"));
        let names = vec!["content-type".to_owned()];
        sign_again(&mut head, "s3.test", &names, Content::Stated(stated), &key_of(&placeholder, "s3")).expect("signed");
        Presented::of(&head).expect("a signature").check(&ours, &app, body, Timestamp::now()).is_ok()
    };
    let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert!(with(digest, None) && with(digest, Some(b"{}")) && !with(digest, Some(b"{ }")));
    assert!(with("UNSIGNED-PAYLOAD", None) && with("UNSIGNED-PAYLOAD", Some(b"any")));
    assert!(with("STREAMING-UNSIGNED-PAYLOAD-TRAILER", None));
    for unread in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "00"] {
        assert!(!with(unread, None), "{unread}");
    }
    assert!(!with("STREAMING-UNSIGNED-PAYLOAD-TRAILER", Some(b"{}")), "a message is whole");
}

#[test]
fn what_cannot_be_checked_is_recognised_and_refused() {
    let ours = placeholders(&["systemd/*"], 1);
    let app = unit("app.service");
    let placeholder = ours.give(&app, Timestamp::now());
    let good = signed(&placeholder, b"{}");
    let presigned =
        request(&format!("/x?X-Amz-Credential={}%2F20261123%2Fus-east-1%2Fs3%2Faws4_request", placeholder.key_id));
    assert!(matches!(check(&ours, &presigned, &app, b""), Err(PlaceholderFault::Unreadable(_))));
    for (name, value) in [
        (
            "authorization",
            good.headers["authorization"].to_str().expect("text").replace("HMAC-SHA256", "ECDSA-P256-SHA256"),
        ),
        ("authorization", good.headers["authorization"].to_str().expect("text").replace(";x-amz-security-token", "")),
        ("authorization", good.headers["authorization"].to_str().expect("text").replace("Signature=", "Sign=")),
        ("x-amz-date", "yesterday".to_owned()),
        ("x-amz-content-sha256", "00".to_owned()),
    ] {
        let mut head = good.clone();
        head.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value).expect("a value"));
        assert!(matches!(check(&ours, &head, &app, b"{}"), Err(PlaceholderFault::Unreadable(_))), "{name}: {value}");
    }
    let mut real = good;
    real.headers.insert("authorization", HeaderValue::from_static("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/x"));
    assert!(Presented::of(&real).is_none(), "a real key's signature is none of ours");
}

#[test]
fn a_request_signed_again_differs_in_its_signature_alone() {
    let ours = placeholders(&["systemd/*"], 1);
    let app = unit("app.service");
    let mut head = request("/b/a%20b//c");
    head.headers.append("x-amz-meta-own", HeaderValue::from_static("1"));
    head.headers.append("x-amz-meta-own", HeaderValue::from_static("2"));
    let names = vec!["content-type".to_owned(), "x-amz-meta-own".to_owned()];
    let content = Content::Stated("UNSIGNED-PAYLOAD");
    sign_again(&mut head, "s3.test", &names, content, &key_of(&ours.give(&app, Timestamp::now()), "s3"))
        .expect("signed");
    let presented = Presented::of(&head).expect("a signature");
    let vouched = presented.check(&ours, &app, None, Timestamp::now()).expect("it holds");
    assert_eq!(vouched.signed, names);

    // With another placeholder, because only of these can be told whether they signed it.
    let real = ours.give(&app, after(Timestamp::now(), Duration::from_secs(1)));
    let mut again = head.clone();
    sign_again(&mut again, "s3.test", &vouched.signed, content, &key_of(&real, "s3")).expect("signed");
    assert!(Presented::of(&again).expect("a signature").check(&ours, &app, None, Timestamp::now()).is_ok());
    for (name, value) in &head.headers {
        let is_own = ["authorization", "x-amz-security-token", "x-amz-date"].contains(&name.as_str());
        assert!(is_own || again.headers.get_all(name).iter().any(|of| of == value), "{name}");
    }
    assert_eq!(again.headers.len(), head.headers.len());
}

#[test]
fn one_token_does_not_do_for_the_other() {
    let ours = placeholders(&["systemd/*"], 1);
    let (app, now) = (unit("app.service"), Timestamp::now());
    let token = ours.admit(&app, now, Duration::from_secs(10));
    assert!(ours.admits(&app, now, &token));
    assert!(!ours.admits(&unit("other.service"), now, &token));
    assert!(!ours.admits(&app, after(now, Duration::from_secs(11)), &token));
    assert!(!ours.admits(&app, now, &ours.give(&app, now).token));
}

#[test]
fn who_opts_in_is_told_by_id_or_name_and_nobody_is_guessed() {
    let of = |patterns: &[&str], workload: &Workload| placeholders(patterns, 1).standing(workload);
    let named = workload(WorkloadKind::Pod, "pod/u/c", "ns/billing/sa/app");
    let nameless = workload(WorkloadKind::Pod, "pod/u/c", "pod/u/c");
    assert_eq!(of(&["ns/billing/*"], &named), Standing::OptedIn);
    assert_eq!(of(&["ns/shop/*"], &named), Standing::Out);
    assert_eq!(of(&["ns/billing/sa/app"], &named), Standing::OptedIn);
    assert_eq!(of(&["ns/billing/sa/ap"], &named), Standing::Out);
    assert_eq!(of(&["ns/billing/*"], &nameless), Standing::Unknown);
    assert_eq!(of(&["n*"], &nameless), Standing::Unknown);
    assert_eq!(of(&["pod/u/*"], &nameless), Standing::OptedIn);
    assert_eq!(of(&["systemd/*"], &nameless), Standing::Out);
    assert_eq!(of(&["*"], &workload(WorkloadKind::Unknown, "unknown", "unknown")), Standing::Unknown);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever was signed holds; with one bit changed in the body, or one character in what is signed, it does not.
    #[test]
    fn any_change_is_noticed(
        path in "(/[a-zA-Z0-9._~-]{1,8}|/%[2-7][0-9A-F]){1,4}",
        query in "([a-z]{1,3}=[a-z0-9]{0,3}&?){0,3}",
        body in prop::collection::vec(any::<u8>(), 1..200),
        bit in any::<prop::sample::Index>(),
    ) {
        let ours = placeholders(&["systemd/*"], 1);
        let app = unit("app.service");
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut head = request(&target);
        sign(&mut head, "mcp.test", &body, &key_of(&ours.give(&app, Timestamp::now()), "lambda")).expect("signed");
        prop_assert!(check(&ours, &head, &app, &body).is_ok());

        let mut other = body.clone();
        let at = bit.index(body.len() * 8);
        other[at / 8] ^= 1 << (at % 8);
        prop_assert!(check(&ours, &head, &app, &other).is_err());

        let mut changed = head.clone();
        changed.method = Method::PUT;
        prop_assert!(check(&ours, &changed, &app, &body).is_err());
        let mut changed = head.clone();
        changed.uri = format!("{target}x").parse().expect("a URI");
        prop_assert!(check(&ours, &changed, &app, &body).is_err());
        for name in ["authorization", "host", "content-type", "mcp-session-id", "x-amz-date", "x-amz-security-token"] {
            let mut changed = head.clone();
            let mut value = changed.headers[name].as_bytes().to_vec();
            let at = bit.index(value.len());
            value[at] = if value[at] == b'0' { b'1' } else { b'0' };
            changed.headers.insert(name, HeaderValue::from_bytes(&value).expect("a value"));
            let holds = Presented::of(&changed).is_some_and(|presented| {
                presented.check(&ours, &app, Some(&body), Timestamp::now()).is_ok()
            });
            prop_assert!(!holds, "{name} at {at}");
        }
    }

    #[test]
    fn nothing_but_what_was_sealed_opens(text in "\\PC{0,80}|weir\\.key\\.[0-9]{1,12}\\.[a-z]{0,8}\\.[A-Za-z0-9_-]{43}") {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]);
        prop_assert_eq!(token::open(&key, Purpose::Key, &text), None);
    }
}
