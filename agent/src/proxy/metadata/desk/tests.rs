use http::Request;
use serde_json::Value;

use super::*;
use crate::{audit::samples, config};

fn placeholders(region: Option<&str>) -> Placeholders {
    let config = config::Placeholder {
        workloads: vec!["*".into()],
        role: "role".into(),
        region: region.map(str::to_owned),
        duration_s: 3600,
        others: config::OtherWorkloads::Pass,
        other_calls: config::OtherCalls::Fail,
    };
    Placeholders::new(&config, &[1; 32])
}

struct Asked<'a> {
    placeholders: &'a Placeholders,
    service: Service,
}

impl Asked<'_> {
    fn answer(&self, request: http::request::Builder) -> (u16, String) {
        let workload = samples::workload();
        let desk = Desk { service: self.service, workload: &workload, placeholders: self.placeholders };
        let head = request.body(()).expect("a request").into_parts().0;
        let response = desk.answer(&head, Timestamp::now()).response;
        (response.status().as_u16(), String::from_utf8_lossy(response.body()).into_owned())
    }
}

#[test]
fn only_version_2_of_the_instance_metadata_is_spoken() {
    let placeholders = placeholders(Some("us-east-1"));
    let instance = Asked { placeholders: &placeholders, service: Service::Instance };
    let role = format!("{ROLES}/role");
    assert_eq!(instance.answer(Request::get(&role)).0, 401);
    assert_eq!(instance.answer(Request::get("/latest/user-data")).0, 401);
    assert_eq!(instance.answer(Request::put("/latest/api/token")).0, 400);
    for ttl in ["0", "21601", "-1", "x"] {
        assert_eq!(instance.answer(Request::put("/latest/api/token").header(TTL, ttl)).0, 400, "{ttl}");
    }
    let forwarded = Request::put("/latest/api/token").header(TTL, "60").header("x-forwarded-for", "10.0.0.1");
    assert_eq!(instance.answer(forwarded).0, 403);
    let (status, token) = instance.answer(Request::put("/latest/api/token").header(TTL, "60"));
    assert_eq!(status, 200);
    let get = |path: &str| instance.answer(Request::get(path).header(TOKEN, &token));
    assert_eq!(get(&format!("{ROLES}/")), (200, "role".into()));
    let (status, text) = get(&role);
    let keys: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((status, &keys["Code"], &keys["Type"]), (200, &"Success".into(), &"AWS-HMAC".into()));
    assert!(keys["AccessKeyId"].as_str().is_some_and(|id| id.starts_with("WEIR")));
    let ends: Timestamp = keys["Expiration"].as_str().and_then(|text| text.parse().ok()).expect("a time");
    assert!(ends > Timestamp::now());
    assert_eq!(get("/latest/meta-data/placement/region"), (200, "us-east-1".into()));
    for other in ["/latest/user-data", "/latest/meta-data/", "/latest/meta-data/iam/info", &format!("{ROLES}/other")] {
        assert_eq!(get(other).0, 404, "{other}");
    }
    assert_eq!(instance.answer(Request::post(&role).header(TOKEN, &token)).0, 404);
}

#[test]
fn containers_are_answered_where_their_services_are() {
    let placeholders = placeholders(None);
    let tasks = Asked { placeholders: &placeholders, service: Service::Tasks };
    let pods = Asked { placeholders: &placeholders, service: Service::Pods };
    for (status, text) in [
        tasks.answer(Request::get("/v2/credentials/0a1b")),
        tasks.answer(Request::get("/v2/credentials?id=0a1b")),
        pods.answer(Request::get("/v1/credentials").header(AUTHORIZATION, "token")),
    ] {
        let keys: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(status, 200);
        for member in ["AccessKeyId", "SecretAccessKey", "Token", "Expiration"] {
            assert!(keys[member].is_string(), "{member}");
        }
    }
    assert_eq!(pods.answer(Request::get("/v1/credentials")).0, 401);
    assert_eq!(tasks.answer(Request::get("/v4/0a1b/task")).0, 404);
    assert_eq!(tasks.answer(Request::get("/v2/credentialsx")).0, 404);
}
