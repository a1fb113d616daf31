//! Latency and idle mode as further sections of the table.

use super::cases::Verdict;
use super::idle::{FIRST_PACKET, Idle, THROUGHPUT};
use super::latency::{self, LOADS, LOSS, Latency, NO_WORSE, PERCENTILES};
use super::statistics::LEAST_PAIRS;
use super::table::{enough, number, with_range};

/// The section about latency.
pub(super) fn of_latency(latency: &Latency) -> String {
    let (least, most) =
        latency.pdrs.iter().fold((f64::NAN, f64::NAN), |(low, high), pdr| (pdr.min(low), pdr.max(high)));
    let pdr = match latency.pdrs.len() {
        0 => "which was not found".to_owned(),
        1 => format!("{:.2} Mpps", most / 1e6),
        times => format!("{:.2} to {:.2} Mpps in {times} searches, as the CPUs moved", least / 1e6, most / 1e6),
    };
    let dropped = latency.pairs.iter().filter(|pair| pair.dropped.is_some()).count();
    let mut text = format!(
        "\nLatency, there and back between two processes, 64 bytes; 100 % is testpmd's PDR, {pdr}. `slower` says in how many pairs \
         ours was, by more than the goal allows. {dropped} of {} pairs were dropped; here also where the tester was kept from \
         its CPU, or testpmd was overloaded: lost more than {} % of the packets, and not in pauses. {}\n",
        latency.pairs.len(),
        LOSS * 100.0,
        enough(LEAST_PAIRS),
    );
    text += "\n| load | Mpps | latency | testpmd us | lport us | ratio | goal | reached | lost | slower |\n";
    text += "|---|---:|---|---:|---:|---:|---|---|---:|---:|\n";
    latency.rows().iter().for_each(|row| text += &latency_row(row));
    text
}

fn load_title(load: u32) -> String {
    if load == LOADS[0] { "none".to_owned() } else { format!("{load} %") }
}

fn latency_row(row: &latency::Row) -> String {
    let load = load_title(row.load);
    let which = PERCENTILES.iter().position(|percentile| *percentile == row.percentile).unwrap_or_default();
    let goal = match latency::goal(row.load, which) {
        None => String::new(),
        Some((_, true)) => "below 1".to_owned(),
        Some(_) => format!("{NO_WORSE}"),
    };
    let [theirs, ours] = row.medians_us.map(|time| number(time, 2));
    let lost = match row.lost {
        [theirs, ours] if theirs.max(ours) > LOSS / 10.0 => format!("{:.2} %, {:.2} %", theirs * 100.0, ours * 100.0),
        _ => String::new(),
    };
    format!(
        "| {load} | {} | {} | {theirs} | {ours} | {} | {goal} | {} | {lost} | {} of {} |\n",
        number(row.offered_mpps, 2),
        row.percentile,
        with_range(&row.ratio),
        row.verdict.word(),
        row.slower,
        row.pairs,
    )
}

/// The section about idle mode.
pub(super) fn of_idle(idle: &Idle) -> String {
    let runs = idle.runs.len();
    let mut text = format!("\nIdle mode (`idle_timeout`), medians of {runs} runs of `lport bench idle`.\n");
    text += "\n| idle mode | beside | that | lport | goal | reached |\n|---|---|---:|---:|---|---|\n";
    let rows = idle.rows();
    for row in &rows {
        let [that, ours] = row.medians.map(|value| number(value, 2));
        let reached = row.verdict.word();
        text += &format!("| {} | {} | {that} | {ours} | {} | {reached} |\n", row.what, row.beside, row.goal);
    }
    let (ratios, [without, with]) = (idle.throughput(), idle.rates());
    let below = ratios.iter().filter(|ratio| **ratio < THROUGHPUT).count();
    text += &format!(
        "\nThroughput is the median of what {} rounds gave with idle mode over what they gave without, {} and {} Mpps by their \
         medians; it was below {THROUGHPUT} in {below} of them.",
        ratios.len(),
        number(with, 2),
        number(without, 2),
    );
    let bare = rows.iter().map(|row| row.medians[0]).nth(2).unwrap_or(f64::NAN);
    if bare > FIRST_PACKET {
        text += &format!(
            " A bare wake-up alone takes {bare:.0} us at p99 on this machine, beyond the goal of {FIRST_PACKET} us: what is \
             measured here is the machine."
        );
    }
    text + "\n"
}

/// What all goals of both came to.
pub(super) fn verdicts(latency: Option<&Latency>, idle: Option<&Idle>) -> Vec<Verdict> {
    let of_latency = latency.into_iter().flat_map(Latency::rows).map(|row| row.verdict);
    of_latency.chain(idle.into_iter().flat_map(Idle::rows).map(|row| row.verdict)).collect()
}

/// Loads of which no pair counts, how many pairs they have, and why the last was dropped.
pub(super) fn dropped_wholly(latency: &Latency) -> impl Iterator<Item = (String, usize, &str)> {
    LOADS.into_iter().filter_map(|load| {
        let reasons = latency.of(load).map(|pair| pair.dropped.as_deref()).collect::<Option<Vec<_>>>()?;
        Some((format!("latency at load {}", load_title(load)), reasons.len(), *reasons.last()?))
    })
}

/// What failed in either, by section.
pub(super) fn failures<'a>(
    latency: Option<&'a Latency>,
    idle: Option<&'a Idle>,
) -> impl Iterator<Item = (&'static str, &'a [String])> {
    let latency = latency.map(|latency| ("latency", &latency.failures[..]));
    let idle = idle.map(|idle| ("idle mode", &idle.failures[..]));
    latency.into_iter().chain(idle).filter(|(_, failures)| !failures.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::idle::tests::idle;
    use super::super::latency::Pair;
    use super::super::latency::tests::pair;
    use super::*;

    fn has_line(text: &str, line: &str) {
        assert!(text.lines().any(|other| other == line), "no {line}\nin {text}");
    }

    #[test]
    fn a_line_of_latency_says_both_times_the_ratio_the_goal_and_what_got_lost() {
        let at = |load, p999_us| {
            let mut pair = pair(load, [[1.0, 2.0, 3.0], [0.8, 2.0, p999_us]]);
            pair.members[1].latencies.lost = 2;
            pair
        };
        let mut pairs = [vec![at(50, 6.0); 4], vec![at(50, 3.0); 2]].concat();
        pairs.push(pair(0, [[0.5; 3]; 2]));
        pairs.push(at(10, 3.0));
        pairs.push(Pair { dropped: Some("others".into()), ..pair(50, [[9.0; 3]; 2]) });
        let text = of_latency(&Latency { pdrs: vec![10e6], pairs, failures: Vec::new() });
        assert!(text.contains("testpmd's PDR, 10.00 Mpps") && text.contains("1 of 9 pairs were dropped"), "{text}");
        assert!(text.contains("A verdict takes at least 5 pairs that count"), "{text}");
        has_line(
            &text,
            "| 50 % | 5.00 | p50 | 1.00 | 0.80 | 0.80 (0.80 to 0.80) | below 1 | yes | 0.00 %, 0.20 % | 0 of 6 |",
        );
        let late =
            "| 50 % | 5.00 | p99.9 | 3.00 | 6.00 | 2.00 (1.25 to 2.00) | 1.05 | undecided | 0.00 %, 0.20 % | 4 of 6 |";
        has_line(&text, late);
        let few =
            "| 10 % | 1.00 | p99 | 2.00 | 2.00 | 1.00 (1.00 to 1.00) | 1.05 | not measured | 0.00 %, 0.20 % | 0 of 1 |";
        has_line(&text, few);
        has_line(&text, "| none | 0.00 | p50 | 0.50 | 0.50 | 1.00 (1.00 to 1.00) |  |  |  | 0 of 1 |");
        has_line(&text, "| 90 % | - | p99 | - | - | - | 1.05 | not measured |  | 0 of 0 |");
    }

    #[test]
    fn loads_of_which_nothing_counts_say_why() {
        let dropped = |load, reason: &str| Pair { dropped: Some(reason.into()), ..pair(load, [[1.0; 3]; 2]) };
        let pairs = vec![dropped(0, "early"), dropped(0, "late"), dropped(50, "once"), pair(50, [[1.0; 3]; 2])];
        let latency = Latency { pairs, ..Latency::default() };
        let said: Vec<_> = dropped_wholly(&latency).collect();
        assert_eq!(said, [("latency at load none".to_owned(), 2, "late")]);
    }

    #[test]
    fn idle_mode_says_what_stands_beside_it_and_when_the_machine_is_the_limit() {
        let text = of_idle(&idle(0.04, [30.0, 45.0], &[10.0; 3], &[10.0; 3]));
        has_line(&text, "| CPU time without traffic, per cent of a core | testpmd | 97.00 | 0.04 | below 1 | yes |");
        has_line(&text, "| first packet after a sleep, p99 us | a bare wake-up | 30.00 | 45.00 | 50 | yes |");
        assert!(text.contains("10.00 and 10.00 Mpps by their medians; it was below 0.98 in 0 of them.\n"), "{text}");
        let text = of_idle(&idle(0.04, [30.0, 45.0], &[10.0; 3], &[9.0; 3]));
        has_line(&text, "| throughput at full load | without idle mode | 1.00 | 0.90 | 0.98 | undecided |");
        let text = of_idle(&idle(0.04, [60.0, 70.0], &[10.0; 3], &[10.0; 3]));
        has_line(&text, "| first packet after a sleep, p99 us | a bare wake-up | 60.00 | 70.00 | 50 | undecided |");
        assert!(text.contains("alone takes 60 us at p99"), "{text}");
    }

    #[test]
    fn what_was_not_asked_for_has_no_goals_and_no_failures() {
        assert!(verdicts(None, None).is_empty() && failures(None, None).next().is_none());
        let failed = Idle { failures: vec!["crashed".into()], ..Idle::default() };
        assert_eq!(failures(None, Some(&failed)).collect::<Vec<_>>(), [("idle mode", &["crashed".to_owned()][..])]);
        assert_eq!(verdicts(Some(&Latency::default()), Some(&failed)).len(), 12 + 4);
    }
}
