//! Files → policies that can be asked, or what is wrong with them, and where.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest::{Context, SHA256};
use cedar_policy::{EntityUid, Policy, PolicyId, PolicySet, ResourceConstraint, ValidationMode, Validator};
use jiff::tz::TimeZone;
use miette::Diagnostic;

use super::{
    checks::{self, Reads, Says},
    schema::shipped,
};
use crate::config::{self, Position, Problem, Stance};

/// Largest file of policies.
const MAX_BYTES: u64 = 4 << 20;

/// Most policies.
const MAX_POLICIES: usize = 20_000;

/// Why there are no policies.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read the policies in {}: {source}; check `policy.files` and its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Files say something wrong.
    #[error("{}", files.iter().map(|(path, problems)| config::render(path, problems)).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// Each file that does, with everything that was found.
        files: Vec<(PathBuf, Vec<Problem>)>,
    },
    /// `policy.time_zone` is none that this host knows.
    #[error("`policy.time_zone`: this host does not know the time zone `{zone}`: {why}; install tzdata, or use `UTC`")]
    TimeZone {
        /// As configured.
        zone: String,
        /// In jiff's words.
        why: String,
    },
    /// More policies than can be held.
    #[error("{count} policies are more than {MAX_POLICIES}; merge those that differ in a value alone, by sets")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// One file of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it was read.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// Policies that can be asked.
#[derive(Debug)]
pub struct Policies {
    pub(super) all: Vec<Loaded>,
    pub(super) default: Stance,
    pub(super) zone: TimeZone,
    pub(super) version: Arc<str>,
    /// Tools, prompts and resources that policies name in their scope.
    pub(super) named: HashSet<EntityUid>,
    pub(super) slices: super::judge::Slices,
}

/// One policy.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) policy: Policy,
    /// Where only arguments decide: the policy without its conditions.
    pub(super) scope: Option<Policy>,
    pub(super) id: Arc<str>,
    pub(super) says: Says,
    pub(super) reads: Reads,
}

/// Reads the configured files.
///
/// # Errors
/// A file cannot be read.
pub fn read(files: &[PathBuf]) -> Result<Vec<Source>, LoadError> {
    files
        .iter()
        .map(|path| read_one(path).map_err(|source| LoadError::Unreadable { path: path.clone(), source }))
        .collect()
}

fn read_one(path: &Path) -> io::Result<Source> {
    let mut text = String::new();
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("larger than 4 MiB"));
    }
    Ok(Source { path: path.to_owned(), text })
}

/// The version of a set of policies: 32 hex digits of the SHA-256 over what decides, not over where it was read.
pub fn version(config: &config::Policy, sources: &[Source]) -> Arc<str> {
    let mut digest = Context::new(&SHA256);
    let parts = ["weir-policy-v1", config.default.as_str(), &config.time_zone];
    for part in parts.into_iter().chain(sources.iter().map(|source| source.text.as_str())) {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    digest.finish().as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

impl Policies {
    /// Reads and checks the configured files.
    ///
    /// # Errors
    /// As [`LoadError`] says: everything that is wrong, with its place.
    pub fn load(config: &config::Policy) -> Result<Self, LoadError> {
        Self::of(config, &read(&config.files)?)
    }

    /// Checks what was read.
    ///
    /// # Errors
    /// As [`LoadError`] says, but for files that cannot be read.
    pub fn of(config: &config::Policy, sources: &[Source]) -> Result<Self, LoadError> {
        let zone = config
            .zone()
            .map_err(|error| LoadError::TimeZone { zone: config.time_zone.clone(), why: error.to_string() })?;
        let mut all = Vec::new();
        let mut ids = HashMap::new();
        let mut files = Vec::new();
        for source in sources {
            let mut problems = Vec::new();
            all.extend(file(source, &mut ids, &mut problems));
            if !problems.is_empty() {
                problems.sort_by_key(|problem| (problem.at.line, problem.at.column));
                // Cedar complains once for each action that a policy may be about.
                problems.dedup_by_key(|problem| (problem.at.line, problem.at.column));
                files.push((source.path.clone(), problems));
            }
        }
        if !files.is_empty() {
            return Err(LoadError::Invalid { files });
        }
        if all.len() > MAX_POLICIES {
            return Err(LoadError::TooMany { count: all.len() });
        }
        let named = all.iter().filter_map(|loaded| match loaded.policy.resource_constraint() {
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => Some(uid),
            ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
        });
        let named = named.filter(|uid| *uid.type_name() != shipped().types.endpoint).collect();
        let version = version(config, sources);
        Ok(Self { all, default: config.default, zone, version, named, slices: super::judge::Slices::default() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether nothing is asked of anybody: no policy, and the default is to allow.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.default == Stance::Allow
    }

    /// The digest of the set.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// The ids, in the order of the files.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|loaded| &*loaded.id)
    }
}

/// Which file has a policy of an id.
type Ids = HashMap<String, PathBuf>;

/// The policies of one file, as far as nothing is wrong with it.
fn file(source: &Source, ids: &mut Ids, problems: &mut Vec<Problem>) -> Vec<Loaded> {
    let set: PolicySet = match source.text.parse() {
        Ok(set) => set,
        Err(errors) => {
            let errors: cedar_policy::ParseErrors = errors;
            problems.extend(errors.iter().map(|error| problem(source, error)));
            return Vec::new();
        }
    };
    for template in set.templates() {
        let at = place(source, &template.to_cedar());
        let hint = Some("write the entity itself in the place of `?principal` and `?resource`".into());
        problems.push(Problem { at, message: "a template, which nothing links".into(), hint });
    }
    let mut policies: Vec<&Policy> = set.policies().collect();
    // Cedar numbers them as they stand in the file.
    policies.sort_by_key(|policy| number(policy.id()));
    let loaded: Vec<Loaded> =
        policies.into_iter().enumerate().filter_map(|(n, policy)| one(source, n, policy, ids, problems)).collect();
    if problems.is_empty() {
        problems.extend(invalid(source, &loaded));
    }
    loaded
}

fn number(id: &PolicyId) -> usize {
    let id: &str = id.as_ref();
    id.trim_start_matches("policy").parse().unwrap_or(usize::MAX)
}

fn one(source: &Source, n: usize, policy: &Policy, ids: &mut Ids, problems: &mut Vec<Problem>) -> Option<Loaded> {
    let mut object = |(message, hint): checks::Objection| {
        let at = place(source, &policy.to_cedar().unwrap_or_default());
        problems.push(Problem { at, message, hint: Some(hint) });
    };
    let says = checks::annotations(policy).map_err(&mut object).ok()?;
    let reads = checks::reads(policy).map_err(&mut object).ok()?;
    let stem = source.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let id = says.id.clone().unwrap_or_else(|| format!("{stem}/{}", n + 1));
    if let Some(first) = ids.insert(id.clone(), source.path.clone()) {
        let hint = "give each policy an `@id(\"…\")` of its own".to_owned();
        object((format!("`{id}` is already the id of a policy in {}", first.display()), hint));
        return None;
    }
    let scope = if reads.any { Some(without_conditions(policy)?) } else { None };
    Some(Loaded { policy: policy.new_id(PolicyId::new(&id)), scope, id: id.into(), says, reads })
}

fn without_conditions(policy: &Policy) -> Option<Policy> {
    let mut json = policy.to_json().ok()?;
    json["conditions"] = serde_json::Value::Array(Vec::new());
    Policy::from_json(None, json).ok()
}

/// What Cedar's validator says.
fn invalid(source: &Source, loaded: &[Loaded]) -> Vec<Problem> {
    let set = PolicySet::from_policies(loaded.iter().map(|loaded| loaded.policy.clone()));
    let Ok(set) = set else { return Vec::new() };
    let result = Validator::new(shipped().schema.clone()).validate(&set, ValidationMode::Strict);
    let errors = result.validation_errors().map(|error| problem(source, error));
    // A policy that can never match was meant to say something else; and a text that reads like another one misleads.
    errors.chain(result.validation_warnings().map(|warning| problem(source, warning))).collect()
}

/// A complaint of Cedar's, with its place in the file.
fn problem(source: &Source, error: &impl Diagnostic) -> Problem {
    let span = error.labels().and_then(|mut labels| labels.next());
    let span = span.map_or(0..0, |label| label.offset()..label.offset() + label.len());
    let mut message = error.to_string();
    if let Some((policy, rest)) = message.split_once(", ").filter(|(policy, _)| policy.starts_with("for policy ")) {
        message = format!("policy {}: {rest}", policy.trim_start_matches("for policy "));
    }
    let hint = error.help().map(|help| help.to_string());
    Problem { at: Position::of(&source.text, &span), message, hint }
}

/// Where a policy stands.
fn place(source: &Source, policy: &str) -> Position {
    let start = source.text.find(policy).unwrap_or(0);
    let line = policy.lines().next().unwrap_or_default();
    Position::of(&source.text, &(start..start + line.len()))
}
