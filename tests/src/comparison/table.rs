//! Results as Markdown: the section of docs/performance.md, as it stands there.

use std::fmt::{Display, Write};

use super::cases::{Case, Verdict, ZeroCopy};
use super::ends::Ends;
use super::limits::{COPY_GOAL, FLAT_GOAL};
use super::measuring::Conditions;
use super::results::{Limits, Outcome, Results};
use super::rule::{Reason, Rule};
use super::sections;
use super::statistics::Quartiles;

/// What the section begins and ends with, in the documentation too.
pub const MARKS: [&str; 2] = ["<!-- make bench: what it wrote begins -->", "<!-- make bench: what it wrote ends -->"];

/// The section.
pub fn markdown(results: &Results) -> String {
    let parts = [head(results), tables(results), lists(results)];
    format!("{}\n{}{}\n", MARKS[0], parts.concat(), MARKS[1])
}

/// What was measured, on which machine, and what a pair is.
fn head(results: &Results) -> String {
    let [asked, made] = results.rounds;
    let Conditions { rule, burst, .. } = results.conditions;
    let fewer = if made < asked { format!(" of {asked}, because the time was over") } else { String::new() };
    let rounds = if results.contests.is_empty() { String::new() } else { format!(", {made} whole rounds{fewer}") };
    let has_pairs = !results.contests.is_empty() || results.latency.is_some();
    let pairs = if has_pairs { of_pairs(rule) } else { String::new() };
    format!("{}, {}. Bursts of {burst}{rounds}.\n{pairs}", results.machine.date, results.machine.title())
}

fn of_pairs(rule: Rule) -> String {
    format!(
        "\nA pair is testpmd and lport at the same work, measured directly one after the other. It counts when, from before the \
         first until behind the second, others took at most {} % of the CPUs' time, the round trip of a cache line between two \
         CPUs changed by at most {} times, and the time of a multiplication on each by at most {} times. The ratio is the median \
         of the pairs' ratios, in parentheses the middle half of them; rates and times are medians of the same pairs.\n",
        rule.others * 100.0,
        rule.farther,
        rule.slower,
    )
}

/// How many pairs a verdict takes.
pub(super) fn enough(least: usize) -> String {
    let pairs = if least == 1 { "pair that counts" } else { "pairs that count" };
    format!("A verdict takes at least {least} {pairs}.")
}

/// What was asked for, each as a section.
fn tables(results: &Results) -> String {
    let rates = (!results.contests.is_empty()).then(|| of_rates(results));
    let limits = results.limits().map(|limits| of_limits(&limits));
    let latency = results.latency.as_ref().map(sections::of_latency);
    let idle = results.idle.as_ref().map(sections::of_idle);
    [rates, limits, latency, idle].into_iter().flatten().collect()
}

/// What there is to say about the machine, and what did not go well.
fn lists(results: &Results) -> String {
    list("What spoils numbers on this machine", results.machine.warnings().into_iter())
        + &list("What was dropped wholly", dropped_wholly(results))
        + &list("What failed, and was tried again", failed(results))
}

fn of_rates(results: &Results) -> String {
    let mut text = format!(
        "\nRates. A round trip is the median of the pairs', or two where the CPUs were moved from pair to pair. {} {}\n",
        of_dropped(results),
        enough(results.least_pairs())
    );
    text +=
        "\n| work | zero-copy | bytes | testpmd Mpps | lport Mpps | ratio | goal | reached | round trip ns | pairs |\n";
    text += "|---|---|---:|---:|---:|---:|---:|---|---:|---:|\n";
    let outcomes = results.outcomes();
    outcomes.iter().for_each(|outcome| text += &row(outcome, results.conditions.rule));
    text + &of_ends(&outcomes)
}

/// What the ends of chains left to whoever forwarded between them.
fn of_ends(outcomes: &[Outcome]) -> String {
    let row = |outcome: &Outcome| {
        let Ends { used, most } = outcome.ends?;
        let Case { work, zero_copy, size } = outcome.case;
        let [theirs, ours] = used.map(|share| number(share * 100.0, 0));
        let goal = outcome.case.goal().map(|goal| format!("{goal:.1}")).unwrap_or_default();
        let [work, zero_copy] = [work.title(), zero_copy.title()];
        Some(format!("| {work} | {zero_copy} | {size} | {theirs} % | {ours} % | {most:.2} | {goal} |\n"))
    };
    let rows: String = outcomes.iter().filter_map(row).collect();
    if rows.is_empty() {
        return rows;
    }
    let head = "| ends of a chain | zero-copy | bytes | used by testpmd | used by lport | ratio at most | goal |\n\
                |---|---|---:|---:|---:|---:|---:|\n";
    format!("\n{head}{rows}")
}

/// How much was dropped why.
fn of_dropped(results: &Results) -> String {
    let [dropped, all] = results.dropped();
    let reasons = || results.contests.iter().flat_map(|contest| &contest.turns).filter_map(|turn| turn.dropped);
    let (mut others, mut moved, mut slowed) = (0, 0, 0);
    reasons().for_each(|reason| match reason {
        Reason::Others { .. } => others += 1,
        Reason::Moved { .. } => moved += 1,
        Reason::Slowed { .. } => slowed += 1,
    });
    format!(
        "{dropped} of {all} pairs were dropped: {others} for others, {moved} for the round trip, {slowed} for the multiplication."
    )
}

fn row(outcome: &Outcome, rule: Rule) -> String {
    let Outcome { case, testpmd, lport, ratio, round_trip, pairs: [pairs, all], verdict, .. } = outcome;
    let zero_copy = if testpmd.zero_copy == lport.zero_copy {
        lport.zero_copy.title().to_owned()
    } else {
        // testpmd's best of what it can do.
        let theirs = if testpmd.zero_copy == ZeroCopy::None { "none" } else { testpmd.zero_copy.title() };
        format!("{}; testpmd {theirs}", lport.zero_copy.title())
    };
    let goal = case.goal().map(|goal| format!("{goal:.1}")).unwrap_or_default();
    format!(
        "| {} | {zero_copy} | {} | {} | {} | {} | {goal} | {} | {} | {pairs} of {all} |\n",
        case.work.title(),
        case.size,
        number(testpmd.rate / 1e6, 2),
        number(lport.rate / 1e6, 2),
        with_range(ratio),
        verdict.word(),
        round_trip.map(|times| state(&times, rule)).unwrap_or_default(),
    )
}

/// A median, and the middle half.
pub(super) fn with_range(Quartiles { low, median, high }: &Quartiles) -> String {
    if median.is_finite() { format!("{median:.2} ({low:.2} to {high:.2})") } else { "-".to_owned() }
}

/// How far apart the CPUs were; where they were moved between pairs, from where to where.
fn state(Quartiles { low, median, high }: &Quartiles, rule: Rule) -> String {
    if rule.is_moved([*low, *high]) { format!("{low:.0} to {high:.0}") } else { number(*median, 0) }
}

pub(super) fn number(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "-".to_owned() }
}

fn of_limits(limits: &Limits) -> String {
    let Limits { copies, copy_share, copy_verdict, flat, unevenness, flat_verdict } = limits;
    let mut text = String::from("\n| toward the limit | measured | goal | reached |\n|---|---:|---:|---|\n");
    let [packets, memcpy] = copies.map(|rate| number(rate / 1e6, 2));
    let share = number(copy_share.median * 100.0, 0);
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

/// What is to be said, if anything.
fn list(title: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: String = lines.map(|line| format!("- {line}\n")).collect();
    if lines.is_empty() { lines } else { format!("\n{title}:\n{lines}") }
}

fn dropped_wholly(results: &Results) -> impl Iterator<Item = String> {
    let line =
        |title: String, times: usize, reason: &dyn Display| format!("{title}: {times} times, at last because {reason}");
    let of_rates = results.contests.iter().filter_map(move |contest| {
        let reason = contest.turns.last()?.dropped.filter(|_| contest.counted().count() == 0)?;
        Some(line(contest.question.title(), contest.turns.len(), &reason))
    });
    let of_latency = results.latency.iter().flat_map(sections::dropped_wholly);
    of_rates.chain(of_latency.map(move |(title, times, reason)| line(title, times, &reason)))
}

fn failed(results: &Results) -> impl Iterator<Item = String> {
    let of_rates = results.contests.iter().map(|contest| (contest.question.title(), &contest.failures[..]));
    let of_sections = sections::failures(results.latency.as_ref(), results.idle.as_ref());
    let all = of_rates.chain(of_sections.map(|(title, failures)| (title.to_owned(), failures)));
    all.filter_map(|(title, failures)| {
        let reason = failures.last()?.lines().next().unwrap_or_default();
        Some(format!("{title}: {} times, at last: {reason}", failures.len()))
    })
}

/// How many goals there are, and how many are reached, in words.
pub fn summary(results: &Results) -> String {
    let limits = results.limits();
    let of_limits = limits.iter().flat_map(|limits| [limits.copy_verdict, limits.flat_verdict]);
    let of_sections = sections::verdicts(results.latency.as_ref(), results.idle.as_ref());
    let of_rates = results.outcomes().into_iter().map(|outcome| outcome.verdict);
    let verdicts: Vec<_> = of_rates.chain(of_limits).chain(of_sections).collect();
    let count = |wanted: Verdict| verdicts.iter().filter(|verdict| **verdict == wanted).count();
    let [reached, missed] = [Verdict::Reached, Verdict::Missed].map(count);
    let [undecided, unknown] = [Verdict::Undecided, Verdict::NotMeasured].map(count);
    format!("{reached} goals reached, {missed} missed, {undecided} undecided, {unknown} not measured")
}

#[cfg(test)]
mod tests {
    use super::super::cases::Work;
    use super::super::idle::Idle;
    use super::super::idle::tests::idle;
    use super::super::latency::Latency;
    use super::super::latency::tests::pair;
    use super::super::results::tests::{drop_turn, results};
    use super::*;

    const PAIRS: [(ZeroCopy, &[f64], f64); 5] = [
        (ZeroCopy::None, &[10e6, 39e6], 100.0),
        (ZeroCopy::None, &[11e6, 45.1e6], 110.0),
        (ZeroCopy::Client, &[20e6, 50e6], 120.0),
        (ZeroCopy::Both, &[10e6, 20e6, 50e6], 60.0),
        (ZeroCopy::Both, &[2e6, 4e6, 10e6], 320.0),
    ];

    fn lines(text: &str, wanted: &[&str]) {
        for wanted in wanted {
            assert!(text.lines().any(|line| line == *wanted), "no {wanted}\n{text}");
        }
    }

    #[test]
    fn a_row_says_rates_the_ratio_with_its_range_goal_state_and_pairs() {
        let mut results = results(Work::ClientToServer, &PAIRS);
        drop_turn(&mut results, 2, 0);
        let text = markdown(&results);
        lines(
            &text,
            &[
                "| client to server | no | 64 | 10.50 | 42.05 | 4.00 (3.95 to 4.05) | 2.5 | yes | 105 | 2 of 2 |",
                "| client to server | client | 64 | - | - | - | 2.0 | not measured | - | 0 of 1 |",
                "| client to server | both; testpmd client | 64 | 12.00 | 30.00 | 2.50 (2.50 to 2.50) | 2.0 | yes | 125 to 255 | 2 of 2 |",
                "- client to server, zero-copy client, 64 bytes: 1 times, at last because a cache line's round trip changed \
                 between 100 and 300 ns",
            ],
        );
        assert!(text.contains("1 of 5 pairs were dropped: 0 for others, 1 for the round trip, 0 for"), "{text}");
        assert!(text.contains("changed by at most 1.4 times"), "the rule is stated: {text}");
    }

    #[test]
    fn rows_between_ends_have_their_bound_below() {
        let mut results = results(Work::Chain, &[(ZeroCopy::None, &[10e6, 18e6], 100.0)]);
        assert!(!markdown(&results).contains("ratio at most"), "nobody measured it");
        for (sample, limit) in results.contests[0].turns[0].samples.iter_mut().zip([20e6, 24e6]) {
            sample.limit_of_ends = Some(limit);
        }
        lines(&markdown(&results), &["| forwarder between lport's ends | no | 64 | 50 % | 75 % | 2.40 | 2.5 |"]);
    }

    #[test]
    fn a_row_of_one_cpu_has_no_round_trip() {
        let text = markdown(&results(Work::Loopback, &PAIRS));
        lines(
            &text,
            &["| loopback, one core | client | 64 | 20.00 | 50.00 | 2.50 (2.50 to 2.50) | 3.0 | no |  | 1 of 1 |"],
        );
    }

    #[test]
    fn every_row_of_a_table_has_its_columns() {
        let text = markdown(&results(Work::ClientToServer, &PAIRS));
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
    fn the_head_says_what_is_true_of_the_sections_that_are_there() {
        let said = |has_rates: bool, latency: Option<Latency>, idle: Option<Idle>| {
            let mut results = results(Work::Loopback, &PAIRS);
            (results.latency, results.idle) = (latency, idle);
            if !has_rates {
                results.contests.clear();
            }
            let text = markdown(&results);
            [", 0 whole rounds of 1", "A pair is", "pairs were dropped: ", "| work |", "Latency, ", "| idle mode |"]
                .map(|part| text.matches(part).count())
        };
        assert_eq!(said(true, None, None), [1, 1, 1, 1, 0, 0]);
        assert_eq!(said(false, Some(Latency::default()), None), [0, 1, 0, 0, 1, 0]);
        assert_eq!(said(false, None, Some(Idle::default())), [0, 0, 0, 0, 0, 1]);
        assert_eq!(said(true, Some(Latency::default()), Some(Idle::default())), [1; 6]);
    }

    #[test]
    fn failures_stand_below_the_table_with_their_last_reason() {
        let mut results = results(Work::Loopback, &[]);
        results.contests[0].failures = vec!["first".into(), "crashed\nand more".into()];
        let text = markdown(&results);
        lines(&text, &["- loopback, one core, zero-copy no, 64 bytes: 2 times, at last: crashed"]);
        assert!(!text.contains("dropped wholly"), "{text}");
        results.latency = Some(Latency { failures: vec!["gone".into()], ..Latency::default() });
        lines(&markdown(&results), &["- latency: 1 times, at last: gone"]);
        results.latency = None;
        assert_eq!(summary(&results), "0 goals reached, 0 missed, 0 undecided, 8 not measured");
    }

    #[test]
    fn a_row_of_too_few_pairs_has_numbers_and_no_verdict() {
        let mut results = results(Work::Loopback, &PAIRS);
        results.conditions.pairs = 8;
        let text = markdown(&results);
        lines(
            &text,
            &[
                "| loopback, one core | client | 64 | 20.00 | 50.00 | 2.50 (2.50 to 2.50) | 3.0 | not measured |  | 1 of 1 |",
            ],
        );
        assert!(text.contains("0 for the multiplication. A verdict takes at least 5 pairs that count.\n"), "{text}");
    }

    #[test]
    fn the_summary_counts_what_the_tables_say() {
        let mut results = results(Work::Loopback, &PAIRS);
        let times = [[1.0, 2.0, 3.0], [0.9, 4.0, 3.0]];
        let few = [vec![pair(10, times); 3], vec![pair(10, [[1.0, 2.0, 3.0], [0.9, 1.0, 3.0]]); 2]].concat();
        results.latency = Some(Latency { pairs: few, ..Latency::default() });
        results.idle = Some(idle(1.0, [60.0, 70.0], &[10.0; 3], &[9.0; 3]));
        let text = markdown(&results);
        let said = |word: &str| text.matches(&format!("| {word} |")).count();
        assert_eq!(said("undecided"), 3, "a tail, a first packet, and throughput: {text}");
        let unknown = said("not measured");
        assert_eq!(summary(&results), format!("3 goals reached, 3 missed, 3 undecided, {unknown} not measured"));
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
