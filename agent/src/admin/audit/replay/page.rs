//! A replay as a page: one file, nothing fetched, every text escaped by the template engine.
//!
//! The page is written as the log is read. What is known only at the end, the summary, stands at the end of the file and
//! is shown at the top by the style sheet.

use std::io::{self, Write};

use askama::Template;
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;

use super::{
    super::{clean::clean, mood::Mood, print::took},
    entry::Entry,
    summary::Summary,
};

const STYLE: &str = include_str!("../../../../templates/replay/page.css");
const SCRIPT: &str = include_str!("../../../../templates/replay/page.js");

#[derive(Template)]
#[template(path = "replay/begin.html")]
struct Begin<'a> {
    title: &'a str,
    /// Of the style sheet and the script: nothing else is applied or run.
    style_hash: String,
    script_hash: String,
    style: &'a str,
}

#[derive(Template)]
#[template(path = "replay/entry.html")]
struct One<'a> {
    entry: &'a Entry,
    time: String,
    since: String,
    took: String,
    mood: &'static str,
    parties: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "replay/end.html")]
struct End<'a> {
    summary: &'a Summary,
    script: &'a str,
}

/// A page that is being written.
#[derive(Debug)]
pub(super) struct Page<'a, W> {
    out: &'a mut W,
    summary: Summary,
    parties: String,
}

impl<'a, W: Write> Page<'a, W> {
    pub(super) fn begin(title: &str, out: &'a mut W) -> io::Result<Self> {
        let title = &clean(title);
        let begin = Begin { title, style_hash: hash(STYLE), script_hash: hash(SCRIPT), style: STYLE };
        begin.write_into(out)?;
        Ok(Self { out, summary: Summary::default(), parties: String::new() })
    }

    pub(super) fn add(&mut self, entry: &Entry) -> io::Result<()> {
        self.summary.add(entry);
        let began = self.summary.began().unwrap_or(entry.at);
        let parties = format!("{} → {}", entry.who, entry.endpoint);
        let changed = !entry.who.is_empty() && parties != self.parties;
        if changed {
            self.parties = parties;
        }
        let one = One {
            entry,
            time: utc(entry.at),
            since: format!("{:+.3} s", entry.at.duration_since(began).as_secs_f64()),
            took: took(entry.milliseconds).trim().to_owned(),
            mood: Mood::of(&entry.word).class(),
            parties: changed.then_some(self.parties.as_str()),
        };
        one.write_into(self.out)
    }

    pub(super) fn end(self) -> io::Result<()> {
        End { summary: &self.summary, script: SCRIPT }.write_into(self.out)
    }
}

fn utc(time: Timestamp) -> String {
    time.strftime("%F %H:%M:%S%.3f UTC").to_string()
}

/// As a Content Security Policy names what may be in the page (CSP Level 3, section 2.3.1).
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())))
}
