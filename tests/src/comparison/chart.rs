//! Results as a picture: a bar per row, as long as our rate is times testpmd's, the middle half of the pairs as a thin line over
//! it, and the goal as a mark.

use std::fmt::Write;

use super::cases::{Case, Verdict, ZeroCopy};
use super::results::{Outcome, Results};
use super::statistics::Quartiles;

/// Sizes in pixels.
const ROW: f64 = 20.0;
const BAR: f64 = 13.0;
const TITLE_HEIGHT: f64 = 76.0;
const FOOT: f64 = 34.0;
const LEFT: f64 = 330.0;
const PLOT: f64 = 480.0;
const RIGHT: f64 = 70.0;

/// Space between works, in pixels.
const GAP: f64 = 10.0;

/// The picture, as SVG.
pub fn svg(results: &Results) -> String {
    let outcomes = results.outcomes();
    let scale = Scale::of(&outcomes);
    let rows = places(&outcomes);
    let bottom = rows.last().map_or(TITLE_HEIGHT, |last| last + ROW);
    let mut text = canvas(bottom + FOOT) + &heading(&results.machine.title()) + &axis(&scale, bottom);
    for (outcome, top) in outcomes.iter().zip(rows) {
        text += &row(outcome, top, &scale);
    }
    text + "</svg>\n"
}

/// The beginning, and what everything is drawn on.
fn canvas(height: f64) -> String {
    let width = LEFT + PLOT + RIGHT;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    )
}

/// What is shown, of which machine, and what the colours say.
fn heading(machine: &str) -> String {
    let key = "green: goal reached; red: missed; grey: no goal, or no verdict; black: the goal; thin line: the middle half of \
               the pairs";
    label(16.0, 24.0, "start", "font-size=\"16\" font-weight=\"bold\"", "lport's rate, in times dpdk-testpmd's")
        + &label(16.0, 43.0, "start", "fill=\"#555\"", machine)
        + &label(16.0, 60.0, "start", "fill=\"#555\"", key)
}

/// Ratios to pixels.
struct Scale {
    /// The ratio at the right end.
    end: u32,
}

impl Scale {
    fn of(outcomes: &[Outcome]) -> Self {
        let ratios = outcomes.iter().map(|outcome| outcome.ratio.high).filter(|ratio| ratio.is_finite());
        let goals = outcomes.iter().filter_map(|outcome| outcome.case.goal());
        let most = ratios.chain(goals).fold(1.0, f64::max);
        Self { end: most.ceil() as u32 }
    }

    fn x(&self, ratio: f64) -> f64 {
        LEFT + PLOT * ratio / f64::from(self.end)
    }
}

/// Where each row begins, from the top.
fn places(outcomes: &[Outcome]) -> Vec<f64> {
    let mut next = TITLE_HEIGHT;
    let mut places = Vec::new();
    for (at, outcome) in outcomes.iter().enumerate() {
        if at > 0 && outcomes[at - 1].case.work != outcome.case.work {
            next += GAP;
        }
        places.push(next);
        next += ROW;
    }
    places
}

fn axis(scale: &Scale, bottom: f64) -> String {
    let mut text = String::new();
    // No more than some ten lines.
    for ratio in (0..=scale.end).step_by(scale.end.div_ceil(10).max(1) as usize) {
        let (x, colour) = (scale.x(f64::from(ratio)), if ratio == 1 { "#888" } else { "#ddd" });
        let _ = writeln!(
            text,
            "<line x1=\"{x:.1}\" y1=\"{TITLE_HEIGHT}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{colour}\"/>"
        );
        text += &label(x, bottom + 16.0, "middle", "fill=\"#555\"", &ratio.to_string());
    }
    text
}

/// A row: its title, its bar with the middle half over it, its goal, and its number.
fn row(outcome: &Outcome, top: f64, scale: &Scale) -> String {
    let goal = outcome.case.goal().map(|goal| scale.x(goal));
    let title = label(LEFT - 8.0, top + 11.0, "end", "", &title(outcome.case));
    let is_measured = outcome.ratio.median.is_finite();
    let bar = if is_measured { bar(outcome, top, scale) } else { String::new() };
    let mark = goal.map(|x| mark(x, top)).unwrap_or_default();
    let bar_end = if is_measured { scale.x(outcome.ratio.high) } else { LEFT };
    title + &bar + &mark + &value(outcome, [bar_end, top], goal)
}

fn title(case: Case) -> String {
    let sharing = match case.zero_copy {
        ZeroCopy::None => String::new(),
        ends => format!(", zero-copy {}", ends.title()),
    };
    format!("{}{sharing}, {} B", case.work.title(), case.size)
}

fn bar(outcome: &Outcome, top: f64, scale: &Scale) -> String {
    let colour = match outcome.verdict {
        Verdict::Reached => "#2e8b57",
        Verdict::Missed => "#c0392b",
        Verdict::NoGoal | Verdict::NotMeasured | Verdict::Undecided => "#999",
    };
    let Quartiles { low, median, high } = outcome.ratio;
    let (width, middle) = (scale.x(median) - LEFT, top + BAR / 2.0);
    let (from, to) = (scale.x(low), scale.x(high));
    format!(
        "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n\
         <line x1=\"{from:.1}\" y1=\"{middle:.1}\" x2=\"{to:.1}\" y2=\"{middle:.1}\" stroke=\"#222\"/>\n"
    )
}

/// The goal's.
fn mark(x: f64, top: f64) -> String {
    let (begin, end) = (top - 2.0, top + BAR + 2.0);
    format!(
        "<line x1=\"{x:.1}\" y1=\"{begin:.1}\" x2=\"{x:.1}\" y2=\"{end:.1}\" stroke=\"#000\" stroke-width=\"2\"/>\n"
    )
}

/// The ratio, or why there is none: behind bar and range, and behind the goal's mark where that would lie on it.
fn value(outcome: &Outcome, [bar_end, top]: [f64; 2], goal: Option<f64>) -> String {
    let median = outcome.ratio.median;
    let value = if median.is_finite() { format!("{median:.2}") } else { outcome.verdict.word().to_owned() };
    let mark = goal.filter(|mark| (*mark - bar_end - 17.0).abs() < 20.0);
    label(mark.unwrap_or(bar_end).max(bar_end) + 5.0, top + 11.0, "start", "", &value)
}

fn label(x: f64, y: f64, anchor: &str, style: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{text}</text>\n")
}

#[cfg(test)]
mod tests {
    use super::super::cases::Work;
    use super::super::results::tests::results;
    use super::*;

    const PAIRS: [(ZeroCopy, &[f64], f64); 3] = [
        (ZeroCopy::None, &[10e6, 40e6], 100.0),
        (ZeroCopy::None, &[10e6, 44e6], 100.0),
        (ZeroCopy::Client, &[10e6, 20e6], 100.0),
    ];

    #[test]
    fn the_picture_is_well_formed_whatever_the_machine_is_called_and_whatever_failed() {
        for pairs in [&PAIRS[..], &[]] {
            let picture = svg(&results(Work::Loopback, pairs));
            let document = roxmltree::Document::parse(&picture).unwrap();
            let texts: Vec<_> = document.descendants().filter_map(|node| node.text()).collect();
            assert!(texts.iter().any(|text| text.contains("A <fast> & \"odd\" CPU")), "{texts:?}");
        }
    }

    #[test]
    fn bars_are_as_long_as_their_ratios_and_coloured_by_their_verdicts() {
        let picture = svg(&results(Work::Loopback, &PAIRS));
        let document = roxmltree::Document::parse(&picture).unwrap();
        let bars: Vec<_> = document.descendants().filter(|node| node.attribute("height") == Some("13")).collect();
        let width = |bar: &roxmltree::Node<'_, '_>| bar.attribute("width").unwrap().parse::<f64>().unwrap();
        assert_eq!(bars.len(), 2);
        assert!((width(&bars[0]) / width(&bars[1]) - 4.2 / 2.0).abs() < 0.01);
        assert_eq!(bars[0].attribute("fill"), Some("#2e8b57"));
        assert_eq!(bars[1].attribute("fill"), Some("#c0392b"));
        // From 4.1 to 4.3, as long as a twentieth of 4.2 is.
        let ranges = document.descendants().filter(|node| node.attribute("stroke") == Some("#222"));
        let length = |line: roxmltree::Node<'_, '_>| {
            let x = |end| line.attribute(end).unwrap().parse::<f64>().unwrap();
            x("x2") - x("x1")
        };
        let lengths: Vec<_> = ranges.map(length).collect();
        assert!((lengths[0] * 21.0 - width(&bars[0])).abs() < 3.0 && lengths[1] == 0.0, "{lengths:?}");
    }
}
