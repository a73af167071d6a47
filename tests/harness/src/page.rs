//! What a page of metrics says.

use anyhow::{Context, Result};

/// The sum of all series of a counter.
#[must_use]
pub fn sum(page: &str, counter: &str) -> u64 {
    sum_of(page, counter, "")
}

/// The sum of those with this among their labels, such as `result="Good"`.
#[must_use]
pub fn sum_of(page: &str, counter: &str, label: &str) -> u64 {
    series(page, counter, label)
        .filter_map(|value| value.parse::<u64>().ok())
        .sum()
}

/// The value of the first series of this name with this among its labels.
///
/// # Errors
/// When there is none: the message has the page.
pub fn value(page: &str, name: &str, label: &str) -> Result<f64> {
    let value = series(page, name, label).next();
    let value = value.with_context(|| format!("no {name} of {label:?} in\n{page}"))?;
    value.parse::<f64>().with_context(|| format!("{name} is {value}"))
}

fn series<'a>(page: &'a str, name: &'a str, label: &'a str) -> impl Iterator<Item = &'a str> {
    page.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        let is_it = labels.is_empty() || labels.starts_with('{');
        (is_it && labels.contains(label)).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# TYPE checks counter\nchecks_total{result=\"Good\"} 3\nchecks_total{result=\"TimedOut\"} 4\n\
                        checks_total_of_others 9\nleader 1\nlag{endpoint=\"a\"} 0.5\nlag{endpoint=\"b\"} 1.5\n# EOF\n";

    #[test]
    fn series_are_found_by_name_and_label() {
        assert_eq!(sum(PAGE, "checks_total"), 7);
        assert_eq!(sum_of(PAGE, "checks_total", "TimedOut"), 4);
        assert_eq!(sum(PAGE, "checks"), 0, "half of a name");
        let (lag, leader) = (
            value(PAGE, "lag", "\"b\"").unwrap(),
            value(PAGE, "leader", "").unwrap(),
        );
        assert!((1.4..1.6).contains(&lag) && leader > 0.5, "{lag} {leader}");
        assert!(value(PAGE, "lag", "\"c\"").is_err() && value(PAGE, "EOF", "").is_err());
    }
}
