//! The alarms of requests that have ended serve those that come: to make one takes a lock of the runtime, and so does its end.

use std::time::Duration;

use parking_lot::Mutex;

use distributary_probe::Alarm;

use crate::routes::{SHARDS, shard};

/// So many are kept on a shelf.
const MOST: usize = 64;

/// Alarms that nobody waits for.
#[derive(Default)]
pub struct Alarms {
    /// Each thread takes from one of them, and gives back to one.
    shelves: [Shelf; SHARDS],
}

/// In a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Shelf(Mutex<Vec<Alarm>>);

impl Alarms {
    /// One of the runtime of the caller. It may ring before it is set.
    ///
    /// # Panics
    /// Outside a tokio runtime that has its time driver.
    pub fn lend(&self) -> Lent<'_> {
        let kept = self.shelves[shard()].0.lock().pop();
        let alarm = kept.filter(Alarm::is_of_this_runtime);
        Lent {
            alarms: self,
            alarm: Some(alarm.unwrap_or_else(Alarm::of_this_runtime)),
        }
    }
}

/// An alarm that goes back where it is dropped.
pub struct Lent<'a> {
    alarms: &'a Alarms,
    /// Taken when it is dropped.
    alarm: Option<Alarm>,
}

impl Lent<'_> {
    /// See [`Alarm::set`].
    pub fn set(&mut self, time: Duration) {
        if let Some(alarm) = &mut self.alarm {
            alarm.set(time);
        }
    }

    /// See [`Alarm::rings`].
    pub async fn rings(&mut self) {
        if let Some(alarm) = &mut self.alarm {
            alarm.rings().await;
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut shelf = self.alarms.shelves[shard()].0.lock();
        if shelf.len() < MOST {
            shelf.extend(self.alarm.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(alarms: &Alarms) -> usize {
        alarms.shelves.iter().map(|shelf| shelf.0.lock().len()).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_serves_one_request_after_the_other() {
        let alarms = Alarms::default();
        for millis in [100, 10, 200] {
            let mut alarm = alarms.lend();
            assert_eq!(kept(&alarms), 0);
            alarm.set(Duration::from_millis(millis));
            alarm.rings().await;
            drop(alarm);
            assert_eq!(kept(&alarms), 1);
        }
        let many: Vec<_> = (0..2 * MOST).map(|_| alarms.lend()).collect();
        drop(many);
        assert_eq!(kept(&alarms), MOST);
    }

    #[test]
    fn an_alarm_of_a_runtime_that_has_ended_serves_nobody() {
        let alarms = Alarms::default();
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let mut alarm = alarms.lend();
                alarm.set(Duration::from_millis(1));
                alarm.rings().await;
            });
            assert_eq!(kept(&alarms), 1);
        }
    }
}
