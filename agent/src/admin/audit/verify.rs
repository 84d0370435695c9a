//! `weir audit verify`.

use std::{
    fs,
    io::{self, IsTerminal as _, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::{Ended, Failure, Stop};
use crate::{
    admin::client::wait,
    audit::{
        checkpoint::PublicKey,
        verify::{
            Expectations, Finding, From, GivenKey, KeyHolder, LogReport, Progress, Report,
            reconcile::{CutOff, Reconciled},
            verify_directory, verify_files, verify_stream,
        },
    },
    config::{Config, Kinesis},
};

/// How long a check lasts before it shows how far it has come, and how often then.
const QUIET: Duration = Duration::from_secs(2);
const SHOW: Duration = Duration::from_millis(200);

/// The log that is checked.
#[derive(Debug)]
pub(super) enum Checked {
    /// In its own directory.
    Directory(PathBuf),
    /// Copies of lines, of any logs.
    Files(Vec<PathBuf>),
    /// A stream.
    Stream(Kinesis),
}

/// Arguments of `weir audit verify`.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// Files and directories of lines, as they were delivered: plain or gzip, in any order, of any hosts; instead of the
    /// log's directory
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Read a Kinesis stream from its oldest record, or from `--from <TIME>`, to its newest; without a name, the configured one
    #[arg(long, value_name = "NAME", num_args = 0..=1, conflicts_with = "paths")]
    stream: Option<Option<String>>,
    /// The stream's region; default: as configured, or what the environment or the profile says
    #[arg(long, requires = "stream")]
    region: Option<String>,
    /// Another endpoint than the region's, such as a VPC endpoint's
    #[arg(long, value_name = "URL", requires = "stream")]
    endpoint_url: Option<String>,
    /// How long to wait for records of the stream that are missing between others: they may be on their way
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "stream")]
    wait: u64,
    /// Trust only checkpoints signed by the public keys in this PEM file, or by keys that they vouch for. With `HOST=`, a host id,
    /// host name or log id, they sign for that one only; with `*=` they may be shared by several; otherwise each is one host's
    #[arg(long = "key", value_name = "[HOST=]FILE", value_parser = key)]
    keys: Vec<KeyFile>,
    /// A file of log ids, host ids or host names, one a line: name those of which nothing is there
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Name every log that fell silent before this time: a timestamp, or `now`
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Logs may begin here rather than with record 1: a seq, or a timestamp
    #[arg(long, value_name = "SEQ|TIME", value_parser = from)]
    from: Option<From>,
}

fn time(text: &str) -> Result<Timestamp, String> {
    if text == "now" { Ok(Timestamp::now()) } else { text.parse().map_err(|error: jiff::Error| error.to_string()) }
}

/// A file of keys, and who may sign with them.
#[derive(Debug, Clone)]
struct KeyFile {
    path: PathBuf,
    signer: KeyHolder,
}

fn key(text: &str) -> Result<KeyFile, String> {
    let (signer, path) = match text.split_once('=') {
        Some(("*", path)) => (KeyHolder::Anybody, path),
        Some((name, path)) if !name.contains('/') => (KeyHolder::Named(name.to_owned()), path),
        _ => (KeyHolder::OneHost, text),
    };
    if path.is_empty() || signer == KeyHolder::Named(String::new()) {
        return Err("expected FILE, HOST=FILE or *=FILE".to_owned());
    }
    Ok(KeyFile { path: path.into(), signer })
}

fn from(text: &str) -> Result<From, String> {
    text.parse().map_or_else(|_| time(text).map(From::Time), |seq| Ok(From::Seq(seq)))
}

impl VerifyArgs {
    /// What is to be checked; `config` is asked for what the arguments leave open.
    ///
    /// # Errors
    /// When the configuration cannot be had, or has no stream.
    pub(super) fn checked(
        &self,
        dir: Option<&Path>,
        config: impl FnOnce() -> Result<Config, Failure>,
    ) -> Result<Checked, Failure> {
        let configured = || Failure::Usage("no stream is configured: name one, as in `--stream weir-audit`".into());
        let mut stream = match (&self.stream, dir) {
            (Some(Some(name)), _) => Kinesis::named(name.clone()),
            (Some(None), _) => config()?.audit.kinesis.ok_or_else(configured)?,
            (None, _) if !self.paths.is_empty() => return Ok(Checked::Files(self.paths.clone())),
            (None, Some(dir)) => return Ok(Checked::Directory(dir.to_owned())),
            (None, None) => return Ok(Checked::Directory(config()?.audit_dir())),
        };
        stream.region = self.region.clone().or(stream.region);
        stream.endpoint_url = self.endpoint_url.clone().or(stream.endpoint_url);
        Ok(Checked::Stream(stream))
    }
}

/// Checks it; anything wrong makes it fail.
pub(super) fn run(args: &VerifyArgs, checked: &Checked, json: bool, out: &mut dyn Write) -> Result<Ended, Stop> {
    let expect = expectations(args)?;
    let mut display = Display::new();
    let show = |progress| display.show(progress);
    let report = match checked {
        Checked::Directory(dir) => verify_directory(dir, &expect, show),
        Checked::Files(paths) => verify_files(paths, &expect, show),
        Checked::Stream(stream) => {
            wait(verify_stream(stream, &expect, Duration::from_secs(args.wait), show)).map_err(Stop::Failed)?
        }
    };
    display.clear();
    let report = report.map_err(|error| Stop::Failed(Failure::Failed(error.to_string())))?;
    if json {
        serde_json::to_writer(&mut *out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        print(&report, out)?;
    }
    Ok(if report.intact { Ended::Done } else { Ended::CheckFailed })
}

fn expectations(args: &VerifyArgs) -> Result<Expectations, Stop> {
    let usage = |text: String| Stop::Failed(Failure::Usage(text));
    let mut expect = Expectations { until: args.until, from: args.from, ..Expectations::default() };
    for KeyFile { path, signer } in &args.keys {
        let keys = PublicKey::read_pem(path).map_err(|error| usage(error.to_string()))?;
        expect.keys.extend(keys.into_iter().map(|key| GivenKey { key, signer: signer.clone() }));
    }
    if let Some(path) = &args.inventory {
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| usage(format!("cannot read {}: {error}", path.display())))?;
        let names = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        expect.inventory.extend(names.map(str::to_owned));
    }
    Ok(expect)
}

/// How far it has come, on a terminal, when it takes long.
struct Display {
    watched: bool,
    next: Instant,
    shown: bool,
}

impl Display {
    fn new() -> Self {
        Self { watched: io::stderr().is_terminal(), next: Instant::now() + QUIET, shown: false }
    }

    fn show(&mut self, Progress { done, of, unit }: Progress) {
        if !self.watched || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + SHOW;
        self.shown = true;
        match of {
            Some(of) => {
                let percent = done.saturating_mul(100).checked_div(of).unwrap_or(100);
                eprint!("\r\x1b[K{done} of {of} {unit} ({percent} %)");
            }
            None => eprint!("\r\x1b[K{done} {unit}"),
        }
    }

    fn clear(&self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

fn print(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let (good, failed) = (AnsiColor::Green.on_default().bold(), AnsiColor::Red.on_default().bold());
    let verdict = |style: Style, word: &str| format!("{style}{word}{style:#}");
    for log in &report.logs {
        let word = if log.findings.is_empty() { verdict(good, "intact") } else { verdict(failed, "not intact") };
        print_log(log, &word, out)?;
    }
    for finding in &report.beside.listed {
        print_finding(finding, out)?;
    }
    if report.logs.is_empty() {
        writeln!(out, "no records")?;
    }
    if report.duplicates > 0 {
        writeln!(out, "{} records were there more than once, byte for byte", report.duplicates)?;
    }
    if report.incomplete_bytes > 0 {
        let bytes = report.incomplete_bytes;
        writeln!(out, "{bytes} bytes of an incomplete line at the end: being written, or torn by a crash")?;
    }
    Ok(())
}

fn print_log(report: &LogReport, word: &str, out: &mut dyn Write) -> io::Result<()> {
    let LogReport { log, records, epoch_count, last_hash, first_seq, last_seq, .. } = report;
    if let Some(first) = report.findings.first() {
        let seq = first.seq.unwrap_or_default();
        writeln!(out, "{word}: log {log}: record {seq} is {}", first.fault)?;
    } else {
        writeln!(out, "{word}: log {log}, {records} records in {epoch_count} epochs")?;
    }
    if let Some(host) = &report.host {
        writeln!(out, "  host {} ({})", host.name, host.id)?;
    }
    writeln!(out, "  records {first_seq} to {last_seq}, last hash {last_hash}")?;
    print_signatures(report, out)?;
    print_reconciled(&report.reconciled, out)?;
    for finding in &report.findings.listed {
        print_finding(finding, out)?;
    }
    let more = report.findings.count - report.findings.listed.len() as u64;
    if more > 0 {
        writeln!(out, "  and {more} more")?;
    }
    Ok(())
}

fn print_signatures(report: &LogReport, out: &mut dyn Write) -> io::Result<()> {
    let LogReport { checkpoints, covered, keys, last_seq, .. } = report;
    if *checkpoints == 0 {
        return writeln!(out, "  no signed checkpoint: nothing proves who wrote it");
    }
    let open = last_seq.saturating_sub(*covered);
    writeln!(out, "  {checkpoints} checkpoints cover all up to record {covered}; {open} records came after")?;
    for key in keys {
        let whose = if key.given { "trusted" } else { "named by the log itself: compare it, or give it with --key" };
        writeln!(out, "  signed by {} ({whose})", key.id)?;
    }
    Ok(())
}

fn print_finding(finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    let Finding { kind, seq, fault, file, offset } = finding;
    let what = seq.map_or_else(|| "a line".to_owned(), |seq| format!("record {seq}"));
    writeln!(out, "  {kind}: {what} is {fault}; {file}, byte {offset}")
}

fn print_reconciled(reconciled: &Reconciled, out: &mut dyn Write) -> io::Result<()> {
    let Reconciled { tallies, connections, through, gaps, cut_off } = reconciled;
    for CutOff { endpoint, epoch, since, open } in cut_off {
        write!(out, "  not checked: endpoint {endpoint}, epoch {epoch}, after record {since}: ")?;
        writeln!(out, "the kernel's counters were lost; open then, less recorded since: {open}")?;
    }
    match through {
        Some(seq) if gaps.is_empty() => {
            let whole = format!("{connections} redirected connections are accounted for, by {tallies} tallies");
            writeln!(out, "  {whole}, up to record {seq}")
        }
        Some(_) => writeln!(out, "  {} gaps between connections and flow records", gaps.len()),
        None => writeln!(out, "  connections are not checked: the log has no settled tally"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_given_for_one_host_for_a_named_one_or_for_all() {
        let read = |text: &str| key(text).map(|key| (key.path.display().to_string(), key.signer));
        assert_eq!(read("a.pem"), Ok(("a.pem".into(), KeyHolder::OneHost)));
        assert_eq!(read("web-1=a.pem"), Ok(("a.pem".into(), KeyHolder::Named("web-1".into()))));
        assert_eq!(read("*=/k/a=b.pem"), Ok(("/k/a=b.pem".into(), KeyHolder::Anybody)));
        assert_eq!(read("/k/a=b.pem"), Ok(("/k/a=b.pem".into(), KeyHolder::OneHost)));
        assert!(read("=a.pem").is_err() && read("web-1=").is_err());
    }
}
