//! Watches of Secrets by name.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use super::SecretKey;

/// The watches of Secrets by name: one for each that a policy names.
#[derive(Debug, Default)]
pub struct NamedWatches(Mutex<BTreeMap<SecretKey, AbortHandle>>);

impl NamedWatches {
    fn watches(&self) -> MutexGuard<'_, BTreeMap<SecretKey, AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the watch of a Secret, unless a policy has named it meanwhile.
    pub fn end(&self, secret: &SecretKey, is_named: impl FnOnce() -> bool) {
        let mut watches = self.watches();
        if is_named() {
            return;
        }
        if let Some(task) = watches.remove(secret) {
            task.abort();
        }
    }

    /// Starts a watch of a Secret that a policy names, where there is none.
    pub fn start(
        &self,
        secret: SecretKey,
        is_named: impl FnOnce() -> bool,
        watch: impl FnOnce(SecretKey) -> AbortHandle,
    ) {
        let mut watches = self.watches();
        if is_named() {
            watches
                .entry(secret)
                .or_insert_with_key(|secret| watch(secret.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_of_a_secret_that_is_named_again_goes_on() {
        let watches = NamedWatches::default();
        let start = |_| tokio::spawn(std::future::pending::<()>()).abort_handle();
        watches.start(secret(), || true, start);
        watches.end(&secret(), || true);
        assert_eq!(watches.watches().len(), 1);
        watches.end(&secret(), || false);
        assert!(watches.watches().is_empty());
        // The last policy that named it went before it was read.
        watches.start(secret(), || false, start);
        assert!(watches.watches().is_empty());
    }

    fn secret() -> SecretKey {
        ("shop".to_owned(), "one".to_owned())
    }
}
