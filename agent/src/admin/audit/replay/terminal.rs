//! A replay as lines in a terminal. Styles are taken out by the `anstream` that it is written to, where they are not wanted.

use std::io::{self, Write};

use anstyle::Style;
use jiff::{Timestamp, tz::TimeZone};

use super::{
    super::{
        clean::{clean, cut},
        mood::Mood,
        print::took,
    },
    entry::{Body, Entry},
    summary::Summary,
};

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// Most lines of a payload, unless it is to be shown whole, and their length in characters.
const LINES: usize = 16;
const LENGTH: usize = 400;

/// Tells entries one after the other.
#[derive(Debug)]
pub(super) struct Terminal {
    full: bool,
    zone: TimeZone,
    began: Option<Timestamp>,
    /// Who spoke to whom in the last entry: said again only when it changes.
    parties: String,
}

impl Terminal {
    pub(super) fn new(full: bool) -> Self {
        Self { full, zone: TimeZone::system(), began: None, parties: String::new() }
    }

    pub(super) fn begin(&self, title: &str, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{BOLD}{}{BOLD:#}", clean(title))
    }

    pub(super) fn show(&mut self, entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
        if self.began.is_none() {
            let when = entry.at.to_zoned(self.zone.clone()).strftime("%F %H:%M:%S%.3f %Z");
            writeln!(out, "{DIM}from {when}{DIM:#}")?;
        }
        let parties = format!("{} → {}", entry.who, entry.endpoint);
        if !entry.who.is_empty() && parties != self.parties {
            writeln!(out, "\n{DIM}{parties}{DIM:#}")?;
            self.parties = parties;
        }
        let began = *self.began.get_or_insert(entry.at);
        let since = entry.at.duration_since(began).as_secs_f64();
        let style = Mood::of(&entry.word).style();
        let tag = if entry.tag().is_empty() { String::new() } else { format!("#{}", entry.tag()) };
        write!(out, "{DIM}{since:>+10.3}{DIM:#} {BOLD}{}{BOLD:#} {DIM}{tag:5}{DIM:#} ", entry.kind.arrow())?;
        write!(out, "{BOLD}{}{BOLD:#}  {style}{}{style:#}", entry.what, entry.word)?;
        writeln!(out, "  {DIM}{}{DIM:#}", took(entry.milliseconds).trim())?;
        for (name, text) in &entry.notes {
            writeln!(out, "{:13}{DIM}{name}:{DIM:#} {text}", "")?;
        }
        for body in entry.bodies.iter().filter(|body| self.full || !body.whole) {
            self.body(body, out)?;
        }
        Ok(())
    }

    fn body(&self, body: &Body, out: &mut dyn Write) -> io::Result<()> {
        let limit = if self.full { usize::MAX } else { LINES };
        let mut lines = body.text.lines();
        writeln!(out, "{:13}{DIM}{}{DIM:#}", "", body.label)?;
        for line in lines.by_ref().take(limit) {
            let line = if self.full { line.to_owned() } else { cut(line, LENGTH) };
            writeln!(out, "{:13}{DIM}│{DIM:#} {line}", "")?;
        }
        match lines.count() {
            0 => Ok(()),
            left => writeln!(out, "{:13}{DIM}│ … {left} more lines: --full shows them{DIM:#}", ""),
        }
    }

    pub(super) fn end(&self, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "\n{BOLD}{}{BOLD:#}", summary.counts())
    }
}
