//! What a testpmd is started with, and its command line.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;

use crate::memif::Memif;
use crate::testbed::Testbed;
use crate::testpmd::Testpmd;

/// What testpmd does with packets (`--forward-mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// Receives on one port of a pair and sends on the other, unchanged. A single port is its own pair.
    Io,
    /// Only receives.
    RxOnly,
    /// Only sends, as fast as it can.
    TxOnly,
    /// Sends as fast as it can, and receives what comes.
    FlowGen,
    /// Swaps MAC addresses and sends each packet out of the port it came from.
    MacSwap,
}

impl Forward {
    /// The word testpmd knows it by.
    pub fn word(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::RxOnly => "rxonly",
            Self::TxOnly => "txonly",
            Self::FlowGen => "flowgen",
            Self::MacSwap => "macswap",
        }
    }
}

/// A testpmd yet to be started: interactive, no huge pages, no PCI devices. Its ports are numbered in the order in which
/// they are added; with two ports, each is the other's pair.
#[derive(Debug, Clone)]
pub struct Builder<'a> {
    testbed: &'a Testbed,
    name: String,
    vdevs: Vec<OsString>,
    forward: Forward,
    queues: u16,
    mbufs: u32,
    burst: u16,
    cpu: Option<usize>,
    single_file_segments: bool,
    eal_arguments: Vec<String>,
}

impl<'a> Builder<'a> {
    /// Prepares one without ports; `name` is how messages call it.
    pub(crate) fn new(testbed: &'a Testbed, name: &str) -> Self {
        Self {
            testbed,
            name: name.to_owned(),
            vdevs: Vec::new(),
            forward: Forward::Io,
            queues: 1,
            mbufs: 16384,
            burst: 32,
            cpu: None,
            single_file_segments: false,
            eal_arguments: Vec::new(),
        }
    }

    /// Adds a memif port.
    pub fn memif(mut self, memif: &Memif) -> Self {
        if memif.is_zero_copy_client() {
            // DPDK's memif exports whole memory segments, which must be one file each for that.
            self.single_file_segments = true;
        }
        self.vdev("net_memif", &memif.to_string())
    }

    /// Adds a port that receives the packets of a capture file, once and in order, when forwarding starts. Packets it
    /// is given to send are gone.
    pub fn pcap_source(self, file: &Path) -> Self {
        self.pcap("rx_pcap", file)
    }

    /// Adds a port that writes what it is given to send to a capture file, complete after [`Testpmd::quit`]. It never
    /// receives.
    pub fn pcap_sink(self, file: &Path) -> Self {
        self.pcap("tx_pcap", file)
    }

    fn pcap(self, key: &str, file: &Path) -> Self {
        let options = format!("{key}={}", file.display());
        self.vdev("net_pcap", &options)
    }

    /// Adds any virtual device: `driver` without its number, and `options` as `key=value,...`.
    pub fn vdev(mut self, driver: &str, options: &str) -> Self {
        self.vdevs.push(format!("--vdev={driver}{},{options}", self.vdevs.len()).into());
        self
    }

    /// Sets what it does with packets; [`Forward::Io`] by default.
    pub fn forward(mut self, forward: Forward) -> Self {
        self.forward = forward;
        self
    }

    /// Sets the number of queue pairs of every port, 1 to 255; 1 by default.
    pub fn queues(mut self, queues: u16) -> Self {
        self.queues = queues;
        self
    }

    /// Sets the number of mbufs; 16384 by default. Each takes 2304 bytes of the 256 MiB that testpmd is given.
    pub fn mbufs(mut self, mbufs: u32) -> Self {
        self.mbufs = mbufs;
        self
    }

    /// Sets the packets per burst, 1 to 512; 32 by default.
    pub fn burst(mut self, burst: u16) -> Self {
        self.burst = burst;
        self
    }

    /// Pins the forwarding lcore to a CPU; by default it runs on any that we may use.
    pub fn cpu(mut self, cpu: usize) -> Self {
        self.cpu = Some(cpu);
        self
    }

    /// Logs what the memif driver does, to standard error.
    pub fn debug_memif(self) -> Self {
        self.eal_argument("--log-level=pmd.net.memif:debug")
    }

    /// Adds an argument for DPDK's environment abstraction layer.
    pub fn eal_argument(mut self, argument: &str) -> Self {
        self.eal_arguments.push(argument.to_owned());
        self
    }

    /// Starts it and waits for its prompt. A memif client whose server is not there yet fails to start its port and
    /// does not try again.
    ///
    /// # Errors
    /// When it is not installed, ends at once or does not prompt in time.
    pub fn start(self) -> Result<Testpmd> {
        Testpmd::start(&self.name, &self.testbed.runtime_directory()?, &self.arguments()?)
    }

    fn arguments(&self) -> Result<Vec<OsString>> {
        let (main, worker) = (crate::testbed::allowed_cpus()?, self.cpu.map(|cpu| vec![cpu]));
        let worker = worker.unwrap_or_else(|| main.clone());
        let lcores = format!("--lcores=0@({}),1@({})", cpu_list(&main), cpu_list(&worker));
        let mut arguments: Vec<OsString> = vec![lcores.into()];
        arguments.extend(["--no-huge", "--no-pci", "--no-telemetry", "-m", "256"].map(OsString::from));
        arguments.push(format!("--file-prefix={}", self.name).into());
        arguments.extend(self.single_file_segments.then(|| "--single-file-segments".into()));
        arguments.extend(self.eal_arguments.iter().map(OsString::from));
        arguments.extend(self.vdevs.iter().cloned());
        arguments.extend(["--", "-i", "--nb-cores=1", "--disable-link-check", "--no-flush-rx"].map(OsString::from));
        // Descriptor counts say nothing to memif (its option rsize does), but testpmd refuses packets of several
        // segments when it believes that a queue has none.
        arguments.extend(["--rxd=1024", "--txd=1024"].map(OsString::from));
        arguments.extend([
            format!("--forward-mode={}", self.forward.word()).into(),
            format!("--rxq={}", self.queues).into(),
            format!("--txq={}", self.queues).into(),
            format!("--total-num-mbufs={}", self.mbufs).into(),
            format!("--burst={}", self.burst).into(),
        ]);
        Ok(arguments)
    }
}

fn cpu_list(cpus: &[usize]) -> String {
    cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
