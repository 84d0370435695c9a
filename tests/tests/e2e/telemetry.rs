//! What the agent tells a collector and Prometheus, beside its records.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value as Any},
    metrics::v1::{Metric, metric::Data},
    trace::v1::{Span, Status, span::SpanKind, status::StatusCode},
};
use prost::Message as _;
use serde_json::{Value, json};
use weir_tests::{
    fixture::{APP, Agent, Client, ConfigToml, Curl, Server, ServerKind, Stage, eventually},
    raw::server::{RawServer, Speaks, Then},
};

use crate::story::{stage_with, tool_call};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A collector that keeps what it is sent.
struct Collector(RawServer);

impl Collector {
    fn start() -> Self {
        let server = RawServer::start(Ipv4Addr::LOCALHOST.into(), 0, Speaks::Plain);
        server.answers(Arc::new(|_, wire| {
            wire.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")?;
            Ok(Then::KeepAlive)
        }));
        Self(server)
    }

    fn config(&self, more: &str) -> String {
        format!("[telemetry]\notlp = {{ endpoint = \"http://{}\", interval_ms = 1000{more} }}", self.0.addr())
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.0.seen().into_iter().filter(|request| request.second_word() == "/v1/traces");
        let decode = |body: Vec<u8>| ExportTraceServiceRequest::decode(&*body).expect("OTLP spans");
        let resources = requests.flat_map(|request| decode(request.body).resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    fn span(&self, name: &str) -> Span {
        eventually("the span is exported", || self.spans().into_iter().find(|span| span.name == name))
    }

    fn metric(&self, name: &str) -> Metric {
        eventually("the metric is exported", || {
            let seen = self.0.seen().into_iter().rev().filter(|request| request.second_word() == "/v1/metrics");
            let decode = |body: Vec<u8>| ExportMetricsServiceRequest::decode(&*body).expect("OTLP metrics");
            let resources = seen.flat_map(|request| decode(request.body).resource_metrics);
            let mut metrics = resources.flat_map(|r| r.scope_metrics).flat_map(|scope| scope.metrics);
            metrics.find(|metric| metric.name == name)
        })
    }
}

fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &KeyValue| match value.value.as_ref().and_then(|value| value.value.clone()) {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    list.iter().map(|value| (value.key.clone(), text(value))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stage_with_collector(name: &str) -> (Stage, Server, Collector) {
    let (stage, server) = stage_with(ServerKind::Python, name);
    (stage, server, Collector::start())
}

/// A call of the modern era, by hand.
fn add(id: u64) -> Value {
    let mut call = tool_call(id, "add", &json!({ "a": 1, "b": 2 }));
    call["params"]["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    call
}

fn modern(server: &Server, message: &Value, method: &str) -> Curl {
    let curl = Curl::post(&server.url(), message).header("mcp-protocol-version", "2026-07-28");
    curl.header("mcp-method", method).header("mcp-name", "add")
}

#[test]
fn a_call_is_a_span_in_its_callers_trace() {
    let (stage, server, collector) = stage_with_collector("span");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]).and(&collector.config("")));
    let mut message = add(7);
    message["params"]["_meta"]["traceparent"] = format!("00-{TRACE}-{CALLER}-01").into();
    // The message's own context counts, not that of the request which carries it.
    let other = "00-11111111111111111111111111111111-2222222222222222-01";
    let call = modern(&server, &message, "tools/call").header("authorization", "Bearer of-the-client-3f9a0c1d");
    let reply = call.header("traceparent", other).run(&stage, APP);
    assert_eq!(reply.status, 200, "{}", reply.body);

    let span = collector.span("tools/call add");
    collector.0.seen().iter().for_each(|request| stage.assert_no_secret_in("OTLP", &request.body));
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    assert_eq!(span.kind(), SpanKind::Client);
    let call = agent.records().only_call("add");
    let said = attributes(&span.attributes);
    let expected = [
        ("mcp.method.name", "tools/call"),
        ("gen_ai.tool.name", "add"),
        ("gen_ai.operation.name", "execute_tool"),
        ("jsonrpc.request.id", "7"),
        ("network.transport", "tcp"),
        ("server.address", "mcp.test"),
        ("weir.verdict", "allow"),
        ("weir.endpoint", server.name()),
        ("weir.call.id", call.request.mcp("call_id").as_str().expect("a call's id")),
        ("weir.workload.id", call.request.workload("id").as_str().expect("a workload's id")),
    ];
    for (name, value) in expected {
        assert_eq!(said.get(name).map(String::as_str), Some(value), "{name} in {said:?}");
    }
    for record in [&call.request, call.answer()] {
        assert_eq!(record.mcp("trace_id"), TRACE, "{}", record.line);
    }
}

#[test]
fn a_refused_call_and_a_failed_tool_are_errors_and_say_of_what_kind() {
    let (stage, server, collector) = stage_with_collector("errors");
    let _agent = Agent::start(&stage, &ConfigToml::of(&[&server]).and(&collector.config("")));
    // Headers that contradict the body: refused before it is sent.
    let reply = modern(&server, &add(1), "tools/list").run(&stage, APP);
    assert_ne!(reply.status, 200, "{}", reply.body);
    let span = collector.span("tools/call add");
    let said = attributes(&span.attributes);
    assert_eq!(span.status.as_ref().map(Status::code), Some(StatusCode::Error), "{span:?}");
    assert_eq!(said.get("error.type").map(String::as_str), Some("refused"), "{said:?}");
    assert_eq!(said.get("weir.verdict").map(String::as_str), Some("deny"), "{said:?}");
    assert!(said.contains_key("weir.verdict.policy"), "{said:?}");

    let _ = Client::python(&server.url()).call("no_such_tool", &json!({})).run(&stage, APP);
    let said = attributes(&collector.span("tools/call no_such_tool").attributes);
    assert!(said.contains_key("error.type") && said["error.type"] != "refused", "{said:?}");
}

#[test]
fn what_a_mask_hides_no_span_shows() {
    let (stage, server, collector) = stage_with_collector("masked-span");
    let masks = "[[mask]]\npaths = [\"$.params.name\"]\n";
    let _agent = Agent::start(&stage, &ConfigToml::of(&[&server]).and(masks).and(&collector.config("")));
    let reply = modern(&server, &add(1), "tools/call").run(&stage, APP);
    assert_eq!(reply.status, 200, "{}", reply.body);
    eventually("a span is exported", || (!collector.spans().is_empty()).then_some(()));
    for span in collector.spans() {
        assert!(!format!("{span:?}").contains("\"add\"") && span.name != "tools/call add", "{span:?}");
    }
}

#[test]
fn calls_are_measured_for_the_collector_and_for_prometheus() {
    let (stage, server, collector) = stage_with_collector("metrics");
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let metrics: SocketAddr = free.local_addr().expect("its address");
    drop(free);
    let config = ConfigToml::of(&[&server]).metrics(metrics).and(&collector.config(", traces = false"));
    let agent = Agent::start(&stage, &config);
    let _ = Client::python(&server.url()).call("add", &json!({ "a": 1, "b": 2 })).run(&stage, APP);

    let duration = eventually("a tool's duration is exported", || {
        let metric = collector.metric("mcp.client.operation.duration");
        let Some(Data::Histogram(histogram)) = metric.data else { panic!("not a histogram: {metric:?}") };
        histogram.data_points.into_iter().find(|point| attributes(&point.attributes).contains_key("gen_ai.tool.name"))
    });
    assert_eq!((duration.count, attributes(&duration.attributes)["mcp.method.name"].as_str()), (1, "tools/call"));
    assert_eq!(duration.explicit_bounds.first(), Some(&0.01));
    assert!(collector.spans().is_empty(), "spans, although none were wanted");

    let page = Curl::get(&format!("http://{metrics}/metrics")).run(&stage, "/outside");
    assert_eq!(page.status, 200, "{}", page.body);
    let has = |name: &str, label: &str| {
        page.body.lines().any(|line| line.starts_with(name) && line.contains(label) && !line.ends_with(" 0"))
    };
    assert!(has("mcp_client_operation_duration_seconds_count", "gen_ai_tool_name=\"add\""), "{}", page.body);
    assert!(has("weir_kernel_connections_total", "weir_outcome=\"redirected\""), "{}", page.body);
    assert!(has("weir_log_records_total", "weir_outcome=\"durable\""), "{}", page.body);
    let failing: Vec<_> = page.body.lines().filter(|line| line.starts_with("weir_check_failing{")).collect();
    assert!(failing.len() == 4 && failing.iter().all(|line| line.ends_with(" 0")), "{failing:#?}");
    agent.verify();
}

#[test]
fn a_collector_that_is_down_holds_nothing_up() {
    let (stage, server) = stage_with(ServerKind::Python, "no-collector");
    let telemetry = "[telemetry]\notlp = { endpoint = \"http://127.0.0.1:9\", interval_ms = 1000 }";
    let mut agent = Agent::start(&stage, &ConfigToml::of(&[&server]).and(telemetry));
    let said = Client::python(&server.url()).call("add", &json!({ "a": 1, "b": 2 })).run(&stage, APP);
    assert_eq!(said.text(), "3");
    assert!(agent.terminate().success());
    agent.verify();
}
