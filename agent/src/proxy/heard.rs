//! The notifications that a stream brought before its response, as they came. What the record keeps of them is masked when it is
//! made, since a value may begin in one and end in another.

use bytes::Bytes;

use crate::audit::event::Payload;

/// Most notifications kept within a response's record; beyond it they are counted.
const KEPT: usize = 32;
/// Most bytes of them, but for the last one.
const KEPT_BYTES: usize = 32 << 10;
/// How many behind those may still tell what one of them held, and how long each.
const BEHIND: usize = 8;
const BEHIND_BYTES: usize = 4 << 10;

/// It has no telling `Debug`: nothing here is masked.
#[derive(Default)]
pub(crate) struct Heard {
    count: u64,
    kept: Vec<Kept>,
    kept_bytes: usize,
    behind: Vec<Bytes>,
}

/// One that is kept.
pub(crate) enum Kept {
    /// As it came.
    Message(Bytes),
    /// One too long to wait: already masked.
    Long(Option<Payload>),
}

impl std::fmt::Debug for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heard").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Heard {
    /// Counts one, and keeps it while there is room. `masked` is what a record keeps of it by itself.
    pub(crate) fn note(&mut self, message: &Bytes, masked: impl FnOnce() -> Option<Payload>) {
        self.count += 1;
        // Copied, because a slice would hold on to all that came with it.
        let copied = || Bytes::copy_from_slice(message);
        if self.kept.len() < KEPT && self.kept_bytes < KEPT_BYTES {
            self.kept_bytes += message.len();
            let is_long = message.len() > KEPT_BYTES;
            self.kept.push(if is_long { Kept::Long(masked()) } else { Kept::Message(copied()) });
        } else if self.behind.len() < BEHIND && message.len() <= BEHIND_BYTES {
            self.behind.push(copied());
        }
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Those that are kept, and those that came right behind them.
    pub(crate) fn into_parts(self) -> (Vec<Kept>, Vec<Bytes>) {
        (self.kept, self.behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_by_number_and_by_size() {
        let mut heard = Heard::default();
        for _ in 0..100 {
            heard.note(&Bytes::from_static(b"{}"), || None);
        }
        assert_eq!(heard.count(), 100);
        let (kept, behind) = heard.into_parts();
        assert_eq!((kept.len(), behind.len()), (KEPT, BEHIND));

        let mut heard = Heard::default();
        for _ in 0..100 {
            heard.note(&Bytes::from(vec![b' '; KEPT_BYTES / 2 + 1]), || None);
        }
        let (kept, behind) = heard.into_parts();
        assert_eq!((kept.len(), behind.len()), (2, 0));
        let mut heard = Heard::default();
        heard.note(&Bytes::from(vec![b' '; KEPT_BYTES + 1]), || None);
        assert!(matches!(heard.into_parts().0[..], [Kept::Long(None)]));
    }
}
