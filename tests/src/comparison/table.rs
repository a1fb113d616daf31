//! Results as Markdown: the section of docs/performance.md, as it stands there.

use std::fmt::Write;

use super::cases::{Verdict, ZeroCopy};
use super::limits::{COPY_GOAL, FLAT_GOAL};
use super::measuring::Conditions;
use super::results::{Limits, Outcome, Results, Side};
use super::sections;

/// What the section begins and ends with, in the documentation too.
pub const MARKS: [&str; 2] = ["<!-- make bench: what it wrote begins -->", "<!-- make bench: what it wrote ends -->"];

/// The section.
pub fn markdown(results: &Results) -> String {
    let mut text = format!("{}\n{}", MARKS[0], head(results));
    if !results.cases.is_empty() {
        text += &of_rates(results);
    }
    if let Some(limits) = results.limits() {
        text += &of_limits(&limits);
    }
    if let Some(latency) = &results.latency {
        text += &sections::of_latency(latency, results.conditions.rule.others);
    }
    if let Some(idle) = &results.idle {
        text += &sections::of_idle(idle);
    }
    let warnings = results.machine.warnings();
    if !warnings.is_empty() {
        text += "\nWhat spoils numbers on this machine:\n";
        warnings.iter().for_each(|warning| text += &format!("- {warning}\n"));
    }
    text += &of_failures(results);
    text + MARKS[1] + "\n"
}

fn head(results: &Results) -> String {
    let [asked, made] = results.rounds;
    let [dropped, all] = results.dropped();
    let Conditions { rule, burst, .. } = results.conditions;
    if results.cases.is_empty() {
        return format!("{}, {}. Bursts of {burst}.\n", results.machine.date, results.machine.title());
    }
    let fewer = if made < asked { format!(" of {asked}, because the time was over") } else { String::new() };
    format!(
        "{}, {}. Bursts of {burst}, {made} whole rounds{fewer}. Rates are medians, in parentheses the distance from the slowest to the \
         fastest. {dropped} of {all} measurements were dropped: others took more than {} % of the CPUs' time, the CPUs were more \
         than {} times as far from each other, or one of them more than {} times as slow, as at best.\n",
        results.machine.date,
        results.machine.title(),
        rule.others * 100.0,
        rule.farther,
        rule.slower,
    )
}

fn of_rates(results: &Results) -> String {
    let mut text =
        String::from("\n| work | zero-copy | bytes | testpmd Mpps | lport Mpps | ratio | goal | reached | rounds |\n");
    text += "|---|---|---:|---:|---:|---:|---:|---|---:|\n";
    results.outcomes().iter().for_each(|outcome| text += &row(outcome));
    text
}

fn row(outcome: &Outcome) -> String {
    let Outcome { case, testpmd, lport, ratio, verdict } = outcome;
    let zero_copy = if testpmd.zero_copy == lport.zero_copy {
        lport.zero_copy.title().to_owned()
    } else {
        // testpmd's best of what it can do.
        let theirs = if testpmd.zero_copy == ZeroCopy::None { "none" } else { testpmd.zero_copy.title() };
        format!("{}; testpmd {theirs}", lport.zero_copy.title())
    };
    let goal = case.goal().map(|goal| format!("{goal:.1}")).unwrap_or_default();
    format!(
        "| {} | {zero_copy} | {} | {} | {} | {} | {goal} | {} | {}+{} |\n",
        case.work.title(),
        case.size,
        rate(testpmd),
        rate(lport),
        number(*ratio, 2),
        verdict.word(),
        testpmd.rounds,
        lport.rounds,
    )
}

/// Millions per second, and the spread.
fn rate(side: &Side) -> String {
    if side.rounds == 0 {
        return "-".to_owned();
    }
    format!("{} ({:.0} %)", number(side.median / 1e6, 2), side.spread * 100.0)
}

pub(super) fn number(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "-".to_owned() }
}

fn of_limits(limits: &Limits) -> String {
    let Limits { copies, copy_share, copy_verdict, flat, unevenness, flat_verdict } = limits;
    let mut text = String::from("\n| toward the limit | measured | goal | reached |\n|---|---:|---:|---|\n");
    let [packets, memcpy] = copies.map(|rate| number(rate / 1e6, 2));
    let share = number(copy_share * 100.0, 0);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "| 1518-byte packets copied, of a bare memcpy | {packets} of {memcpy} Mpps: {share} % | {:.0} % | {} |",
        COPY_GOAL * 100.0,
        copy_verdict.word()
    );
    let _ = writeln!(
        text,
        "| the dearest packet size without copies, of the cheapest | {} | {FLAT_GOAL} | {} |",
        number(*unevenness, 2),
        flat_verdict.word()
    );
    text += "\n| without copies (client exports, server borrows) |";
    flat.iter().for_each(|(size, _)| text += &format!(" {size} B |"));
    text += "\n|---|";
    text += &"---:|".repeat(flat.len());
    text += "\n| ns per packet |";
    flat.iter().for_each(|(_, time)| text += &format!(" {} |", number(*time, 1)));
    text + "\n"
}

fn of_failures(results: &Results) -> String {
    let mut text = String::new();
    let of_rates = results.failures().map(|measured| (measured.subject.title(), &measured.failures[..]));
    let of_sections = sections::failures(results.latency.as_ref(), results.idle.as_ref());
    let of_sections = of_sections.map(|(title, failures)| (title.to_owned(), failures));
    for (title, failures) in of_rates.chain(of_sections) {
        let reason = failures.last().map_or("", |failure| failure.lines().next().unwrap_or_default());
        text += &format!("- {title}: failed {} times, at last: {reason}\n", failures.len());
    }
    if text.is_empty() { text } else { format!("\nWhat failed, and was tried again:\n{text}") }
}

/// How many goals there are, and how many are reached, in words.
pub fn summary(results: &Results) -> String {
    let limits = results.limits();
    let of_limits = limits.iter().flat_map(|limits| [limits.copy_verdict, limits.flat_verdict]);
    let of_sections = sections::verdicts(results.latency.as_ref(), results.idle.as_ref());
    let of_rates = results.outcomes().into_iter().map(|outcome| outcome.verdict);
    let verdicts: Vec<_> = of_rates.chain(of_limits).chain(of_sections).collect();
    let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
    let (reached, missed, unknown) = (count(Verdict::Reached), count(Verdict::Missed), count(Verdict::NotMeasured));
    format!("{reached} goals reached, {missed} missed, {unknown} not measured")
}

#[cfg(test)]
mod tests {
    use super::super::processes::Program;
    use super::super::results::tests::results;
    use super::*;

    const RATES: [(Program, ZeroCopy, &[f64]); 3] = [
        (Program::Testpmd, ZeroCopy::None, &[10e6, 11e6, 0.0]),
        (Program::Testpmd, ZeroCopy::Client, &[20e6, 0.0]),
        (Program::Lport, ZeroCopy::None, &[42e6, 0.0]),
    ];

    #[test]
    fn a_row_says_rates_spreads_ratio_goal_and_rounds() {
        let text = markdown(&results(&RATES));
        let row = "| loopback, one core | no | 64 | 10.50 (10 %) | 42.00 (0 %) | 4.00 | 3.0 | yes | 2+1 |";
        assert!(text.lines().any(|line| line == row), "{text}");
        let lacking =
            "| loopback, one core | both; testpmd client | 64 | 20.00 (0 %) | - | - | 3.0 | not measured | 1+0 |";
        assert!(text.lines().any(|line| line == lacking), "{text}");
        assert!(text.contains("3 of 7 measurements were dropped"), "{text}");
    }

    #[test]
    fn every_row_of_a_table_has_its_columns() {
        let text = markdown(&results(&RATES));
        let columns = |line: &str| line.matches('|').count();
        let mut tables = text.split("\n\n").filter(|part| part.contains("|---"));
        assert!(tables.clone().count() == 3);
        assert!(tables.all(|table| {
            let mut lines = table.lines().filter(|line| line.starts_with('|')).map(columns);
            let first = lines.next();
            lines.all(|count| Some(count) == first)
        }));
    }

    #[test]
    fn failures_stand_below_the_table_with_their_last_reason() {
        let mut results = results(&[]);
        results.measured[0].failures = vec!["first".into(), "crashed\nand more".into()];
        let text = markdown(&results);
        assert!(text.contains("zero-copy no, 64 bytes: failed 2 times, at last: crashed\n"), "{text}");
        assert_eq!(summary(&results), "0 goals reached, 0 missed, 8 not measured");
    }

    #[test]
    fn the_documentation_holds_the_section_once() {
        let document = include_str!("../../../docs/performance.md");
        for mark in MARKS {
            assert_eq!(document.matches(mark).count(), 1, "{mark}");
        }
        assert!(document.find(MARKS[0]) < document.find(MARKS[1]));
    }
}
