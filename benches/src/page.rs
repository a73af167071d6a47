//! What the pages of the operator's metrics say.

use std::collections::HashMap;

pub use harness::page::sum;

/// The bound, as the page writes it, below which all values are that a histogram counted between two readings.
#[must_use]
pub fn highest(histogram: &str, before: &str, after: &str) -> Option<String> {
    let (before, after) = (buckets(histogram, before), buckets(histogram, after));
    let new = |bound: &str| Some(after.get(bound)? - before.get(bound).copied().unwrap_or(0));
    let all = new("+Inf").filter(|count| *count > 0)?;
    let full = after.keys().filter(|bound| new(bound) == Some(all));
    let bounds = full.filter_map(|bound| Some((bound.replace("+Inf", "inf").parse::<f64>().ok()?, bound)));
    bounds
        .min_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, bound)| bound.clone())
}

/// Counts by upper bound.
fn buckets(histogram: &str, page: &str) -> HashMap<String, u64> {
    let buckets = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(histogram)?.strip_prefix("_bucket{le=\"")?;
        let (bound, count) = rest.split_once("\"} ")?;
        Some((bound.to_owned(), count.parse::<u64>().ok()?))
    });
    buckets.collect()
}
