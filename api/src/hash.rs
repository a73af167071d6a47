//! Statuses hash as the JSON that they are: equal ones are one text, and types of Kubernetes have no hash of their own.

use std::hash::{Hash, Hasher};
use std::io;

use serde::Serialize;

use super::status::{MemoryStatus, ReplicaSetPolicyStatus};

struct Hashing<'a, H>(&'a mut H);

impl<H: Hasher> io::Write for Hashing<'_, H> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.write(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hash(it: &impl Serialize, state: &mut impl Hasher) {
    // Neither a map with other keys than texts is in them, nor does the writer fail.
    serde_json::to_writer(Hashing(state), it).unwrap_or_default();
}

impl Hash for ReplicaSetPolicyStatus {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self, state);
    }
}

impl Hash for MemoryStatus {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self, state);
    }
}
