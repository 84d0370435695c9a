//! What judging one call costs, in the time that one thread computes: a call of 4 KiB, a thousand policies and fifty masks.
//!
//! The policies that are not about the call's own tool are about others. Half of them about one is what nobody has.

use std::{hint::black_box, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use weir::{
    config,
    mask::{MaskKey, Masks},
    policy::{Annotations, Policies, Principal, Question, Verdict, load::Source},
};
use weir_tests::cpu;

const POLICIES: usize = 1000;
const MASKS: usize = 50;
const CALLS: usize = 5_000;
const WARM_UP: usize = 500;

fn main() -> Result<()> {
    let message = message();
    ensure!((4000..4400).contains(&message.len()), "the call has {} bytes", message.len());
    let params = params(&message)?;
    let masks = masks()?;
    let key = MaskKey::from_bytes(&[7; 32]);
    println!("{:<58} {:>9} {:>9}", "a call of 4 KiB", "p50 µs", "p99 µs");
    let (plain, costly) = ("", " || context.source.ip.isLoopback() || context.time.now < datetime(\"1960-01-01\")");
    for (name, own, also) in [
        ("1,000 policies, 10 of them about the call's tool", 10, plain),
        ("the same, reading addresses and the time too", 10, costly),
        ("1,000 policies, 500 about it", 500, plain),
    ] {
        let policies = policies(own, also)?;
        let judge = || {
            let verdict = policies.judge(black_box(&question(&principal(), &params)));
            assert!(matches!(verdict, Verdict::Allow(_)), "{verdict:?}");
        };
        report(name, &mut measure(judge));
        let mask = || record(&masks, &message, &key);
        report(
            &format!("{name}, and 50 masks"),
            &mut measure(|| {
                judge();
                mask();
            }),
        );
    }
    Ok(())
}

/// What the agent does with masks for the record of one call (`proxy::shown`): the message once, the name and the members that
/// are kept of it, the request's path and user agent.
fn record(masks: &Masks, message: &str, key: &MaskKey) {
    let selected = masks.for_call("billing", Some("pay"));
    let masked = selected.apply(black_box(message), key);
    black_box(masked.at(&["params", "name"]));
    black_box(["params", "result", "error"].map(|member| masked.at(&[member])));
    let selected = masks.for_call("billing", Some("pay"));
    black_box(["/mcp", "python-httpx/0.28.1"].map(|text| selected.plain(black_box(text), key)));
}

fn measure(mut once: impl FnMut()) -> Vec<Duration> {
    for _ in 0..WARM_UP {
        once();
    }
    (0..CALLS).map(|_| cpu::spent(&mut once).0).collect()
}

fn report(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let micros = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e6;
    println!("{name:<58} {:>9.1} {:>9.1}", micros(50), micros(99));
}

fn policies(own: usize, also: &str) -> Result<Policies> {
    let text: String = (0..POLICIES)
        .map(|n| {
            let tool = if n < own { "pay".to_owned() } else { format!("tool-{n}") };
            format!(
                "forbid (principal, action == Action::\"tools/call\", resource == Tool::\"billing/{tool}\")\n\
                 when {{ principal.id == \"systemd/none-{n}.service\" || (context.arguments.hasTag(\"amount\") && \
                 context.arguments.getTag(\"amount\").long > {}){also} }};\n",
                10_000 + n
            )
        })
        .collect();
    let source = Source { path: "bench.cedar".into(), text };
    Policies::of(&config::Policy::default(), &[source]).context("the policies are wrong")
}

fn masks() -> Result<Masks> {
    let rules: Vec<String> =
        (0..MASKS).map(|n| format!("[[mask]]\npaths = [\"$.params.arguments.secret_{n}\"]\n")).collect();
    let config = config::Config::parse(&rules.concat(), "bench.toml".as_ref())?;
    Masks::compile(&config.masks).context("the masks are wrong")
}

fn message() -> String {
    let items: Vec<_> =
        (0..44).map(|n| json!({ "sku": format!("A-{n:05}"), "quantity": n, "note": "x".repeat(48) })).collect();
    let arguments =
        json!({ "amount": 500, "card": "4111111111111111", "items": items, "secret_7": "s", "secret_30": 5 });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "pay", "arguments": arguments } })
        .to_string()
}

fn params(message: &str) -> Result<Vec<u8>> {
    let message: serde_json::Value = serde_json::from_str(message)?;
    Ok(message["params"].to_string().into_bytes())
}

fn principal() -> Principal {
    Principal {
        id: "systemd/invoicing.service".into(),
        kind: "unit".into(),
        unit: Some("invoicing.service".into()),
        ..Principal::default()
    }
}

fn question<'a>(principal: &'a Principal, params: &'a [u8]) -> Question<'a> {
    Question {
        principal,
        caller: None,
        endpoint: "billing",
        method: "tools/call",
        target: Some("pay"),
        params: Some(params),
        era: "modern",
        protocol_version: Some("2026-07-28"),
        time: jiff::Timestamp::UNIX_EPOCH,
        source: [10, 0, 0, 7].into(),
        destination: ([192, 0, 2, 1].into(), 443),
        hostname: Some("mcp.billing.example.com"),
        annotations: Annotations::default(),
    }
}
