//! Did-you-mean, and how names from a file are quoted in messages.

/// Longest word that is compared: what people write by hand is shorter.
const MAX_WORD: usize = 64;

/// How many candidates are compared: a file may hold thousands of names.
const MAX_CANDIDATES: usize = 256;

/// The candidate that `word` was probably meant to be: the same but for case, or few edits away.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if word.is_empty() || word.len() > MAX_WORD {
        return None;
    }
    let lower = word.to_lowercase();
    let limit = (lower.chars().count() / 3).max(1);
    let close = |candidate: &'c str| {
        let comparable = candidate.len() <= MAX_WORD && candidate.len().abs_diff(word.len()) <= 4 * limit;
        let distance = comparable.then(|| strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()))?;
        // A word of one letter is near to every other one: replacing all of it says nothing.
        let kept = distance < lower.chars().count().max(candidate.chars().count());
        (distance <= limit && kept).then_some((distance, candidate))
    };
    candidates.into_iter().take(MAX_CANDIDATES).filter_map(close).min_by_key(|(distance, _)| *distance).map(|(_, c)| c)
}

/// `name` in backquotes, as [`shown`].
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", shown(name))
}

/// `name` fit for one line of a terminal: control characters replaced, a long name shortened.
pub(crate) fn shown(name: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = name.chars().take(LONGEST).map(visible).collect();
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// `words` as a list for people: "a, b and c", each quoted.
pub(crate) fn list<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    const SHOWN: usize = 12;
    let words: Vec<_> = words.into_iter().collect();
    let mut shown: Vec<_> = words.iter().take(SHOWN).map(|word| quoted(word)).collect();
    if words.len() > SHOWN {
        return format!("{} and {} more", shown.join(", "), words.len() - SHOWN);
    }
    match shown.pop() {
        Some(last) if !shown.is_empty() => format!("{} and {last}", shown.join(", ")),
        Some(only) => only,
        None => String::new(),
    }
}

/// A character that changes neither the line nor the direction of the text.
pub(crate) fn visible(c: char) -> char {
    let redirects =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    if c.is_control() || redirects { '\u{fffd}' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["bufcnt", "bufsz", "mtype", "regions", "id"];
        assert_eq!(nearest("bufcount", keys), Some("bufcnt"));
        assert_eq!(nearest("Regions", keys), Some("regions"));
        assert_eq!(nearest("mytpe", keys), Some("mtype"));
        assert_eq!(nearest("queues", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest("x", ["y"]), None);
    }

    #[test]
    fn names_stay_on_one_line() {
        assert_eq!(quoted("a\nb\u{1b}[31m"), "`a\u{fffd}b\u{fffd}[31m`");
        assert_eq!(quoted(&"x".repeat(1000)).chars().count(), 63);
    }

    #[test]
    fn lists_read_like_a_sentence() {
        assert_eq!(list([]), "");
        assert_eq!(list(["a"]), "`a`");
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` and `c`");
        assert!(list(["x"; 20]).ends_with("`x` and 8 more"));
    }
}
