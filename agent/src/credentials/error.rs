//! Why a request is not sent.

use super::placeholder::PlaceholderFault;

/// Why an endpoint's credentials could not be had or used. The texts are for the client's user: they say what failed and where,
/// never what a service wrote, which may quote secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The configuration cannot be used.
    #[error("the credentials of endpoint {endpoint} cannot be set up: {reason}")]
    Setup {
        /// The endpoint's name, or what stands for it.
        endpoint: String,
        /// What is wrong.
        reason: String,
    },
    /// A server without TLS proves no name.
    #[error(
        "endpoint {endpoint} has credentials, and they are not sent in plain text: its server must be reached by https"
    )]
    PlainText {
        /// The endpoint's name.
        endpoint: String,
    },
    /// The server's verified name is not the endpoint's.
    #[error("the credentials of endpoint {endpoint} are not for {host}")]
    Unbound {
        /// The endpoint's name.
        endpoint: String,
        /// The verified name.
        host: String,
    },
    /// Nothing says as which service or where the request is to be signed.
    #[error("the {missing} to sign for cannot be told from {host}: set `credentials.sigv4.{missing}`")]
    Scope {
        /// `service` or `region`.
        missing: &'static str,
        /// The server's name.
        host: String,
    },
    /// The request cannot be signed in one reading.
    #[error("the request cannot be signed: {0}")]
    Unsignable(&'static str),
    /// A placeholder signed the request, and it does not go out for that.
    #[error("the request was signed with a placeholder: {0}")]
    Placeholder(#[from] PlaceholderFault),
    /// The agent has no AWS credentials.
    #[error("the agent has no AWS credentials of its own: {0}; ask the host's operator")]
    Agent(String),
    /// The agent ends, or is broken.
    #[error("fetching it broke off; try again later")]
    BrokenOff,
    /// STS gave no session.
    #[error("no session of role {role_arn}: STS {trouble}")]
    Sts {
        /// The role.
        role_arn: String,
        /// What it did instead.
        trouble: StsTrouble,
    },
    /// The workload's token could not be read.
    #[error("the workload's token {path} cannot be read: {reason}")]
    WorkloadToken {
        /// Its path, as the workload sees it.
        path: String,
        /// Why not.
        reason: String,
    },
    /// A secret could not be read.
    #[error("the secret {place} cannot be read: {reason}; ask the host's operator")]
    Secret {
        /// Where it is kept.
        place: String,
        /// Why not.
        reason: String,
    },
    /// The authorisation server granted no token.
    #[error("no token from {token_url}: {reason}; ask the host's operator")]
    OAuth {
        /// The token endpoint.
        token_url: String,
        /// Why not.
        reason: String,
    },
    /// What is kept as a token cannot be sent as one.
    #[error("what is kept as a bearer token is not one line of visible ASCII; ask the host's operator")]
    NotAToken,
}

/// What STS did instead of giving a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StsTrouble {
    /// It says no: the role is missing, or its trust policy does not let the agent in. STS does not tell which.
    #[error("denied it ({0}): the role is missing, or its trust policy does not allow this")]
    Denied(String),
    /// Too many requests.
    #[error("is asked too often ({0}); try again later")]
    Throttled(String),
    /// It cannot be reached, or is out of order.
    #[error("cannot be reached ({0}); try again later")]
    Unreachable(&'static str),
    /// It says that the request is wrong.
    #[error("refused the request ({0}); ask the host's operator")]
    Refused(String),
}

impl CredentialError {
    /// A stable name, for records and alerts.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Setup { .. } => "credential-setup",
            Self::PlainText { .. } => "credential-plain-text",
            Self::Unbound { .. } => "credential-unbound",
            Self::Scope { .. } => "credential-scope",
            Self::Unsignable(_) => "credential-unsignable",
            Self::Placeholder(_) => "credential-placeholder",
            Self::Agent(_) | Self::BrokenOff => "credential-agent",
            Self::Sts { trouble, .. } => match trouble {
                StsTrouble::Denied(_) => "credential-sts-denied",
                StsTrouble::Throttled(_) => "credential-sts-throttled",
                StsTrouble::Unreachable(_) => "credential-sts-unreachable",
                StsTrouble::Refused(_) => "credential-sts-refused",
            },
            Self::WorkloadToken { .. } => "credential-workload-token",
            Self::Secret { .. } | Self::NotAToken => "credential-secret",
            Self::OAuth { .. } => "credential-oauth",
        }
    }
}
