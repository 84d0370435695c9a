//! Which tool a message is about. A call of a tool says so; what is asked of a task later is about the tool whose call began it
//! (2025-11-25, "Tasks"; SEP-2663), which is remembered here.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::record::ExchangeFacts;
use crate::mask;

/// Most tasks remembered; of one that was idle longest, or that an earlier agent saw begin, the tool is not known.
const TASKS: NonZeroUsize = NonZeroUsize::new(16 << 10).expect("not zero");

/// Longest id and name that are remembered, together, in bytes.
const LONGEST: usize = 1024;

/// Whose rules hold for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum About {
    /// No tool's.
    Nothing,
    /// This tool's.
    Tool(Arc<str>),
    /// A tool's that is not known: every tool's.
    SomeTool,
}

impl About {
    /// For masks to be chosen by.
    pub(crate) fn tool(&self) -> mask::Tool<'_> {
        match self {
            Self::Nothing => mask::Tool::Without,
            Self::Tool(tool) => mask::Tool::Named(tool),
            Self::SomeTool => mask::Tool::Unknown,
        }
    }
}

/// An endpoint, a workload, a task.
type Key = (String, String, String);

/// Which tools' calls began which tasks, the most recently used.
#[derive(Debug)]
pub(crate) struct Tasks(Mutex<LruCache<Key, About>>);

impl Tasks {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(TASKS)))
    }

    /// What a message of a method is about; `target` is what the method names.
    pub(crate) fn about(&self, facts: &ExchangeFacts, method: &str, target: Option<&str>) -> About {
        match (method, target) {
            ("tools/call", Some(tool)) => About::Tool(tool.into()),
            ("tools/call", None) => About::SomeTool,
            (method, Some(task)) if is_of_task(method) => self.get(facts, task),
            (method, None) if is_of_task(method) => About::SomeTool,
            _ => About::Nothing,
        }
    }

    /// Notes the task that a tool's call began, if its result says so.
    pub(crate) fn learn(&self, facts: &ExchangeFacts, tool: &About, result: &[u8]) {
        let (About::Tool(name), Some(task)) = (tool, begun(result)) else { return };
        if name.len() + task.len() > LONGEST {
            return;
        }
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(facts, &task);
        // One id for the tasks of two tools tells neither.
        let about = match tasks.get(&key) {
            Some(known) if known != tool => About::SomeTool,
            _ => tool.clone(),
        };
        tasks.put(key, about);
    }

    /// The tool of the task that the `params` of a notification name.
    pub(crate) fn of_news(&self, facts: &ExchangeFacts, params: Option<&[u8]>) -> About {
        let task = params.and_then(named);
        task.map_or(About::SomeTool, |task| self.get(facts, &task))
    }

    fn get(&self, facts: &ExchangeFacts, task: &str) -> About {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.get(&key(facts, task)).cloned().unwrap_or(About::SomeTool)
    }
}

/// Whether a method asks about tasks.
pub(crate) fn is_of_task(method: &str) -> bool {
    method.starts_with("tasks/")
}

/// Whether a notification tells of a task, with its result where it has one (`notifications/tasks/status`, `notifications/tasks`).
pub(crate) fn is_news_of_task(method: &str) -> bool {
    method.strip_prefix("notifications/tasks").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn key(facts: &ExchangeFacts, task: &str) -> Key {
    (facts.endpoint.name().to_owned(), facts.flow.workload.id.clone(), task.to_owned())
}

#[derive(Deserialize)]
struct Task<'a> {
    #[serde(borrow, rename = "taskId")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    task: Option<&'a RawValue>,
}

/// The task that a value names.
fn named(value: &[u8]) -> Option<String> {
    let task: Task<'_> = serde_json::from_slice(value).ok()?;
    serde_json::from_str(task.id?.get()).ok()
}

/// The task that a result begins: in a member of its own, or the result itself.
fn begun(result: &[u8]) -> Option<String> {
    let outer: Task<'_> = serde_json::from_slice(result).ok()?;
    named(outer.task.map_or(result, |task| task.get().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_begun_in_either_form() {
        assert_eq!(begun(br#"{"task":{"taskId":"t","status":"working"},"_meta":{}}"#).as_deref(), Some("t"));
        assert_eq!(begun(br#"{"resultType":"task","taskId":"t\u0031","status":"working"}"#).as_deref(), Some("t1"));
        for other in [&br#"{"content":[]}"#[..], br#"{"task":7}"#, br#"{"task":{"taskId":7}}"#, b"[]"] {
            assert_eq!(begun(other), None);
        }
    }

    #[test]
    fn methods_of_tasks_are_known() {
        assert!(is_of_task("tasks/get") && is_of_task("tasks/result") && !is_of_task("tasks"));
        assert!(is_news_of_task("notifications/tasks") && is_news_of_task("notifications/tasks/status"));
        assert!(!is_news_of_task("notifications/tasksx"));
    }
}
