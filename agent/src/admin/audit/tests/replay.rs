use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::*;
use crate::audit::{
    event::{Action, Call, Flow, FlowEnd, Http, Phase, Route, StreamEvents, Verdict},
    samples::{allow, call, caller, http_request, payload, route, workload},
};

const SESSION: &str = "8f14e45f-ceea-467f-a0e6-000000005e55";

/// A session beside another one, a second between records.
struct Story {
    flow: Uuid,
    events: Vec<Event>,
}

impl Story {
    fn say(&mut self, mut call: Call, edit: impl FnOnce(&mut Call)) {
        call.route.flow_id = self.flow;
        edit(&mut call);
        self.happen(What::Call(Box::new(call)));
    }

    fn happen(&mut self, what: What) {
        let first = Timestamp::from_millisecond(1_785_000_000_123).unwrap();
        let time = first + SignedDuration::from_secs(self.events.len() as i64);
        self.events.push(Event { time, what });
    }

    fn route(&self) -> Route {
        Route { flow_id: self.flow, ..route() }
    }

    fn http(&mut self, method: &str) {
        let http = Http {
            workload: workload(),
            caller: caller(),
            route: self.route(),
            endpoint: "billing".into(),
            request: crate::audit::event::HttpRequest { method: method.into(), ..http_request() },
            request_id: Uuid::nil(),
            verdict: allow(),
            credential: None,
            status: Some(200),
            duration: Some(Duration::from_millis(3)),
            events: 2,
        };
        self.happen(What::Http(Box::new(http)));
    }

    fn close(&mut self) {
        let flow = Flow {
            workload: workload(),
            route: self.route(),
            tally: None,
            endpoint: Some("billing".into()),
            end: FlowEnd::Closed,
            reason: None,
            duration: Duration::from_secs(2),
            bytes_out: 10,
            bytes_in: 20,
            protocol: "tls",
            shadow: None,
        };
        self.happen(What::Flow(Box::new(flow)));
    }
}

fn in_session(call: &mut Call) {
    call.mcp.session_id = Some(SESSION.into());
}

/// 11 records of the session, and two of another.
fn story() -> Vec<Event> {
    let mut story = Story { flow: Uuid::from_u128(7), events: Vec::new() };
    let [begin, refund, asked, other] = [1, 0xabcd, 3, 4].map(Uuid::from_u128);
    story.say(call(Phase::Request, begin), |call| call.mcp.method = Some("initialize".into()));
    story.say(call(Phase::Request, other), |call| {
        call.route.flow_id = Uuid::from_u128(8);
        call.mcp.session_id = Some("another".into());
    });
    story.say(call(Phase::Response, begin), |call| {
        in_session(call);
        call.mcp.method = Some("initialize".into());
        call.mcp.outcome = Some(Outcome::Ok);
    });
    story.http("GET");
    story.say(call(Phase::Request, refund), |call| {
        in_session(call);
        call.mcp.params = Some(payload(r#"{"name":"refund","arguments":{"amount":5,"to":"a\nb"}}"#));
    });
    story.say(call(Phase::ServerRequest, asked), |call| {
        in_session(call);
        call.mcp.method = Some("elicitation/create".into());
        call.mcp.name = None;
        call.mcp.params = Some(payload(r#"{"message":"sure?"}"#));
    });
    story.say(call(Phase::ClientResponse, asked), |call| {
        in_session(call);
        call.mcp.name = None;
        call.mcp.result = Some(payload(r#"{"action":"accept"}"#));
    });
    story.say(call(Phase::ServerRequest, other), |call| {
        call.route.flow_id = Uuid::from_u128(8);
        call.mcp.session_id = Some("another".into());
    });
    story.say(call(Phase::Response, refund), |call| {
        in_session(call);
        call.mcp.outcome = Some(Outcome::Ok);
        call.mcp.result = Some(payload(r#"{"content":[{"type":"text","text":"done\n\u001b[2J"},{"type":"image"}]}"#));
        call.mcp.events = Some(StreamEvents { count: 9, kept: vec![payload(r#"{"progress":1}"#)] });
        call.mcp.duration_ms = Some(4000);
        call.masked.insert("cards".into(), 2);
    });
    story.say(call(Phase::Request, Uuid::from_u128(5)), |call| {
        in_session(call);
        call.mcp.outcome = Some(Outcome::Refused);
        call.verdict = Verdict {
            action: Action::Deny,
            policy: Some("no-refunds".into()),
            version: None,
            reason: Some("not on Sundays".into()),
        };
    });
    story.say(call(Phase::Request, Uuid::from_u128(6)), in_session);
    story.http("DELETE");
    story.close();
    story.events
}

fn told() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    log_of(dir.path(), story());
    dir
}

/// The positions of the records that a replay shows.
fn replayed(dir: &Path, args: &[&str]) -> Vec<u64> {
    let out = output(dir, true, &[&["replay"], args].concat());
    let seq = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap();
    out.lines().map(seq).collect()
}

#[test]
fn a_session_is_its_messages_its_beginning_and_its_connections() {
    let dir = told();
    assert_eq!(replayed(dir.path(), &[SESSION]), [1, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13]);
    assert_eq!(replayed(dir.path(), &["another"]), [2, 8]);
    assert_eq!(replayed(dir.path(), &[SESSION, "--verdict", "deny"]), [10]);
}

#[test]
fn a_call_comes_with_what_the_server_asked_meanwhile() {
    let dir = told();
    let refund = Uuid::from_u128(0xabcd).to_string();
    for id in [refund.as_str(), "abcd", "#abcd"] {
        assert_eq!(replayed(dir.path(), &[id]), [5, 6, 7, 9], "{id}");
    }
    let connection = Uuid::from_u128(8).to_string();
    assert_eq!(replayed(dir.path(), &[&connection]), [2, 8]);
    assert_eq!(replayed(dir.path(), &["pod/0a1b/agent"]).len(), 13);
    assert_eq!(replayed(dir.path(), &["--method", "initialize"]), [1, 3]);
}

#[test]
fn what_an_id_cannot_name_is_said() {
    let dir = told();
    let said = |args: &[&str]| match run(dir.path(), false, &[&["replay"], args].concat()).0 {
        Err(Stop::Failed(failure)) => failure.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(said(&["nobody"]).starts_with("no session, call, connection or workload of the id nobody"));
    assert!(said(&["0000"]).starts_with("no session"), "no call ends so");
    assert!(said(&[]).starts_with("what to replay?"));
    let ambiguous = tempfile::tempdir().unwrap();
    log_of(ambiguous.path(), vec![request(Uuid::from_u128(0x1_abcd)), request(Uuid::from_u128(0x2_abcd))]);
    let (ended, _) = run(ambiguous.path(), false, &["replay", "abcd"]);
    assert!(matches!(ended, Err(Stop::Failed(Failure::Failed(text))) if text.contains("give the whole id")));
}

#[test]
fn the_terminal_shows_who_asked_what_and_what_came_back() {
    let dir = told();
    let out = output(dir.path(), false, &["replay", SESSION]);
    for part in [
        "session 8f14e45f",
        "pod/0a1b/agent · python3 (pid 42, uid 1000, /usr/bin/python3) → billing at mcp.billing.example.com:443",
        "    +4.000 → #abcd tools/call refund  allow",
        "│   \"amount\": 5,",
        "│   \"to\": \"a\\nb\"",
        "⇠ #0003 elicitation/create",
        "\"message\": \"sure?\"",
        "⇢ #0003",
        "\"action\": \"accept\"",
        "    +8.000 ← #abcd tools/call refund  ok  4000 ms",
        "masked: cards 2×",
        "9 in the stream before the end, 1 kept",
        "│ done",
        "│ \u{fffd}[2J",
        "│ [image]",
        "refused",
        "reason: not on Sundays",
        "decided by: no-refunds",
        "GET /mcp  200",
        "events: 2",
        "tls connection to mcp.billing.example.com:443  closed",
        "bytes: 10 out, 20 in",
        "11 records over 12.000 s; calls: 2 ok, 1 refused; 1 call without a record of its end",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    // A connection is nobody's in particular.
    assert_eq!(out.matches("python3 (pid").count(), 2, "parties are said once: {out}");
    assert!(!out.contains('\u{1b}'));
    assert!(output(dir.path(), false, &["replay", SESSION, "--full"]).contains("\"type\": \"image\""));
}

#[test]
fn it_waits_as_long_as_it_took_divided_by_the_speed() {
    let dir = told();
    let took = |args: &[&str]| {
        let start = Instant::now();
        output(dir.path(), false, &[&["replay", "abcd"], args].concat());
        start.elapsed()
    };
    // Four seconds between its first and its last record.
    assert!(took(&["--speed", "10"]) >= Duration::from_millis(400));
    assert!(Cli::try_parse_from(["audit", "replay", "abcd", "--speed", "2", "--realtime"]).is_err());
}

#[test]
fn the_examples_of_the_help_run() {
    let dir = told();
    let page = dir.path().join("morning.html");
    let text = super::super::replay::EXAMPLES
        .replace("morning.html", page.to_str().unwrap())
        .replace("--speed 10", "--speed 1000")
        .replace("--since 3h", "--since 2026-07-25T17:20:00Z");
    let examples = query::examples(dir.path(), &text);
    assert_eq!(examples.len(), 4);
    assert!(fs::read_to_string(page).unwrap().contains("13 records over 12.000 s"));
}

#[test]
fn delivered_files_are_replayed_too() {
    let dir = told();
    let file = dir.path().join("delivered");
    fs::write(&file, whole(dir.path())).unwrap();
    let replayed = replayed(Path::new("/nonexistent"), &["abcd", "--file", file.to_str().unwrap()]);
    assert_eq!(replayed, [5, 6, 7, 9]);
}

fn page_of(events: Vec<Event>, args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    log_of(dir.path(), events);
    let page = dir.path().join("page.html");
    output(dir.path(), false, &[&["replay"], args, &["--html", page.to_str().unwrap()]].concat());
    fs::read_to_string(page).unwrap()
}

#[test]
fn a_page_holds_everything_and_fetches_nothing() {
    let page = page_of(story(), &[SESSION]);
    assert_eq!(page.matches("<article").count(), 11);
    for part in ["2026-07-25 17:20:04.123 UTC", "+4.000 s", "&#34;amount&#34;: 5", "not on Sundays", "11 records over"]
    {
        assert!(page.contains(part), "{part}");
    }
    // The caller's issuer is text, not a link.
    let page = page.replace("https://idp.example.com", "");
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn a_page_escapes_what_peers_sent() {
    let evil = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}\" onload=\"x";
    let mut hostile = request(Uuid::from_u128(0xabcd));
    let What::Call(call) = &mut hostile.what else { unreachable!() };
    call.mcp.name = Some(evil.into());
    call.mcp.endpoint = evil.into();
    call.workload.id = evil.into();
    call.workload.process.comm = evil.into();
    // And an escape of what is no character: it is shown as it was written.
    let params = serde_json::json!({ "arguments": { evil: evil, "lone": "SURROGATE" } }).to_string();
    call.mcp.params = Some(payload(&params.replace("SURROGATE", r"\ud800")));
    call.verdict.reason = Some(evil.into());
    call.masked.insert(evil.into(), 1);
    let page = page_of(vec![hostile], &["abcd"]);
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("</pre").count(), page.matches("<pre").count());
    assert!(!page.contains("<img") && !page.contains('\u{202e}') && !page.contains("\" onload"));
    assert!(page.contains("&#60;script&#62;") && page.contains(r"\ud800"));
}
