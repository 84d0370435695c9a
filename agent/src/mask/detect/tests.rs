use proptest::prelude::*;

use super::*;

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

#[test]
fn a_long_hostile_run_takes_no_longer_than_its_length() {
    for part in ["-eyJ", "eyJ.", "sk-", "AKIA", "4111 ", "+1", "a@", "-----BEGIN PRIVATE KEY", "://a:", "1-"] {
        let text = part.repeat((1 << 18) / part.len());
        let started = std::time::Instant::now();
        let _ = found(&text);
        // A debug build on a busy machine; what grows with the square would take minutes.
        assert!(started.elapsed().as_secs() < 30, "{part}");
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
