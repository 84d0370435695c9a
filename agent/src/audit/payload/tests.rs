use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;
use crate::audit::samples::payloads;

#[test]
fn only_white_space_between_tokens_goes() {
    for (json, compacted) in [
        (" { \"a\" :\t[ 1 ,\r\n2.0 , -0 ] } ", r#"{"a":[1,2.0,-0]}"#),
        (r#"{"a b": "c  \" d \\" , "e" : 1e400}"#, r#"{"a b":"c  \" d \\","e":1e400}"#),
        (r#""\u00e9 é""#, r#""\u00e9 é""#),
        ("\n123456789012345678901234567890\n", "123456789012345678901234567890"),
    ] {
        assert_eq!(payloads(4096).fit(json.as_bytes()).unwrap().text(), compacted);
    }
}

#[test]
fn what_is_not_json_is_refused() {
    for bytes in [&b""[..], b"{", b"1 2", b"tr ue", b"{\"a\":01}", b"\"\xff\"", b"\"\x01\"", b"'a'"] {
        assert_eq!(payloads(4096).fit(bytes).unwrap_err(), NotJson, "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_is_too_long_is_a_marked_prefix_with_the_digest_of_the_whole() {
    let key_dir = tempfile::tempdir().unwrap();
    let key = DigestKey::load_or_create(&key_dir.path().join("key")).unwrap();
    let whole = format!(r#"{{"a":"{}"}}"#, r#"ü\" "#.repeat(2000));
    let spaced = whole.replacen(':', " : ", 1);
    let cut = Payloads::new(key.clone(), 1024).fit(spaced.as_bytes()).unwrap();
    assert!(cut.is_truncated());
    assert!((1000..=1024).contains(&cut.text().len()), "{}", cut.text().len());
    let read: serde_json::Value = serde_json::from_str(cut.text()).unwrap();
    let mark = &read["weir_truncated"];
    assert_eq!(mark["bytes"], whole.len());
    assert_eq!(mark["hmac_sha256"], key.digest(whole.as_bytes()));
    assert!(whole.starts_with(mark["prefix"].as_str().unwrap()));
}

#[test]
fn the_key_is_kept_and_guarded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/digest.key");
    let first = DigestKey::load_or_create(&path).unwrap().digest(b"x");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(DigestKey::load_or_create(&path).unwrap().digest(b"x"), first);
    assert_ne!(DigestKey::load_or_create(&dir.path().join("other")).unwrap().digest(b"x"), first);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(DigestKey::load_or_create(&path), Err(KeyError::Exposed(_))));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, b"short").unwrap();
    assert!(matches!(DigestKey::load_or_create(&path), Err(KeyError::Length(_))));
}

proptest! {
    #[test]
    fn compacting_keeps_the_value_and_its_spelling(value in any::<Vec<(String, f64, Option<bool>)>>()) {
        let tight = serde_json::to_string(&value).unwrap();
        let loose = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(compact(&loose), tight.as_str());
        prop_assert_eq!(compact(&tight), tight);
    }

    #[test]
    fn compacting_any_text_does_not_panic(text: String) {
        prop_assert!(compact(&text).len() <= text.len());
    }

    #[test]
    fn payloads_are_json_within_the_limit(text: String, limit in 1024_usize..4096) {
        let json = serde_json::to_string(&text.repeat(100)).unwrap();
        let payload = payloads(limit).fit(json.as_bytes()).unwrap();
        prop_assert!(payload.text().len() <= limit);
        prop_assert!(!payload.text().contains('\n'));
        prop_assert_eq!(payload.is_truncated(), json.len() > limit);
        prop_assert!(serde_json::from_str::<serde_json::Value>(payload.text()).is_ok());
    }
}
