use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    thread,
};

use uuid::Uuid;

use super::{Carrier, Direction, Service, Telemetry};
use crate::{
    audit::{
        event::{Action, Outcome, Phase},
        samples,
    },
    config::Otlp,
};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn telemetry(otlp: Option<Otlp>) -> Telemetry {
    let service = Service { version: "1", instance: "log", host: "host" };
    Telemetry::start(&crate::config::Telemetry { otlp }, true, service).unwrap()
}

fn carrier(parent: &str) -> Carrier {
    Carrier { parent: Some(parent.to_owned()), state: None }
}

#[test]
fn without_a_collector_the_callers_trace_is_still_known() {
    let open = |parent: &str| telemetry(None).open(Direction::FromClient, "ping", None, &carrier(parent));
    assert_eq!(open(CALLER).trace_id(), Some("0af7651916cd43dd8448eb211c80319c"));
    for invalid in ["", "00-0-0-00", &CALLER.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32))] {
        assert_eq!(open(invalid).trace_id(), None, "{invalid}");
    }
}

#[test]
fn the_nearer_context_counts() {
    let far = carrier("far");
    assert_eq!(carrier("near").or(&far), carrier("near"));
    assert_eq!(Carrier::default().or(&far), far);
}

#[test]
fn durations_are_labelled_by_what_the_record_says() {
    let telemetry = telemetry(None);
    let mut call = samples::call(Phase::Response, Uuid::now_v7());
    call.mcp.outcome = Some(Outcome::Error);
    call.mcp.error = Some(samples::payload(r#"{"code":-32602,"message":"no"}"#));
    telemetry.open(Direction::FromClient, "tools/call", Some("refund"), &Carrier::default()).end(&call);
    call.mcp.error = None;
    call.verdict.action = Action::Deny;
    telemetry.open(Direction::FromServer, "tools/call", Some("refund"), &Carrier::default()).end(&call);
    let text = telemetry.prometheus().unwrap();
    let line =
        |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
    let asked = line("mcp_client_operation_duration_seconds_count");
    assert!(asked.contains(r#"error_type="-32602""#) && asked.contains(r#"gen_ai_tool_name="refund""#), "{asked}");
    let other = line("mcp_server_operation_duration_seconds_count");
    assert!(other.contains(r#"error_type="tool_error""#) && other.contains(r#"weir_verdict="deny""#), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_is_sent_when_the_agent_stops() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let collector = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0_u8; 4096];
        let read = stream.read(&mut request).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let otlp = Otlp { endpoint, traces: true, metrics: false, sample: 1.0, interval_ms: 60_000 };
    let telemetry = telemetry(Some(otlp));
    let span = telemetry.open(Direction::FromClient, "tools/call", Some("refund"), &carrier(CALLER));
    let mut call = samples::call(Phase::Response, Uuid::now_v7());
    call.mcp.outcome = Some(Outcome::Ok);
    span.end(&call);
    drop(span);
    telemetry.stop().await;
    let request = collector.join().unwrap();
    assert!(request.starts_with("POST /v1/traces HTTP/1.1\r\n") && request.contains("refund"), "{request}");
}
