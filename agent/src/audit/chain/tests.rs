use proptest::prelude::*;

use super::*;

fn line(epoch: u64, seq: u64, prev: Hash, event: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut link = Link { seq: seq - 1, hash: prev };
    link.append(&mut out, &LogId::parse("log-1").unwrap(), epoch, event);
    out
}

fn json() -> impl Strategy<Value = String> {
    let text = any::<String>().prop_map(serde_json::Value::String);
    let leaf = prop_oneof![text, any::<i64>().prop_map(Into::into), any::<bool>().prop_map(Into::into)];
    let value = leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::Array),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::btree_map(any::<String>(), value, 0..6)
        .prop_map(|map| serde_json::Value::Object(map.into_iter().collect()).to_string())
}

#[derive(Debug, Clone)]
enum Edit {
    Replace(u8),
    Insert(u8),
    Remove,
    Cut,
}

fn edit() -> impl Strategy<Value = Edit> {
    let byte = || prop_oneof![any::<u8>(), prop::sample::select(b" \t\r\n0{}\",".to_vec())];
    prop_oneof![byte().prop_map(Edit::Replace), byte().prop_map(Edit::Insert), Just(Edit::Remove), Just(Edit::Cut)]
}

proptest! {
    #[test]
    fn what_is_written_is_read(epoch in 1_u64.., seq in 1_u64.., prev: [u8; 32], event in json()) {
        let bytes = line(epoch, seq, Hash(prev), &event);
        let read = Line::parse(&bytes).unwrap();
        prop_assert_eq!((read.log, read.epoch, read.seq, read.prev), ("log-1", epoch, seq, Hash(prev)));
        prop_assert_eq!(read.event, event);
        prop_assert_eq!(read.computed_hash(), read.hash);
    }

    #[test]
    fn no_other_bytes_are_a_right_line(event in json(), at: prop::sample::Index, edit in edit()) {
        let right = line(1, 1, Hash::ZERO, &event);
        let mut bytes = right.clone();
        let at = at.index(bytes.len());
        match edit {
            Edit::Replace(to) => bytes[at] = to,
            Edit::Insert(new) => bytes.insert(at, new),
            Edit::Remove => drop(bytes.remove(at)),
            Edit::Cut => bytes.truncate(at),
        }
        prop_assume!(bytes != right);
        prop_assert!(Line::parse(&bytes).map_or(true, |read| read.computed_hash() != read.hash));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        prop_assert!(Line::parse(&bytes).is_err());
    }

    #[test]
    fn hashes_have_one_text(hash: [u8; 32]) {
        let text = Hash(hash).to_string();
        prop_assert_eq!(Hash::parse(text.as_bytes()), Some(Hash(hash)));
        if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            prop_assert_eq!(Hash::parse(text.to_uppercase().as_bytes()), None);
        }
    }
}

#[test]
fn every_field_is_in_the_hash() {
    let hashes = [
        record_hash("a", 1, 1, Hash::ZERO, "{}"),
        record_hash("b", 1, 1, Hash::ZERO, "{}"),
        record_hash("a", 2, 1, Hash::ZERO, "{}"),
        record_hash("a", 1, 2, Hash::ZERO, "{}"),
        record_hash("a", 1, 1, Hash([1; 32]), "{}"),
        record_hash("a", 1, 1, Hash::ZERO, "{ }"),
    ];
    let different: std::collections::HashSet<_> = hashes.iter().collect();
    assert_eq!(different.len(), hashes.len());
}

#[test]
fn a_line_that_is_too_long_is_refused() {
    let event = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_LINE));
    assert_eq!(Line::parse(&line(1, 1, Hash::ZERO, &event)), Err(Malformed::TooLong));
    let largest = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_EVENT - 8));
    let bytes = line(u64::MAX, u64::MAX, Hash::ZERO, &largest);
    assert!(Line::parse(&bytes).is_ok(), "an event of {} bytes makes a line of {}", largest.len(), bytes.len());
}
