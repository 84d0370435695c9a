use serde_json::{Value, json};

use crate::log::Log;

/// One column of a query's answer.
fn column<'v>(answers: &'v Value, query: &str, name: &str) -> Vec<&'v Value> {
    answers[query].as_array().unwrap_or_else(|| panic!("{query} in {answers}")).iter().map(|row| &row[name]).collect()
}

#[test]
fn the_tables_hold_what_was_recorded_and_every_query_finds_what_it_is_for() {
    let log = Log::of_a_session("tables");
    let read = log.read_by("tables.py", "deploy");
    let count = |arguments: &[&str]| log.audit(arguments).lines().count();
    assert_eq!(read["records"], count(&["query", "--json"]));
    assert_eq!(read["missing_fields"], json!([]), "run deploy/athena/make.py");

    let answers = &read["answers"];
    let calls = answers["calls_by_workload"].as_array().expect("rows");
    let call =
        |name: &str| calls.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name} in {answers}"));
    assert_eq!((&call("echo")["calls"], &call("echo")["workload"]), (&json!(3), &json!("process/app")), "{answers}");
    assert_eq!((&call("fail")["calls"], &call("fail")["not_ok"]), (&json!(1), &json!(1)), "{answers}");

    assert_eq!(column(answers, "denied_calls", "seq").len(), count(&["query", "--json", "--verdict", "deny"]));
    assert!(!column(answers, "denied_calls", "reason").contains(&&Value::Null), "{answers}");
    assert_eq!(column(answers, "unapproved_deletes", "tool"), ["delete_invoice"]);
    assert!(column(answers, "unapproved_deletes", "params")[0].as_str().is_some_and(|text| text.contains("INV-7")));
    assert_eq!(column(answers, "lag", "newest_seq"), [&read["records"]]);
    for nothing in ["gaps", "forks", "calls_without_end", "shadow_mcp", "refused_connections", "stopped_attempts"] {
        assert_eq!(answers[nothing], json!([]), "{nothing}");
    }
}

#[test]
fn what_is_missing_or_forked_shows_in_the_tables() {
    let log = Log::of_a_session("gaps");
    let id = log.lose_the_record(5);
    let read = log.read_by("tables.py", "deploy");
    let gap = json!([{ "log": id, "first_missing": 5, "last_missing": 5, "missing": 1 }]);
    assert_eq!(read["answers"]["gaps"], gap);
    log.fork_the_record(9);
    let read = log.read_by("tables.py", "deploy");
    assert_eq!(column(&read["answers"], "forks", "what")[0], "fork", "{}", read["answers"]["forks"]);
}
