//! lport files for tests: the parts a test cares about, the rest as a user would write it.

use serde_json::{Map, Value, json};

use crate::memif::Memif;

/// An lport file in the making. Its lports share one pool of 16384 mbufs of 2 KiB; without a thread of its own named, one
/// thread polls them all.
#[derive(Debug, Clone, Default)]
pub struct LportFile {
    lports: Map<String, Value>,
    threads: Map<String, Value>,
    options: Map<String, Value>,
}

impl LportFile {
    /// A file whose forwarder runs in `mode`.
    pub fn new(mode: &str) -> Self {
        Self::default().option("mode", json!(mode))
    }

    /// Adds an lport for each of the `queues` of a memif device: `<netdev>:0`, `<netdev>:1` and so on.
    pub fn memif(self, netdev: &str, memif: &Memif, queues: u16) -> Self {
        (0..queues).fold(self, |file, queue| {
            let pmd = format!("net_memif:{memif}");
            file.lport(&format!("{netdev}:{queue}"), json!({ "pmd": pmd, "qid": queue, "umem": "packets" }))
        })
    }

    /// Adds an lport as it stands.
    pub fn lport(mut self, name: &str, keys: Value) -> Self {
        self.lports.insert(name.to_owned(), keys);
        self
    }

    /// Adds an unpinned thread that polls these lports.
    pub fn thread(mut self, name: &str, lports: &[&str]) -> Self {
        self.threads.insert(name.to_owned(), json!({ "group": "anywhere", "lports": lports }));
        self
    }

    /// Adds an unpinned thread that polls these lports, and sleeps, for a minute at a time, when nothing has come for 1 ms.
    pub fn sleepy_thread(mut self, name: &str, lports: &[&str]) -> Self {
        let thread = json!({ "group": "anywhere", "lports": lports, "idle_timeout": 1, "intr_timeout": 60_000 });
        self.threads.insert(name.to_owned(), thread);
        self
    }

    /// Sets one of the forwarder's options.
    pub fn option(mut self, key: &str, value: Value) -> Self {
        self.options.insert(key.to_owned(), value);
        self
    }

    /// Forwards everything from one lport to the other and back.
    pub fn port_map(self, pairs: &[(&str, &str)]) -> Self {
        let both = pairs.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
        let map: Map<String, Value> = both.map(|(from, to)| (from.to_owned(), json!(to))).collect();
        self.option("port-map", Value::Object(map))
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut threads = self.threads.clone();
        if threads.is_empty() {
            let all: Vec<_> = self.lports.keys().collect();
            threads.insert("fwd:0".to_owned(), json!({ "group": "anywhere", "lports": all }));
        }
        let file = json!({
            "umems": { "packets": { "bufcnt": 16, "bufsz": 2, "regions": [16] } },
            "lports": self.lports,
            "lcore-groups": { "anywhere": [] },
            "threads": threads,
            "options": self.options,
        });
        format!("{file:#}")
    }
}
