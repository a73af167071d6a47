use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use distributary_core::ids::PolicyKey;

use super::*;

/// How often each was looked for.
#[derive(Clone, Default)]
struct Counts {
    whole: Arc<AtomicUsize>,
    changed: Arc<AtomicUsize>,
    /// What there is; 0: nothing any more.
    newest: Arc<AtomicUsize>,
}

struct Counting {
    counts: Counts,
    told: usize,
}

impl Counting {
    fn tell(&mut self) -> Result<Option<Bytes>, Problem> {
        let newest = self.counts.newest.load(Ordering::SeqCst);
        if newest == 0 {
            return Err(Problem::bad("it is gone"));
        }
        let is_other = std::mem::replace(&mut self.told, newest) != newest;
        Ok(is_other.then(|| Bytes::from(newest.to_string())))
    }
}

impl Look for Counting {
    async fn whole(&mut self) -> Result<Whole, Problem> {
        self.counts.whole.fetch_add(1, Ordering::SeqCst);
        let change = self.tell()?;
        Ok(Whole {
            snapshot: Bytes::from(self.told.to_string()),
            change,
        })
    }

    async fn changed(&mut self, _: &Pending) -> Result<Option<Bytes>, Problem> {
        self.counts.changed.fetch_add(1, Ordering::SeqCst);
        self.tell()
    }
}

struct Bench {
    streams: Streams,
    changes: Changes,
    clock: Clock,
    followed: Changed,
    counts: Counts,
}

impl Bench {
    fn new() -> Self {
        let counts = Counts::default();
        counts.newest.store(1, Ordering::SeqCst);
        Self {
            streams: Streams::default(),
            changes: Changes::default(),
            clock: Clock::new(),
            followed: Changed::Policy(PolicyKey::new("shop", "orders")),
            counts,
        }
    }

    async fn join(&self) -> Result<Joined, Problem> {
        let look = || Counting {
            counts: self.counts.clone(),
            told: 0,
        };
        join(&self.streams, &self.followed, (self.clock, &self.changes), look).await
    }

    /// Something is another one; 0: it is gone.
    fn change(&self, to: usize) {
        self.counts.newest.store(to, Ordering::SeqCst);
        self.changes.tell(self.followed.clone());
    }

    fn looks(&self) -> (usize, usize) {
        let Counts { whole, changed, .. } = &self.counts;
        (whole.load(Ordering::SeqCst), changed.load(Ordering::SeqCst))
    }
}

async fn next(joined: &mut Joined) -> Bytes {
    match joined.words.recv().await {
        Ok(Word::Change(change)) => change,
        other => panic!("{other:?} is no change"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_256_streams_tell_is_looked_up_once() {
    let bench = Bench::new();
    let mut all = vec![];
    for _ in 0..MOST {
        all.push(bench.join().await.unwrap());
    }
    assert!(all.iter().all(|joined| joined.snapshot == "1"));
    assert_eq!(bench.looks(), (1, 0));
    // Many changes at once are one.
    for _ in 0..3 {
        bench.change(2);
    }
    let mut changes = vec![];
    for joined in &mut all {
        changes.push(next(joined).await);
    }
    assert_eq!(bench.looks(), (1, 1));
    let one = &changes[0];
    assert!(
        changes
            .iter()
            .all(|change| change == "2" && change.as_ptr() == one.as_ptr())
    );
    // What is no other one is not told.
    bench.change(2);
    Clock::sleep(2 * PAUSE).await;
    assert_eq!(bench.looks(), (1, 2));
    assert!(all[0].words.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_joins_later_has_what_is_there_and_each_change_after_it_once() {
    let bench = Bench::new();
    let mut first = bench.join().await.unwrap();
    bench.change(2);
    assert_eq!(next(&mut first).await, "2");
    let mut second = bench.join().await.unwrap();
    assert_eq!(second.snapshot, "2");
    bench.change(3);
    assert_eq!(
        (next(&mut first).await, next(&mut second).await),
        ("3".into(), "3".into())
    );
    let third = bench.join().await.unwrap();
    assert_eq!(third.snapshot, "3");
    for joined in [&first, &second, &third] {
        assert!(joined.words.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_last_stream_and_begins_anew_with_the_next() {
    let bench = Bench::new();
    let first = bench.join().await.unwrap();
    assert_eq!(bench.streams.0.lock().hubs.len(), 1);
    drop(first);
    Clock::sleep(PAUSE).await;
    assert!(bench.streams.0.lock().hubs.is_empty());
    bench.change(2);
    let second = bench.join().await.unwrap();
    assert_eq!((second.snapshot, bench.looks()), ("2".into(), (2, 0)));
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_ends_all_streams_and_who_joins_is_refused() {
    let bench = Bench::new();
    let mut first = bench.join().await.unwrap();
    bench.change(0);
    let word = first.words.recv().await.unwrap();
    assert!(matches!(word, Word::End(_)), "{word:?}");
    assert_eq!(bench.join().await.err().unwrap().code, 400);
    drop(first);
    Clock::sleep(PAUSE).await;
    assert!(bench.streams.0.lock().hubs.is_empty());
    bench.counts.newest.store(4, Ordering::SeqCst);
    assert_eq!(bench.join().await.unwrap().snapshot, "4");
}
