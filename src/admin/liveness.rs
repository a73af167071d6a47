//! Whether every task runs that the process needs.

use std::sync::{Arc, OnceLock};

/// The first task that has ended, of those that must run as long as the process. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Liveness(Arc<OnceLock<&'static str>>);

/// Tells of the end of a task, by a panic too.
struct End(Liveness, &'static str);

impl Drop for End {
    fn drop(&mut self) {
        // A later end follows from the first.
        let _ = self.0.0.set(self.1);
    }
}

impl Liveness {
    /// A task that must run as long as the process.
    pub fn of<F: Future>(&self, name: &'static str, task: F) -> impl Future<Output = F::Output> + use<F> {
        let end = End(self.clone(), name);
        async move {
            let _end = end;
            task.await
        }
    }

    /// The name of the first task that has ended.
    #[must_use]
    pub fn ended(&self) -> Option<&'static str> {
        self.0.get().copied()
    }
}
