//! `weir status`: how the running agent is.

use std::{fmt, fs, io, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    Context, Ended, Failure, client,
    protocol::{
        CheckStatus, DnsStatus, EndpointStatus, LiveStatus, NamespacesStatus, SinkStatus, Status, UnregisteredStatus,
    },
};
use crate::audit::event::{Counts, EndpointTally, Reconciliation};

/// Arguments of `weir status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Fail unless the agent runs in this container: while one container follows another, either may answer.
    #[arg(long)]
    here: bool,
}

/// Runs the command. An agent whose log takes no records fails the check.
///
/// # Errors
/// The configuration is wrong, or no agent answers.
pub fn execute(args: &Args, context: &Context) -> Result<Ended, Failure> {
    let config = context.load()?;
    let socket = config.admin.socket().unwrap_or_else(|| config.admin.listen.as_ref());
    let status = client::wait(client::status(socket))?.map_err(|error| Failure::Failed(error.to_string()))?;
    if args.here && !shares_mounts(status.pid).unwrap_or(false) {
        return Err(Failure::Failed(format!("the agent that answers, process {}, runs elsewhere", status.pid)));
    }
    context.print(&status)?;
    Ok(if status.log.failure.is_none() { Ended::Done } else { Ended::CheckFailed })
}

/// Whether a process is in this one's mount namespace.
fn shares_mounts(pid: u32) -> io::Result<bool> {
    Ok(fs::read_link(format!("/proc/{pid}/ns/mnt"))? == fs::read_link("/proc/self/ns/mnt")?)
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            version,
            pid,
            uptime_ms,
            log,
            sinks,
            flows,
            endpoints,
            dns,
            unregistered,
            namespaces,
            listeners,
            reconciliation,
            ca,
            policies,
            checks,
        } = self;
        // Whole seconds: nobody reads an uptime closer.
        let uptime = SignedDuration::from_secs(Duration::from_millis(*uptime_ms).as_secs().cast_signed());
        writeln!(f, "weir {version}, pid {pid}, up {uptime:#}")?;
        write!(f, "log        {} epoch {}", log.id, log.epoch)?;
        if let Some(seq) = log.seq {
            write!(f, ", last record {seq}")?;
        }
        match &log.failure {
            Some(reason) => writeln!(f, "\nlog        FAILED, every call is refused: {reason}")?,
            None => writeln!(f, ", healthy")?,
        }
        sinks.iter().try_for_each(|sink| sink_lines(sink, f))?;
        writeln!(f, "flows      {} open of at most {}, {} turned away", flows.open, flows.limit, flows.over_limit)?;
        match ca {
            Some(ca) => writeln!(f, "ca         {}, until {} ({})", ca.subject, ca.not_after, left(ca.not_after))?,
            None => writeln!(f, "ca         none")?,
        }
        policies_lines(policies, f)?;
        for CheckStatus { name, ok, since, detail } in checks {
            let state = if *ok { "ok" } else { "FAILED" };
            writeln!(f, "{name:<10} {state} since {since:.0}: {detail}")?;
        }
        namespaces_lines(namespaces, f)?;
        dns_line(dns, f)?;
        write!(f, "listeners  {}", listeners.len())?;
        for listener in listeners {
            write!(f, "\n           {} in network namespace {}", listener.address, listener.netns)?;
        }
        endpoints.iter().try_for_each(|endpoint| endpoint_line(endpoint, f))?;
        unregistered.iter().try_for_each(|unregistered| unregistered_line(unregistered, f))?;
        reconciliation.as_ref().map_or(Ok(()), |reconciliation| reconciliation_lines(reconciliation, f))
    }
}

/// Nothing where there are none and nobody asked for any.
fn policies_lines(policies: &LiveStatus, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let LiveStatus { version, since, policies: count, default, refused } = policies;
    if *count > 0 || default == "deny" {
        writeln!(f, "policies   {count}, version {version} since {since:.0}, default {default}")?;
    }
    match refused {
        Some(why) => writeln!(f, "policies   CHANGED FILES ARE REFUSED, those above stay in force, {why}"),
        None => Ok(()),
    }
}

fn unregistered_line(unregistered: &UnregisteredStatus, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let UnregisteredStatus { redirected, denied, guarded, shadow_mcp, likely_mcp, unreported } = unregistered;
    write!(f, "\nelsewhere  {redirected} connections redirected, {denied} denied, {guarded} packets stopped, ")?;
    write!(f, "MCP on {shadow_mcp}, likely on {likely_mcp}, {unreported} of them not reported")
}

fn sink_lines(sink: &SinkStatus, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let SinkStatus { name, target, lag_records, lag_seconds, shipped, retries, throttled, dropped, error, .. } = sink;
    let what = if name == "objects" { "objects" } else { "records" };
    write!(f, "sink       {name} to {target}: {shipped} {what} shipped, ")?;
    match lag_records {
        0 => write!(f, "none waiting")?,
        _ => write!(f, "{lag_records} waiting, the oldest for {lag_seconds} s")?,
    }
    writeln!(f, ", {retries} retries, {throttled} throttled, {dropped} lost")?;
    match (error, sink.failing_since) {
        (Some(error), Some(since)) => writeln!(f, "sink       {name} FAILS since {since}, {what} wait: {error}"),
        _ => Ok(()),
    }
}

fn namespaces_lines(namespaces: &NamespacesStatus, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let NamespacesStatus { serving, limit, opened, closed, refused, vanished, failed, lost, .. } = namespaces;
    write!(f, "namespaces {serving} served of at most {limit}, {opened} opened, {closed} closed, ")?;
    writeln!(f, "{refused} turned away, {vanished} vanished, {failed} failed, {lost} announcements lost")?;
    let NamespacesStatus { last_ready_us, slowest_ready_us, denied, .. } = namespaces;
    write!(f, "           ready after {last_ready_us} µs (the slowest after {slowest_ready_us} µs), ")?;
    writeln!(f, "{denied} connections denied where none was ready")
}

fn dns_line(dns: &DnsStatus, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let DnsStatus { believed, stranger, no_room, unread, refused } = dns;
    write!(f, "dns        {believed} answers believed, {stranger} from strangers not, ")?;
    writeln!(f, "{no_room} dropped for want of room, {unread} unreadable, {refused} questions refused")
}

fn endpoint_line(endpoint: &EndpointStatus, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let EndpointStatus {
        name,
        addresses,
        known,
        answered,
        listed,
        redirected,
        denied,
        guarded,
        failed_open,
        calls,
        refused,
    } = endpoint;
    write!(f, "\nendpoint   {name}: {} addresses ", addresses.len())?;
    write!(f, "({known} known, {answered} from answers, {listed} from hosts files of containers), ")?;
    write!(
        f,
        "{redirected} connections redirected, {denied} denied, {guarded} packets stopped, {failed_open} let through without an agent, {calls} calls, {refused} of them refused"
    )
}

/// What went anywhere; the workloads are in `--json`.
fn reconciliation_lines(reconciliation: &Reconciliation, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let moving = if reconciliation.settled { "" } else { " (moving while they were read)" };
    for tally in reconciliation.endpoints.iter().filter(|tally| tally.counts.seen > 0) {
        let EndpointTally { endpoint, counts, flows_open, flows_closed, .. } = tally;
        let Counts { seen, redirected, denied, guarded, failed_open, refused_before_accept } = counts;
        write!(
            f,
            "\ncounted    {endpoint}: {seen} seen = {redirected} redirected + {denied} denied + {guarded} guarded + "
        )?;
        write!(
            f,
            "{failed_open} failed open; of the redirected, {refused_before_accept} ended before they were accepted, "
        )?;
        write!(f, "{flows_open} are open, {flows_closed} were recorded since the start{moving}")?;
    }
    Ok(())
}

fn left(until: Timestamp) -> String {
    let hours = until.duration_since(Timestamp::now()).as_hours();
    match hours {
        ..0 => "ended".into(),
        0..48 => format!("{hours} hours left"),
        _ => format!("{} days left", hours / 24),
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::admin::protocol::{CaStatus, FlowsStatus, ListenerStatus, LogStatus};

    #[test]
    fn what_a_person_reads() {
        let soon = Timestamp::now() + SignedDuration::from_hours(30);
        let mut status = Status {
            version: "1.2.3".into(),
            pid: 7,
            uptime_ms: 3_661_500,
            log: LogStatus { id: "08643dae".into(), epoch: 2, seq: Some(41), failure: None },
            sinks: vec![SinkStatus {
                name: "kinesis".into(),
                target: "stream audit".into(),
                lag_records: 3,
                lag_seconds: 9,
                shipped: 38,
                retries: 4,
                throttled: 2,
                error: Some("no route".into()),
                failing_since: Some(Timestamp::UNIX_EPOCH),
                ..SinkStatus::default()
            }],
            flows: FlowsStatus { open: 1, limit: 10, over_limit: 3 },
            endpoints: vec![EndpointStatus {
                name: "billing".into(),
                addresses: vec![[192, 0, 2, 1].into()],
                known: 1,
                answered: 2,
                listed: 0,
                redirected: 5,
                denied: 1,
                guarded: 3,
                failed_open: 4,
                calls: 9,
                refused: 2,
            }],
            dns: DnsStatus { believed: 4, stranger: 1, ..DnsStatus::default() },
            unregistered: Some(UnregisteredStatus { redirected: 7, shadow_mcp: 2, ..UnregisteredStatus::default() }),
            namespaces: NamespacesStatus {
                serving: 3,
                limit: 9,
                opened: 5,
                closed: 2,
                last_ready_us: 250,
                slowest_ready_us: 900,
                denied: 1,
                ..NamespacesStatus::default()
            },
            listeners: vec![ListenerStatus { netns: 1, address: ([127, 0, 0, 1], 4000).into() }],
            reconciliation: Some(crate::audit::samples::tally(true, 9, 7)),
            ca: Some(CaStatus { subject: "CN=weir".into(), not_after: soon }),
            policies: LiveStatus {
                version: "00ff".into(),
                since: Timestamp::UNIX_EPOCH,
                policies: 3,
                default: "allow".into(),
                refused: Some("since then: p.cedar:1:1: no".into()),
            },
            checks: vec![CheckStatus {
                name: "canary".into(),
                ok: false,
                since: Timestamp::UNIX_EPOCH,
                detail: "not redirected".into(),
            }],
        };
        let text = status.to_string();
        for line in [
            "weir 1.2.3, pid 7, up 1h 1m 1s",
            "log        08643dae epoch 2, last record 41, healthy",
            "policies   3, version 00ff since 1970-01-01T00:00:00Z, default allow",
            "policies   CHANGED FILES ARE REFUSED, those above stay in force, since then: p.cedar:1:1: no",
            "canary     FAILED since 1970-01-01T00:00:00Z: not redirected",
            "sink       kinesis to stream audit: 38 records shipped, 3 waiting, the oldest for 9 s, 4 retries, 2 throttled, 0 lost",
            "sink       kinesis FAILS since 1970-01-01T00:00:00Z, records wait: no route",
            "flows      1 open of at most 10, 3 turned away",
            "namespaces 3 served of at most 9, 5 opened, 2 closed, 0 turned away, 0 vanished, 0 failed, 0 announcements lost",
            "           ready after 250 µs (the slowest after 900 µs), 1 connections denied where none was ready",
            "dns        4 answers believed, 1 from strangers not, 0 dropped for want of room, 0 unreadable, 0 questions refused",
            "           127.0.0.1:4000 in network namespace 1",
            "endpoint   billing: 1 addresses (1 known, 2 from answers, 0 from hosts files of containers), 5 connections redirected, 1 denied, 3 packets stopped, 4 let through without an agent, 9 calls, 2 of them refused",
            "elsewhere  7 connections redirected, 0 denied, 0 packets stopped, MCP on 2, likely on 0, 0 of them not reported",
            "counted    billing: 9 seen = 9 redirected + 0 denied + 0 guarded + 0 failed open; of the redirected, 0 ended before they were accepted, 2 are open, 7 were recorded since the start",
        ] {
            assert!(text.lines().any(|said| said == line), "{line}\n{text}");
        }
        assert!(text.contains("(29 hours left)") || text.contains("(30 hours left)"), "{text}");

        status.log.failure = Some("no space".into());
        assert!(status.to_string().contains("FAILED, every call is refused: no space"));
    }
}
