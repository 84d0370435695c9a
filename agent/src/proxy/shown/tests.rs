//! For any message and any rules: no masked value is in what the record's line says or the other side gets, and everything else is
//! there byte for byte.

use bytes::Bytes;
use proptest::prelude::*;
use regex::{Regex, escape};
use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::{
    audit::{
        event::{Call, Mcp, Phase, What},
        ocsf::render,
        samples,
    },
    config::{self, Detector, MaskStyle},
    mask::{MaskKey, Masks, Selected},
    mcp::{Body, Limits, parse},
};

/// One piece of a message's text.
#[derive(Debug, Clone)]
enum Piece {
    /// Stays, whatever the rules.
    Kept(String),
    /// White space between tokens, which records leave out.
    Space(&'static str),
    /// Goes, if a rule has one of the paths or the detector.
    Secret {
        spelled: String,
        value: &'static str,
        /// Whether it is a whole JSON value, not a part of a string.
        is_whole: bool,
        paths: Vec<String>,
        detector: Option<Detector>,
    },
}

/// A message of one kind: its text around the object that holds what is planted, the path to that, and the member of the record
/// that has it.
#[derive(Debug)]
struct Kind {
    before: &'static str,
    member: &'static str,
    inside: &'static str,
    root: &'static str,
    behind: &'static str,
}

const TOOL: &str = "Zq0tool";

const KINDS: [Kind; 4] = [
    Kind {
        before: r#"{"jsonrpc":"2.0", "id":7,"method":"tools/call","params":"#,
        member: "params",
        inside: r#"{"arguments":"#,
        root: "$.params.arguments",
        behind: "}",
    },
    Kind {
        before: r#"{"jsonrpc":"2.0","method":"notifications/custom","params":"#,
        member: "params",
        inside: r#"{"data":"#,
        root: "$.params.data",
        behind: "}",
    },
    Kind {
        before: r#"{"id":7 ,"jsonrpc":"2.0","result":"#,
        member: "result",
        inside: r#"{"content":[],"structuredContent":"#,
        root: "$.result.structuredContent",
        behind: "}",
    },
    Kind {
        before: r#"{"jsonrpc":"2.0","id":7,"error":"#,
        member: "error",
        inside: r#"{"code":-32000,"message":"no","data":"#,
        root: "$.error.data",
        behind: "}",
    },
];

fn kept(text: &str) -> Piece {
    Piece::Kept(text.to_owned())
}

/// A whole value that paths select.
fn selected(spelled: &str, value: &'static str, root: &str, paths: &[&str]) -> Piece {
    let paths = paths.iter().map(|path| path.replace("ROOT", root)).collect();
    Piece::Secret { spelled: spelled.to_owned(), value, is_whole: true, paths, detector: None }
}

/// A text that a detector finds.
fn found(spelled: &str, value: &'static str, detector: Detector) -> Piece {
    let is_whole = spelled.parse::<u64>().is_ok();
    Piece::Secret { spelled: spelled.to_owned(), value, is_whole, paths: Vec::new(), detector: Some(detector) }
}

/// Members that rules may select something in, below `root`.
fn members(root: &str) -> Vec<Vec<Piece>> {
    vec![
        vec![
            kept(r#""secret":"#),
            selected(r#""Zq1\u0078""#, "Zq1x", root, &["$..secret", "ROOT.secret", "ROOT['secret','x']"]),
        ],
        vec![
            kept(r#""user":{"id":1.50,"name":"#),
            selected("\"Zq2é\"", "Zq2é", root, &["$..user.name", "ROOT.user.name", "ROOT.*.name"]),
            Piece::Space("  "),
            kept("}"),
        ],
        vec![
            kept(r#""items":[{"kind":"private","value":"#),
            selected(
                "\"Zq3x\"",
                "Zq3x",
                root,
                &["$..items[?@.kind=='private'].value", "ROOT.items[0].value", "$..items[*].value"],
            ),
            kept(r#"},{"kind":"open","value":"#),
            selected("[1e2,\"Zq4x\"]", "Zq4x", root, &["$..items[-1].value", "$..items[*].value"]),
            kept("}]"),
        ],
        vec![
            kept(r#""payload":" {\"token\": "#),
            selected(r#"\"Zq5\\u0078\""#, "Zq5x", root, &["$..token", "ROOT.payload.token", "$..payload['token']"]),
            kept(r#",\"n\":1.0}""#),
        ],
        vec![
            kept(r#""private":"#),
            selected(r#"{"a":["Zq6x"],"b":null}"#, "Zq6x", root, &["$..private", "ROOT['private']"]),
        ],
        vec![
            kept(r#""note":"счёт é\u00e9 "#),
            found("4111 1111 1111 1111", "4111 1111 1111 1111", Detector::CardNumber),
            kept(" да\""),
        ],
        vec![
            kept(r#""aws":"鍵は "#),
            found(r"\u0041KIA2OGYBAH6XYZQRSTU", "AKIA2OGYBAH6XYZQRSTU", Detector::AwsKey),
            kept(" です\""),
        ],
        vec![
            kept(r#""iban":"Konto "#),
            found("GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 32", Detector::Iban),
            kept("\""),
        ],
        vec![kept(r#""call":"اتصل "#), found("+49 30 901820", "+49 30 901820", Detector::Phone), kept(" \"")],
        vec![kept(r#""ssn":"("#), found("536-22-8145", "536-22-8145", Detector::Ssn), kept(")\"")],
        vec![
            kept(r#""gh":"\"#),
            kept("n"),
            found(
                "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",
                "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",
                Detector::GithubToken,
            ),
            kept("\""),
        ],
        vec![
            kept(r#""pem":""#),
            found(
                r"-----BEGIN PRIVATE KEY-----\nMIGHAAAAAAAAAAAA\n-----END PRIVATE KEY-----",
                "MIGHAAAAAAAAAAAA",
                Detector::PrivateKey,
            ),
            kept(r#"\n""#),
        ],
        vec![
            kept(r#""uri":"https://x.example/u/"#),
            found("ada%40example.com", "ada%40example.com", Detector::Email),
            kept("/z\""),
        ],
        vec![kept("\""), found("ada@example.com", "ada@example.com", Detector::Email), kept("\":true")],
        vec![
            kept(r#""log":"[{\"mail\":[\""#),
            found("ada@example.com", "ada@example.com", Detector::Email),
            kept(r#"\"]}]""#),
        ],
        vec![kept("\"number\":"), found("4929123412341232", "4929123412341232", Detector::CardNumber)],
        vec![kept(r#""plain":{"x":-0.0,"y":["#), Piece::Space(" "), kept(r#"true,null],"z":"\ud83d\ude00"}"#)],
    ]
}

/// The pieces before the record's member, of it, and behind.
fn any_message() -> impl Strategy<Value = (&'static Kind, Vec<Piece>)> {
    let space = prop::sample::select(vec!["", " ", "\n\t"]);
    (0..KINDS.len(), space).prop_flat_map(|(kind, space)| {
        let kind = &KINDS[kind];
        let members = members(kind.root);
        let all = members.len();
        prop::sample::subsequence(members, 0..=all).prop_shuffle().prop_map(move |members| {
            let mut pieces = vec![kept(kind.inside), kept("{"), Piece::Space(space)];
            for (at, member) in members.into_iter().enumerate() {
                pieces.extend((at > 0).then(|| kept(",")));
                pieces.push(Piece::Space(space));
                pieces.extend(member);
            }
            pieces.extend([Piece::Space(space), kept("}")]);
            if kind.root == "$.params.arguments" {
                pieces.push(kept(",\"name\":"));
                pieces.push(selected(&format!("\"{TOOL}\""), TOOL, kind.root, &["$.params.name"]));
            }
            pieces.push(kept(kind.behind));
            (kind, pieces)
        })
    })
}

fn any_rules() -> impl Strategy<Value = Vec<config::Mask>> {
    let paths: Vec<String> = KINDS
        .iter()
        .flat_map(|kind| members(kind.root))
        .flatten()
        .flat_map(|piece| if let Piece::Secret { paths, .. } = piece { paths } else { Vec::new() })
        .chain(["$.params.name", "$.nowhere", "$..[?@.none]"].map(str::to_owned))
        .collect();
    let rule = (
        prop::collection::vec(prop::sample::select(paths), 0..4),
        prop::sample::subsequence(Detector::ALL.to_vec(), 0..=Detector::ALL.len()),
        prop::sample::select(vec![MaskStyle::Redact, MaskStyle::Token, MaskStyle::Partial]),
        any::<bool>(),
    );
    let rule = rule.prop_filter("selects something", |(paths, detectors, ..)| paths.len() + detectors.len() > 0);
    let rule = rule.prop_map(|(paths, detectors, style, inline)| config::Mask {
        paths,
        detectors,
        style,
        inline,
        ..config::Mask::default()
    });
    prop::collection::vec(rule, 1..5)
}

impl Piece {
    fn text(&self) -> &str {
        match self {
            Self::Kept(text) | Self::Secret { spelled: text, .. } => text,
            Self::Space(text) => text,
        }
    }

    /// Whether it goes by these rules.
    fn is_masked(&self, rules: &[&config::Mask]) -> bool {
        let Self::Secret { paths, detector, .. } = self else { return false };
        rules.iter().any(|rule| {
            rule.paths.iter().any(|path| paths.contains(path))
                || detector.is_some_and(|detector| rule.detectors.contains(&detector))
        })
    }

    /// What stands there by these rules, as a regular expression.
    fn pattern(&self, rules: &[&config::Mask]) -> String {
        match self {
            Self::Secret { is_whole, .. } if self.is_masked(rules) => {
                let quote = if *is_whole { r#"\\*""# } else { "" };
                format!(r"{quote}\[masked:[^\[\]]*\]{quote}")
            }
            _ => escape(self.text()),
        }
    }
}

/// Every text that a value says, also where it is JSON text in a string.
fn said(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
                said(&inner, all);
            }
            all.push(text.clone());
        }
        Value::Array(values) => values.iter().for_each(|value| said(value, all)),
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            all.push(key.clone());
            said(value, all);
        }),
        other => all.push(other.to_string()),
    }
}

/// None of the values that these rules mask is in a JSON text.
fn says_none_of(text: &str, pieces: &[Piece], rules: &[&config::Mask]) -> Result<(), TestCaseError> {
    let mut all = Vec::new();
    said(&serde_json::from_str(text).expect("JSON"), &mut all);
    for piece in pieces.iter().filter(|piece| piece.is_masked(rules)) {
        let Piece::Secret { spelled, value, .. } = piece else { continue };
        prop_assert!(!text.contains(value) && !text.contains(spelled.as_str()), "{value} in {text}");
        prop_assert!(!all.iter().any(|said| said.contains(value)), "{value} in {text}");
    }
    Ok(())
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).expect("escaped").is_match(text)
}

/// The line that the log holds of a message.
fn line(message: &Message, selected: &Selected, key: &MaskKey) -> (String, u64) {
    let text = std::str::from_utf8(&message.raw).expect("text");
    let shown = Shown { message, masked: selected.apply(text, key) };
    let Content { params, result, error } = shown.content(|text| samples::payloads(1 << 20).fit(text).ok());
    let counts = shown.masked.counts.clone();
    let call = samples::call(Phase::Request, Uuid::nil());
    let name = shown.name(Params::of(message).target.as_deref());
    let mcp = Mcp { params, result, error, name, ..call.mcp };
    let event = samples::event(What::Call(Box::new(Call { mcp, masked: counts.clone(), ..call })));
    (render(event, Uuid::nil()).expect("a line"), counts.values().sum())
}

proptest! {
    #[test]
    fn no_masked_value_is_recorded_or_delivered_and_all_else_is((kind, pieces) in any_message(), rules in any_rules()) {
        let text: String = std::iter::once(kind.before).chain(pieces.iter().map(Piece::text)).chain(["}"]).collect();
        let Ok(Body::Single(message)) = parse(&Bytes::from(text.clone()), &Limits::default()) else {
            panic!("not a message: {text}");
        };
        let key = MaskKey::from_bytes(&[7; 32]);
        let selected = Masks::compile(&rules).expect("rules").for_call("billing", Some(TOOL));
        let pattern = |rules: &[&config::Mask], is_kept: fn(&Piece) -> bool| -> String {
            pieces.iter().filter(|piece| is_kept(piece)).map(|piece| piece.pattern(rules)).collect()
        };

        // The record.
        let all: Vec<&config::Mask> = rules.iter().collect();
        let (line, masked) = line(&message, &selected, &key);
        let member = pattern(&all, |piece| !matches!(piece, Piece::Space(_)));
        prop_assert!(matches(&format!("\"{}\":{member}[,}}]", kind.member), &line), "{member}\n{line}");
        prop_assert_eq!(masked, pieces.iter().filter(|piece| piece.is_masked(&all)).count() as u64, "{}", line);
        says_none_of(&line, &pieces, &all)?;

        // What the other side gets.
        let inline: Vec<&config::Mask> = rules.iter().filter(|rule| rule.inline).collect();
        let delivered = selected.inline(&text, &key).text;
        let whole = format!("^{}{}\\}}$", escape(kind.before), pattern(&inline, |_| true));
        prop_assert!(matches(&whole, &delivered), "{whole}\n{delivered}");
        says_none_of(&delivered, &pieces, &inline)?;
    }
}
