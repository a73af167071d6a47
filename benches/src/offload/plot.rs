//! PURE. The plot: for each quota period the p95 of reads by load, on a logarithmic axis, and the reads per second at saturation.

use std::fmt::Write as _;

use super::arm::Arm;
use super::record::{LOADS, Period, Record};
use super::statistics::{Interval, count, student};

const PANEL: (f64, f64) = (420.0, 260.0);
const MARGIN: f64 = 60.0;

fn colour(arm: Arm) -> &'static str {
    match arm {
        Arm::Primary => "#444444",
        Arm::Big => "#999999",
        Arm::Random => "#d55e00",
        Arm::Haproxy => "#e69f00",
        Arm::Services => "#0072b2",
        Arm::Client => "#009e73",
    }
}

/// The whole plot.
#[must_use]
pub fn svg(record: &Record) -> String {
    let (width, height) = (
        2.0 * (PANEL.0 + MARGIN) + MARGIN,
        count(record.periods.len()) * (PANEL.1 + 2.0 * MARGIN) + MARGIN,
    );
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width:.0}\" height=\"{height:.0}\" fill=\"white\"/>\n"
    );
    let mut top = MARGIN;
    for period in &record.periods {
        lines(&mut text, period, MARGIN, top);
        bars(&mut text, period, 2.0 * MARGIN + PANEL.0, top);
        top += PANEL.1 + 2.0 * MARGIN;
    }
    for (number, arm) in Arm::ALL.into_iter().enumerate() {
        let x = MARGIN + count(number) * 150.0;
        let y = height - MARGIN / 2.0;
        let (colour, words) = (colour(arm), arm.words());
        let _ = writeln!(
            text,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>",
            y - 9.0
        );
        label(&mut text, x + 14.0, y, "start", &format!("({arm}) {words}"));
    }
    text + "</svg>\n"
}

fn label(text: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        text,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}

fn line(text: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(
        text,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
        from.0, from.1, to.0, to.1
    );
}

/// Where a value lies between two others on a logarithmic axis, 0 to 1.
fn place(value: f64, low: f64, high: f64) -> f64 {
    let log = |value: f64| value.max(1e-3).log10();
    ((log(value) - log(low)) / (log(high) - log(low)).max(1e-9)).clamp(0.0, 1.0)
}

/// The powers of ten around all of these.
fn decades(all: &[f64]) -> (f64, f64) {
    let low = all.iter().copied().fold(f64::INFINITY, f64::min).clamp(1e-3, 1e6);
    let high = all.iter().copied().fold(low, f64::max);
    let (low, high) = (low.log10().floor(), (high * 1.001).log10().ceil());
    (10_f64.powf(low), 10_f64.powf(high.max(low + 1.0)))
}

fn lines(text: &mut String, period: &Period, left: f64, top: f64) {
    let of = |arm, load| student(&period.figures(arm, load, |seen| seen.reads.p95));
    let all: Vec<Interval> = Arm::ALL
        .iter()
        .flat_map(|arm| LOADS.map(|load| of(*arm, load)))
        .collect();
    let (low, high) = decades(&all.iter().flat_map(|one| [one.low, one.high]).collect::<Vec<_>>());
    let x = |load: u32| left + PANEL.0 * f64::from(load) / 100.0;
    let y = |value: f64| top + PANEL.1 * (1.0 - place(value, low, high));
    let title = format!(
        "p95 of reads in ms, by load in % of the saturation of (a); quota period {} ms",
        period.period
    );
    label(text, left, top - 12.0, "start", &title);
    let mut value = low;
    while value <= high * 1.001 {
        line(text, (left, y(value)), (left + PANEL.0, y(value)), "#dddddd");
        label(text, left - 6.0, y(value) + 4.0, "end", &format!("{value}"));
        value *= 10.0;
    }
    for load in LOADS {
        label(
            text,
            x(load),
            top + PANEL.1 + 16.0,
            "middle",
            &format!("{load} %"),
        );
    }
    for arm in Arm::ALL {
        let points = LOADS.map(|load| (x(load), of(arm, load)));
        for pair in points.windows(2) {
            line(
                text,
                (pair[0].0, y(pair[0].1.mean)),
                (pair[1].0, y(pair[1].1.mean)),
                colour(arm),
            );
        }
        for (x, interval) in points {
            line(text, (x, y(interval.low)), (x, y(interval.high)), colour(arm));
            let _ = writeln!(
                text,
                "<circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{}\"/>",
                y(interval.mean),
                colour(arm)
            );
        }
    }
}

fn bars(text: &mut String, period: &Period, left: f64, top: f64) {
    let ceiling = period.ceilings.five * 0.95;
    let all = Arm::ALL.map(|arm| student(&period.throughput(arm)));
    let high = all.iter().map(|one| one.high).fold(ceiling, f64::max) * 1.1;
    let y = |value: f64| top + PANEL.1 * (1.0 - value / high.max(1.0));
    label(
        text,
        left,
        top - 12.0,
        "start",
        "reads per second at saturation; the line is the ceiling of five servers",
    );
    let bottom = top + PANEL.1;
    line(text, (left, bottom), (left + PANEL.0, bottom), "#444444");
    line(text, (left, y(ceiling)), (left + PANEL.0, y(ceiling)), "#cc0000");
    let step = PANEL.0 / count(Arm::ALL.len());
    for (number, (arm, interval)) in Arm::ALL.into_iter().zip(all).enumerate() {
        let x = left + step * (count(number) + 0.2);
        let (width, middle) = (step * 0.6, x + step * 0.3);
        let _ = writeln!(
            text,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
            y(interval.mean),
            bottom - y(interval.mean),
            colour(arm)
        );
        line(
            text,
            (middle, y(interval.low)),
            (middle, y(interval.high)),
            "#000000",
        );
        label(
            text,
            middle,
            y(interval.high) - 6.0,
            "middle",
            &format!("{:.0}", interval.mean),
        );
        label(text, middle, bottom + 16.0, "middle", &format!("({arm})"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::example::record;

    #[test]
    fn a_plot_has_each_point_and_each_bar_and_is_well_formed() {
        let text = svg(&record());
        assert_eq!(text.matches("<circle").count(), 2 * 6 * 4);
        assert_eq!(text.matches("<svg").count(), text.matches("</svg>").count());
        assert_eq!(text.matches("<text").count(), text.matches("</text>").count());
        assert!(!text.contains("NaN") && !text.contains("inf"));
        // A bar in each of two panels, the mark in the legend; the background is one more.
        assert_eq!(text.matches("<rect").count(), 2 * 6 + 6 + 1);
        assert!(text.contains("quota period 20 ms"));
    }

    #[test]
    fn a_higher_value_lies_higher_and_none_lies_outside() {
        assert!(place(100.0, 1.0, 1000.0) > place(10.0, 1.0, 1000.0));
        assert_eq!([place(0.0, 1.0, 10.0), place(99.0, 1.0, 10.0)], [0.0, 1.0]);
        assert_eq!(decades(&[3.0, 250.0]), (1.0, 1000.0));
        assert_eq!(decades(&[5.0]), (1.0, 10.0));
    }

    #[test]
    fn a_record_without_figures_gives_a_plot_all_the_same() {
        let mut record = record();
        for period in &mut record.periods {
            period.cells.clear();
            period.saturations.clear();
        }
        assert!(!svg(&record).contains("NaN"));
    }
}
