//! The last few of something, in a fixed room.

/// At most the last `N`.
#[derive(Clone, Copy, Debug)]
pub struct Ring<T, const N: usize> {
    kept: [T; N],
    /// Where the next one goes.
    next: usize,
    len: usize,
}

impl<T: Copy + Default, const N: usize> Default for Ring<T, N> {
    fn default() -> Self {
        Self {
            kept: [T::default(); N],
            next: 0,
            len: 0,
        }
    }
}

impl<T: Copy, const N: usize> Ring<T, N> {
    /// The oldest one goes where there is no room.
    pub fn push(&mut self, value: T) {
        self.kept[self.next] = value;
        self.next = (self.next + 1) % N;
        self.len = (self.len + 1).min(N);
    }

    /// From the newest to the oldest.
    pub fn newest_first(&self) -> impl Iterator<Item = &T> {
        (1..=self.len).map(|back| &self.kept[(self.next + N - back) % N])
    }
}
