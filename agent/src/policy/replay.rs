//! A recorded call, asked again. A record is masked, so some of what policies read may not be in it: what rests on that is
//! said to be undecidable, never guessed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Annotations, Catalogue, Policies, Principal, Question, Verdict,
    annotations::Server,
    arguments::{Fault, Veil},
    judge::Unjudgeable,
    listing::{Kind, Page},
};
use crate::identity::Caller;

/// One record of a call.
#[derive(Debug)]
pub struct Recorded {
    fields: Fields,
    hides: fn(&str) -> bool,
    /// What the record says was decided.
    pub verdict: RecordedVerdict,
}

#[derive(Debug, Deserialize)]
struct Fields {
    time: i64,
    mcp: Mcp,
    workload: Principal,
    caller: Option<CallerFields>,
    verdict: RecordedVerdict,
    src_endpoint: Address,
    dst_endpoint: Address,
    http_request: Option<Http>,
    #[serde(default)]
    masked: BTreeMap<String, u64>,
    #[serde(default)]
    metadata: Metadata,
}

/// `event.verdict`.
#[derive(Debug, Clone, Deserialize)]
pub struct RecordedVerdict {
    /// `allow`, `deny` or `hold`.
    pub action: String,
    /// What decided.
    pub policy: Option<String>,
    /// Which policies were asked, if any were.
    pub version: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Mcp {
    phase: String,
    call_id: String,
    method: Option<String>,
    name: Option<String>,
    endpoint: String,
    era: String,
    protocol_version: Option<String>,
    params: Option<Box<RawValue>>,
    result: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
struct CallerFields {
    sub: String,
    #[serde(default)]
    issuer: String,
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Address {
    ip: IpAddr,
    #[serde(default)]
    port: u16,
    hostname: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Http {
    url: Url,
}

#[derive(Debug, Deserialize)]
struct Url {
    path: String,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    is_truncated: bool,
}

/// What policies say of a recorded call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// As they would have said then.
    Decided(Verdict),
    /// It rests on something that the record does not hold.
    Undecidable {
        /// What that is.
        why: String,
    },
}

/// What one policy says of a recorded call.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Opinion {
    /// Its id.
    pub policy: String,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// `matches`, `does not match`, `fails` or `undecidable`.
    pub says: &'static str,
    /// `@reason`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Recorded {
    /// Reads an event; `None` for what is no message that a policy would be asked about. `hides` tells a text that may have
    /// something masked in it.
    pub fn read(event: &str, hides: fn(&str) -> bool) -> Option<Self> {
        let fields: Fields = serde_json::from_str(event).ok()?;
        let verdict = fields.verdict.clone();
        // Protocol rules and limits come first, and their refusals have no version of any policies.
        let was_judged = verdict.version.is_some() || verdict.action == "allow";
        (fields.mcp.phase == "request" && fields.mcp.method.is_some() && was_judged).then_some(Self {
            fields,
            hides,
            verdict,
        })
    }

    /// When it was.
    pub fn time(&self) -> Timestamp {
        Timestamp::from_millisecond(self.fields.time).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Its id.
    pub fn call_id(&self) -> &str {
        &self.fields.mcp.call_id
    }

    /// Who called.
    pub fn workload(&self) -> &str {
        &self.fields.workload.id
    }

    /// The endpoint's name.
    pub fn endpoint(&self) -> &str {
        &self.fields.mcp.endpoint
    }

    /// The method, and what it was about.
    pub fn what(&self) -> String {
        let Mcp { method, name, .. } = &self.fields.mcp;
        let name = name.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
        format!("{}{name}", method.as_deref().unwrap_or_default())
    }

    /// What policies say of it.
    pub fn ask(&self, policies: &Policies, catalogue: &Catalogue) -> Answer {
        let undecidable = |why: String| Answer::Undecidable { why };
        let Some(veil) = self.veil() else { return undecidable("its name is masked".into()) };
        let caller = self.caller();
        match policies.ask(&self.question(caller.as_ref(), catalogue), Some(veil)) {
            Ok(said) if said.forbidden || !said.veiled || said.failed.is_empty() => {
                Answer::Decided(policies.verdict(&said))
            }
            Ok(said) => {
                let policy = said.failed.first().and_then(|position| policies.ids().nth(*position)).unwrap_or_default();
                undecidable(format!("policy {policy} reads an argument that is masked in the record"))
            }
            Err(Unjudgeable::Arguments(fault @ (Fault::Masked(_) | Fault::Cut))) => undecidable(fault.to_string()),
            Err(unjudgeable) => Answer::Decided(policies.unjudgeable(&unjudgeable)),
        }
    }

    /// What each policy that could matter says of it.
    pub fn opinions(&self, policies: &Policies, catalogue: &Catalogue) -> Vec<Opinion> {
        let caller = self.caller();
        let question = self.question(caller.as_ref(), catalogue);
        policies.opinions(&question, self.veil().unwrap_or(Veil { hides: |_| true, is_cut: true }))
    }

    /// How the record differs from what was said; `None` where it does not say what it was about.
    fn veil(&self) -> Option<Veil> {
        if self.fields.masked.is_empty() {
            return Some(Veil { hides: |_| false, is_cut: self.fields.metadata.is_truncated });
        }
        let hides = self.hides;
        let named = match &self.fields.mcp.name {
            Some(name) => !hides(name),
            // Without a mask it would be there.
            None => !matches!(
                self.fields.mcp.method.as_deref(),
                Some("tools/call" | "prompts/get" | "resources/read" | "resources/subscribe" | "resources/unsubscribe")
            ),
        };
        let params = self.fields.mcp.params.as_ref().map(|params| params.get());
        // What a completion is for stands in its params alone.
        let named =
            named && (self.fields.mcp.method.as_deref() != Some("completion/complete") || !params.is_some_and(hides));
        let is_readable = params.is_none_or(|params| params.starts_with('{'));
        named.then_some(Veil { hides, is_cut: self.fields.metadata.is_truncated || !is_readable })
    }

    fn caller(&self) -> Option<Caller> {
        self.fields.caller.as_ref().map(|CallerFields { sub, issuer, groups }| Caller {
            sub: sub.clone(),
            issuer: issuer.clone(),
            groups: groups.clone(),
        })
    }

    fn question<'a>(&'a self, caller: Option<&'a Caller>, catalogue: &Catalogue) -> Question<'a> {
        let Fields { workload, mcp, src_endpoint, dst_endpoint, .. } = &self.fields;
        let method = mcp.method.as_deref().unwrap_or_default();
        let annotations = match (method, &mcp.name) {
            ("tools/call", Some(tool)) => catalogue.of(&self.fields.server(), tool),
            _ => Annotations::default(),
        };
        Question {
            principal: workload,
            caller,
            endpoint: &mcp.endpoint,
            method,
            target: mcp.name.as_deref(),
            params: mcp.params.as_ref().map(|params| params.get().as_bytes()),
            era: &mcp.era,
            protocol_version: mcp.protocol_version.as_deref(),
            time: self.time(),
            source: src_endpoint.ip,
            destination: (dst_endpoint.ip, dst_endpoint.port),
            hostname: dst_endpoint.hostname.as_deref(),
            annotations,
        }
    }
}

impl Fields {
    fn server(&self) -> Server {
        let path = self.http_request.as_ref().map(|http| http.url.path.as_str()).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default().to_owned();
        Server { endpoint: self.mcp.endpoint.clone(), hostname: self.dst_endpoint.hostname.clone(), path }
    }
}

/// Notes what a recorded list of tools says of them.
pub fn learn(catalogue: &Catalogue, event: &str) {
    let Ok(fields) = serde_json::from_str::<Fields>(event) else { return };
    let (Some(kind), "response") = (fields.mcp.method.as_deref().and_then(Kind::of), fields.mcp.phase.as_str()) else {
        return;
    };
    if let Some(page) = fields.mcp.result.as_ref().and_then(|result| Page::read(kind, result.get())) {
        catalogue.learn(&fields.server(), page.tools());
    }
}

/// The ids of policies that never matched any of `matched`.
pub fn idle<'p>(policies: &'p Policies, matched: &BTreeSet<String>) -> Vec<&'p str> {
    policies.ids().filter(|id| !matched.contains(*id)).collect()
}
