//! The same bodies, through the agent and past it, to servers of the real SDKs. What a tool's handler is given must be what policy
//! judged and the log holds. A table says what each server makes of what the agent refuses.

use std::{fs, net::SocketAddr};

use serde_json::{Map, Value};
use weir_tests::{
    fixture::{APP, Agent, ConfigToml, Record, Sdk, Server, ServerKind, Stage},
    raw::client::RawClient,
};

use crate::{
    bodies::bodies,
    reading::{alike, told},
};

/// Arguments are judged, so those that could be read in two ways are refused: names, and numbers that have no `long`.
const POLICY: &str = r#"
forbid (principal, action == Action::"tools/call", resource)
when { context.arguments.hasTag("a") && context.arguments.getTag("a").long == 424242 };

forbid (principal, action == Action::"tools/call", resource)
when {
  context.arguments.hasTag("v") && context.arguments.getTag("v").kind == "number" &&
  context.arguments.getTag("v").long == 9007199254740992
};
"#;

/// A call as somebody read it.
#[derive(Debug, Clone)]
struct Call {
    tool: Value,
    arguments: Value,
}

impl Call {
    fn new(tool: &Value, arguments: &Value) -> Self {
        // No arguments are the same as an empty object of them.
        let is_empty = arguments.as_object().is_some_and(Map::is_empty);
        Self { tool: tool.clone(), arguments: if is_empty { Value::Null } else { arguments.clone() } }
    }

    fn is_like(&self, other: &Self) -> bool {
        alike(&self.tool, &other.tool) && alike(&self.arguments, &other.arguments)
    }
}

/// One way to a server.
struct Line<'a> {
    server: &'a Server,
    open: Option<RawClient>,
}

/// What became of a body.
struct Outcome {
    /// What came back; nothing where the connection was ended.
    answer: String,
    /// What the server's handler was given, if it was called.
    handled: Option<Call>,
}

impl<'a> Line<'a> {
    fn to(server: &'a Server) -> Self {
        Self { server, open: None }
    }

    /// Sends a body and waits for what becomes of it. The number of the case goes along in a header that is recorded.
    fn send(&mut self, number: usize, body: &[u8]) -> Outcome {
        let before = self.server.seen().len();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n\
             user-agent: case-{number}\r\ncontent-length: {}\r\n\r\n",
            self.server.name(),
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        let answer = self.ask(&request).or_else(|| self.ask(&request)).unwrap_or_default();
        let calls = self.server.seen().split_off(before);
        assert!(calls.len() <= 1, "case {number} became {} calls", calls.len());
        Outcome { answer, handled: calls.first().map(|seen| Call::new(&seen.0["tool"], &seen.0["arguments"])) }
    }

    /// One request over the open connection, or a new one; `None` where there was no answer on it.
    fn ask(&mut self, request: &[u8]) -> Option<String> {
        let address = SocketAddr::new(self.server.addresses()[0], self.server.port());
        let mut client = self.open.take().or_else(|| RawClient::plain(address).ok())?;
        let answer = client.ask(request).ok()??;
        let ends = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.open = (!ends).then_some(client);
        Some(String::from_utf8_lossy(&answer.body).into_owned())
    }
}

/// What the log says was judged in a case, if it was let through.
fn judged(records: &[Record], number: usize) -> Option<(String, Call)> {
    let agent = format!("case-{number}");
    let is_its = |record: &&Record| {
        record.mcp("phase") == "request" && record.event()["http_request"]["user_agent"] == agent.as_str()
    };
    let record = records.iter().find(is_its)?;
    (record.event()["verdict"]["action"] == "allow").then(|| {
        let call = Call::new(&told(record.mcp("name")), &told(&record.mcp("params")["arguments"]));
        (record.mcp("method").as_str().unwrap_or_default().to_owned(), call)
    })
}

/// How one SDK did.
#[derive(Default)]
struct Tally {
    /// Judged and let through.
    taken: usize,
    /// Of these, given to a tool's handler, as judged.
    handled: usize,
    /// Refused by the agent. What is left is no JSON, and passes for no message: no server may call a handler for it.
    refused: usize,
    /// Refused by the agent, and the server would have called its handler.
    refused_though_handled: usize,
}

#[test]
fn what_was_judged_is_what_every_server_parses() {
    let bodies = bodies();
    let mut stage = Stage::new("servers");
    let name = |sdk: Sdk| format!("{sdk:?}.test").to_lowercase();
    let servers = Sdk::ALL.map(|sdk| stage.serve_plain(ServerKind::Reader(sdk), &name(sdk)));
    let directly: Vec<Vec<Outcome>> = servers
        .iter()
        .map(|server| {
            let mut line = Line::to(server);
            bodies.iter().enumerate().map(|(number, body)| line.send(number, body)).collect()
        })
        .collect();

    let policy = stage.world().dir().join("p.cedar");
    fs::write(&policy, POLICY).expect("write the policy");
    let config = ConfigToml::of(&servers.each_ref()).and(&format!("[policy]\nfiles = [{policy:?}]"));
    let agent = Agent::start(&stage, &config);
    stage.world().enter(APP);
    println!(
        "| server | bodies | judged and sent | of them handled, as judged | refused | of them handled without the agent |"
    );
    println!("|---|---|---|---|---|---|");
    for ((sdk, server), directly) in Sdk::ALL.into_iter().zip(&servers).zip(&directly) {
        let before = agent.records().0.len();
        let mut line = Line::to(server);
        let through: Vec<Outcome> = bodies.iter().enumerate().map(|(number, body)| line.send(number, body)).collect();
        let records = agent.records().0.split_off(before);
        let mut tally = Tally::default();
        for (number, (body, (outcome, direct))) in bodies.iter().zip(through.iter().zip(directly)).enumerate() {
            let shown = String::from_utf8_lossy(body);
            match judged(&records, number) {
                None => {
                    assert!(outcome.handled.is_none(), "{sdk:?} handled what was refused: {shown}");
                    let is_refused = outcome.answer.contains("refused by Weir");
                    tally.refused += usize::from(is_refused);
                    tally.refused_though_handled += usize::from(is_refused && direct.handled.is_some());
                }
                Some((method, call)) => {
                    tally.taken += 1;
                    let Some(handled) = &outcome.handled else {
                        assert!(direct.handled.is_none(), "{sdk:?} handles this only without the agent: {shown}");
                        continue;
                    };
                    assert_eq!(method, "tools/call", "{sdk:?} took it for a call: {shown}");
                    assert!(handled.is_like(&call), "{sdk:?}: {shown}\njudged {call:?}\nhandled {handled:?}");
                    tally.handled += 1;
                }
            }
        }
        let Tally { taken, handled, refused, refused_though_handled } = tally;
        println!("| {sdk:?} | {} | {taken} | {handled} | {refused} | {refused_though_handled} |", bodies.len());
        // Both sides are there: calls that arrive as they were judged, and calls that would have arrived otherwise.
        assert!(
            handled >= 25 && refused_though_handled >= 10,
            "{sdk:?}: {handled} handled, {refused_though_handled} refused"
        );
    }
    let is_disputed = |number: &usize| {
        let mut readings = directly.iter().map(|outcomes| &outcomes[*number].handled);
        let first = readings.next().expect("a server");
        !readings.all(|reading| match (first, reading) {
            (Some(first), Some(reading)) => first.is_like(reading),
            (first, reading) => first.is_none() && reading.is_none(),
        })
    };
    let disputed = (0..bodies.len()).filter(is_disputed).count();
    println!("without the agent, the servers do not agree on {disputed} of these bodies");
    assert!(disputed >= 20);
    agent.verify();
}
