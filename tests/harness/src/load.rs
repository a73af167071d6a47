//! What takes the processors away from everybody.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Threads that do nothing but count, until it is dropped.
#[derive(Debug)]
pub struct Burners {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Burners {
    /// Starts so many.
    #[must_use]
    pub fn start(count: usize) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let burn = || {
            let ended = ended.clone();
            thread::spawn(move || {
                let mut number = 0_u64;
                while !ended.load(Ordering::Relaxed) {
                    number = black_box(number.wrapping_add(1));
                }
            })
        };
        let threads = (0..count).map(|_| burn()).collect();
        Self { ended, threads }
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
