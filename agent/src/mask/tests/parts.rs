//! One value in the texts of several notifications.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::{Detector, MaskStyle};

const SECRETS: [&str; 7] = [
    "4111 1111 1111 1111",
    "AKIA2OGYBAH6XYZQRSTU",
    "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",
    "GB82 WEST 1234 5698 7654 32",
    "sk-ant-api03-Zk3VbN8qLw2RtY6uHs9DfGj4KpXc",
    "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\nAgEGCCqGSM49AwEHBG0wawIBAQQg\n-----END PRIVATE KEY-----",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
];

fn rules(style: MaskStyle) -> Selected {
    let rule = config::Mask {
        name: Some("all".into()),
        detectors: Detector::ALL.into(),
        inline: true,
        style,
        ..config::Mask::default()
    };
    select(&[rule])
}

fn progress(token: &str, text: &str) -> String {
    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": token, "progress": 1, "message": text } })
        .to_string()
}

fn log(text: &str) -> String {
    json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": { "n": 1, "message": text } } })
        .to_string()
}

/// What a notification says.
fn text(message: &str) -> String {
    let message: Value = serde_json::from_str(message).unwrap();
    let params = &message["params"];
    params["message"].as_str().or(params["data"]["message"].as_str()).expect("a text").to_owned()
}

fn recorded(selected: &Selected, messages: &[String]) -> Vec<String> {
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    selected.apply_all(&messages, &key()).iter().map(|masked| text(&masked.text)).collect()
}

/// What a client gets, and whether any of it was late.
fn delivered(selected: &Selected, messages: &[String]) -> (Vec<String>, bool) {
    let (mut threads, mut was_late) = (Threads::default(), false);
    let said = messages.iter().map(|message| {
        let (masked, is_late) = selected.inline_next(&mut threads, message, &key());
        was_late |= is_late;
        text(&masked.text)
    });
    (said.collect(), was_late)
}

#[test]
fn a_value_in_two_progress_texts_is_masked_in_both_records_and_in_the_second_event() {
    let selected = rules(MaskStyle::Partial);
    let messages = [progress("a", "paying with 4111 1111"), progress("a", " 1111 1111, please wait")];
    let shown = ["paying with [masked:all/card_number:part]", "[masked:all/card_number:part], please wait"];
    assert_eq!(recorded(&selected, &messages), shown);
    assert_eq!(delivered(&selected, &messages), (vec!["paying with 4111 1111".to_owned(), shown[1].to_owned()], true));
    // What another call's progress says is no part of it, and what stands between does not matter.
    let apart = [progress("a", "4111 1111"), progress("b", " 1111 1111")];
    assert_eq!(recorded(&selected, &apart), ["4111 1111", " 1111 1111"]);
    let between = [progress("a", "4111 1111"), log("hello"), progress("b", "x"), progress("a", " 1111 1111")];
    assert_eq!(recorded(&selected, &between)[3], "[masked:all/card_number:part]");
    assert_eq!(delivered(&selected, &between).0[3], "[masked:all/card_number:part]");
}

#[test]
fn a_key_that_is_told_line_by_line_is_masked_from_its_first_line_to_its_last() {
    let selected = rules(MaskStyle::Redact);
    let lines = [
        "-----BEGIN EC PRIVATE KEY-----\n",
        "MHcCAQEEIObtRo8tkUqoMjeHhsOh2ouPpXCgBcP+EDxZCB\n",
        "-----END EC PRIVATE KEY-----",
        " done",
    ];
    let messages = lines.map(log);
    let part = "[masked:all/private_key:part]".to_owned();
    assert_eq!(recorded(&selected, &messages), [part.clone(), part.clone(), part.clone(), " done".into()]);
    // The first line says what follows, so nothing was late.
    let first = "[masked:all/private_key]".to_owned();
    assert_eq!(delivered(&selected, &messages), (vec![first, part.clone(), part, " done".into()], false));
}

#[test]
fn a_value_at_an_end_does_not_take_the_next_sentence_with_it() {
    let selected = rules(MaskStyle::Redact);
    let messages = [
        progress("a", "wrote to ada@example.com"),
        progress("a", "Wrote to bob@example.com"),
        progress("a", "4111111111111111"),
        progress("a", "3 files"),
    ];
    let shown = ["wrote to [masked:all/email]", "Wrote to [masked:all/email]", "[masked:all/card_number]", "3 files"];
    assert_eq!(recorded(&selected, &messages), shown);
    assert_eq!(delivered(&selected, &messages), (shown.map(str::to_owned).into(), false));
    // Words of one text tell what the next one holds.
    let told = [progress("a", "password: "), progress("a", "Zk3VbN8qLw2RtY6uHs9D")];
    assert_eq!(recorded(&selected, &told)[1], "[masked:all/high_entropy]");
}

#[test]
fn what_is_kept_of_threads_is_bounded() {
    let (selected, mut threads) = (rules(MaskStyle::Redact), Threads::default());
    for n in 0..100 {
        let message = progress(&n.to_string(), &format!("-----BEGIN PRIVATE KEY-----{}", "x".repeat(100_000)));
        selected.inline_next(&mut threads, &message, &key());
    }
    assert!(threads.bytes() <= 8 * (16 << 10), "{}", threads.bytes());
}

proptest! {
    #[test]
    fn however_a_value_is_split_its_parts_are_masked(
        secret in prop::sample::select(SECRETS.to_vec()),
        cuts in prop::collection::btree_set(1..200_usize, 1..5),
        before in "[a-z]{0,6} ",
        after in " [a-z]{0,6}",
        style in prop::sample::select(vec![MaskStyle::Redact, MaskStyle::Token, MaskStyle::Partial]),
        logs in any::<bool>(),
    ) {
        let mut parts = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().filter(|cut| *cut < secret.len()) {
            parts.push(&secret[from..cut]);
            from = cut;
        }
        parts.push(&secret[from..]);
        let last = parts.len() - 1;
        let message = |(at, part): (usize, &&str)| {
            let text = format!("{}{part}{}", if at == 0 { &before } else { "" }, if at == last { &after } else { "" });
            if logs { log(&text) } else { progress("7", &text) }
        };
        let messages: Vec<String> = parts.iter().enumerate().map(message).collect();
        let selected = rules(style);

        // In the record, nothing of any part is left, and nothing else is gone.
        let shown = recorded(&selected, &messages);
        for (at, text) in shown.iter().enumerate() {
            let text = text.strip_prefix(if at == 0 { &*before } else { "" }).expect("what stood before");
            let text = text.strip_suffix(if at == last { &*after } else { "" }).expect("what stood behind");
            prop_assert!(text.starts_with("[masked:all/") && text.ends_with(']'), "{shown:?}");
            prop_assert!(last == 0 || text.ends_with(":part]"), "{shown:?}");
        }

        // To the client, the part with which the whole is known is masked, and so is all that follows.
        let (said, was_late) = delivered(&selected, &messages);
        prop_assert!(!said.concat().contains(secret), "{said:?}");
        let first_masked = said.iter().position(|text| text.contains("[masked:")).expect("a mask");
        for (at, text) in said.iter().enumerate() {
            prop_assert_eq!(text.contains("[masked:all/"), at >= first_masked, "{:?}", said);
            prop_assert!(at < first_masked || !text.contains(parts[at]) || parts[at].len() < 3, "{said:?}");
        }
        prop_assert_eq!(was_late, first_masked > 0);
    }

    #[test]
    fn texts_without_secrets_pass_as_they_came(texts in prop::collection::vec("[A-Za-zé .,]{0,30}", 1..8)) {
        let messages: Vec<String> = texts.iter().map(|text| progress("7", text)).collect();
        let selected = rules(MaskStyle::Token);
        prop_assert_eq!(&recorded(&selected, &messages), &texts);
        prop_assert_eq!(delivered(&selected, &messages), (texts, false));
    }
}
