//! Which entries of a list may be seen. Of the text only the entries that go are touched: the others keep their bytes.

use std::{collections::BTreeMap, ops::Range};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{Annotations, Policies, Question, Subject};

/// What a list lists.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The result's member that holds the entries.
    member: &'static str,
    /// The entry's member that names it.
    name: &'static str,
    /// The method that uses what is listed.
    used_by: &'static str,
    subject: fn(String) -> Subject,
}

impl Kind {
    /// What the answer to `method` lists.
    pub fn of(method: &str) -> Option<Self> {
        Some(match method {
            "tools/list" => Self { member: "tools", name: "name", used_by: "tools/call", subject: Subject::Tool },
            "prompts/list" => {
                Self { member: "prompts", name: "name", used_by: "prompts/get", subject: Subject::Prompt }
            }
            "resources/list" => {
                Self { member: "resources", name: "uri", used_by: "resources/read", subject: Subject::Resource }
            }
            "resources/templates/list" => Self {
                member: "resourceTemplates",
                name: "uriTemplate",
                used_by: "resources/read",
                subject: Subject::Resource,
            },
            _ => return None,
        })
    }
}

/// Whether a result has a member that lists anything.
pub fn is_list(result: &[u8]) -> bool {
    let members: Result<BTreeMap<String, IgnoredAny>, _> = serde_json::from_slice(result);
    let lists = |member: &String| {
        ["tools/list", "prompts/list", "resources/list", "resources/templates/list"]
            .iter()
            .filter_map(|method| Kind::of(method))
            .any(|kind| kind.member == member)
    };
    members.is_ok_and(|members| members.keys().any(lists))
}

/// One page of a list, as a result's text.
#[derive(Debug)]
pub struct Page<'a> {
    kind: Kind,
    result: &'a str,
    entries: Vec<Entry<'a>>,
    /// Where the entries' array stands.
    array: Range<usize>,
    /// Where `cacheScope` is said to be `public`.
    public: Option<Range<usize>>,
}

#[derive(Debug)]
struct Entry<'a> {
    text: &'a str,
    /// `None` where it has none that can be read.
    name: Option<String>,
}

impl<'a> Page<'a> {
    /// Reads a result; `None` where it holds no such list.
    pub fn read(kind: Kind, result: &'a str) -> Option<Self> {
        let members: BTreeMap<String, &'a RawValue> = serde_json::from_str(result).ok()?;
        let array = *members.get(kind.member)?;
        let entries: Vec<&'a RawValue> = serde_json::from_str(array.get()).ok()?;
        let entries = entries.into_iter().map(|entry| Entry { text: entry.get(), name: name(kind, entry.get()) });
        let public = members.get("cacheScope").filter(|scope| scope.get() == "\"public\"");
        Some(Self {
            kind,
            result,
            entries: entries.collect(),
            array: place(result, array.get())?,
            public: public.and_then(|scope| place(result, scope.get())),
        })
    }

    /// The tools of the page and what the server says of them; none for lists of other things.
    pub fn tools(&self) -> impl Iterator<Item = (String, Annotations)> {
        let is_tools = self.kind.member == "tools";
        let named = self.entries.iter().filter_map(|entry| Some((entry.name.clone()?, entry.text)));
        named.filter(move |_| is_tools).map(|(name, text)| (name, Annotations::of_entry(text.as_bytes())))
    }

    /// The entries: what names them, where that can be read, and their text.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (Option<&str>, &'a str)> {
        self.entries.iter().map(|entry| (entry.name.as_deref(), entry.text))
    }

    /// The result without the entries that `question`'s principal may not use; `None` where it may use all. A list that lost
    /// entries is not for others either: its `cacheScope` becomes `private`.
    pub fn visible_to(&self, policies: &Policies, question: &Question<'_>) -> Option<String> {
        let subject = |entry: &Entry<'_>| {
            // What cannot be named cannot be judged, and is not shown.
            let subject = (self.kind.subject)(entry.name.clone()?);
            let annotations = if self.kind.member == "tools" {
                Annotations::of_entry(entry.text.as_bytes())
            } else {
                Annotations::default()
            };
            Some((subject, annotations))
        };
        let subjects: Vec<_> = self.entries.iter().map(subject).collect();
        let named: Vec<_> = subjects.iter().flatten().cloned().collect();
        let shown = policies.shows(question, self.kind.used_by, &named).unwrap_or_else(|_| vec![false; named.len()]);
        let mut shown = shown.into_iter();
        let keep: Vec<bool> = subjects.iter().map(|subject| subject.is_some() && shown.next() == Some(true)).collect();
        if keep.iter().all(|keep| *keep) { None } else { Some(self.keep(&keep)) }
    }

    /// The result with only those entries that `keep` says, in their order; its `cacheScope` is `private` then.
    pub fn keep(&self, keep: &[bool]) -> String {
        let kept = self.entries.iter().zip(keep).filter(|(_, keep)| **keep).map(|(entry, _)| entry.text);
        let array = format!("[{}]", kept.collect::<Vec<_>>().join(","));
        let mut edits = vec![(self.array.clone(), array.as_str())];
        edits.extend(self.public.clone().map(|public| (public, "\"private\"")));
        edits.sort_by_key(|(range, _)| range.start);
        splice(self.result, &edits)
    }
}

fn name(kind: Kind, entry: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Members {
        name: Option<String>,
        uri: Option<String>,
        #[serde(rename = "uriTemplate")]
        uri_template: Option<String>,
    }
    let Members { name, uri, uri_template } = serde_json::from_str(entry).ok()?;
    match kind.name {
        "name" => name,
        "uri" => uri,
        _ => uri_template,
    }
}

/// Where a part of `whole` stands in it.
fn place(whole: &str, part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start + part.len();
    (end <= whole.len()).then_some(start..end)
}

/// `text` with ranges replaced; they are in order and apart.
fn splice(text: &str, edits: &[(Range<usize>, &str)]) -> String {
    let mut spliced = String::with_capacity(text.len());
    let mut at = 0;
    for (range, new) in edits {
        spliced.push_str(&text[at..range.start]);
        spliced.push_str(new);
        at = range.end;
    }
    spliced.push_str(&text[at..]);
    spliced
}
