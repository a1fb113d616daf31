//! The driver on real interfaces: veth pairs in network namespaces that each test makes for itself.

mod frames;
mod interface;
mod offloads;
mod queues;
mod support;
