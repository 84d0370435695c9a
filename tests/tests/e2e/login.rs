//! `weir login`: a person signs in at a real provider, and what that login session starts calls in their name; nothing else does.
//!
//! A session is made as PAM makes one, by writing a user's id to `/proc/self/loginuid`, which root may do once.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    process::{ChildStdin, ChildStdout, Stdio},
};

use serde_json::{Value, json};
use weir_tests::{
    fixture::{APP, Agent, Client, ConfigToml, Idp, Record, Server, ServerKind, Stage, eventually, weir},
    world::Running,
};

const AUDIENCE: &str = "https://mcp.test/mcp";
/// Another cgroup in scope.
const ELSEWHERE: &str = "/elsewhere";

/// A login session: a shell that does as it is told.
struct Session<'s> {
    stage: &'s Stage,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    _running: Running,
}

impl<'s> Session<'s> {
    fn begin(stage: &'s Stage, uid: u32) -> Self {
        let mut command = stage.command(APP, &["sh".into()]);
        command.arg("-c").arg(format!("echo {uid} > /proc/self/loginuid && exec sh"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running(command.spawn().expect("run a shell"));
        let stdin = running.0.stdin.take().expect("a pipe");
        let stdout = BufReader::new(running.0.stdout.take().expect("a pipe"));
        let mut session = Self { stage, stdin, stdout, _running: running };
        assert_ne!(session.run("cat /proc/self/sessionid").1.trim(), u32::MAX.to_string(), "no session was made");
        session
    }

    /// Runs a command line: its exit code, and what it said.
    fn run(&mut self, line: &str) -> (i32, String) {
        writeln!(self.stdin, "({line}) 2>&1; printf '\\n--ended %s\\n' $?").expect("tell the shell");
        let mut said = String::new();
        loop {
            let mut next = String::new();
            assert_ne!(self.stdout.read_line(&mut next).expect("hear the shell"), 0, "the shell ended: {said}");
            if let Some(code) = next.trim_end().strip_prefix("--ended ") {
                return (code.parse().expect("an exit code"), said.trim().to_owned());
            }
            said.push_str(&next);
        }
    }

    fn weir(&mut self, command: &str) -> (i32, String) {
        let line = format!("{} {command} --socket {}", weir().display(), socket(self.stage));
        let (code, said) = self.run(&line);
        self.stage.assert_no_secret_in(&line, said.as_bytes());
        (code, said)
    }

    /// The HTTP status of a call.
    fn call(&mut self) -> String {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
        let curl = "curl -s -o /dev/null -w '%{http_code}' -H 'content-type: application/json' \
                    -H 'accept: application/json, text/event-stream' -H 'mcp-protocol-version: 2025-06-18'";
        self.run(&format!("{curl} -d '{message}' {AUDIENCE}")).1
    }

    /// Signs in as a person who opens the page in a browser.
    fn sign_in(&mut self, idp: &Idp, name: &str) -> (i32, String) {
        let err = self.stage.world().dir().join("login.err");
        let _ = fs::remove_file(&err);
        let command = format!("{} login --no-browser --socket {}", weir().display(), socket(self.stage));
        self.run(&format!("{command} --json > {0}.out 2> {0} & echo $! > {0}.pid", err.display()));
        let page = eventually("the page to open", || {
            let said = fs::read_to_string(&err).ok()?;
            said.lines().find_map(|line| line.strip_prefix("open ").map(str::to_owned))
        });
        idp.sign_in(self.stage, &page, name);
        let ended = "while kill -0 $(cat {0}.pid) 2> /dev/null; do sleep 0.05; done; cat {0} {0}.out";
        let (code, said) = self.run(&ended.replace("{0}", &err.display().to_string()));
        self.stage.assert_no_secret_in("weir login", said.as_bytes());
        (code, said)
    }
}

fn socket(stage: &Stage) -> String {
    stage.world().dir().join("login.sock").display().to_string()
}

fn setting(name: &str) -> (Stage, Server, Idp) {
    let mut stage = Stage::new(name);
    let server = stage.serve(ServerKind::Python, "mcp.test");
    let idp = stage.idp(AUDIENCE);
    (stage, server, idp)
}

fn start<'s>(stage: &'s Stage, server: &Server, idp: &Idp, ttl_s: u32) -> Agent<'s> {
    let issuer = idp.issuer();
    let caller = format!("{{ issuer = \"{issuer}\", audience = \"{AUDIENCE}\", required = true }}");
    let login = format!(
        "[login]\nissuer = \"{issuer}\"\nclient_id = \"weir\"\nscopes = [\"groups\"]\nttl_s = {ttl_s}\nlisten = \"unix:{}\"",
        socket(stage)
    );
    let config = ConfigToml::of(&[]).endpoint(server, &format!("paths = [\"/mcp\"]\ncaller = {caller}")).and(&login);
    let agent = Agent::start(stage, &config.scope(&[APP, ELSEWHERE]));
    eventually("the login socket", || fs::metadata(socket(stage)).ok());
    agent
}

/// Records of Authentication, by kind.
fn logins(record: &Record, kind: &str) -> bool {
    record.event()["class_uid"] == 3002 && record.event()["login"]["kind"] == kind
}

#[test]
fn what_a_session_starts_calls_in_the_name_of_who_signed_in() {
    let (stage, server, idp) = setting("login-browser");
    let agent = start(&stage, &server, &idp, 3600);
    let mode = fs::metadata(socket(&stage)).expect("the login socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let (mut own, mut other) = (Session::begin(&stage, 1000), Session::begin(&stage, 1000));
    assert_eq!(own.call(), "401");

    let (_, said) = own.sign_in(&idp, "jane");
    assert!(said.contains("\"sub\": \"jane\"") && said.contains("developers"), "{said}");
    assert_ne!(own.call(), "401");
    let client = Client::python(&server.url()).call("add", &json!({ "a": 19, "b": 23 }));
    let (code, transcript) = own.run(&client.shell());
    assert_eq!(code, 0, "an unmodified client without a token: {transcript}");
    assert_eq!(other.call(), "401", "the same user's other session is somebody else's until they sign in");
    let transcript = client.run(&stage, APP);
    assert!(!transcript.succeeded, "no session at all, in the same cgroup: {transcript:#?}");

    let log = agent.records_once("the call", |log| log.tool_calls("add").iter().any(|call| call.response.is_some()));
    let call = log.only_call("add");
    let caller = json!({ "sub": "jane", "issuer": idp.issuer(), "groups": ["developers", "on-call"] });
    assert_eq!(call.request.event()["caller"], caller, "{}", call.request.line);

    // The code, its verifier, and two tokens: that none of them is anywhere is looked at when the agent ends.
    let granted = fs::read_to_string(stage.world().dir().join("idp.granted")).expect("what was granted");
    assert_eq!(granted.lines().count(), 4, "{granted}");

    let (code, said) = own.weir("logout");
    assert!(code == 0 && said.contains("jane is signed out"), "{said}");
    assert_eq!(own.call(), "401");
    let log = agent.records();
    for kind in ["signed_in", "signed_out"] {
        let record = log.filter(|record| logins(record, kind)).next().unwrap_or_else(|| panic!("no {kind}"));
        assert_eq!(record.event()["caller"], caller, "{}", record.line);
        assert_eq!(record.event()["login"]["login_uid"], 1000, "{}", record.line);
        let session = &record.event()["workload"]["process"]["audit_session"];
        assert_eq!(*session, call.request.event()["workload"]["process"]["audit_session"], "{}", record.line);
    }
    agent.verify();
}

#[test]
fn who_signed_in_is_known_to_the_next_agent() {
    let (stage, server, idp) = setting("login-kept");
    let mut agent = start(&stage, &server, &idp, 3600);
    let (mut own, mut other) = (Session::begin(&stage, 1000), Session::begin(&stage, 1001));
    own.sign_in(&idp, "jane");
    other.sign_in(&idp, "joe");
    agent.kill9();
    agent.restart();
    assert_ne!(own.call(), "401", "it was killed, and started again");
    agent.upgrade();
    assert_ne!(own.call(), "401", "another took over");

    let (code, said) = own.weir("logout");
    assert!(code == 0 && said.contains("jane is signed out"), "{said}");
    agent.terminate();
    agent.restart();
    assert_eq!(own.call(), "401");
    assert_ne!(other.call(), "401", "joe has not signed out");
    let log = agent.records();
    let out = log.filter(|record| logins(record, "signed_out")).next().expect("jane's end");
    assert_eq!((&out.event()["caller"]["sub"], &out.event()["login"]["login_uid"]), (&json!("jane"), &json!(1000)));
    agent.verify();
}

#[test]
fn at_another_issuers_endpoint_who_signed_in_is_nobody() {
    let (mut stage, server, idp) = setting("login-foreign");
    let other = stage.serve(ServerKind::Python, "other.test");
    let issuer = idp.issuer();
    let login = format!("[login]\nissuer = \"{issuer}\"\nclient_id = \"weir\"\nlisten = \"unix:{}\"", socket(&stage));
    let caller = format!("caller = {{ issuer = \"{issuer}/other\", audience = \"{AUDIENCE}\" }}");
    let config = ConfigToml::of(&[]).endpoint(&server, &caller).endpoint(&other, "").and(&login);
    let agent = Agent::start(&stage, &config);
    eventually("the login socket", || fs::metadata(socket(&stage)).ok());
    let mut own = Session::begin(&stage, 1000);
    own.sign_in(&idp, "jane");
    for server in [&server, &other] {
        let client = Client::python(&server.url()).call("add", &json!({ "a": 19, "b": 23 }));
        let (code, transcript) = own.run(&client.shell());
        assert_eq!(code, 0, "{transcript}");
    }
    let log = agent.records_once("two calls", |log| log.tool_calls("add").len() == 2);
    for call in log.tool_calls("add") {
        let record = call.request.event();
        // Where no rule names an issuer, the login is what is known.
        let expected = if record["mcp"]["endpoint"] == "other.test" { json!("jane") } else { Value::Null };
        assert_eq!(record["caller"]["sub"], expected, "{}", call.request.line);
    }
    agent.verify();
}

#[test]
fn a_session_that_is_moved_elsewhere_is_nobodys() {
    let (stage, server, idp) = setting("login-moved");
    let _agent = start(&stage, &server, &idp, 3600);
    let mut own = Session::begin(&stage, 1000);
    own.sign_in(&idp, "jane");
    assert_ne!(own.call(), "401");
    let elsewhere = stage.world().make_cgroup(ELSEWHERE).join("cgroup.procs");
    writeln!(own.stdin, "echo $$ > {}", elsewhere.display()).expect("tell the shell");
    assert_eq!(own.call(), "401", "another cgroup is another workload");
}

#[test]
fn a_code_on_another_device_signs_in_and_time_signs_out() {
    let (stage, server, idp) = setting("login-device");
    let mut agent = start(&stage, &server, &idp, 8);
    let mut own = Session::begin(&stage, 1001);
    let out = stage.world().dir().join("device.out");
    let command = format!("{} login --device --socket {}", weir().display(), socket(&stage));
    own.run(&format!("{command} > {} 2>&1 &", out.display()));
    let said = || fs::read_to_string(&out).unwrap_or_default();
    let page = eventually("the page with the code", || {
        said().lines().find_map(|line| line.strip_prefix("or open ").map(str::to_owned))
    });
    idp.sign_in(&stage, &page, "joe");
    eventually("joe is signed in", || said().contains("signed in as joe").then_some(()));
    assert_ne!(own.call(), "401");
    let log =
        agent.records_once("the end of the login", |log| log.filter(|record| logins(record, "expired")).count() == 1);
    assert_eq!(log.filter(|record| logins(record, "signed_in")).count(), 1);
    assert_eq!(own.call(), "401");

    let kept = stage.world().dir().join("state/logins.json");
    eventually("the login is kept no more", || {
        fs::read_to_string(&kept).is_ok_and(|text| !text.contains("joe")).then_some(())
    });
    agent.terminate();
    agent.restart();
    let (code, said) = own.weir("logout");
    assert!(code == 0 && said.contains("nobody was signed in"), "{said}");
    assert_eq!(own.call(), "401");
    let ends = agent.records().filter(|record| logins(record, "expired")).count();
    assert_eq!(ends, 1, "a login ends once, whoever starts again");
    agent.verify();
}

#[test]
fn forged_answers_and_processes_without_a_session_are_refused_and_recorded() {
    let (stage, server, idp) = setting("login-forged");
    let agent = start(&stage, &server, &idp, 3600);
    // This test itself has no login session.
    let said = agent.command(&["logout"]);
    assert!(!said.succeeded && said.stderr.contains("login session"), "{said:?}");

    let mut own = Session::begin(&stage, 1000);
    let script = format!("{}/peers/e2e/forge_login.py", env!("CARGO_MANIFEST_DIR"));
    let (_, answers) = own.run(&format!("python3 {script} {}", socket(&stage)));
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).expect("an answer")).collect();
    assert_eq!(answers.len(), 5, "{answers:?}");
    for answer in &answers {
        assert!(answer.get("refused").is_some(), "{answer}");
    }
    assert_eq!(own.call(), "401");
    let log = agent.records_once("the refusals", |log| log.filter(|record| logins(record, "refused")).count() >= 6);
    let reasons: Vec<_> = log
        .filter(|record| logins(record, "refused"))
        .map(|record| record.event()["status_detail"].to_string())
        .collect();
    for part in ["audit session", "(state)", "refused", "redirect must be"] {
        assert!(reasons.iter().any(|reason| reason.contains(part)), "{part}: {reasons:?}");
    }
    assert_eq!(log.filter(|record| logins(record, "signed_in")).count(), 0);

    // One user cannot ask without end; hanging up is the answer.
    let mut heard = 0;
    for _ in 0..30 {
        let mut stream = UnixStream::connect(socket(&stage)).expect("connect");
        let mut line = String::new();
        if stream.write_all(b"\"logout\"\n").is_ok() && BufReader::new(stream).read_line(&mut line).is_ok_and(|n| n > 0)
        {
            heard += 1;
        }
    }
    assert!(heard < 30, "no limit was met");
    agent.records_once("how many were hung up on", |log| {
        log.filter(|record| logins(record, "refused") && record.line.contains("attempts were hung up on"))
            .next()
            .is_some()
    });
    agent.verify();
}
