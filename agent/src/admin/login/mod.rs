//! `weir login` and `weir logout`: the part of signing in that a person has to do.
//!
//! The command opens a page and hands back where it led; the agent, at the other end of the login socket ([`server`]), does
//! the rest and never shows a token. Needs no privilege and no readable configuration.

mod kept;
pub(crate) mod server;
mod turned_away;
mod wire;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, UnixStream},
    process::Command,
    time::timeout,
};
use url::Url;

use self::wire::{Ask, SignedIn, Talk, Tell};
use super::{Context, Ended, Failure, client};
use crate::config::Login;

/// Longest wait for the browser to come back.
const BROWSER: Duration = Duration::from_secs(600);
/// Longest request line of a browser that comes back, in bytes.
const REQUEST_LINE: u64 = 16 << 10;

/// Arguments of `weir login`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show a code to enter on another device, instead of opening a browser here.
    #[arg(long)]
    device: bool,
    /// Print the page's address, and do not open a browser.
    #[arg(long, conflicts_with = "device")]
    no_browser: bool,
    /// The agent's login socket; default: what the configuration says, if it can be read, else /run/weir/login.sock.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Arguments of `weir logout`.
#[derive(Debug, clap::Args)]
pub struct LogoutArgs {
    /// The agent's login socket, as for `weir login`.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct In(SignedIn);

#[derive(Debug, Serialize)]
struct Out {
    sub: Option<String>,
}

impl fmt::Display for In {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SignedIn { sub, issuer, groups, until } = &self.0;
        write!(f, "signed in as {sub} ({issuer}) until {until}; what this session starts calls in this name")?;
        if groups.is_empty() { Ok(()) } else { write!(f, "\ngroups: {}", groups.join(", ")) }
    }
}

impl fmt::Display for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sub {
            Some(sub) => write!(f, "{sub} is signed out of this session"),
            None => f.write_str("nobody was signed in in this session"),
        }
    }
}

/// Signs in.
///
/// # Errors
/// Why not, and what to do.
pub fn execute(args: &Args, context: &Context) -> Result<Ended, Failure> {
    let signed_in = client::wait(sign_in(args, &socket(args.socket.as_deref(), context)))??;
    context.print(&In(signed_in))?;
    Ok(Ended::Done)
}

/// Signs out.
///
/// # Errors
/// Why not, and what to do.
pub fn execute_logout(args: &LogoutArgs, context: &Context) -> Result<Ended, Failure> {
    let path = socket(args.socket.as_deref(), context);
    let told = client::wait(async {
        let mut talk = connect(&path).await?;
        talk.say(&Ask::Logout).await.map_err(broken)?;
        talk.hear().await.map_err(broken)
    })??;
    match told {
        Tell::SignedOut { sub } => context.print(&Out { sub })?,
        told => return Err(unexpected(told)),
    }
    Ok(Ended::Done)
}

/// Users cannot always read the configuration.
fn socket(given: Option<&Path>, context: &Context) -> PathBuf {
    let configured = || context.load().ok()?.login?.socket().map(Path::to_owned);
    given.map(Path::to_owned).or_else(configured).unwrap_or_else(|| Login::SOCKET.into())
}

async fn sign_in(args: &Args, socket: &Path) -> Result<SignedIn, Failure> {
    let mut talk = connect(socket).await?;
    let told = if args.device { by_device(&mut talk).await? } else { by_browser(&mut talk, args.no_browser).await? };
    match told {
        Tell::SignedIn(signed_in) => Ok(signed_in),
        told => Err(unexpected(told)),
    }
}

async fn connect(socket: &Path) -> Result<Talk, Failure> {
    let stream = UnixStream::connect(socket).await.map_err(|error| {
        Failure::Failed(format!(
            "nobody can sign in at {}: {error}; is the agent running, with a [login] table?",
            socket.display()
        ))
    })?;
    Ok(Talk::new(stream))
}

async fn by_device(talk: &mut Talk) -> Result<Tell, Failure> {
    talk.say(&Ask::Device).await.map_err(broken)?;
    match talk.hear().await.map_err(broken)? {
        Tell::Enter { at, code, complete } => {
            eprintln!("open {at} on any device and enter the code {}", printable(&code));
            if let Some(complete) = complete {
                eprintln!("or open {}", printable(&complete));
            }
            talk.hear().await.map_err(broken)
        }
        told => Ok(told),
    }
}

async fn by_browser(talk: &mut Talk, only_print: bool) -> Result<Tell, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(broken)?;
    let address = listener.local_addr().map_err(broken)?;
    let redirect =
        Url::parse(&format!("http://{address}/callback")).map_err(|error| Failure::Failed(error.to_string()))?;
    talk.say(&Ask::Browser { redirect: redirect.clone() }).await.map_err(broken)?;
    let url = match talk.hear().await.map_err(broken)? {
        Tell::Open { url } => url,
        told => return Ok(told),
    };
    eprintln!("open {url}");
    if !only_print {
        open(&url);
    }
    let url = timeout(BROWSER, callback(&listener, &redirect)).await.map_err(|_| {
        Failure::Failed("the browser did not come back; on a host without one, use `weir login --device`".into())
    })?;
    talk.say(&Ask::Back { url }).await.map_err(broken)?;
    talk.hear().await.map_err(broken)
}

/// Opens a browser, where there is one; its page can be opened by hand, too.
fn open(url: &Url) {
    let mut browser = Command::new("xdg-open");
    browser.arg(url.as_str()).stdin(std::process::Stdio::null());
    browser.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let _ = browser.spawn();
}

/// Waits for the browser to come back with the provider's answer. Others who connect are sent away.
async fn callback(listener: &TcpListener, redirect: &Url) -> Url {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let mut stream = BufReader::new(stream);
        let target = timeout(Duration::from_secs(5), request_target(&mut stream)).await.ok().flatten();
        let url = target
            .and_then(|target| redirect.join(&target).ok())
            .filter(|url| url.origin() == redirect.origin() && url.path() == redirect.path() && url.query().is_some());
        let (status, text) = match url {
            Some(_) => ("200 OK", "You can close this page and go back to the terminal."),
            None => ("404 Not Found", "There is nothing here."),
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\nconnection: close\r\n");
        let answer = format!("{head}content-length: {}\r\n\r\n{text}", text.len());
        let _ = stream.get_mut().write_all(answer.as_bytes()).await;
        if let Some(url) = url {
            return url;
        }
    }
}

/// The target of a GET, once its head has been read.
async fn request_target(stream: &mut BufReader<tokio::net::TcpStream>) -> Option<String> {
    use tokio::io::AsyncReadExt as _;

    let mut head = stream.take(REQUEST_LINE);
    let mut first = String::new();
    head.read_line(&mut first).await.ok()?;
    let mut line = String::new();
    while head.read_line(&mut line).await.ok()? > 2 {
        line.clear();
    }
    Some(first.strip_prefix("GET ")?.split(' ').next()?.to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: io::Error) -> Failure {
    Failure::Failed(format!("the conversation with the agent broke off ({error}): too many attempts, or see its log"))
}

fn unexpected(told: Tell) -> Failure {
    match told {
        Tell::Refused { why } => Failure::Failed(format!("not done: {}", printable(&why))),
        _ => Failure::Failed("the agent did not answer as expected; is it of another version?".into()),
    }
}

/// What a provider said, for a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
