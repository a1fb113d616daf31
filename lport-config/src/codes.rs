//! The rules a file can break, each with a stable code and a longer explanation.
//!
//! E00xx and W00xx are about the text, 01xx about keys and values, 02xx about what the parts mean together, 03xx about drivers and their
//! options, 04xx about the application's `options`. A code is never given a second meaning.

use serde::Serialize;

/// Whether a file with the problem can still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but probably does not do what was meant.
    Warning,
}

/// A rule that a file can break. Applications may have further ones of their own.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// The code, `E0102` or `W0201`.
    pub code: &'static str,
    /// What breaking it means for the file.
    pub severity: Severity,
    /// The rule in a few words.
    pub title: &'static str,
    /// What is behind it, and what to do.
    pub explanation: &'static str,
}

/// The longer explanation of a code; `None` for one that this crate does not have.
pub fn explain(code: &str) -> Option<&'static str> {
    RULES.iter().find(|rule| rule.code.eq_ignore_ascii_case(code)).map(|rule| rule.explanation)
}

macro_rules! rules {
    ($($name:ident: $severity:ident $code:literal $title:literal $explanation:literal)*) => {
        $(pub(crate) static $name: &Rule =
            &Rule { code: $code, severity: Severity::$severity, title: $title, explanation: $explanation };)*
        /// Every rule of this crate, in the order of codes.
        pub static RULES: &[&Rule] = &[$($name),*];
    };
}

rules! {
UNREADABLE: Error "E0001" "the file cannot be read"
"The file does not exist, is a directory, may not be read by this user, or is larger than 4 MiB. `-` as the path reads \
the standard input."

NOT_UTF8: Error "E0002" "the file is not UTF-8"
"JSON text is UTF-8. Bytes of another encoding, such as Latin-1, most often hide in comments and descriptions. Save the \
file as UTF-8; a byte order mark in front is allowed."

NO_VALUE: Error "E0003" "the file is empty"
"The file holds nothing, or nothing but comments. An lport file is one JSON object with sections such as `lports` and \
`threads`."

NESTING: Error "E0004" "nesting is deeper than 128 levels"
"Objects and arrays may be nested 128 deep. Real files need about six levels, so this is most often a generator that \
runs away."

SYNTAX: Error "E0005" "the text is not JSONC"
"JSONC is JSON with `//` and `/* */` comments, trailing commas and single-quoted strings. The parser stops at the first \
place where the text is something else, because whatever follows could be misread. `true`, `false` and `null` are \
written in lower case; NaN and Infinity do not exist."

MISSING_COMMA: Error "E0006" "a comma is missing"
"Members of an object and elements of an array are separated by commas. The comma belongs behind the value at the mark."

UNTERMINATED: Error "E0007" "a string, comment, object or array is not closed"
"The opening quote, `/*`, `{` or `[` at the mark has no partner. A string must end on the line on which it begins; \
write a line break inside it as `\\n`."

NUMBER: Error "E0008" "a number is not written as JSON has it"
"JSON numbers are decimal: no `0x10`, no leading zero as in `010`, no `+1`, no bare `.5` or `5.`, no NaN or Infinity."

UNQUOTED_KEY: Error "E0009" "a key has no quotes"
"Keys are strings and stand in quotes, double or single."

SECOND_ROOT: Error "E0010" "there is text behind the end of the file's object"
"A file holds one object. A stray closing brace earlier in the file often ends that object too soon; a second object is \
not merged into the first."

DUPLICATE_KEY: Error "E0011" "a key is given twice in one object"
"JSON parsers silently take the last of two equal keys, so one of the two values would be lost without a word. Remove \
or rename one. For named things (umems, lports, groups, threads) the key is the name, and names are unique."

ESCAPE: Error "E0012" "a string has an escape that JSON does not know"
"Inside a string a backslash begins one of `\\\"`, `\\\\`, `\\/`, `\\b`, `\\f`, `\\n`, `\\r`, `\\t` and `\\u` with four \
hexadecimal digits. Write a backslash itself as `\\\\`."

HASH_COMMENT: Error "E0013" "a comment begins with #"
"JSONC comments are `// to the end of the line` and `/* between these */`."

NOT_AN_OBJECT: Error "E0014" "the file is not an object"
"An lport file is one JSON object, `{ ... }`, with sections such as `lports` and `threads`."

UNKNOWN_SECTION: Error "E0101" "a section is unknown"
"The sections are application, defaults, umems, lports, lport-groups, lcore-groups, options, threads and user-data, in \
any order and in any case, and those that the application has registered. Data of your own belongs into `user-data` \
(free form) or `options` (read by the application)."

UNKNOWN_KEY: Error "E0102" "a key is unknown"
"Each section has a fixed set of keys, spelt exactly, in lower case. An unknown key is an error, because a misspelt \
one would otherwise be ignored in silence."

WRONG_TYPE: Error "E0103" "a value is of the wrong JSON type"
"Types are strict: a number is not written in quotes, `true` and `false` neither; a whole number has no sign and no \
fraction."

OUT_OF_RANGE: Error "E0104" "a number is out of range"
"The message names the limits. Sizes are counted in units of 1024: `bufcnt` and `regions` in 1024 buffers, `bufsz` in \
1024 bytes, `rxdesc` and `txdesc` in 1024 descriptors."

UNKNOWN_WORD: Error "E0105" "a value is none of the words allowed"
"The key takes one of a few words; the message lists them."

MISSING_KEY: Error "E0106" "a required key is missing"
"The key has no default. `bufcnt` and `bufsz` of a umem may also be given once, for all umems, in the section `defaults`."

SAME_KEY: Error "E0107" "one thing is given under two names"
"`desc` is short for `description`, `busy_polling` is the same as `busy_poll`, and section names are compared without \
case. Keep one of the two."

BAD_NAME: Error "E0108" "a name cannot be used"
"Names of umems, groups, lports and threads are not empty. An lport is named `netdev[:tag]` and a thread `type[:tag]`; \
the part before the colon is not empty either. A netdev of an lport-group has no colon, because its lports are named \
`netdev:queue`."

NOT_A_POWER_OF_TWO: Error "E0109" "a number of descriptors is not a power of two"
"Descriptor rings are indexed with a mask: 1, 2, 4, 8, 16 or 32 times 1024 descriptors. 0 takes the default."

UNKNOWN_UMEM: Error "E0201" "a umem does not exist"
"`umem` names a key of the section `umems`, exactly spelt."

UNKNOWN_REGION: Error "E0202" "a umem has no region of that index"
"Regions are counted from 0. A umem without `regions` has one region, 0, of all its buffers."

UNKNOWN_GROUP: Error "E0203" "an lcore-group does not exist"
"`group` of a thread names a key of the section `lcore-groups`, exactly spelt."

UNKNOWN_LPORT: Error "E0204" "an lport does not exist"
"`lports` of a thread lists names of the section `lports`, or `netdev:queue` for those that an lport-group makes."

UNKNOWN_THREAD: Error "E0205" "a thread does not exist"
"`threads` of an lport-group lists names of the section `threads`, exactly spelt."

SHARED_LPORT: Error "E0206" "an lport is given to two threads"
"An lport belongs to at most one thread: two threads polling one queue would race. To use more threads, give the \
device more queues, one lport each. The lports of an lport-group already belong to the threads that the group lists."

SHARED_QUEUE: Error "E0207" "two lports are the same queue of one device"
"An lport is a queue of a device: `netdev` (by default the name before the colon) and `qid` (by default 0) together are \
unique. The tag behind the colon of the name is not the queue: give each further lport of the device its own `qid`."

DIFFERENT_DRIVERS: Error "E0208" "lports of one device name different drivers"
"All lports with one netdev are queues of one device, and one driver opens it."

DIFFERENT_OPTIONS: Error "E0209" "lports of one device have different driver options"
"The driver opens a device once, with all its queues, so the options of all its lports must be the same, each with the \
same value; the order does not matter. An lport that leaves an option out differs from one that gives it."

REGIONS_TOO_LARGE: Error "E0210" "the regions of a umem are larger than the umem"
"The numbers of `regions` are parts of `bufcnt`, both counted in 1024 buffers. Their sum is at most `bufcnt`."

NAME_TAKEN: Error "E0211" "an lport-group makes an lport that exists already"
"An lport-group makes one lport `netdev:queue` for each of its netdevs and queues. Neither that name nor that queue of \
that netdev may be in `lports` or in another group."

BAD_CPU: Error "E0212" "an lcore-group does not list CPUs"
"A group lists the kernel's CPU numbers, from 0 to 8191: `3`, `\"3\"`, `\"0-3\"`, `\"0-3,8\"`, or an array of those. `[]` is \
unpinned, and `\"auto\"`, alone, lets the machine's topology decide. Whether the machine has those CPUs is checked when \
the deployment is started."

BAD_QUEUES: Error "E0213" "an lport-group does not list queues"
"`queues` is a number, a range `\"0-3\"`, a list `\"0-3,8\"`, an array of those, or `\"all\"`. Queues are numbered from 0 to \
65535, and the smaller end of a range comes first."

UNKNOWN_QUEUE_COUNT: Error "E0214" "the number of a device's queues has to be chosen"
"`queues` is `\"all\"` (or missing), so the driver was asked how many queues the netdev has. It makes as many as it is told, \
so list them."

TOO_MANY_LPORTS: Error "E0215" "there are more than 4096 lports"
"One process polls at most 4096 lports. A range of queues that is too wide is the usual cause."

NOTHING_CONFIGURED: Error "E0216" "the file configures nothing"
"There is neither an lport nor a thread, so there is nothing to run."

MISSING_UMEM: Error "E0217" "an lport has no umem, but its driver needs one"
"Received packets are put into the buffers of a umem. Name one with `umem`."

SAME_POOL: Error "E0218" "two pools have one name"
"A umem with several regions makes one pool for each, named `umem.index`. Another umem has just that name."

POOL_TOO_LARGE: Error "E0219" "the umem of the lport-groups is too large"
"lport-groups without `umem` share one with 3 x (rxdesc + txdesc) buffers for each lport, which may not exceed 67108864. \
Set `bufcnt` in `defaults`, or name a umem."

UNKNOWN_DRIVER: Error "E0301" "a driver is unknown"
"`pmd` names a driver that the program has, optionally followed by a colon and options. An lport-group without `pmd` \
means net_af_xdp, as in CNDP."

BAD_OPTION_KEY: Error "E0302" "an option does not fit the driver"
"The driver has no option of that name, or it cannot be given together with the others."

BAD_OPTION_VALUE: Error "E0303" "the value of an option does not fit"
"The driver takes another type or another range. The message names both."

OPTION_IN_BOTH: Error "E0304" "an option is given in both pmd and pmd_opts"
"Options can be written behind the driver's name, `\"pmd\": \"driver:key=value,key=value\"`, or as an object, `\"pmd_opts\"`. \
One option has one place."

OPTION_TWICE: Error "E0305" "an option is given twice"
"Of two values for one option only one could hold. Keep one."

OPTION_FORM: Error "E0306" "the text behind a driver's name is not a list of options"
"The form is `driver:key=value,key=value`. A word alone is an option without value, as in `net_memif_socket:server`. \
Between two commas there is an option, and before `=` there is its name."

OPTION_TYPE: Error "E0307" "a driver option is of a JSON type that no option takes"
"Options are `true` or `false`, whole numbers without sign, or strings."

OPTION_MISSING: Error "E0308" "an option is missing"
"The driver needs an option that is not given, at least together with the others that are."

SAME_CLAIM: Error "E0309" "two devices want what only one can have"
"By their options both devices would be the same thing, such as one interface id on one socket, and the second could not be \
opened. Give one of them other options."

OPTIONS_TYPE: Error "E0401" "a key of `options` is of the wrong type"
"The application reads this key and needs a value of another JSON type."

OPTIONS_RANGE: Error "E0402" "a number of `options` is out of range"
"The application reads this key and needs a number within limits; the message names them."

OLD_KEY: Warning "W0101" "a key of older files has no effect"
"The key was removed from CNDP. It is accepted, so that old files still work, and ignored."

NOT_POLLED: Warning "W0201" "no thread polls an lport"
"The lport is opened, but nothing is received from it, unless the application polls it by itself. Add it to `lports` of \
a thread. A file all of whose lports are left alone, as in applications that bring threads of their own, is good too, but \
`lport run` has nothing to do with it and refuses it."

UNPINNED: Warning "W0202" "a polling thread has no lcore-group"
"The thread names no `group`, and the file has no group `default`, so the kernel moves the thread between CPUs as it \
likes. Say `\"group\"`, add a group `default`, or say so with an empty group, `[]`."

UNUSED_UMEM: Warning "W0203" "no lport uses a umem"
"The memory is allocated and never used. Name the umem in an lport, or remove it."

CPU_TWICE: Warning "W0204" "a CPU is listed twice in one group"
"The second mention has no effect. Perhaps another CPU was meant."

NEVER_SLEEPS: Warning "W0205" "a thread with idle_timeout never sleeps"
"After `idle_timeout` without traffic a thread sleeps for at most `intr_timeout`, and 0 turns that off."

UNASKED_QUEUE_COUNT: Warning "W0206" "the number of a device's queues cannot be asked here"
"`queues` is `\"all\"` (or missing), so the driver was asked how many queues the netdev has, and it could not tell: the \
netdev is not on this machine, for example. The file is good, and described as if the netdev had one queue; `lport run` \
fails until it is there."

ABSENT_DRIVER: Warning "W0301" "the program lacks a driver that CNDP has"
"The file is good, but this program cannot run it: a device needs its driver. `lport drivers` lists those it has."

NOT_ASKED: Warning "W0401" "the application does not know a key of `options`"
"The keys of `options` are the application's own. This one was never read, so it has no effect; it may be misspelt."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_sorted_and_tell_their_severity() {
        let errors = RULES.iter().filter(|rule| rule.severity == Severity::Error);
        assert!(errors.map(|rule| rule.code).is_sorted_by(|a, b| a < b && b.starts_with('E')));
        let warnings = RULES.iter().filter(|rule| rule.severity == Severity::Warning);
        assert!(warnings.map(|rule| rule.code).is_sorted_by(|a, b| a < b && b.starts_with('W')));
    }

    #[test]
    fn codes_are_explained_in_any_case() {
        assert_eq!(explain("e0007"), Some(UNTERMINATED.explanation));
        assert_eq!(explain("E9999"), None);
    }
}
