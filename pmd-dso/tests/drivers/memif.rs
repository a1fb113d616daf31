//! net_memif as a shared object, for tests: nothing of it knows that it is one.

pmd_plugin::export_driver!(pmd_memif::MemifDriver);
