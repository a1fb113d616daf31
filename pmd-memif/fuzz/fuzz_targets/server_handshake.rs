//! `pmd_memif::fuzzing::server_handshake`, where it says what the bytes are; `../CONTRIBUTING.md` says how to run it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmd_memif::fuzzing::server_handshake(bytes);
});
