use serde_json::{Value, json};

use crate::log::Log;

/// The kinds of findings, with the records that they name.
fn found(findings: &Value) -> Vec<(&str, Value)> {
    let findings = findings.as_array().unwrap_or_else(|| panic!("{findings}"));
    findings.iter().map(|finding| (finding["kind"].as_str().unwrap_or_default(), finding["first"].clone())).collect()
}

#[test]
fn consumers_find_what_was_done_to_the_stream_and_nothing_else() {
    let log = Log::of_a_session("consumer");
    let read = log.read_by("consumer.py", "deploy/consumer");
    let middle = read["records"].as_u64().expect("a number") / 2;

    let kinesis = &read["kinesis"];
    for whole in ["whole", "resumed"] {
        assert_eq!(kinesis[whole]["findings"], json!([]), "{whole}: {kinesis}");
        assert_eq!(kinesis[whole]["exit"], 0);
    }
    assert_eq!(found(&kinesis["deleted"]["findings"]), [("missing", json!(middle - 1))]);
    let altered = found(&kinesis["altered"]["findings"]);
    assert_eq!(altered, [("not_a_record", Value::Null), ("missing", json!(middle + 1))]);
    assert_eq!((&kinesis["deleted"]["exit"], &kinesis["altered"]["exit"]), (&json!(1), &json!(1)));

    let lambda = &read["lambda"];
    assert_eq!(lambda["good"], json!({ "batchItemFailures": [] }));
    assert_eq!(
        lambda["bad"],
        json!({ "batchItemFailures": [{ "itemIdentifier": "2" }] }),
        "from what could not be told"
    );

    let schedule = &read["schedule"];
    for nothing in ["first", "early", "again", "still"] {
        assert_eq!(schedule[nothing], json!([]), "{nothing}: {schedule}");
    }
    assert_eq!(found(&schedule["late"]), [("missing", json!(middle - 2))]);
    assert_eq!(found(&schedule["silent"]), [("silent", Value::Null)]);

    let backlog = schedule["backlog"].as_array().expect("runs");
    let [damaged, newer, end, again] = &backlog[..] else { panic!("{backlog:?}") };
    assert_eq!(found(&damaged["findings"]), [("unreadable", Value::Null)], "a damaged object does not stop the rest");
    for run in [damaged, newer] {
        assert_eq!(run["complete"], false, "its time was up");
    }
    assert_eq!((&newer["findings"], &end["complete"]), (&json!([]), &json!(true)), "days without a run are read");
    assert_eq!((&end["findings"], &again["findings"]), (&json!([]), &json!([])), "what was missing came");
}
