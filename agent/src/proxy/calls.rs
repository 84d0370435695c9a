//! Calls that wait for their response, wherever it will arrive: on the exchange that asked, on a resumed stream, or on the
//! legacy transport's event stream.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    Shared,
    heard::Heard,
    ledger::{Share, Shares},
    record::ExchangeFacts,
    shown::Shown,
    tools::About,
};
use crate::{
    audit::event::Payload,
    guard, mask,
    mcp::{self, Id, Kind, Message, Params, calls::OpenError},
    telemetry::CallSpan,
};

/// Within what a JSON-RPC id names one call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// One HTTP exchange: requests without a session, and the modern era.
    Exchange(Uuid),
    /// `Mcp-Session-Id` of one workload at one endpoint.
    Session { endpoint: String, workload: String, session: String },
    /// The legacy transport's message path, of one workload at one endpoint.
    Legacy { endpoint: String, workload: String, path: String },
}

impl Scope {
    /// A session of the workload and at the endpoint of an exchange.
    pub(crate) fn of_session(facts: &ExchangeFacts, session: &str) -> Self {
        Self::Session {
            endpoint: facts.endpoint.name().to_owned(),
            workload: facts.flow.workload.id.clone(),
            session: session.to_owned(),
        }
    }

    /// Whether a response may still arrive on another connection.
    pub(crate) fn outlives_exchange(&self) -> bool {
        !matches!(self, Self::Exchange(_))
    }

    /// What stands for the session in records of the legacy transport.
    pub(crate) fn message_path(&self) -> Option<String> {
        match self {
            Self::Legacy { path, .. } => Some(path.clone()),
            Self::Exchange(_) | Self::Session { .. } => None,
        }
    }
}

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Asker {
    /// The client: an ordinary call.
    Client,
    /// The server: sampling, elicitation, roots, ping.
    Server,
}

/// A request that was recorded and waits for its response.
#[derive(Debug)]
pub(crate) struct OpenCall {
    /// Joins its records.
    pub(crate) call_id: Uuid,
    /// The exchange that carried the request.
    pub(crate) facts: Arc<ExchangeFacts>,
    /// Who asked.
    pub(crate) asker: Asker,
    /// The JSON-RPC id.
    pub(crate) id: Id,
    /// The method.
    pub(crate) method: String,
    /// The tool, prompt or resource, for rules to be chosen by.
    pub(crate) name: Option<String>,
    /// Whose rules hold for it.
    pub(crate) about: About,
    /// The same as records show it.
    pub(crate) shown_name: Option<String>,
    /// What progress notifications name.
    pub(crate) progress_token: Option<Id>,
    /// The session that this call began, for `initialize`.
    pub(crate) session: OnceLock<String>,
    /// What telemetry tells of it.
    pub(crate) span: CallSpan,
    /// Its place among the calls that may wait at once.
    pub(crate) place: OnceLock<guard::Place>,
    /// What a guard said of its response.
    pub(crate) finding: OnceLock<guard::Finding>,
    /// When the request was recorded.
    pub(crate) started: Instant,
    heard: Mutex<Heard>,
    edited_events: AtomicBool,
    late_masks: AtomicBool,
    cancelled: AtomicBool,
    ended: AtomicBool,
}

impl OpenCall {
    /// A call that is about to be recorded, and what its record may show of the message; `None` for what is not a request.
    pub(crate) fn of<'m>(
        shared: &Shared,
        message: &'m Message,
        facts: &Arc<ExchangeFacts>,
        asker: Asker,
    ) -> Option<(Arc<Self>, Shown<'m>)> {
        let Kind::Request { id, method, .. } = &message.kind else { return None };
        let params = Params::of(message);
        let about = match asker {
            Asker::Client => shared.task_tools.about(facts, method, params.target.as_deref()),
            Asker::Server => About::Nothing,
        };
        let (shown, shown_name) = shared.show_named(facts, message, &params, about.tool());
        let call = Self {
            span: shared.span_of(facts, asker, method, shown_name.as_deref(), &params),
            about,
            shown_name,
            call_id: Uuid::now_v7(),
            facts: Arc::clone(facts),
            asker,
            id: id.clone(),
            method: method.clone(),
            name: params.target,
            progress_token: params.progress_token,
            session: OnceLock::new(),
            place: OnceLock::new(),
            finding: OnceLock::new(),
            started: Instant::now(),
            heard: Mutex::default(),
            edited_events: AtomicBool::new(false),
            late_masks: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        };
        Some((Arc::new(call), shown))
    }

    /// The tool that is called, when one is.
    pub(crate) fn called_tool(&self) -> Option<&str> {
        self.name.as_deref().filter(|_| self.method == "tools/call")
    }

    /// For masks to be chosen by.
    pub(crate) fn tool(&self) -> mask::Tool<'_> {
        self.about.tool()
    }

    /// Claims the right to write the one record that ends this call.
    pub(crate) fn claim_end(&self) -> bool {
        !self.ended.swap(true, Ordering::AcqRel)
    }

    /// Gives the claim back when the record could not be written.
    pub(crate) fn unclaim_end(&self) {
        self.ended.store(false, Ordering::Release);
    }

    /// Whether its end is recorded.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether the client got a notification in another form than the server sent it.
    pub(crate) fn has_edited_events(&self) -> bool {
        self.edited_events.load(Ordering::Acquire)
    }

    /// Notes that the client asked to cancel.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Whether the client asked to cancel.
    pub(crate) fn was_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Whether the client got the beginning of a value before it could be known for one that is masked.
    pub(crate) fn has_late_masks(&self) -> bool {
        self.late_masks.load(Ordering::Acquire)
    }

    /// Notes a notification that arrived before the response. `masked` is what a record keeps of it by itself.
    pub(crate) fn note_event(&self, message: &Bytes, masked: impl FnOnce() -> Option<Payload>) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).note(message, masked);
    }

    /// Notes that the client gets a notification in another form, and whether a part of what is masked had already passed.
    pub(crate) fn note_edited_event(&self, is_late: bool) {
        self.edited_events.store(true, Ordering::Release);
        self.late_masks.fetch_or(is_late, Ordering::AcqRel);
    }

    /// Takes the notifications that arrived.
    pub(crate) fn take_heard(&self) -> Heard {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How long a server's request is remembered for an answer: people answer some of them.
const ASKED: Duration = Duration::from_secs(3600);

/// The open calls of the agent, bounded: in all, by workload, and half of them for what servers ask.
#[derive(Debug)]
pub(crate) struct Calls {
    limit: usize,
    shares: Shares,
    open: Mutex<mcp::Calls<(Scope, Asker), Entry>>,
}

#[derive(Debug)]
struct Entry {
    call: Arc<OpenCall>,
    /// Its place among the workload's; a server's request needs none.
    share: Option<Share>,
    /// Set when nothing carries the call any more but its response may still be fetched.
    adrift_since: Option<Instant>,
}

impl Calls {
    /// An empty table.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, shares: Shares::new(limit), open: Mutex::new(mcp::Calls::new(limit)) }
    }

    /// Enters a call. One of the same id that was adrift is given up for it, and returned.
    ///
    /// # Errors
    /// The table is full, or the workload's part of it, or the id is that of a call which is still under way.
    pub(crate) fn open(&self, scope: &Scope, call: &Arc<OpenCall>) -> Result<Option<Arc<OpenCall>>, OpenError> {
        let mut calls = self.lock();
        let key = (scope.clone(), call.asker);
        let is_adrift = calls.get(&key, &call.id).is_some_and(|entry| entry.adrift_since.is_some());
        let given_up = if is_adrift { calls.close(&key, &call.id) } else { None };
        let (given_up, share) = match given_up {
            Some(Entry { call, share, .. }) => (Some(call), share),
            None => match call.asker {
                Asker::Client => (None, Some(self.shares.take(&call.facts.flow.workload).ok_or(OpenError::Full)?)),
                Asker::Server if calls.len() >= self.limit / 2 => return Err(OpenError::Full),
                Asker::Server => (None, None),
            },
        };
        calls.open(key, call.id.clone(), Entry { call: Arc::clone(call), share, adrift_since: None })?;
        Ok(given_up)
    }

    /// The open call that `id` names.
    pub(crate) fn find(&self, scope: &Scope, asker: Asker, id: &Id) -> Option<Arc<OpenCall>> {
        self.lock().get(&(scope.clone(), asker), id).map(|entry| Arc::clone(&entry.call))
    }

    /// Whether some client may take `id` for that of an open call.
    pub(crate) fn has_like(&self, scope: &Scope, asker: Asker, id: &Id) -> bool {
        self.lock().of(&(scope.clone(), asker)).any(|(open, _)| open.resembles(id))
    }

    /// Removes a call whose end is recorded.
    pub(crate) fn close(&self, scope: &Scope, call: &OpenCall) {
        let mut calls = self.lock();
        let key = (scope.clone(), call.asker);
        if calls.get(&key, &call.id).is_some_and(|entry| entry.call.call_id == call.call_id) {
            calls.close(&key, &call.id);
        }
    }

    /// Removes every call of a scope that has gone.
    pub(crate) fn close_scope(&self, scope: &Scope) -> Vec<Arc<OpenCall>> {
        let mut calls = self.lock();
        let mut closed = calls.close_scope(&(scope.clone(), Asker::Client));
        closed.extend(calls.close_scope(&(scope.clone(), Asker::Server)));
        closed.into_iter().map(|(_, entry)| entry.call).collect()
    }

    /// Notes that no connection carries the call any more.
    pub(crate) fn set_adrift(&self, scope: &Scope, call: &OpenCall) {
        let mut calls = self.lock();
        let key = (scope.clone(), call.asker);
        if let Some(entry) = calls.close(&key, &call.id) {
            let adrift = Entry { adrift_since: entry.adrift_since.or_else(|| Some(Instant::now())), ..entry };
            // It was just taken out, so there is room and its id is free.
            let _ = calls.open(key, call.id.clone(), adrift);
        }
    }

    /// Removes the calls that have been adrift longer than `patience`, and what servers asked too long ago.
    pub(crate) fn expire(&self, patience: Duration) -> Vec<Arc<OpenCall>> {
        let expired = |since: Instant| since.elapsed() >= patience;
        let asked_long_ago = |call: &OpenCall| call.asker == Asker::Server && call.started.elapsed() >= ASKED;
        let over = |entry: &Entry| {
            entry.adrift_since.is_some_and(expired) || entry.call.has_ended() || asked_long_ago(&entry.call)
        };
        self.lock().close_expired(over).into_iter().map(|(_, entry)| entry.call).collect()
    }

    /// Removes all, at the end of the agent.
    pub(crate) fn drain(&self) -> Vec<Arc<OpenCall>> {
        self.lock().close_expired(|_| true).into_iter().map(|(_, entry)| entry.call).collect()
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, mcp::Calls<(Scope, Asker), Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
