//! `credentials.sigv4`: flat in the file; here what belongs to a role exists only with a role.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How requests are signed.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "Table", into = "Table")]
#[schemars(with = "Table")]
pub struct SigV4 {
    /// The service's signing name; by default the client's own credential scope says it, else the host's name.
    pub service: Option<String>,
    /// The region; found like the service. Also where STS is asked.
    pub region: Option<String>,
    /// The role whose credentials are used; none signs with the agent's own.
    pub role: Option<Role>,
}

/// A role that is assumed for each workload and caller.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// What STS takes as proof.
    pub proof: RoleProof,
    /// An IAM policy, as JSON, that narrows the session further.
    pub session_policy: Option<String>,
    /// How long a session is valid, in seconds.
    pub duration_s: u32,
    /// Another endpoint of STS than the region's, such as a VPC endpoint's or an emulator's.
    pub endpoint_url: Option<String>,
}

/// What STS takes as proof that the role may be assumed, and what can be said with it.
#[derive(Debug, Clone)]
pub enum RoleProof {
    /// The agent's own credentials (`AssumeRole`).
    Agent {
        /// What the trust policy may ask for.
        external_id: Option<String>,
        /// Session tags that tell who it is for.
        tags: Vec<SessionTag>,
        /// Whether they stay when the session assumes another role.
        transitive: bool,
        /// Who `CloudTrail` names, also after the session has assumed another role.
        source_identity: SourceIdentity,
    },
    /// The workload's own token (`AssumeRoleWithWebIdentity`): tags and source identity are the token's.
    WebIdentity {
        /// The token's path, as the workload sees it.
        token_file: PathBuf,
    },
}

/// A session tag; its key is the name with `weir-` before it. One that has no value is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionTag {
    /// `weir-workload`: the workload's id.
    Workload,
    /// `weir-workload-kind`.
    WorkloadKind,
    /// `weir-unit`: the systemd unit.
    Unit,
    /// `weir-container`: the container's id.
    Container,
    /// `weir-pod`: the pod's uid.
    Pod,
    /// `weir-namespace`: the pod's namespace.
    Namespace,
    /// `weir-service-account`: the service account that the pod runs as.
    ServiceAccount,
    /// `weir-endpoint`: the endpoint's name.
    Endpoint,
    /// `weir-caller`: who the workload speaks for (`sub`).
    Caller,
    /// `weir-caller-issuer`: who vouches for the caller.
    CallerIssuer,
}

/// `credentials.sigv4.source_identity`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceIdentity {
    /// The caller, where there is one, else the workload.
    #[default]
    Caller,
    /// The workload.
    Workload,
    /// None is set; the trust policy need not allow `sts:SetSourceIdentity`.
    None,
}

/// The table, as it is written.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "SigV4")]
struct Table {
    /// The service's signing name; by default the client's own credential scope says it, else the host's name.
    service: Option<String>,
    /// The region; found like the service. Also where STS is asked.
    region: Option<String>,
    /// The role to assume for each workload and caller; none signs with the agent's own credentials.
    role_arn: Option<String>,
    /// What the role's trust policy may ask for.
    external_id: Option<String>,
    /// Session tags; default `workload`, `workload_kind`, `endpoint` and `caller`. The trust policy must allow
    /// `sts:TagSession`.
    tags: Option<Vec<SessionTag>>,
    /// Whether the tags stay when the session assumes another role. Default false.
    transitive_tags: Option<bool>,
    /// Who `CloudTrail` names as source; default `caller`, and the workload where there is none. The trust policy must allow `sts:SetSourceIdentity`.
    source_identity: Option<SourceIdentity>,
    /// An IAM policy, as JSON, that narrows the session further.
    session_policy: Option<String>,
    /// How long a session is valid, in seconds; default 3600.
    #[schemars(range(min = 900, max = 43_200))]
    duration_s: Option<u32>,
    /// A token in the workload's own files with which the role is assumed, instead of the agent's credentials.
    web_identity_token_file: Option<PathBuf>,
    /// Another endpoint of STS than the region's, such as a VPC endpoint's or an emulator's.
    sts_endpoint_url: Option<String>,
}

/// What only a role has.
const OF_ROLES: &str = "`external_id`, `tags`, `transitive_tags`, `source_identity`, `session_policy`, `duration_s`, \
                        `web_identity_token_file` and `sts_endpoint_url` belong to a role: add `role_arn`";
/// What a token says itself.
const OF_TOKENS: &str = "with `web_identity_token_file`, tags, source identity and external id are the token's: leave out \
                         `external_id`, `tags`, `transitive_tags` and `source_identity`";
/// What says who it is for.
const DEFAULT_TAGS: [SessionTag; 4] =
    [SessionTag::Workload, SessionTag::WorkloadKind, SessionTag::Endpoint, SessionTag::Caller];
/// One hour, the longest that a session of a chained role may be valid.
const DURATION: u32 = 3600;

impl TryFrom<Table> for SigV4 {
    type Error = &'static str;

    fn try_from(table: Table) -> Result<Self, Self::Error> {
        let Table { service, region, role_arn, .. } = table.clone();
        let Some(arn) = role_arn else {
            let plain = Table { service: service.clone(), region: region.clone(), ..Table::default() };
            let has_more = serde_json::to_value(&table).ok() != serde_json::to_value(&plain).ok();
            return if has_more { Err(OF_ROLES) } else { Ok(Self { service, region, role: None }) };
        };
        let Table { external_id, tags, transitive_tags, source_identity, .. } = table;
        let proof = match table.web_identity_token_file {
            Some(token_file) => {
                let says_more = external_id.is_some() || tags.is_some() || transitive_tags.is_some();
                if says_more || source_identity.is_some() {
                    return Err(OF_TOKENS);
                }
                RoleProof::WebIdentity { token_file }
            }
            None => RoleProof::Agent {
                external_id,
                tags: tags.unwrap_or_else(|| DEFAULT_TAGS.to_vec()),
                transitive: transitive_tags.unwrap_or_default(),
                source_identity: source_identity.unwrap_or_default(),
            },
        };
        let role = Role {
            arn,
            proof,
            session_policy: table.session_policy,
            duration_s: table.duration_s.unwrap_or(DURATION),
            endpoint_url: table.sts_endpoint_url,
        };
        Ok(Self { service, region, role: Some(role) })
    }
}

impl From<SigV4> for Table {
    fn from(SigV4 { service, region, role }: SigV4) -> Self {
        let plain = Self { service, region, ..Self::default() };
        let Some(Role { arn, proof, session_policy, duration_s, endpoint_url }) = role else { return plain };
        let duration_s = Some(duration_s);
        let of_role = Self { role_arn: Some(arn), session_policy, duration_s, sts_endpoint_url: endpoint_url, ..plain };
        match proof {
            RoleProof::WebIdentity { token_file } => Self { web_identity_token_file: Some(token_file), ..of_role },
            RoleProof::Agent { external_id, tags, transitive, source_identity } => Self {
                external_id,
                tags: Some(tags),
                transitive_tags: Some(transitive),
                source_identity: Some(source_identity),
                ..of_role
            },
        }
    }
}
