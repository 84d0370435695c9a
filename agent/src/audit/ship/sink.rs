//! What a sink is: it takes batches, and says what did not arrive.

use super::batch::{Batch, Bounds};

/// Why an attempt did not deliver everything. What [`Batch::unsent`] still holds is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// There was too much at once.
    #[error("throttled: {0}")]
    Throttled(String),
    /// The sink cannot be reached, or refuses.
    #[error("{0}")]
    Failed(String),
}

/// A place that gets every record, at least once and in order of acknowledgement: a batch is followed by the next only when
/// all of it is there.
pub(crate) trait Sink: Send + 'static {
    /// The most that a batch may hold.
    fn bounds(&self) -> Bounds;

    /// One attempt to deliver what is in [`Batch::unsent`]. What is certain to be there is taken out of it; a sink that
    /// answers `Ok` has all.
    fn deliver(&mut self, batch: &mut Batch) -> impl Future<Output = Result<(), Trouble>> + Send;
}
