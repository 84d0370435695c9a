//! The load: many small calls on connections that stay open.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{Bench, cpu, leg::Leg};

/// `stub_status` of the server; `tests/bench/upstream.conf`.
const STATUS: (&str, u16) = ("127.0.0.1", 8080);
/// A proxy still has work to do when its clients have gone.
const SETTLES: Duration = Duration::from_millis(300);

/// What one leg did in one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Calls that were answered.
    pub(super) answered: u64,
    /// Calls that the server saw.
    pub(super) served: u64,
    /// Connections that the server accepted.
    pub(super) accepted: u64,
    /// Answers per second.
    pub(super) rate: f64,
    /// Half the answers came within this time.
    pub(super) p50_ms: f64,
    /// 99 of 100 answers came within this time.
    pub(super) p99_ms: f64,
    /// CPU seconds of the proxy's processes.
    pub(super) proxy_cpu: f64,
}

impl Sample {
    /// CPU seconds of the proxy's processes for 1,000 calls.
    pub(super) fn cpu_per_1000(&self) -> f64 {
        self.proxy_cpu * 1000.0 / self.answered.max(1) as f64
    }

    /// Connections that the server accepted for 1,000 calls.
    pub(super) fn connections_per_1000(&self) -> f64 {
        self.accepted as f64 * 1000.0 / self.answered.max(1) as f64
    }
}

/// One round after the other; in each, one sample per leg.
pub(super) fn measure(bench: &Bench<'_>, legs: &[Leg]) -> Result<Vec<Vec<Sample>>> {
    let count = bench.settings.rounds;
    (1..=count)
        .map(|round| {
            let mut samples = Vec::new();
            for leg in legs {
                let sample = run(bench, leg)?;
                eprintln!("  round {round} of {count}: {:<14} {:>8.0} calls/s", leg.name, sample.rate);
                samples.push(sample);
            }
            Ok(samples)
        })
        .collect()
}

fn run(bench: &Bench<'_>, leg: &Leg) -> Result<Sample> {
    let seconds = bench.settings.seconds;
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "1", "--connections", &bench.settings.connections.to_string()]);
    wrk.args(["--duration", &format!("{seconds}s"), "--timeout", "10s", "--script"])
        .arg(bench.stage.dir.join("call.lua"));
    wrk.arg(leg.url());

    let (before, cpu) = (Served::now()?, cpu::seconds(&leg.proxies)?);
    let output = bench.run_client("load", leg.place(wrk), Duration::from_secs(u64::from(seconds) + 30))?;
    thread::sleep(SETTLES);
    let (after, proxy_cpu) = (Served::now()?, cpu::seconds(&leg.proxies)? - cpu);

    let [answered, micros, p50, p99, failed] =
        result_of(&output).with_context(|| format!("wrk printed no result:\n{output}"))?;
    ensure!(failed == 0 && answered > 0, "{}: {failed} calls failed, {answered} were answered:\n{output}", leg.name);
    Ok(Sample {
        answered,
        // The question itself was one of each.
        served: after.requests - before.requests - 1,
        accepted: after.connections - before.connections - 1,
        rate: answered as f64 * 1e6 / micros as f64,
        p50_ms: p50 as f64 / 1e3,
        p99_ms: p99 as f64 / 1e3,
        proxy_cpu,
    })
}

/// The line that `tests/bench/call.lua` prints.
fn result_of(output: &str) -> Option<[u64; 5]> {
    let line = output.lines().find_map(|line| line.strip_prefix("result "))?;
    let numbers: Option<Vec<u64>> = line.split(' ').map(|number| number.parse().ok()).collect();
    numbers?.try_into().ok()
}

/// What the server has had since it started, with those that asked this.
#[derive(Debug, PartialEq, Eq)]
struct Served {
    connections: u64,
    requests: u64,
}

impl Served {
    fn now() -> Result<Self> {
        let mut stream = TcpStream::connect(STATUS).context("the server does not say what it served")?;
        stream.write_all(b"GET /status HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Self::parse(&answer).with_context(|| format!("no counts in: {answer}"))
    }

    /// The line after `server accepts handled requests`.
    fn parse(status: &str) -> Option<Self> {
        let mut lines = status.lines().skip_while(|line| !line.starts_with("server accepts handled requests"));
        let mut numbers = lines.nth(1)?.split_whitespace().map(str::parse);
        let connections = numbers.next()?.ok()?;
        Some(Self { connections, requests: numbers.nth(1)?.ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_of_wrk_is_read() {
        assert_eq!(
            result_of("Running 1s test\nresult 5000 1000123 800 4100 0\n"),
            Some([5000, 1_000_123, 800, 4100, 0])
        );
        assert_eq!(result_of("unable to connect"), None);
        assert_eq!(result_of("result 1 2 3"), None);
    }

    #[test]
    fn what_the_server_counted_is_read() {
        let status = "HTTP/1.1 200 OK\r\n\r\nActive connections: 1 \nserver accepts handled requests\n 16 15 314 \nReading: 0 Writing: 1 Waiting: 0 \n";
        assert_eq!(Served::parse(status), Some(Served { connections: 16, requests: 314 }));
        assert_eq!(Served::parse("HTTP/1.1 404 Not Found"), None);
    }
}
