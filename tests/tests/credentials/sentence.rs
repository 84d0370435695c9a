//! The whole sentence, once: an unmodified client in a pod calls a server that takes nothing but signatures of AWS, and its
//! call is intercepted, tied to its pod, judged, masked, recorded, shipped and signed anew. Each is read from the outside.

use std::fs;

use serde_json::{Value, json};
use weir::audit::head::Head;
use weir_tests::{
    fixture::{Agent, Authority, Aws, Call, Client, ConfigToml, Container, Gates, Playing, Records, Transcript},
    shipping::{Emulator, Stream},
};

use crate::{
    scan::assert_no_key_in,
    trial::{ROLE, Trial},
};

/// The pod's address, and the server's in the pod's own network.
const HERE: &str = "10.88.0.2";
const THERE: &str = "10.88.0.1";

/// The server gets it masked, as the rule is inline; nobody but the server gets the address in the clear.
const ACCOUNT: &str = "DE89370400440532013000";
const ADDRESS: &str = "ada.lovelace@example.com";
/// What the client holds of its own, and sends.
const OWN: &str = "Bearer the-clients-own-2f7c41d8";

const POLICIES: &str = r#"
@id("protocol")
permit (principal, action in [Action::"session", Action::"list"], resource);

@id("payments-team")
permit (principal, action == Action::"tools/call", resource in Endpoint::"mcp.test")
when {
  principal has pod.namespace && principal.pod.namespace == "payments" &&
  principal.hasTag("team") && principal.getTag("team") == "payments" &&
  context.source.ip.isInRange(ip("10.88.0.0/16"))
};

@id("limit")
@reason("transfers above 1000 are made by hand")
forbid (principal, action == Action::"tools/call", resource == Tool::"mcp.test/transfer")
when { context.arguments.hasTag("amount") && context.arguments.getTag("amount").long > 1000 };
"#;

const MASKS: &str = r#"
[[mask]]
name = "accounts"
paths = ["$.params.arguments.account"]
inline = true

[[mask]]
name = "people"
detectors = ["email"]
"#;

#[test]
fn a_pods_call_is_intercepted_judged_masked_recorded_shipped_and_signed() {
    let trial = Trial::new("sentence", &[], &[]);
    trial.stage.world().add_hosts(&format!("{THERE} mcp.test"));
    let kubelet = Authority::kubelet(&trial.stage, &Authority::pods());
    let emulator = Emulator::ferrokinesis(trial.stage.world().dir(), &[]);
    let stream = Stream::create(&emulator.url(), "weir-audit", 2, (Aws::KEY_ID, Aws::SECRET));
    let config = config(&trial, &kubelet.table(&trial.stage), &emulator.url());
    let mut agent = Agent::start_in(&trial.stage, &config, &Aws::ENVIRONMENT);

    let pod = trial.stage.container('a').in_pod(Authority::POD).cable(&trial.server, HERE, THERE);
    let gates = trial.stage.gates("gates");
    let mut client = pod.play(&client(&gates));
    trial.server.has_seen("the last call", |request| request.is_call_of("climb"));
    connections_are_the_agents(&pod, &agent, &mut client);
    assert_no_key_in(&trial, &agent, &pod.cgroup());
    gates.open("1");
    let told = client.finish();
    assert!(agent.terminate().success(), "{}", agent.log());

    the_client_has_its_result_and_a_reason(&told);
    let signer = the_server_saw_signed_and_masked_requests_only(&trial);
    the_stream_is_complete(&agent, &emulator);
    let records = stream.records();
    assert_eq!(records.0.len(), agent.records().0.len());
    the_stream_says_who_did_what_as_whom(&records, &trial, &signer);
    trial.assert_written_nowhere(&agent, &[ACCOUNT, ADDRESS, OWN, Authority::TOKEN]);
}

fn config(trial: &Trial, names: &str, kinesis: &str) -> ConfigToml {
    let policies = trial.file("sentence.cedar", POLICIES);
    let credentials = trial.role("tags = [\"workload\", \"pod\", \"endpoint\"]");
    ConfigToml::of(&[])
        .endpoint(&trial.server, &format!("paths = [\"/mcp\"]\ncredentials = {credentials}"))
        .scope(&["/kubepods.slice"])
        .and(names)
        .and(&format!("[policy]\nfiles = [{policies:?}]\ndefault = \"deny\""))
        .and(MASKS)
        .and(&format!(
            "[audit]\nkinesis = {{ stream = \"weir-audit\", region = \"us-east-1\", endpoint_url = {kinesis:?} }}"
        ))
}

/// A transfer, one that is too large, and one call more, which holds until a gate opens.
fn client(gates: &Gates) -> Client {
    let transfer = |amount: u32| json!({ "account": ACCOUNT, "amount": amount, "note": format!("ask {ADDRESS}") });
    Client::python_session("https://mcp.test/mcp")
        .header("authorization", OWN)
        .call("transfer", &transfer(500))
        .call("transfer", &transfer(5000))
        .call("climb", &json!({ "gates": gates.path(), "steps": 1 }))
}

/// In the pod's own network, whatever is connected to the server is the agent's.
fn connections_are_the_agents(pod: &Container<'_>, agent: &Agent<'_>, client: &mut Playing) {
    let [a, b, c, d] = THERE.parse::<std::net::Ipv4Addr>().expect("an address").octets();
    let server = format!("{d:02X}{c:02X}{b:02X}{a:02X}:{:04X}", 443);
    let sockets = pod.sockets();
    let columns = sockets.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let to_server: Vec<_> = columns.filter(|columns| columns.get(2) == Some(&server.as_str())).collect();
    assert!(!to_server.is_empty(), "{sockets}\n{}", client.complaints());
    let held: Vec<String> = fs::read_dir(format!("/proc/{}/fd", agent.pid()))
        .expect("the agent's files")
        .filter_map(|file| Some(fs::read_link(file.ok()?.path()).ok()?.display().to_string()))
        .collect();
    for socket in to_server {
        assert!(held.contains(&format!("socket:[{}]", socket[9])), "{socket:?} is not the agent's");
    }
}

fn the_client_has_its_result_and_a_reason(told: &Transcript) {
    let results: Vec<_> = told.of("result").collect();
    let text = |n: usize| results[n]["content"][0]["text"].as_str().unwrap_or_default();
    assert!(told.succeeded && results.len() == 3, "{told:#?}");
    assert!(text(0).starts_with("moved 500 to [masked:accounts:"), "{told:#?}");
    assert!(text(0).ends_with(&format!(": ask {ADDRESS}")), "{told:#?}");
    assert_eq!(results[1]["failed"], true);
    assert_eq!(text(1), "refused by Weir: transfers above 1000 are made by hand (limit)");
    assert_eq!(text(2), "climbed 1", "the session goes on");
}

/// Gives the id of the key that signed.
fn the_server_saw_signed_and_masked_requests_only(trial: &Trial) -> Value {
    let seen = trial.seen();
    for request in &seen {
        assert!(request.0["verified"].is_object(), "{:#}", request.0);
        assert_eq!(request.peer().to_string(), HERE, "from the pod's own network");
        assert!(!request.0["headers"].to_string().contains(OWN), "{:#}", request.0);
    }
    let keys: Vec<_> = seen.iter().map(|request| &request.0["verified"]["key"]).collect();
    assert!(keys.iter().all(|key| *key == keys[0] && *key != Aws::KEY_ID), "{keys:?}");
    let transfers: Vec<_> = seen.iter().filter(|request| request.is_call_of("transfer")).collect();
    assert_eq!(transfers.len(), 1, "the other one never left");
    let arguments = &transfers[0].message()["params"]["arguments"];
    assert!(arguments["account"].as_str().is_some_and(|masked| masked.starts_with("[masked:accounts:")), "{arguments}");
    assert_eq!((&arguments["amount"], &arguments["note"]), (&json!(500), &json!(format!("ask {ADDRESS}"))));
    keys[0].clone()
}

fn the_stream_is_complete(agent: &Agent<'_>, emulator: &Emulator) {
    let arguments = ["audit", "--json", "verify", "--stream", "weir-audit", "--region", "us-east-1", "--endpoint-url"];
    let said = agent.command(&[&arguments[..], &[&emulator.url()]].concat());
    let report: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:#?}"));
    assert!(said.succeeded && report["intact"] == true, "{report:#}");
    let head = Head::read(&agent.audit_dir()).expect("the log's head");
    let log = &report["logs"][0];
    assert_eq!((&log["first_seq"], &log["last_seq"], &log["records"]), (&json!(1), &json!(head.seq), &json!(head.seq)));
    assert!(log["checkpoints"].as_u64() > Some(0), "{report:#}");
}

fn the_stream_says_who_did_what_as_whom(records: &Records, trial: &Trial, signer: &Value) {
    let calls = records.tool_calls("transfer");
    let [allowed, denied] = &calls[..] else { panic!("{}", records.summary()) };
    let asked = trial.aws.asked();
    assert_eq!(asked.len(), 1, "one session: {asked:#?}");
    let session = asked[0]["RoleSessionName"].as_str().expect("a name");
    assert!(session.starts_with(&format!("pod={}=", Authority::POD)), "{session}");
    assert_eq!(asked[0]["Tags.member.2.Value"], Authority::POD);
    let credential = json!({ "kind": "sigv4", "role_arn": ROLE, "session_name": session, "access_key_id": signer });
    for record in [&allowed.request, allowed.answer()] {
        assert_eq!(record.event()["credential"], credential, "{}", record.line);
    }
    assert_eq!(allowed.outcome(), "ok");
    verdict_is(allowed, "allow", "payments-team");
    verdict_is(denied, "deny", "limit");
    assert_eq!(denied.request.outcome(), "refused", "{}", denied.request.line);

    for call in [allowed, denied] {
        let (event, line) = (call.request.event(), &call.request.line);
        assert_eq!(call.request.value["event"]["src_endpoint"]["ip"], HERE, "{line}");
        assert_eq!(event["workload"]["pod"]["name"], "agent-7c9d8f6b54-x2v9k", "{line}");
        assert_eq!(event["workload"]["pod"]["namespace"], "payments", "{line}");
        assert_eq!(event["workload"]["container"]["image"], "registry.example.com/agent:1.4.2", "{line}");
        assert_eq!((&event["masked"]["accounts"], &event["masked"]["people"]), (&json!(1), &json!(1)), "{line}");
        let arguments = &call.request.mcp("params")["arguments"];
        assert!(arguments["note"].as_str().is_some_and(|note| note.starts_with("ask [masked:people/email:")), "{line}");
    }
}

fn verdict_is(call: &Call, action: &str, policy: &str) {
    let verdict = &call.request.event()["verdict"];
    assert_eq!((&verdict["action"], &verdict["policy"]), (&json!(action), &json!(policy)), "{}", call.request.line);
}
