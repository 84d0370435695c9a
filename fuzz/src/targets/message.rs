//! Any body: what is taken is JSON, its parts are its own, and every refusal is a message again.
use bytes::Bytes;
use http::HeaderMap;
use weir::mcp::{Asked, Class, Era, Limits, Params, Refusal, classify, parse};

/// One input.
pub(crate) fn run(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    let limits = Limits::default();
    let refusal = match parse(&body, &limits) {
        Ok(parsed) => {
            serde_json::from_slice::<serde_json::Value>(data).expect("what is taken is JSON");
            for message in parsed.messages() {
                let inside = |part: &Bytes| body.as_ptr_range().contains(&part.as_ptr());
                assert!(inside(&message.raw) && message.params().is_none_or(inside));
                let again = parse(&message.raw, &limits).expect("a message stands alone");
                assert_eq!(again.messages()[0].id(), message.id());
                assert_eq!(Params::of(&again.messages()[0]), Params::of(message));
            }
            let _ = classify(&HeaderMap::new(), &parsed);
            Refusal::new("fuzz", Class::Denied, "no").response(Era::Session, &Asked::from(&parsed))
        }
        Err(invalid) => Refusal::from(&invalid).response(Era::Session, &Asked::from(&invalid)),
    };
    if !refusal.body().is_empty() {
        parse(refusal.body(), &Limits { batch: usize::MAX, ..limits }).expect("a refusal is a message");
    }
}
