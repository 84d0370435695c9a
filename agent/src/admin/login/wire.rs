//! What passes over the login socket: a line of JSON at a time, by turns.

use std::io;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use url::Url;

/// Longest line, in bytes.
const LINE: u64 = 16 << 10;

/// What a command asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Ask {
    /// To sign in with a browser that will be led to this address.
    Browser {
        /// On this host's loopback.
        redirect: Url,
    },
    /// Where the browser was led to: the second turn of [`Ask::Browser`].
    Back {
        /// With what the provider put into its query.
        url: Url,
    },
    /// To sign in with a code on another device.
    Device,
    /// To sign out.
    Logout,
}

/// What the agent answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Tell {
    /// Open this page.
    Open {
        /// The provider's.
        url: Url,
    },
    /// Enter this code there.
    Enter {
        /// The page.
        at: String,
        /// The code.
        code: String,
        /// The page with the code in it.
        complete: Option<String>,
    },
    /// Done.
    SignedIn(SignedIn),
    /// Done.
    SignedOut {
        /// Who it was; nobody, if nobody was signed in.
        sub: Option<String>,
    },
    /// Not done.
    Refused {
        /// Why, and what to do.
        why: String,
    },
}

/// Who is signed in now, and for how long.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SignedIn {
    /// The subject.
    pub(super) sub: String,
    /// The identity provider.
    pub(super) issuer: String,
    /// The groups.
    pub(super) groups: Vec<String>,
    /// Until when, in RFC 3339.
    pub(super) until: jiff::Timestamp,
}

/// One end of the conversation.
#[derive(Debug)]
pub(super) struct Talk(BufReader<UnixStream>);

impl Talk {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// Says something.
    ///
    /// # Errors
    /// The other end has gone.
    pub(super) async fn say(&mut self, what: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        self.0.get_mut().write_all(&line).await
    }

    /// Hears what the other end says.
    ///
    /// # Errors
    /// It has gone, or does not speak this language.
    pub(super) async fn hear<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut line = Vec::new();
        (&mut self.0).take(LINE).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_slice(&line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Returns when the other end has gone or spoken out of turn.
    pub(super) async fn broken_off(&mut self) {
        let _ = self.0.fill_buf().await;
    }
}
