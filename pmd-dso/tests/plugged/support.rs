//! Shared objects for tests: compiled when they are needed, so that none is ever stale.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lport_tests::cargo;
use pmd_core::{Burst, DeviceRequest, Driver, Link, Lport, OpenError, Options, Pool, PoolConfig, RawOption, Registry};
use pmd_dso::{Checking, LoadError, load};

/// Compiles a driver in C to `directory`, with `macros` defined. Each call makes a file of its own, which is a driver of its
/// own to the program.
pub(crate) fn c_driver(directory: &Path, source: &str, macros: &[&str]) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let object = directory.join(format!("lib{}-{}.so", source.replace(['/', '.'], "_"), macros.join("_")));
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-O1", "-g", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"]);
    cc.arg("-I").arg(here.join("../pmd-plugin/include")).args(macros.iter().map(|name| format!("-D{name}")));
    cc.arg("-o").arg(&object).arg(here.join("..").join(source));
    let output = cc.output().expect("a C compiler: apt-get install gcc libc6-dev");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    object
}

/// Compiles an example of a package to a shared object, and copies it to `directory`, under a name of its own.
pub(crate) fn rust_driver(directory: &Path, package: &str, example: &str) -> PathBuf {
    let built = cargo::build(&["--package", package, "--example", example]).expect("it can be built");
    static COPIES: AtomicUsize = AtomicUsize::new(0);
    // A file that is loaded must not be written again.
    let object = directory.join(format!("lib{example}-{}.so", COPIES.fetch_add(1, Ordering::Relaxed)));
    std::fs::copy(built.join("examples").join(format!("lib{example}.so")), &object).expect("it is there");
    object
}

/// Loads a driver.
pub(crate) fn try_load(path: &Path, checking: Checking) -> Result<Arc<dyn Driver>, LoadError> {
    let mut registry = Registry::default();
    load(path, checking, &mut registry)?;
    Ok(Arc::clone(registry.iter().next().expect("a driver")))
}

/// Opens a device with one queue, which receives into `pool`.
pub(crate) fn try_open(driver: &dyn Driver, pool: Option<&Pool>, options: &[(&str, &str)]) -> Result<Lport, OpenError> {
    let given: Vec<_> = options.iter().map(|(key, value)| RawOption::text(*key, *value)).collect();
    let options = Options::check(driver.options(), &given).expect("good options");
    Ok(driver.open(DeviceRequest::new("d", options, 1, pool))?.remove(0))
}

/// A pool of 128 mbufs.
pub(crate) fn pool() -> Pool {
    Pool::new(&PoolConfig { size: 128, data_room: 256, ..PoolConfig::default() }).expect("memory")
}

/// Packets to send.
pub(crate) fn packets(pool: &Pool, n: usize) -> Burst {
    let mut burst = Burst::with_limit(n);
    assert_eq!(pool.alloc_bulk(&mut burst, n), n);
    for (mbuf, mark) in burst.iter_mut().zip(0..) {
        mbuf.append(64).expect("room").fill(mark);
    }
    burst
}

/// Why a link is down.
pub(crate) fn why_down(lport: &Lport) -> String {
    match lport.control.link() {
        Link::Up => String::new(),
        Link::Down(why) => why,
    }
}

/// Waits until all mbufs are back.
pub(crate) fn assert_whole(pool: &Pool) {
    let end = Instant::now() + Duration::from_secs(60);
    while pool.available() != pool.size() && Instant::now() < end {
        std::thread::yield_now();
    }
    assert_eq!(pool.available(), pool.size());
}
