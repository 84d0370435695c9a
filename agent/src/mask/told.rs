//! Texts that are told bit by bit: how a call goes on, the lines of a logger. Each notification is a message of its own, and the
//! protocol knows nothing smaller, so one value may begin in one and end in the next.

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Longest name of a thread, in bytes; of a longer one its beginning counts.
const THREAD_BYTES: usize = 256;

/// The string of a notification that goes on what another one said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The same for texts that go on each other.
    pub(super) thread: String,
    /// The member's name.
    pub(super) name: &'static str,
    /// Where the string stands in the message, with its quotes.
    pub(super) literal: Range<usize>,
}

#[derive(Deserialize)]
struct Notification<'m> {
    method: String,
    #[serde(borrow)]
    params: &'m RawValue,
}

/// Members of `notifications/progress`, `notifications/message` and `notifications/tasks/status`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params<'m> {
    #[serde(borrow)]
    progress_token: Option<&'m RawValue>,
    #[serde(borrow)]
    message: Option<&'m RawValue>,
    #[serde(borrow)]
    logger: Option<&'m RawValue>,
    #[serde(borrow)]
    data: Option<&'m RawValue>,
    #[serde(borrow)]
    task_id: Option<&'m RawValue>,
    #[serde(borrow)]
    status_message: Option<&'m RawValue>,
}

/// What loggers call the text of a line that has members.
#[derive(Deserialize)]
struct Line<'m> {
    #[serde(borrow)]
    message: Option<&'m RawValue>,
    #[serde(borrow)]
    msg: Option<&'m RawValue>,
    #[serde(borrow)]
    text: Option<&'m RawValue>,
}

impl Told {
    /// What a message tells; `None` where it is none of these notifications, or has no text.
    pub(super) fn of(message: &str) -> Option<Self> {
        let Notification { method, params } = serde_json::from_str(message).ok()?;
        let params: Params<'_> = serde_json::from_str(params.get()).ok()?;
        let (of, name, text) = match method.as_str() {
            "notifications/progress" => (params.progress_token, "message", params.message),
            "notifications/message" => (params.logger, "data", params.data.map(line)),
            "notifications/tasks/status" => (params.task_id, "statusMessage", params.status_message),
            _ => return None,
        };
        let text = text.map(RawValue::get).filter(|text| text.starts_with('"'))?;
        let start = text.as_ptr().addr() - message.as_ptr().addr();
        let mut thread = format!("{method} {}", of.map_or("", RawValue::get));
        thread.truncate(thread.floor_char_boundary(THREAD_BYTES));
        Some(Self { thread, name, literal: start..start + text.len() })
    }
}

fn line(data: &RawValue) -> &RawValue {
    let members = serde_json::from_str::<Line<'_>>(data.get()).ok().filter(|_| data.get().starts_with('{'));
    members.and_then(|line| line.message.or(line.msg).or(line.text)).unwrap_or(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_told_apart_by_its_thread() {
        let told = |text: &str| Told::of(text).map(|told| (told.thread, text[told.literal].to_owned()));
        let progress = |token: &str| {
            told(&format!(
                r#"{{"jsonrpc":"2.0", "method":"notifications/pr\u006fgress","params":{{"progressToken":{token},"progress":1,"message":"a\nb"}}}}"#
            ))
        };
        assert_eq!(progress("7"), Some(("notifications/progress 7".into(), r#""a\nb""#.into())));
        assert_ne!(progress("7"), progress("\"7\""));
        let line =
            |rest: &str| told(&format!(r#"{{"method":"notifications/message","params":{{"level":"info",{rest}}}}}"#));
        assert_eq!(line(r#""data":"x","logger":"db""#), Some((r#"notifications/message "db""#.into(), "\"x\"".into())));
        assert_eq!(line(r#""data":{"n":1,"msg":"x"}"#), Some(("notifications/message ".into(), "\"x\"".into())));
        assert_eq!((line(r#""data":["x"]"#), line(r#""data":7"#), line(r#""data":{"n":"x"}"#)), (None, None, None));
        assert_eq!(
            told(r#"{"method":"notifications/tasks/status","params":{"taskId":"t","statusMessage":"x"}}"#).unwrap().1,
            "\"x\""
        );
        for other in ["", "[]", r#"{"id":1,"result":{}}"#, r#"{"method":"tools/call","params":{"message":"x"}}"#] {
            assert_eq!(told(other), None, "{other}");
        }
    }
}
