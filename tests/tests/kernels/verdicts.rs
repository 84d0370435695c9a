//! The bypass suite's table, read, and put beside another kernel's.

use std::{collections::BTreeMap, fmt::Write as _};

/// What a line says that could not be tried, since the kernel lacks what the vector takes: no verdict.
const NOT_OFFERED: &str = "not offered by this kernel";

/// Verdicts by what was tried, when, and by whom.
pub(crate) struct Verdicts(BTreeMap<String, String>);

impl Verdicts {
    /// Of what the suite prints, the lines of its table: columns between bars, the verdict last.
    pub(crate) fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (key, verdict) = line.strip_prefix("| ")?.rsplit_once(" | ")?;
            Some((key.to_owned(), verdict.trim().to_owned()))
        };
        Self(text.lines().filter_map(line).collect())
    }

    pub(crate) fn beside(self, here: &Self) -> Compared {
        let mut lines: BTreeMap<String, [Option<String>; 2]> = BTreeMap::new();
        for (key, verdict) in self.0 {
            lines.entry(key).or_default()[0] = Some(verdict);
        }
        for (key, verdict) in &here.0 {
            lines.entry(key.clone()).or_default()[1] = Some(verdict.clone());
        }
        Compared(lines)
    }
}

/// Verdicts there and here.
pub(crate) struct Compared(BTreeMap<String, [Option<String>; 2]>);

impl Compared {
    /// For people: `there` names the other kernel.
    pub(crate) fn table(&self, there: &str) -> String {
        let mut table = String::new();
        for (key, verdicts) in &self.0 {
            let [verdict_there, verdict_here] = verdicts.each_ref().map(|verdict| verdict.as_deref().unwrap_or("–"));
            let _ = writeln!(table, "| {key} | {there}: {verdict_there:<26} | here: {verdict_here}");
        }
        table
    }

    /// The lines that are not the same, or not in both. Where one kernel lacks what it takes, there is nothing to compare.
    pub(crate) fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        for (key, [there, here]) in &self.0 {
            let is_lacking = [there, here].into_iter().flatten().any(|verdict| verdict == NOT_OFFERED);
            if there.is_none() || here.is_none() || (there != here && !is_lacking) {
                differences.push(format!("{key}: {there:?} there, {here:?} here"));
            }
        }
        if self.0.is_empty() {
            differences.push("neither has a verdict".to_owned());
        }
        differences
    }
}
