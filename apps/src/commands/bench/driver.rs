//! A driver with options as the command line names it: `net_ring`, `net_memif:zero-copy=yes,bsize=4096`.
//!
//! The words are checked against the driver's table before anything runs, so that an error names the option, its value and
//! the limit. What joins the two ends of a link (roles, sockets, names of rings) the bench
//! adds itself.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use pmd_core::{Options, RawOption, Registry};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::frames::FrameSize;
use crate::drivers::find;
use crate::failure::Failure;

/// The memif driver, both of whose ends the bench can make, also in two processes.
const MEMIF: &str = "net_memif";

/// What the bench decides for a memif.
const MEMIF_OWN: [&str; 3] = ["role", "socket", "socket-abstract"];

/// Largest frame that the usual mbufs and memif buffers hold.
pub(super) const USUAL_ROOM: usize = 2048;

/// A driver with options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DriverWords {
    name: String,
    options: Vec<(String, String)>,
}

/// Our end of a link to a process that is not ours: a driver with everything that it takes to meet the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttachedWords(DriverWords);

/// Which end of a link an lport is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Client,
}

/// What the two ends of a link have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkWords<'a> {
    /// Where a memif listens.
    pub(super) socket: &'a Path,
    /// The name of a ring.
    pub(super) ring: &'a str,
    /// log2 of the packets a ring holds; `None`: the driver's default.
    pub(super) rings: Option<u8>,
    pub(super) size: FrameSize,
}

impl DriverWords {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Checks that there is such a driver, and that it takes the options.
    ///
    /// # Errors
    /// Names the value, the limit and the way out.
    pub(super) fn check(&self, registry: &Registry) -> Result<(), Failure> {
        let driver = find(registry, &self.name)?;
        let raw: Vec<_> = self.options.iter().map(|(key, value)| RawOption::text(key, value)).collect();
        let joined =
            |errors: Vec<pmd_core::OptionError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Options::check(driver.options(), &raw).map_err(joined).map_err(Failure::Configuration)?;
        Ok(())
    }

    /// Whether the bench can join two of its lports, in one process or in two.
    pub(super) fn is_memif(&self) -> bool {
        self.name == MEMIF
    }

    /// Whether it joins lports inside a process.
    pub(super) fn is_ring(&self) -> bool {
        self.name == "net_ring"
    }

    /// Whether it makes its own packets, and swallows those it is sent.
    pub(super) fn is_null(&self) -> bool {
        self.name == "net_null"
    }

    /// Whether rings of another size can be asked for.
    pub(super) fn has_ring_size(&self) -> bool {
        self.is_memif() || self.is_ring()
    }

    /// The `pmd_opts` of one end of a link whose other end is the bench's as well.
    pub(super) fn options(&self, side: Side, link: LinkWords<'_>) -> Value {
        let mut options = self.fitting(link.rings, link.size);
        let mut add = |key: &str, value: Value| {
            options.entry(key).or_insert(value);
        };
        if self.is_memif() {
            add("role", if side == Side::Server { "server" } else { "client" }.into());
            add("socket", link.socket.display().to_string().into());
            add("socket-abstract", false.into());
        } else if self.is_ring() {
            add("ring", link.ring.into());
        }
        Value::Object(options)
    }

    /// What was given, and what rings and frames of these sizes need beside it.
    fn fitting(&self, rings: Option<u8>, size: FrameSize) -> Map<String, Value> {
        let mut options: Map<String, Value> =
            self.options.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
        let mut add = |key: &str, value: Value| {
            options.entry(key).or_insert(value);
        };
        if self.is_memif() {
            if let Some(rings) = rings {
                add("rsize", rings.into());
            }
            if size.largest() > USUAL_ROOM {
                add("bsize", size.largest().next_multiple_of(64).into());
                add("segment-max", size.largest().into());
            }
        } else if self.is_ring() {
            if let Some(rings) = rings {
                add("size", (1_u64 << rings).into());
            }
        } else if self.is_null() {
            add("size", size.largest().into());
        }
        options
    }

    fn parse(words: &str) -> Result<Self, String> {
        let (name, rest) = words.split_once(':').unwrap_or((words, ""));
        let pair = |word: &str| {
            let pair = word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
            pair.ok_or_else(|| format!("`{word}` is no option; write `{name}:key=value,key=value`"))
        };
        let words = rest.split(',').filter(|word| !word.is_empty());
        let options = words.map(pair).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { name: name.to_owned(), options })
    }
}

impl AttachedWords {
    /// The driver.
    pub(super) fn driver(&self) -> &DriverWords {
        &self.0
    }

    /// The `pmd_opts` of this end. Where it meets the other one, only the user can say.
    pub(super) fn options(&self, rings: Option<u8>, size: FrameSize) -> Value {
        Value::Object(self.0.fitting(rings, size))
    }
}

impl FromStr for DriverWords {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        let words = Self::parse(words)?;
        let own = words.options.iter().find(|(key, _)| words.is_memif() && MEMIF_OWN.contains(&key.as_str()));
        match own {
            None => Ok(words),
            Some((key, _)) => {
                Err(format!("option `{key}` of {MEMIF} is chosen by the bench, for both ends; leave it out"))
            }
        }
    }
}

impl FromStr for AttachedWords {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        DriverWords::parse(words).map(Self)
    }
}

impl fmt::Display for DriverWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<_> = self.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let colon = if options.is_empty() { "" } else { ":" };
        f.pad(&format!("{}{colon}{}", self.name, options.join(",")))
    }
}

impl Serialize for DriverWords {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for AttachedWords {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> LinkWords<'static> {
        LinkWords { socket: Path::new("/tmp/s"), ring: "r", rings: Some(8), size: FrameSize::Fixed(9000) }
    }

    #[test]
    fn words_are_options_of_the_driver_and_the_bench_adds_what_joins_two_ends() {
        let memif: DriverWords = "net_memif:zero-copy=yes,bsize=9216".parse().unwrap();
        assert_eq!(memif.to_string(), "net_memif:zero-copy=yes,bsize=9216");
        let options = memif.options(Side::Server, link());
        assert_eq!((&options["role"], &options["zero-copy"]), (&"server".into(), &"yes".into()));
        assert_eq!((&options["rsize"], &options["bsize"]), (&8.into(), &"9216".into()));
        let ring: DriverWords = "net_ring".parse().unwrap();
        let options = ring.options(Side::Client, link());
        assert_eq!((&options["ring"], &options["size"]), (&"r".into(), &256.into()));
    }

    #[test]
    fn an_attached_end_is_as_the_user_says_and_only_fitted_to_rings_and_frames() {
        let words: AttachedWords = "net_memif:role=client,socket=/run/m.sock,bsize=9216".parse().unwrap();
        let options = words.options(Some(8), FrameSize::Fixed(9000));
        assert_eq!((&options["role"], &options["socket"]), (&"client".into(), &"/run/m.sock".into()));
        assert_eq!((&options["rsize"], &options["bsize"]), (&8.into(), &"9216".into()));
        assert!(options.get("socket-abstract").is_none(), "{options}");
    }

    #[test]
    fn what_is_wrong_is_named_with_the_way_out() {
        let registry = crate::drivers::registry();
        let error = |words: &str| match words.parse::<DriverWords>() {
            Ok(words) => words.check(&registry).unwrap_err().to_string(),
            Err(error) => error,
        };
        assert!(
            error("net_nil").contains("no driver `net_nil` (did you mean `net_null`?); known are: net_null, net_ring")
        );
        assert!(error("net_memif:zero-copy").contains("`zero-copy` is no option; write `net_memif:key=value"));
        assert!(error("net_memif:rsize=15").contains("\"15\", but takes a whole number from 1 to 14"));
        assert!(error("net_ring:rsize=3").contains("unknown option `rsize`; known are: ring, size"));
        assert!(error("net_memif:role=server").contains("chosen by the bench"));
    }
}
