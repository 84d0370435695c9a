//! Which era speaks, and do its headers and its body agree?
//!
//! The same rules as the reference servers' (`classifyInboundRequest` and `validateStandardRequestHeaders` in
//! `@modelcontextprotocol/server` 2.4, `classify_inbound_request` in Python `mcp` 2.3): a request is modern when
//! `MCP-Protocol-Version` names 2026-07-28 or later, or when its `_meta` names a version at all. `Mcp-Method` alone
//! does not make it modern, some clients send it with a session; but whatever the era, `Mcp-Method` and `Mcp-Name` must
//! not contradict the body.
//!
//! The 2024-11-05 transport looks like a session on the wire. The proxy knows it by the path that the server's
//! [`endpoint` event](super::legacy) named.

use http::HeaderMap;

use super::{
    Body, Class, Era, Kind, Message, Params, Refusal,
    headers::{METHOD, NAME, PROTOCOL_VERSION, decode, mismatch, session_id, single},
    params::{Claim, target_member},
};

/// The first revision without sessions.
const FIRST_MODERN: &str = "2026-07-28";
/// The only revision with batches.
const BATCHING: &str = "2025-03-26";

/// What a request says about the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Modern or session.
    pub era: Era,
    /// The revision that the request names, if it does.
    pub protocol_version: Option<String>,
    /// `Mcp-Session-Id`.
    pub session_id: Option<String>,
}

/// Tells the era of a request, whether or not it keeps to its rules. `None` for a body that could not be parsed, or no body.
pub fn tell(headers: &HeaderMap, body: Option<&Body>) -> Era {
    let messages = body.map(Body::messages).unwrap_or_default();
    era(headers, messages.iter().any(|message| claims(&Params::of(message))))
}

/// Checks a request against the rules of its era.
pub fn classify(headers: &HeaderMap, body: &Body) -> Result<Context, Refusal> {
    let version = single(headers, &PROTOCOL_VERSION)?;
    let era = match body {
        Body::Single(message) => {
            let params = Params::of(message);
            let era = era(headers, claims(&params));
            check_single(headers, era, version, message, &params)?;
            era
        }
        Body::Batch(_) => {
            let era = tell(headers, Some(body));
            check_batch(headers, era, version)?;
            era
        }
    };
    Ok(Context {
        era,
        protocol_version: version.map(str::to_owned),
        session_id: session_id(headers)?.map(str::to_owned),
    })
}

fn era(headers: &HeaderMap, claimed: bool) -> Era {
    let named = headers.get_all(PROTOCOL_VERSION).iter().any(|value| value.to_str().is_ok_and(is_modern));
    if named || claimed { Era::Modern } else { Era::Session }
}

fn claims(params: &Params) -> bool {
    params.claimed_version != Claim::Absent
}

/// Revisions are dates, so they compare as text; anything else is for the server to judge.
fn is_modern(version: &str) -> bool {
    let is_date = version.len() == 10
        && version.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() });
    is_date && version >= FIRST_MODERN
}

fn check_batch(headers: &HeaderMap, era: Era, version: Option<&str>) -> Result<(), Refusal> {
    if era == Era::Modern || version.is_some_and(|version| version != BATCHING) {
        let reason = format!("only revision {BATCHING} has batches; send one message per request");
        return Err(Refusal::new("era-batch", Class::NotRpc, reason));
    }
    if headers.contains_key(METHOD) || headers.contains_key(NAME) {
        return Err(mismatch("header-on-batch", "Mcp-Method and Mcp-Name cannot describe a batch; leave them out"));
    }
    Ok(())
}

fn check_single(
    headers: &HeaderMap,
    era: Era,
    version: Option<&str>,
    message: &Message,
    params: &Params,
) -> Result<(), Refusal> {
    let (method_header, name_header) = (single(headers, &METHOD)?, single(headers, &NAME)?);
    let Some(method) = message.method() else {
        return match era {
            Era::Modern => Err(Refusal::new(
                "era-client-response",
                Class::NotRpc,
                "a client sends no responses in revision 2026-07-28; answer by input responses",
            )),
            _ if method_header.is_some() || name_header.is_some() => Err(mismatch(
                "header-on-response",
                "Mcp-Method and Mcp-Name cannot describe a response; leave them out",
            )),
            _ => Ok(()),
        };
    };
    // Notifications are exempt from presence: this revision defines no headers for them.
    let required = era == Era::Modern && matches!(message.kind, Kind::Request { .. });
    if era == Era::Modern {
        check_version(version, &params.claimed_version, required)?;
    }
    match method_header {
        Some(header) if header != method => {
            return Err(mismatch("header-method", "Mcp-Method differs from the body's method; send the same"));
        }
        None if required => {
            return Err(mismatch("header-method-missing", "Mcp-Method is missing; send the body's method"));
        }
        _ => {}
    }
    check_name(name_header, method, params.target.as_deref(), required)
}

fn check_version(header: Option<&str>, claim: &Claim, required: bool) -> Result<(), Refusal> {
    match (header, claim) {
        (Some(header), Claim::Version(claimed)) if header == claimed => Ok(()),
        (Some(_), Claim::Version(_) | Claim::Malformed) => Err(mismatch(
            "header-version",
            "MCP-Protocol-Version differs from the version in params._meta; send the same",
        )),
        (None, _) if required => Err(mismatch(
            "header-version-missing",
            "MCP-Protocol-Version is missing; send the version that params._meta names",
        )),
        (Some(_), Claim::Absent) if required => Err(Refusal::new(
            "meta-version-missing",
            Class::BadParams,
            "params._meta lacks io.modelcontextprotocol/protocolVersion; send the version of MCP-Protocol-Version",
        )),
        _ => Ok(()),
    }
}

/// For methods that the table does not know, an `Mcp-Name` is the server's to check: the agent never reads it.
fn check_name(header: Option<&str>, method: &str, target: Option<&str>, required: bool) -> Result<(), Refusal> {
    let Some(member) = target_member(method) else { return Ok(()) };
    let Some(header) = header else {
        // Required for these; for others the table knows, only not to contradict. Without a target, the server says so.
        if required && target.is_some() && matches!(method, "tools/call" | "resources/read" | "prompts/get") {
            return Err(mismatch("header-name-missing", format!("Mcp-Name is missing; send params.{member}")));
        }
        return Ok(());
    };
    let Some(decoded) = decode(header) else {
        return Err(mismatch("header-name-encoding", "Mcp-Name is not canonical base64 of UTF-8 between its markers"));
    };
    if target != Some(&*decoded) {
        return Err(mismatch("header-name", format!("Mcp-Name differs from params.{member}; send the same")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
