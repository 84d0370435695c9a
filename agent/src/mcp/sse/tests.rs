use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 16;

/// The events of a stream that arrives in `chunks`, and what is left.
fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<SseEvent>, Bytes) {
    let mut reader = SseReader::new(LIMIT);
    let mut events = Vec::new();
    for chunk in chunks {
        reader.push(Bytes::copy_from_slice(chunk)).unwrap();
        events.extend(std::iter::from_fn(|| reader.next_event()));
    }
    (events, reader.finish())
}

/// Data and event name of each event that a client would see.
fn seen(stream: &str) -> Vec<(String, String)> {
    let text = |bytes: Option<Bytes>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
    let (events, _) = read([stream.as_bytes()]);
    events.into_iter().filter(|e| e.data.is_some()).map(|e| (text(e.data), text(e.event))).collect()
}

#[test]
fn fields_are_read_as_the_standard_says() {
    let one = |data: &str, event: &str| vec![(data.to_owned(), event.to_owned())];
    assert_eq!(seen("data: a\n\n"), one("a", ""));
    assert_eq!(seen("data:a\r\rdata:b\r\n\r\n"), [one("a", ""), one("b", "")].concat());
    assert_eq!(seen("data:  two spaces \n\n"), one(" two spaces ", ""));
    assert_eq!(seen("data: a\ndata\ndata: c\n\n"), one("a\n\nc", ""));
    assert_eq!(seen("event: x\nevent: endpoint\ndata: /m\n\n"), one("/m", "endpoint"));
    assert_eq!(seen("\u{feff}data: a\n\n"), one("a", ""));
    assert_eq!(seen("data: a\n\n\u{feff}data: b\n\n"), one("a", ""));
    assert_eq!(seen(": c\ndata: a\n: d\n\n"), one("a", ""));
    assert_eq!(seen("Data: a\n data: b\ndatax: c\n\n"), []);
    assert_eq!(seen("data: never ended\n"), []);
    assert_eq!(seen("id: 7\ndata:\n\n"), one("", ""));
}

#[test]
fn an_event_without_a_name_is_a_message() {
    for stream in
        ["event:\ndata: a\n\n", "event\ndata: a\n\n", "event: x\nevent:\ndata: a\n\n", "event: message\ndata: a\n\n"]
    {
        let (events, _) = read([stream.as_bytes()]);
        assert!(events[0].is_message(), "{stream:?}");
    }
    let (events, _) = read([&b"event: message \ndata: a\n\nevent: Endpoint \ndata: /m\n\n"[..]]);
    assert!(!events[0].is_message() && !events[0].is_endpoint() && events[1].is_endpoint());
}

#[test]
fn what_another_reader_might_take_for_data_is_ambiguous() {
    for stream in [
        "Data: {}\n\n",
        "event: x\n data : {}\n\n",
        "\u{ef}\u{bb}\u{bf}data: {}\n\n",
        "data:\r{\"jsonrpc\":1}\n\n",
        "id: 1\n [{}]\n\n",
        ": keep\u{2028}data: {}\n",
        ": keep\u{85}data: {}\n",
        "id: 1\u{b}data: {}\n\n",
    ] {
        let (events, _) = read([stream.as_bytes()]);
        assert!(events[0].is_ambiguous, "{stream:?}");
    }
    for stream in
        [": ping - 2026 é\n", "id: {7}\nretry: 5\ndata: {}\n\n", "\u{feff}data: \u{2028}\n\n", "datax: 1\n\n", "\n"]
    {
        let (events, _) = read([stream.as_bytes()]);
        assert!(!events[0].is_ambiguous, "{stream:?}");
    }
}

#[test]
fn ids_and_retries_are_kept() {
    let (events, rest) =
        read([&b"id: 1\nid: a\0b\nretry: 250\nretry: 1x\n\nid\n\nretry: 99999999999999999999\n\n"[..]]);
    assert_eq!(rest, "");
    let kept: Vec<_> = events.into_iter().map(|e| (e.id, e.retry)).collect();
    let text = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    assert_eq!(kept, [(text("1"), Some(250)), (text(""), None), (None, None)]);
}

#[test]
fn keep_alives_are_not_held_back() {
    let mut reader = SseReader::new(LIMIT);
    reader.push(":\r\n".into()).unwrap();
    assert_eq!(reader.next_event().unwrap().raw, ":\r\n");
    reader.push(": ping\n\ndata: 1\n: within an event\n".into()).unwrap();
    assert_eq!(reader.next_event().unwrap().raw, ": ping\n");
    assert_eq!(reader.next_event().unwrap().raw, "\n");
    assert_eq!(reader.next_event(), None);
    reader.push("\r".into()).unwrap();
    assert_eq!(reader.next_event().unwrap().data.unwrap(), "1");
    reader.push("\ndata: 2\n\n".into()).unwrap();
    let second = reader.next_event().unwrap();
    assert_eq!((&second.raw[..], &second.data.unwrap()[..]), (&b"\ndata: 2\n\n"[..], &b"2"[..]));
}

#[test]
fn one_line_of_data_is_not_copied() {
    let (events, _) = read([&b"data: {}\n\n"[..]]);
    let (raw, data) = (&events[0].raw, events[0].data.as_ref().unwrap());
    assert!(raw.as_ptr_range().contains(&data.as_ptr()));
}

#[test]
fn what_does_not_end_within_the_limit_is_an_error() {
    let mut reader = SseReader::new(16);
    reader.push("data: 1\n\ndata: 2\n\n".into()).unwrap();
    assert_eq!(reader.push("data: 3\n\ndata: 0123456789\n\n".into()), Err(TooLarge { limit: 16 }));
    let data: Vec<_> = std::iter::from_fn(|| reader.next_event()).map(|e| e.data.unwrap()).collect();
    assert_eq!(data, ["1", "2", "3"]);

    let mut reader = SseReader::new(16);
    let pushed: Vec<_> = (0..20).map(|_| reader.push("x".into()).is_ok()).collect();
    assert_eq!(pushed.iter().filter(|ok| **ok).count(), 16);
    assert!(SseReader::new(16).push("data: 0123456\n\n".into()).is_ok());
}

/// Pieces that meet each other at every boundary that matters.
fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "\r\n\r\n",
        ":",
        ": c",
        "data",
        "data:",
        "data: {\"a\":1}",
        "event: x",
        "id: 1",
        "retry: 5",
        " ",
        "\u{feff}",
        "\u{2028}",
        "é",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

/// The standard, read plainly: all lines at once, then the fields (data, event, id) of each event.
type Dispatched = (Vec<u8>, Vec<u8>);
fn reference(stream: &[u8]) -> Vec<Dispatched> {
    let text = String::from_utf8(stream.to_vec()).unwrap();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.pop();
    let (mut data, mut name, mut events) = (String::new(), String::new(), Vec::new());
    for line in lines {
        if line.is_empty() {
            if !data.is_empty() {
                data.pop();
                events.push((data.clone().into_bytes(), name.clone().into_bytes()));
            }
            data.clear();
            name.clear();
        } else if !line.starts_with(':') {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "data" => {
                    data.push_str(value);
                    data.push('\n');
                }
                "event" => name = value.to_owned(),
                _ => {}
            }
        }
    }
    events
}

#[test]
fn other_data_stands_where_the_data_stood() {
    let with = |stream: &str, data: &str| {
        let (events, _) = read([stream.as_bytes()]);
        String::from_utf8(events[0].with_data(data.as_bytes()).to_vec()).unwrap()
    };
    assert_eq!(
        with("id:7\r\n: c\r\ndata:{\"a\":1}\r\nevent: x\r\n\r\n", "{}"),
        "id:7\r\n: c\r\ndata:{}\r\nevent: x\r\n\r\n"
    );
    assert_eq!(with("\u{feff}data: {\ndata:}\nid: 7\n\n", "{\n}"), "\u{feff}data: {\ndata: }\nid: 7\n\n");
    assert_eq!(with("data: 1\n\n", "[\n]"), "data: [\ndata: ]\n\n");
}

proptest! {
    #[test]
    fn nothing_is_lost_wherever_the_stream_is_cut(stream in any_stream(), sizes in prop::collection::vec(1usize..9, 1..20)) {
        let mut chunks = Vec::new();
        let (mut rest, mut sizes) = (&stream[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let (chunk, more) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            chunks.push(chunk);
            rest = more;
        }
        let (events, left) = read(chunks);
        let mut all: Vec<u8> = events.iter().flat_map(|e| e.raw.to_vec()).collect();
        all.extend_from_slice(&left);
        prop_assert_eq!(&all, &stream);

        let dispatched: Vec<Dispatched> = events
            .iter()
            .filter_map(|e| Some((e.data.clone()?.to_vec(), e.event.clone().unwrap_or_default().to_vec())))
            .collect();
        prop_assert_eq!(dispatched, reference(&stream));
    }
}

#[test]
fn data_is_replaced_and_nothing_else() {
    let replaced = |raw: &'static str, data: &str| {
        let mut reader = SseReader::new(1024);
        reader.push(raw.as_bytes().into()).unwrap();
        String::from_utf8(reader.next_event().unwrap().with_data(data.as_bytes()).to_vec()).unwrap()
    };
    assert_eq!(
        replaced("id: 7\nevent: message\ndata: a\nretry: 5\n\n", "b"),
        "id: 7\nevent: message\ndata: b\nretry: 5\n\n"
    );
    assert_eq!(replaced("data: a\r\ndata: b\r\n: c\r\n\r\n", "x\ny"), "data: x\ndata: y\n: c\n\n");
    assert_eq!(replaced("\u{feff}data:a\n\n", "b"), "\u{feff}data:b\n\n");
}
