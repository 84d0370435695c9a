//! `docs/events.md`: every kind of record with an example, and every field, as this code writes them.
//!
//! `WEIR_BLESS=1 cargo nextest run -p weir catalogue` writes it anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::every_record;
use crate::audit::pretty::pretty;

/// What a record is called: its class, and within it what tells records apart.
fn kind(event: &Value) -> String {
    let class = event["class_name"].as_str().unwrap();
    let ours = ["/mcp/phase", "/lifecycle/kind", "/login/kind", "/flow/end"];
    let of_ours = ours.iter().find_map(|pointer| event.pointer(pointer)).and_then(Value::as_str);
    match (of_ours, event["class_uid"].as_u64()) {
        (Some(_), Some(4001)) => format!("{class}: the end of a connection"),
        (Some(word), _) => format!("{class}: `{word}`"),
        (None, Some(4002)) => class.to_owned(),
        (None, _) => format!("{class}: {}", event["activity_name"].as_str().unwrap().to_lowercase()),
    }
}

/// Every field below `value`, as a path, with the names of its JSON types.
fn fields(value: &Value, path: &str, found: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let name = match value {
        Value::Object(fields_of) if !is_free(path) => {
            let dot = if path.is_empty() { "" } else { "." };
            fields_of.iter().for_each(|(name, value)| fields(value, &format!("{path}{dot}{name}"), found));
            return;
        }
        Value::Array(items) if items.iter().all(Value::is_object) && !items.is_empty() && !is_free(path) => {
            items.iter().for_each(|item| fields(item, &format!("{path}[]"), found));
            return;
        }
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "boolean",
        Value::Null => "null",
    };
    found.entry(path.to_owned()).or_default().insert(name);
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// What peers or the configuration give its form.
fn is_free(path: &str) -> bool {
    ["mcp.params", "mcp.result", "mcp.error", "mcp.id", "mcp.events.kept", "masked"].contains(&path)
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(workspace().join("deploy/ocsf").join(path)).unwrap()).unwrap()
}

/// What the extension says of each of its attributes, and what we put into OCSF's, by path.
fn descriptions() -> BTreeMap<String, String> {
    let dictionary = read("dictionary.json");
    let mut objects = BTreeMap::new();
    for entry in fs::read_dir(workspace().join("deploy/ocsf/objects")).unwrap() {
        let object = read(&format!("objects/{}", entry.unwrap().file_name().to_str().unwrap()));
        objects.insert(object["name"].as_str().unwrap().to_owned(), object);
    }
    let standard = read("standard.json");
    let says = |(path, says): (&String, &Value)| (path.clone(), says.as_str().unwrap().to_owned());
    let mut found: BTreeMap<_, _> = standard["attributes"].as_object().unwrap().iter().map(says).collect();
    for name in read("profiles/weir.json")["attributes"].as_object().unwrap().keys() {
        describe(&dictionary["attributes"][name], name, &objects, &mut found);
    }
    found
}

fn describe(stated: &Value, path: &str, objects: &BTreeMap<String, Value>, found: &mut BTreeMap<String, String>) {
    found.insert(path.to_owned(), stated["description"].as_str().unwrap_or_default().to_owned());
    let Some(object) = stated["type"].as_str().and_then(|kind| objects.get(kind)) else { return };
    let many = if stated["is_array"] == true { "[]" } else { "" };
    for (name, stated) in object["attributes"].as_object().unwrap() {
        describe(stated, &format!("{path}{many}.{name}"), objects, found);
    }
}

fn catalogue() -> String {
    let mut examples: Vec<(String, String)> = Vec::new();
    let mut found = BTreeMap::new();
    let mut seen_in: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for text in every_record() {
        let event = value(&text);
        let kind = kind(&event);
        if examples.iter().all(|(known, _)| *known != kind) {
            examples.push((kind, format!("{}\n\n```json\n{}", event["message"].as_str().unwrap(), pretty(&text))));
        }
        let mut own = BTreeMap::new();
        fields(&event, "", &mut own);
        for (path, types) in own {
            seen_in.entry(path.clone()).or_default().insert(event["class_uid"].as_u64().unwrap());
            found.entry(path).or_insert_with(BTreeSet::new).extend(types);
        }
    }
    let mut text = "# Events\n\nEvery kind of record, with an example of its `event`, and every field. Written by a test from the code \
         that writes the\nrecords; [records.md](records.md) says what surrounds an event and what may be relied on.\n\n## Fields\n\n\
         `in` lists the classes that have the field. What OCSF defines is said as Weir uses it.\n\n| field | JSON | in | says |\n|---|---|---|---|\n"
        .to_owned();
    let descriptions = descriptions();
    for (path, types) in &found {
        let types = types.iter().copied().collect::<Vec<_>>().join(", ");
        let classes = seen_in[path].iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let says = &descriptions[path];
        writeln!(text, "| `{path}` | {types} | {classes} | {says} |").unwrap();
    }
    for (kind, example) in examples {
        write!(text, "\n## {kind}\n\n{example}\n```\n").unwrap();
    }
    text
}

#[test]
fn the_event_catalogue_is_current() {
    let path = workspace().join("docs/events.md");
    let current = catalogue();
    if std::env::var_os("WEIR_BLESS").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == current,
        "docs/events.md is not current: WEIR_BLESS=1 cargo nextest run -p weir catalogue writes it"
    );
}

#[test]
fn every_field_is_described_and_nothing_else_is_of_ocsf() {
    let mut found = BTreeMap::new();
    every_record().iter().for_each(|text| fields(&value(text), "", &mut found));
    let described = descriptions();
    let undescribed: Vec<_> = found.keys().filter(|path| !described.contains_key(*path)).collect();
    assert_eq!(undescribed, Vec::<&String>::new(), "deploy/ocsf says what they are");
    let standard = read("standard.json");
    let unused = standard["attributes"].as_object().unwrap().keys().filter(|path| !found.contains_key(*path));
    assert_eq!(unused.collect::<Vec<_>>(), Vec::<&String>::new());
}
