//! The agent's side of the login socket. Every user may connect: who asks is read from the kernel, and all that can be got is
//! one's own session bound to an identity that the provider vouches for.

use std::{
    collections::HashMap,
    io,
    num::NonZeroU32,
    os::unix::fs::FileTypeExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use jiff::{SignedDuration, Timestamp};
use tokio::{net::UnixStream, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use super::{
    kept::{Kept, KeptError},
    turned_away::TurnedAway,
    wire::{Ask, SignedIn, Talk, Tell},
};
use crate::{
    admin::socket::{BindError, Mode, SocketFile},
    audit::{
        event::{Event, Login as LoginEvent, LoginKind, What},
        log::{AppendError, Log},
    },
    config::Login,
    identity::{
        Callers, Workloads,
        caller::Verified,
        login::{Binding, Peer, PeerError, SignIn, SignInError},
    },
};

/// Attempts of one user in a minute.
const ATTEMPTS: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
/// Conversations at once, and of one user.
const CONVERSATIONS: (usize, usize) = (256, 8);
/// Longest life of a conversation: a person has to find their second factor.
const PATIENCE: Duration = Duration::from_secs(620);
/// How long an attempt's first words may take.
const OPENING: Duration = Duration::from_secs(5);
/// How often it is looked for logins whose time is over.
const SWEEP: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct LoginServer {
    file: SocketFile,
    desk: Arc<Desk>,
}

/// Makes the socket of `[login]`, beside its place.
///
/// # Errors
/// As [`BindError`] says.
pub(in crate::admin) fn bind(login: &Login) -> Result<SocketFile, BindError> {
    let path = login.socket().unwrap_or(Path::new(Login::SOCKET));
    let is_other = std::fs::symlink_metadata(path).is_ok_and(|file| !file.file_type().is_socket());
    if is_other { Err(BindError::NotASocket(path.to_owned())) } else { SocketFile::bind_aside(path, Mode::Everybody) }
}

/// What every conversation needs.
struct Desk {
    callers: Arc<Callers>,
    workloads: Arc<Workloads>,
    log: Log,
    kept: Arc<Kept>,
    ttl: SignedDuration,
    attempts: DefaultKeyedRateLimiter<u32>,
    talking: Mutex<HashMap<u32, usize>>,
    turned_away: TurnedAway,
}

/// Why somebody is not signed in or out.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    SignIn(#[from] SignInError),
    #[error("as many logins as the agent holds are held; try again later")]
    Full,
    #[error("the login could not be recorded, and so it does not hold: {0}")]
    Record(#[from] AppendError),
    #[error("you are signed out until the agent starts again, and perhaps no longer: {0}")]
    Kept(#[from] KeptError),
    #[error("the conversation broke off: {0}")]
    Talk(#[from] io::Error),
    #[error("this is not the time to say that")]
    Turn,
    #[error("it was not done within {} s", PATIENCE.as_secs())]
    Late,
    #[error(
        "{0} attempts were hung up on: one user has {most} conversations at a time and {ATTEMPTS} attempts a minute",
        most = CONVERSATIONS.1
    )]
    TurnedAway(u64),
}

impl LoginServer {
    /// Will answer at the socket that [`bind`] has made. Whom an earlier agent since this boot knew is known from here on.
    pub(in crate::admin) fn new(
        login: &Login,
        file: SocketFile,
        callers: Arc<Callers>,
        workloads: Arc<Workloads>,
        log: Log,
        since: (&Path, &str),
    ) -> Self {
        let (state_dir, boot_id) = since;
        let kept = Kept::new(state_dir, boot_id);
        match kept.restore(callers.logins(), &login.issuer) {
            Ok(logins) => tracing::debug!(logins, "logins are known from before"),
            Err(error) => tracing::warn!(%error, "nobody is signed in any more"),
        }
        let desk = Desk {
            callers,
            workloads,
            log,
            kept: Arc::new(kept),
            ttl: SignedDuration::from_secs(i64::try_from(login.ttl_s).unwrap_or(i64::MAX)),
            attempts: RateLimiter::keyed(Quota::per_minute(ATTEMPTS)),
            talking: Mutex::default(),
            turned_away: TurnedAway::default(),
        };
        Self { file, desk: Arc::new(desk) }
    }

    /// Serves until told to stop. Conversations that have begun are cut: nothing is bound until their end.
    pub(crate) async fn serve(mut self, stop: CancellationToken) {
        if let Err(error) = self.file.put_in_place() {
            tracing::error!(%error, "nobody can sign in");
            return;
        }
        let tasks = TaskTracker::new();
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = sweep.tick() => {
                    self.desk.expire().await;
                    self.desk.tell_turned_away().await;
                }
                accepted = self.file.listener().accept() => match accepted {
                    Ok((stream, _)) => self.desk.receive(stream, &tasks, &stop),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a login connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
    }
}

impl Desk {
    /// Takes a conversation, if its user has not had enough of them. The others hear nothing: hanging up is cheap.
    fn receive(self: &Arc<Self>, stream: UnixStream, tasks: &TaskTracker, stop: &CancellationToken) {
        let Ok(uid) = stream.peer_cred().map(|peer| peer.uid()) else { return };
        let Some(place) = Place::take(self, uid) else {
            tracing::warn!(uid, "a login connection is refused: too many are open");
            return self.turned_away.count(uid);
        };
        if self.attempts.check_key(&uid).is_err() {
            tracing::warn!(uid, "a login connection is refused: too many in a minute");
            return self.turned_away.count(uid);
        }
        let (desk, stop) = (Arc::clone(self), stop.clone());
        tasks.spawn(async move {
            let _place = place;
            let talk = Box::pin(timeout(PATIENCE, desk.talk(stream, uid)));
            if let Some(Err(_)) = stop.run_until_cancelled_owned(talk).await {
                tracing::warn!(uid, "a login took too long and was broken off");
                desk.record_refused(uid, None, &Failed::Late).await;
            }
        });
    }

    async fn talk(&self, stream: UnixStream, uid: u32) {
        // At once: what connected may not be there for long.
        let peer = Peer::of(&stream, &self.workloads).map(Arc::new);
        let mut talk = Talk::new(stream);
        let known = peer.as_ref().ok().cloned();
        let done = match peer {
            Ok(peer) => self.answer(&mut talk, peer).await,
            Err(error) => Err(error.into()),
        };
        let told = match done {
            Ok(told) => told,
            Err(failed) => {
                tracing::info!(uid, error = %failed, "a login failed");
                self.record_refused(uid, known.as_deref(), &failed).await;
                Tell::Refused { why: failed.to_string() }
            }
        };
        let _ = talk.say(&told).await;
    }

    async fn answer(&self, talk: &mut Talk, peer: Arc<Peer>) -> Result<Tell, Failed> {
        let asked = match timeout(OPENING, talk.hear()).await {
            Ok(asked) => asked?,
            Err(_) => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        };
        let sign_in = self.callers.sign_in().ok_or(Failed::Turn)?;
        match asked {
            Ask::Browser { redirect } => {
                let verified = browse(talk, sign_in, &redirect).await?;
                self.bind(peer, verified).await
            }
            Ask::Device => {
                let verified = enter_code(talk, sign_in).await?;
                self.bind(peer, verified).await
            }
            Ask::Logout => self.unbind(&peer).await,
            Ask::Back { .. } => Err(Failed::Turn),
        }
    }

    /// Binds the session. It is recorded first: what is not in the log does not hold.
    async fn bind(&self, peer: Arc<Peer>, Verified { caller, .. }: Verified) -> Result<Tell, Failed> {
        let caller = Arc::new(caller);
        let until = Timestamp::now().saturating_add(self.ttl).unwrap_or(Timestamp::MAX);
        let binding = Binding { caller: Arc::clone(&caller), until, asked: Arc::new(peer.asked()) };
        let event = LoginEvent { until: Some(until), ..said(LoginKind::SignedIn, &binding) };
        self.record(event).await?;
        if !self.callers.logins().bind(peer.session.clone(), binding) {
            return Err(Failed::Full);
        }
        if let Err(error) = self.keep().await {
            tracing::warn!(%error, "a login holds only as long as this agent");
        }
        let (sub, issuer, groups) = (caller.sub.clone(), caller.issuer.clone(), caller.groups.clone());
        Ok(Tell::SignedIn(SignedIn { sub, issuer, groups, until }))
    }

    async fn unbind(&self, peer: &Peer) -> Result<Tell, Failed> {
        let Some(binding) = self.callers.logins().unbind(&peer.session) else {
            return Ok(Tell::SignedOut { sub: None });
        };
        let kept = self.keep().await;
        self.record(said(LoginKind::SignedOut, &binding)).await?;
        kept?;
        Ok(Tell::SignedOut { sub: Some(binding.caller.sub.clone()) })
    }

    async fn keep(&self) -> Result<(), KeptError> {
        let (kept, callers) = (Arc::clone(&self.kept), Arc::clone(&self.callers));
        match tokio::task::spawn_blocking(move || kept.keep(callers.logins())).await {
            Ok(kept) => kept,
            Err(panicked) => Err(self.kept.failed("write", io::Error::other(panicked))),
        }
    }

    async fn expire(&self) {
        let ended = self.callers.logins().expire();
        for binding in &ended {
            if let Err(error) = self.record(said(LoginKind::Expired, binding)).await {
                tracing::error!(%error, "the end of a login could not be recorded");
            }
        }
        // Or the next agent would end them once more.
        if !ended.is_empty()
            && let Err(error) = self.keep().await
        {
            tracing::warn!(%error, "logins that have ended are still kept");
        }
    }

    async fn tell_turned_away(&self) {
        for (uid, attempts) in self.turned_away.due(Instant::now()) {
            self.record_refused(uid, None, &Failed::TurnedAway(attempts)).await;
        }
    }

    async fn record_refused(&self, uid: u32, peer: Option<&Peer>, failed: &Failed) {
        let event = LoginEvent {
            kind: LoginKind::Refused,
            caller: None,
            workload: peer.map(|peer| peer.workload.clone()),
            uid,
            login_uid: peer.and_then(|peer| peer.login_uid),
            until: None,
            reason: Some(failed.to_string()),
        };
        if let Err(error) = self.record(event).await {
            tracing::error!(%error, "a failed login could not be recorded");
        }
    }

    async fn record(&self, login: LoginEvent) -> Result<(), AppendError> {
        let event = Event { time: Timestamp::now(), what: What::Login(Box::new(login)) };
        self.log.append(event).await.map(drop)
    }
}

/// With a browser: two turns.
async fn browse(talk: &mut Talk, sign_in: &SignIn, redirect: &Url) -> Result<Verified, Failed> {
    let begun = sign_in.begin(redirect).await?;
    talk.say(&Tell::Open { url: begun.url.clone() }).await?;
    match talk.hear().await? {
        Ask::Back { url } => Ok(sign_in.finish(begun, &url).await?),
        _ => Err(Failed::Turn),
    }
}

/// With a code: waits for it to be entered, as long as somebody waits for that.
async fn enter_code(talk: &mut Talk, sign_in: &SignIn) -> Result<Verified, Failed> {
    let code = sign_in.begin_device().await?;
    let (at, user_code, complete) = code.place();
    let (at, user_code, complete) = (at.to_owned(), user_code.to_owned(), complete.map(str::to_owned));
    talk.say(&Tell::Enter { at, code: user_code, complete }).await?;
    tokio::select! {
        verified = sign_in.wait(code) => Ok(verified?),
        () = talk.broken_off() => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

/// What became of a binding.
fn said(kind: LoginKind, Binding { caller, until: _, asked }: &Binding) -> LoginEvent {
    LoginEvent {
        kind,
        caller: Some(Arc::clone(caller)),
        workload: asked.workload.clone(),
        uid: asked.uid,
        login_uid: asked.login_uid,
        until: None,
        reason: None,
    }
}

/// One of a user's places among the conversations.
struct Place {
    desk: Arc<Desk>,
    uid: u32,
}

impl Place {
    fn take(desk: &Arc<Desk>, uid: u32) -> Option<Self> {
        let (most, most_of_one) = CONVERSATIONS;
        let mut talking = desk.talking.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = talking.values().sum();
        let own = talking.get(&uid).copied().unwrap_or_default();
        if all >= most || own >= most_of_one {
            return None;
        }
        talking.insert(uid, own + 1);
        Some(Self { desk: Arc::clone(desk), uid })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut talking = self.desk.talking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = talking.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                talking.remove(&self.uid);
            }
        }
        self.desk.attempts.retain_recent();
    }
}
