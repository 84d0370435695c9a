//! Why a placeholder is not taken.

/// Why a request that a placeholder signed is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceholderFault {
    /// The signature is not in a form that can be checked.
    #[error("its signature cannot be checked: {0}")]
    Unreadable(&'static str),
    /// Not given out on this host.
    #[error("this host did not give it out")]
    Forged,
    /// Its time is over.
    #[error("it has expired: have the client fetch its credentials again")]
    Expired,
    /// It was given to somebody else.
    #[error("it was given to another workload, {0}")]
    Foreign(String),
    /// The workload is not, or no longer, among `placeholder.workloads`.
    #[error("its workload has not opted in (placeholder.workloads)")]
    NotOptedIn,
    /// The time of the signature.
    #[error("its signature is from another time than now: correct the client's clock")]
    Time,
    /// What came is not what was signed.
    #[error("the request is not the one that was signed")]
    Altered,
    /// The endpoint has nothing to put in its place.
    #[error("endpoint {0} has no credentials to put in its place: configure `credentials.sigv4` there")]
    Useless(String),
    /// The endpoint wants to know for whom, and what is no MCP does not say it.
    #[error(
        "endpoint {0} asks who calls, and only MCP requests are asked: others go out unsigned, or to an endpoint with `mcp = false`"
    )]
    Callerless(String),
    /// The answer would be a key that works.
    #[error("the answer to this request of {0} could be a key that works, which the workload is not to have")]
    GivesOutKeys(&'static str),
}
