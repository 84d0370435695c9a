//! A log that the agent wrote: calls that went well, failed and were refused, questions by the server, and payloads that
//! mean ill to whoever shows them.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, Curl, ServerKind, Stage, weir};

/// What a page must not run, and a terminal must not obey. Its end is an escape of what is no character.
pub(crate) const HOSTILE: &str = "</pre></details><script>window.pwned = 1; alert(1)</script>\
    <img src=x onerror=\"window.pwned = 2\"><style>*{display:none}</style>\u{202e}\u{1b}[2J\u{0}";

/// See the module.
#[derive(Debug)]
pub(crate) struct Log {
    dir: tempfile::TempDir,
    /// The MCP session of the Node client.
    pub(crate) session: String,
}

impl Log {
    /// Runs an agent, lets a client have a session through it, and keeps what it recorded.
    pub(crate) fn of_a_session(name: &str) -> Self {
        let mut stage = Stage::new(name);
        let server = stage.serve(ServerKind::Node, "mcp.test");
        let mut agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
        let client = Client::node(&server.url())
            .call("echo", &json!({ "text": HOSTILE }))
            .call("echo", &json!({ "text": "wide ".repeat(2000) }))
            .call("echo", &json!({ "text": "unbroken".repeat(2000) }))
            .call("confirm", &json!({ "question": "sure?" }))
            .call("fail", &json!({}))
            .call("delete_invoice", &json!({ "id": "INV-7" }));
        let _ = client.run(&stage, APP);

        // Both are refused: a lone surrogate, which JSON can write and Unicode has not; and a key that is there twice.
        let body = stage.world().dir().join("body.json");
        let params = r#"{"name":"echo","arguments":{"text":"\ud800 \u202e"}}"#;
        let twice = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","method":"ping"}"#;
        for text in [format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#), twice.to_owned()]
        {
            std::fs::write(&body, text).expect("write a body");
            let _ = Curl::post_file(&server.url(), &body).run(&stage, APP);
        }
        agent.terminate();

        let dir = tempfile::tempdir().expect("a directory");
        for entry in agent.audit_dir().read_dir().expect("the log's directory").flatten() {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), dir.path().join(entry.file_name())).expect("copy the log");
            }
        }
        let records = agent.records();
        let session = records.phase("request").find(|record| record.mcp("session_id").is_string());
        let session = session.expect("a session").mcp("session_id").as_str().expect("text").to_owned();
        Self { dir, session }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file beside the log.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a program of `tests/readers` prints of this log, given a part of `deploy/` and a place to work in.
    pub(crate) fn read_by(&self, program: &str, deploy: &str) -> Value {
        let python = env::var_os("WEIR_READER").expect("WEIR_READER: run the tests with `cargo xtask test`");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut command = Command::new(python);
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(root.join("tests/readers").join(program));
        let output =
            command.arg(self.dir()).arg(root.join(deploy)).arg(self.file("work")).output().expect("run Python");
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// `weir audit`, on this log.
    pub(crate) fn audit(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(weir());
        command.arg("audit").args(arguments).arg("--dir").arg(self.dir());
        let output = command.output().expect("run weir");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Takes a record out, and returns the log's id.
    pub(crate) fn lose_the_record(&self, seq: u64) -> String {
        let mut lines = self.lines();
        lines.retain(|line| seq_of(line) != seq);
        self.write(&lines);
        let first: Value = serde_json::from_str(&lines[0]).expect("a record");
        first["log"].as_str().expect("text").to_owned()
    }

    /// Puts another record beside one.
    pub(crate) fn fork_the_record(&self, seq: u64) {
        let mut lines = self.lines();
        let place = lines.iter().position(|line| seq_of(line) == seq).expect("the record");
        let hash = lines[place].find("\"hash\":\"").expect("a hash") + 8;
        let mut other = lines[place].clone();
        other.replace_range(hash..hash + 4, "f0f0");
        lines.insert(place, other);
        self.write(&lines);
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.segment()).expect("read the segment");
        text.lines().map(|line| format!("{line}\n")).collect()
    }

    fn write(&self, lines: &[String]) {
        std::fs::write(self.segment(), lines.concat()).expect("write the segment");
    }

    /// The log's only one.
    fn segment(&self) -> PathBuf {
        self.file("segment-00000000000000000001.ndjson")
    }
}

fn seq_of(line: &str) -> u64 {
    serde_json::from_str::<Value>(line).expect("a record")["seq"].as_u64().expect("a number")
}
