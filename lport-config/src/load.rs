//! A file's bytes become a [`Source`], or the diagnostic that says why not.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::codes;
use crate::diagnostic::{Diagnostic, Problem};
use crate::nearest::quoted;
use crate::source::{Source, Span};

/// Largest file that is read, in bytes: a thousand times what a large deployment needs.
pub(crate) const MAX_BYTES: usize = 4 << 20;

/// Why a file could not be read, with as much of the text as the diagnostic points at.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) source: Source,
    pub(crate) diagnostic: Diagnostic,
}

/// Reads the file at `path`; `-` is the standard input.
///
/// # Errors
/// If it cannot be read (missing, a directory, no permission), is larger than 4 MiB, or is not UTF-8.
pub(crate) fn read_source(path: &Path) -> Result<Source, Box<Unreadable>> {
    let stdin = path.as_os_str() == "-";
    let name = if stdin { "<stdin>".to_owned() } else { path.display().to_string() };
    let read = if stdin { read_limited(io::stdin().lock()) } else { File::open(path).and_then(read_limited) };
    match read {
        Ok(bytes) if bytes.len() > MAX_BYTES => Err(too_large(&name)),
        Ok(bytes) => from_bytes(&name, bytes),
        Err(error) => Err(unreadable(&name, &error)),
    }
}

/// The problem of a text beyond the limit.
pub(crate) fn too_large(name: &str) -> Box<Unreadable> {
    let message = format!("{} is larger than {MAX_BYTES} bytes, the most that is read", quoted(name));
    let help = "an lport file has a few kilobytes: check the path";
    refuse(Source::new(name, ""), Problem::new(codes::UNREADABLE, Span::default(), message).help(help))
}

fn refuse(source: Source, problem: Problem) -> Box<Unreadable> {
    let diagnostic = problem.locate(&source);
    Box::new(Unreadable { source, diagnostic })
}

fn read_limited(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(name: &str, error: &io::Error) -> Box<Unreadable> {
    let help = match error.kind() {
        io::ErrorKind::NotFound => "check the path; `-` reads the standard input",
        io::ErrorKind::IsADirectory => "name one file of the directory",
        io::ErrorKind::PermissionDenied => "make the file readable for this user",
        _ => "name a regular file, or `-` for the standard input",
    };
    let message = format!("cannot read {}: {error}", quoted(name));
    refuse(Source::new(name, ""), Problem::new(codes::UNREADABLE, Span::default(), message).help(help))
}

fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Source, Box<Unreadable>> {
    String::from_utf8(bytes).map(|text| Source::new(name, text)).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bad = error.as_bytes()[at];
        let source = Source::new(name, String::from_utf8_lossy(error.as_bytes()));
        // `Source` drops a byte order mark, and valid text in front of the bad byte includes it.
        let at = if error.as_bytes().starts_with("\u{feff}".as_bytes()) { at - '\u{feff}'.len_utf8() } else { at };
        let problem = Problem::new(
            codes::NOT_UTF8,
            Span::new(at, at + '\u{fffd}'.len_utf8()),
            format!("byte 0x{bad:02x} is not UTF-8"),
        )
        .label("not a character")
        .help("save the file as UTF-8");
        refuse(source, problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_named() {
        let missing = read_source(Path::new("no/such/file.jsonc")).unwrap_err().diagnostic;
        assert_eq!((missing.code, missing.source.as_str()), ("E0001", "no/such/file.jsonc"));
        let directory = read_source(Path::new("src")).unwrap_err().diagnostic;
        assert!(directory.message.contains("`src`") && directory.code == "E0001", "{}", directory.message);
    }

    #[test]
    fn an_endless_file_is_refused() {
        let endless = read_source(Path::new("/dev/zero")).unwrap_err().diagnostic;
        assert!(endless.message.contains("4194304"), "{}", endless.message);
    }

    #[test]
    fn the_first_byte_that_is_no_utf8_is_shown() {
        let error = from_bytes("t", b"{\n  \"a\": \xff }".to_vec()).unwrap_err().diagnostic;
        assert_eq!((error.code, error.primary.line, error.primary.column), ("E0002", 2, 8));
        let error = from_bytes("t", b"\xef\xbb\xbf{ \xff".to_vec()).unwrap_err().diagnostic;
        assert_eq!((error.primary.line, error.primary.column), (1, 3));
    }
}
