//! A first look at the text: brackets, quotes and comments, nothing else, without recursion.

use crate::codes;
use crate::diagnostic::Problem;
use crate::source::Span;

/// How deep objects and arrays may be nested.
const MAX_DEPTH: usize = 128;

/// Where the first string begins that does not end on its line.
///
/// # Errors
/// At the first bracket beyond the permitted depth.
pub(super) fn check(text: &str) -> Result<Option<usize>, Problem> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut unclosed) = (0, 0_usize, None);
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' if depth == MAX_DEPTH => return Err(too_deep(at)),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' | b'\'' => match string_end(bytes, at) {
                Some(end) => at = end,
                None => {
                    unclosed.get_or_insert(at);
                    at = line_end(bytes, at);
                }
            },
            b'/' if bytes.get(at + 1) == Some(&b'/') => at = line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => at = comment_end(text, at),
            _ => {}
        }
        at += 1;
    }
    Ok(unclosed)
}

/// The closing quote of the string that begins at `start`; `None` if its line ends first.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'\n' | b'\r' => return None,
            b'\\' => at += 2,
            c if *c == bytes[start] => return Some(at),
            _ => at += 1,
        }
    }
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    bytes[start..].iter().position(|c| matches!(c, b'\n' | b'\r')).map_or(bytes.len(), |length| start + length)
}

/// The last byte of a block comment; the end of the text if it is not closed.
fn comment_end(text: &str, start: usize) -> usize {
    text[start + 2..].find("*/").map_or(text.len(), |length| start + length + 3)
}

fn too_deep(at: usize) -> Problem {
    let message = format!("nesting is deeper than {MAX_DEPTH} levels");
    Problem::new(codes::NESTING, Span::new(at, at + 1), message)
        .label(format!("level {}", MAX_DEPTH + 1))
        .help("an lport file needs about six levels: look for brackets that are never closed")
}
