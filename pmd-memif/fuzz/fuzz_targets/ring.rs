//! `pmd_memif::fuzzing::ring`, where it says what the bytes are; `../CONTRIBUTING.md` says how to run it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmd_memif::fuzzing::ring(bytes);
});
