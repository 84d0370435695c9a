//! When the next record is shown.

use std::{thread, time::Duration};

use jiff::Timestamp;

/// Waits between records, in proportion to the time that was between them.
#[derive(Debug)]
pub(super) struct Pace {
    /// How many times faster than it was; `None`: without waiting.
    speed: Option<f64>,
    before: Option<Timestamp>,
    due: Duration,
}

impl Pace {
    pub(super) const fn of(realtime: bool, speed: Option<f64>) -> Self {
        let speed = if realtime { Some(1.0) } else { speed };
        Self { speed, before: None, due: Duration::ZERO }
    }

    /// Whether the record of `time` has to be waited for. A clock that was set back is not.
    pub(super) fn wait_for(&mut self, time: Timestamp) -> bool {
        let Some(speed) = self.speed else { return false };
        let passed = self
            .before
            .map_or(Duration::ZERO, |before| Duration::try_from(time.duration_since(before)).unwrap_or(Duration::ZERO));
        self.before = Some(time);
        self.due = passed.div_f64(speed);
        !self.due.is_zero()
    }

    pub(super) fn sleep(&self) {
        thread::sleep(self.due);
    }
}

/// Reads `--speed`.
pub(super) fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if (0.001..=1e9).contains(&speed) => Ok(speed),
        _ => Err("not a number from 0.001 to 1000000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_in_proportion_and_never_negative() {
        let at = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap();
        let mut pace = Pace::of(false, Some(10.0));
        let mut due = |milliseconds| {
            pace.wait_for(at(milliseconds));
            pace.due
        };
        assert_eq!([due(5000), due(6000), due(1000), due(1500)].map(|due| due.as_millis()), [0, 100, 0, 50]);
        let mut realtime = Pace::of(true, None);
        assert!(!realtime.wait_for(at(5000)) && realtime.wait_for(at(5007)));
        assert_eq!(realtime.due, Duration::from_millis(7));
        assert!(!Pace::of(false, None).wait_for(at(5)));
        assert!(speed("0").is_err() && speed("NaN").is_err() && speed("-1").is_err() && speed("0.5").is_ok());
    }
}
