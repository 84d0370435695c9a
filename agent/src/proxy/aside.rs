//! Work that takes as long as a message is: masks and policies.

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};

/// From so many bytes on, a message takes milliseconds.
const LONG: usize = 256 << 10;

/// Does the work on a message of so many bytes. While it is a long one, another thread does what else this one had to: other flows,
/// and the agent's sign of life.
pub(super) fn aside<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let has_others =
        || Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes >= LONG && has_others() { block_in_place(work) } else { work() }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_on_while_a_long_message_is_worked_on() {
        let passed = tokio::spawn(async {
            let (sender, receiver) = mpsc::channel();
            tokio::spawn(async move { sender.send(()) });
            aside(LONG, || receiver.recv_timeout(Duration::from_secs(60)))
        });
        assert_eq!(passed.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn without_others_it_is_done_in_place() {
        assert_eq!(aside(LONG, || 7), 7);
    }
}
