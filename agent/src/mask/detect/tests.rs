use proptest::prelude::*;

use super::*;
use crate::mask::time;

fn found(text: &str) -> Vec<(String, Detector)> {
    let all = scan(Subject { text, name: None }, Set::of(Detector::ALL));
    all.into_iter().map(|found| (text[found.range].to_owned(), found.detector)).collect()
}

#[test]
fn overlapping_finds_are_one_and_bear_the_more_telling_name() {
    let text = "password: AKIA2OGYBAH6XYZQRSTU and secret=4111111111111111";
    let expected = [("AKIA2OGYBAH6XYZQRSTU", Detector::AwsKey), ("4111111111111111", Detector::CardNumber)];
    assert_eq!(found(text), expected.map(|(text, detector)| (text.to_owned(), detector)));
}

#[test]
fn a_detector_that_is_not_asked_finds_nothing() {
    let text = "AKIA2OGYBAH6XYZQRSTU ada@example.com 4111111111111111 https://ada:hunter2@example.com";
    for detector in Detector::ALL {
        let found = scan(Subject { text, name: None }, Set::of([detector]));
        assert!(found.iter().all(|found| found.detector == detector), "{found:?}");
    }
    assert!(scan(Subject { text, name: None }, Set::default()).is_empty());
    assert_eq!(found(text).len(), 4);
}

/// For each detector, what makes it look often, far or in vain.
const HOSTILE: [&str; 62] = [
    // Numbers: groups and brackets that never end, and what is nearly one.
    "(",
    "1(",
    "12345678((((",
    "12345678)(",
    "+(",
    "+1",
    "+49 30 ",
    "1-",
    "1 ",
    "1/1",
    " - ",
    "7",
    "4111 ",
    "4111-1111 ",
    "4111 1111 1111 1112 ",
    "12-",
    "123-45-",
    "123 45 6789 ",
    "phone 12345678 ",
    // Account numbers.
    "A",
    "AD",
    "AD ",
    "GB82 WEST ",
    "- A",
    // Around an `@`, behind a scheme.
    "@",
    "a@",
    "a@a.",
    "a.",
    "\u{e9}@",
    "a=a@",
    "x@y.zz,",
    "a:b@c.de ",
    "://",
    "://a:",
    "://u:p@",
    "://u:@@@@@@@@@@@@@@@@@@@@",
    // Tokens, one behind the other in one word and in many.
    "eyJ.",
    "-eyJ",
    "/eyJ",
    "eyJhbGciOiJub25lIn0.",
    "-eyJhbGciOiJub25lIn0.",
    "sk-",
    "-sk-ant-",
    "sk-ant-a-",
    "-ghp_",
    "-glpat-",
    "/IQoJb3JpZ2lu",
    "-FwoGZXIvYXdz/",
    "AKIA",
    "/AKIA",
    "1//0",
    "xoxb-",
    "hooks.slack.com/services/AAAAAAAA/",
    "whsec_",
    // Random strings, with words before them and without.
    "a1B2",
    "token=",
    "password aB3dE5gH7jK9mN1p ",
    "Bearer                 ",
    "basic aaaaaaaaaaaaaaaa ",
    // Keys that never end.
    "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----",
    "PuTTY-User-Key-File-",
];

#[test]
fn a_long_hostile_run_takes_no_longer_than_its_length() {
    for part in HOSTILE.into_iter().chain(["%41%", "-----BEGIN A PRIVATE KEY----------END A PRIVATE KEY-----"]) {
        time::grows_with_length(part, |length| {
            // Behind digits, since runs with few of them are not looked at.
            let text = format!("12345678{}", part.repeat(length / part.len()));
            move || drop(found(&text))
        });
    }
}

#[test]
fn a_long_name_is_not_read_for_each_of_many_texts() {
    for part in ["n", "_", "token"] {
        time::grows_with_length(part, |length| {
            let name = part.repeat(length / part.len());
            move || {
                for _ in 0..length / 64 {
                    let text = "12345678 aB3dE5gH7jK9mN1p";
                    drop(scan(Subject { text, name: Some(&name) }, Set::of(Detector::ALL)));
                }
            }
        });
    }
}

proptest! {
    #[test]
    fn any_text_is_scanned_and_ranges_are_its_own(text in "\\PC{0,60}|[A-Za-z0-9@./:+=_ -]{0,60}|(eyJ|AKIA|[0-9 -]|@|é|用|://|-----BEGIN ){0,20}") {
        let mut end = 0;
        for Found { range, .. } in scan(Subject { text: &text, name: Some("token") }, Set::of(Detector::ALL)) {
            prop_assert!(range.start >= end && range.start < range.end && text.get(range.clone()).is_some());
            end = range.end;
        }
    }
}
