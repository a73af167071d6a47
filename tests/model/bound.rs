//! How much may go wrong in one run.

/// How often each kind of fault befalls the cluster. What mends a fault (a start, a thaw, a watch that goes on, the return of a server)
/// costs nothing, and is never certain.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Bound {
    /// An operator ends without a word; its requests may arrive yet.
    pub crashes: u8,
    /// A request gets no answer, and is carried out at any later time, or never.
    pub late: u8,
    /// The watches of an operator stand still.
    pub stale: u8,
    /// An operator stands still, and its clock with it.
    pub freezes: u8,
    /// The clock of an operator misses a second, which it goes on working in.
    pub slips: u8,
    /// An operator does not reach the server that takes the writes.
    pub parts: u8,
    /// A server that takes writes goes down.
    pub deaths: u8,
    /// A standby is promoted.
    pub promotions: u8,
    /// Somebody else changes a slice, or takes its name.
    pub meddling: u8,
    /// Seconds.
    pub ticks: u8,
}

impl Bound {
    /// The one that the environment gives, by the names of the fields in capitals; what is not given does not happen.
    pub fn of_environment() -> Self {
        let number = |name: &str| std::env::var(name).map_or(0, |text| text.parse().expect("a small number"));
        Self {
            crashes: number("CRASHES"),
            late: number("LATE"),
            stale: number("STALE"),
            freezes: number("FREEZES"),
            slips: number("SLIPS"),
            parts: number("PARTS"),
            deaths: number("DEATHS"),
            promotions: number("PROMOTIONS"),
            meddling: number("MEDDLING"),
            ticks: number("TICKS"),
        }
    }
}
