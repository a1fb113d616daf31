//! Where in the text everything of a deployment was said, so that later layers can point at it.

use std::collections::HashMap;

use pmd_core::deployment::{LportId, PoolIndex};

use crate::source::Span;

/// Places of a deployment's parts. What a file implies has the place of what implies it: an lport of an lport-group that
/// of its netdev.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Places {
    pub(crate) lports: Vec<Span>,
    pub(crate) devices: HashMap<String, DevicePlace>,
    pub(crate) threads: HashMap<String, ThreadPlace>,
    pub(crate) pools: Vec<Span>,
    pub(crate) options: HashMap<String, (Span, Span)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DevicePlace {
    pub(crate) driver: Span,
    /// By key: the key and the value.
    pub(crate) options: HashMap<String, (Span, Span)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ThreadPlace {
    pub(crate) name: Span,
    pub(crate) group: Option<Span>,
    /// By CPU: the entry of the thread's lcore-group.
    pub(crate) cpus: HashMap<usize, Span>,
}

impl Places {
    /// The name of an lport.
    pub fn lport(&self, lport: LportId) -> Option<Span> {
        self.lports.get(usize::from(lport.0)).copied()
    }

    /// The name of the driver of a device.
    pub fn driver(&self, device: &str) -> Option<Span> {
        self.devices.get(device).map(|place| place.driver)
    }

    /// The key of a driver option of a device, inside the string of `pmd` or in `pmd_opts`.
    pub fn option_key(&self, device: &str, key: &str) -> Option<Span> {
        Some(self.devices.get(device)?.options.get(key)?.0)
    }

    /// The value of a driver option of a device.
    pub fn option_value(&self, device: &str, key: &str) -> Option<Span> {
        Some(self.devices.get(device)?.options.get(key)?.1)
    }

    /// The name of a thread.
    pub fn thread(&self, name: &str) -> Option<Span> {
        self.threads.get(name).map(|place| place.name)
    }

    /// The name of a thread's lcore-group, in the thread.
    pub fn thread_group(&self, thread: &str) -> Option<Span> {
        self.threads.get(thread)?.group
    }

    /// The entry with `cpu` in the lcore-group that a thread runs on.
    pub fn thread_cpu(&self, thread: &str, cpu: usize) -> Option<Span> {
        self.threads.get(thread)?.cpus.get(&cpu).copied()
    }

    /// The umem, or its region, that a pool was made from.
    pub fn pool(&self, pool: PoolIndex) -> Option<Span> {
        self.pools.get(pool.0).copied()
    }

    /// A key of the section `options`.
    pub fn options_key(&self, key: &str) -> Option<Span> {
        self.options.get(key).map(|(key, _)| *key)
    }

    /// The value of a key of the section `options`.
    pub fn options_value(&self, key: &str) -> Option<Span> {
        self.options.get(key).map(|(_, value)| *value)
    }
}
