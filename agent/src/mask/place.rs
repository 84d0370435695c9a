//! The members of a message that the protocol itself needs as they are: masked towards the other side, they would break the
//! exchange or name another one.

/// Where a value stands, as far as that decides what it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The message itself.
    Message,
    /// Its `params`.
    Params,
    /// Its `result`.
    Result,
    /// A `_meta` of either.
    Meta,
    /// A `task` of either.
    Task,
    /// Anything else, or the protocol's own.
    Inside { kept: bool },
}

impl Place {
    /// Where the member `key` of an object here stands.
    pub(super) fn member(self, key: &str) -> Self {
        let kept = match (self, key) {
            (Self::Message, "params") => return Self::Params,
            (Self::Message, "result") => return Self::Result,
            (Self::Params | Self::Result, "_meta") => return Self::Meta,
            (Self::Params | Self::Result, "task") => return Self::Task,
            (Self::Message, "jsonrpc" | "id" | "method") => true,
            (
                Self::Params,
                "cursor" | "requestState" | "requestId" | "taskId" | "progressToken" | "protocolVersion",
            ) => true,
            (Self::Result, "nextCursor" | "requestState" | "taskId" | "resultType" | "protocolVersion") => true,
            (Self::Meta, "progressToken" | "traceparent" | "tracestate") => true,
            (Self::Meta, key) => key.starts_with("io.modelcontextprotocol/"),
            (Self::Task, "taskId") => true,
            _ => false,
        };
        Self::Inside { kept: kept || self.is_kept() }
    }

    /// Where the elements of an array here stand.
    pub(super) fn element(self) -> Self {
        Self::Inside { kept: self.is_kept() }
    }

    /// Whether the protocol needs the value as it is.
    pub(super) fn is_kept(self) -> bool {
        matches!(self, Self::Inside { kept: true })
    }

    /// Whether something below may be needed as it is.
    pub(super) fn may_hold_kept(self) -> bool {
        !matches!(self, Self::Inside { .. })
    }
}
