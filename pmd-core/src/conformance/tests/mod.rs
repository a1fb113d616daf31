//! The suite itself: the reference drivers pass, and flawed ones do not.

mod catches;
mod flawed;

mod null {
    use crate::conformance::{Capabilities, Device, Fixture, Rig, Shape};
    use crate::drivers::NullDriver;

    struct Null;

    impl Fixture for Null {
        fn capabilities(&self) -> Capabilities {
            Capabilities {
                uses_pool: true,
                opens_twice: Some(true),
                ..Capabilities::in_memory(Shape::Ends { source: true, sink: true })
            }
        }

        fn rig(&self, _queues: u16) -> Rig {
            Rig::alone(Device::new(NullDriver, "null", &[]))
        }
    }

    crate::conformance_tests!(Null);
}

mod ring_loop {
    use crate::conformance::{Capabilities, Device, Fixture, Rig, Shape};
    use crate::drivers::RingDriver;

    struct Loop;

    impl Fixture for Loop {
        fn capabilities(&self) -> Capabilities {
            Capabilities::in_memory(Shape::Loop)
        }

        fn rig(&self, _queues: u16) -> Rig {
            Rig::alone(Device::new(RingDriver::default(), "ring", &[]))
        }
    }

    crate::conformance_tests!(Loop);
}

mod ring_pair {
    use std::sync::Arc;

    use crate::conformance::{Capabilities, Device, Fixture, Refusal, Rig, Shape};
    use crate::drivers::RingDriver;

    struct Pair;

    impl Fixture for Pair {
        fn capabilities(&self) -> Capabilities {
            Capabilities { opens_twice: Some(false), ..Capabilities::in_memory(Shape::Pair) }
        }

        fn rig(&self, _queues: u16) -> Rig {
            let driver = Arc::new(RingDriver::default());
            let options = [("ring", "r"), ("size", "100")];
            Rig::pair(Device::of(driver.clone(), "near", &options), Device::of(driver, "far", &options))
        }

        fn refusals(&self) -> Vec<Refusal> {
            vec![Refusal::new(Device::new(RingDriver::default(), "ring", &[("size", "0")]), &["size", "0", "65536"])]
        }
    }

    crate::conformance_tests!(Pair);
}

/// A pair of rings, the near one inside of a wrapper that changes nothing.
mod wrapped_ring {
    use std::sync::Arc;

    use crate::conformance::{Capabilities, Device, Fixture, Rig, Shape, Wrapped};
    use crate::driver::Driver;
    use crate::drivers::RingDriver;
    use crate::wrapper::Wrapper;

    struct Ring<W> {
        wrapper: W,
        options: &'static [(&'static str, &'static str)],
    }

    impl<W: Wrapper + Clone + 'static> Fixture for Ring<W> {
        fn capabilities(&self) -> Capabilities {
            Capabilities::in_memory(Shape::Pair)
        }

        fn rig(&self, _queues: u16) -> Rig {
            let driver: Arc<dyn Driver> = Arc::new(RingDriver::default());
            let options = [("ring", "r"), ("size", "300")];
            let near = Wrapped::new(Arc::clone(&driver), self.wrapper.clone(), self.options);
            Rig::pair(Device::of(Arc::new(near), "near", &options), Device::of(driver, "far", &options))
        }
    }

    mod fault {
        use super::*;
        use crate::wrappers::FaultInjector;

        crate::conformance_tests!(Ring { wrapper: FaultInjector, options: &[] });
    }

    /// Every received packet is delayed by a microsecond, and waits in the injector.
    mod delay {
        use super::*;
        use crate::wrappers::FaultInjector;

        crate::conformance_tests!(Ring {
            wrapper: FaultInjector,
            options: &[("rx-delay", "1000000"), ("rx-delay-us", "1")]
        });
    }

    mod trace {
        use super::*;
        use crate::wrappers::Tracer;

        crate::conformance_tests!(Ring { wrapper: Tracer, options: &[] });
    }
}
