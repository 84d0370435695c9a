//! An OpenTelemetry collector's ear for logs: it reads requests in the protocol's JSON form, and refuses the first ones in every
//! way that the protocol has.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use serde_json::Value;
use weir_tests::shipping::Arrived;

/// What the first requests are answered; every later one is accepted.
const REFUSALS: [(&str, &str); 3] = [
    ("503 Service Unavailable", ""),
    ("429 Too Many Requests", ""),
    ("200 OK", r#"{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}"#),
];

/// See the module.
#[derive(Debug)]
pub(crate) struct Collector {
    address: SocketAddr,
    arrived: Arc<Mutex<Arrived>>,
}

impl Collector {
    /// It listens as long as the test runs.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let arrived = Arc::new(Mutex::new(Arrived::default()));
        let (seen, kept) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&arrived));
        thread::spawn(move || {
            for wire in listener.incoming().flatten() {
                let (seen, kept) = (Arc::clone(&seen), Arc::clone(&kept));
                // The connection's end is an error here, and meant.
                thread::spawn(move || serve(wire, &seen, &kept));
            }
        });
        Self { address, arrived }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/logs", self.address)
    }

    /// What it accepted.
    pub(crate) fn arrived(self) -> Arrived {
        std::mem::take(&mut *self.arrived.lock().expect("a lock"))
    }
}

fn serve(wire: TcpStream, seen: &AtomicUsize, kept: &Mutex<Arrived>) -> std::io::Result<()> {
    let mut reader = BufReader::new(wire.try_clone()?);
    let mut writer = wire;
    loop {
        let (mut length, mut line) = (0, String::new());
        while reader.read_line(&mut line)? > 0 && line.trim() != "" {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if length == 0 {
            return Ok(());
        }
        let request: Value = serde_json::from_slice(&body).expect("JSON");
        let (status, answer) = match REFUSALS.get(seen.fetch_add(1, Relaxed)) {
            Some(refusal) => *refusal,
            None => {
                let mut kept = kept.lock().expect("a lock");
                lines(&request).for_each(|line| kept.add(line.as_bytes()));
                ("200 OK", "{}")
            }
        };
        write!(writer, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{answer}", answer.len())?;
    }
}

/// `ExportLogsServiceRequest` of `opentelemetry-proto`, in its JSON mapping: camelCase names, 64-bit integers as text.
fn lines(request: &Value) -> impl Iterator<Item = String> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_else(|| panic!("no {key}: {value}"));
    let scopes = list(request, "resourceLogs").into_iter().flat_map(move |logs| list(&logs, "scopeLogs"));
    let records = scopes.flat_map(move |logs| list(&logs, "logRecords"));
    records.map(|record| {
        let time = record["timeUnixNano"].as_str().and_then(|time| time.parse::<u64>().ok());
        assert!(time > Some(0) && record["severityNumber"].is_u64(), "{record}");
        let seq = &record["attributes"][1];
        assert_eq!(seq["key"], "weir.seq");
        let line = record["body"]["stringValue"].as_str().unwrap_or_else(|| panic!("no line: {record}"));
        assert!(line.contains(&format!("\"seq\":{},", seq["value"]["intValue"].as_str().expect("a seq"))), "{record}");
        format!("{line}\n")
    })
}
