//! Standard output, for whoever collects it: the agent's own diagnostics go to standard error.

use std::{
    io::{self, Write as _},
    thread,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    batch::{Batch, Bounds},
    sink::{Sink, Trouble},
};

type Job = (Vec<u8>, oneshot::Sender<io::Result<()>>);

/// The sink. A thread of its own writes: nobody may be reading, and the agent must be able to end all the same.
#[derive(Debug)]
pub(crate) struct Stdout {
    jobs: mpsc::Sender<Job>,
}

impl Stdout {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no room for one.
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job>(1);
        thread::Builder::new().name("weir-stdout".to_owned()).spawn(move || {
            while let Some((text, reply)) = queue.blocking_recv() {
                let mut out = io::stdout().lock();
                let written = out.write_all(&text).and_then(|()| out.flush());
                let _ = reply.send(written);
            }
        })?;
        Ok(Self { jobs })
    }
}

impl Sink for Stdout {
    fn bounds(&self) -> Bounds {
        Bounds { lines: 1000, bytes: 64 << 10 }
    }

    async fn deliver(&mut self, batch: &mut Batch) -> Result<(), Trouble> {
        let gone = || Trouble::Failed("the thread that writes standard output has ended".into());
        let (reply, answer) = oneshot::channel();
        self.jobs.send((batch.text.clone(), reply)).await.map_err(|_| gone())?;
        let written = answer.await.map_err(|_| gone())?;
        written.map_err(|error| Trouble::Failed(format!("standard output: {error}")))?;
        batch.unsent.clear();
        Ok(())
    }
}
