//! Who owns which lport, and how packets get from any thread to any lport.

use std::sync::Arc;

use super::open::Opened;
use crate::deployment::Deployment;
use crate::worker::{Inbox, Outlet, Route};

/// The thread that owns an lport.
#[derive(Clone, Copy)]
struct Owner<'a> {
    /// Its number.
    thread: usize,
    /// The lport's position among its lports.
    position: usize,
    inbox: &'a Arc<Inbox>,
}

/// Who owns each lport that is open.
pub(super) struct OwnerMap<'a> {
    /// By lport id.
    owners: Vec<Option<Owner<'a>>>,
    lane_capacity: usize,
}

impl<'a> OwnerMap<'a> {
    /// The owners of all open `lports`, among the threads that run: those with an inbox. Lanes between threads hold
    /// `lane_capacity` packets.
    pub(super) fn new(
        deployment: &Deployment,
        lports: &[Opened],
        inboxes: &'a [Option<Arc<Inbox>>],
        lane_capacity: usize,
    ) -> Self {
        let mut owners = vec![None; lports.len()];
        for (thread, (spec, inbox)) in deployment.threads.iter().zip(inboxes).enumerate() {
            let Some(inbox) = inbox else { continue };
            let open = spec.lports.iter().map(|id| usize::from(id.0)).filter(|lport| lports[*lport].control.is_ok());
            for (position, lport) in open.enumerate() {
                owners[lport] = Some(Owner { thread, position, inbox });
            }
        }
        Self { owners, lane_capacity }
    }

    /// The routes from `thread` to every lport.
    pub(super) fn routes_from(&self, thread: usize) -> Vec<Route> {
        let route = |owner: &Option<Owner<'_>>| match owner {
            Some(owner) if owner.thread == thread => Route::Own(owner.position),
            Some(owner) => Route::Foreign(Outlet::new(Arc::clone(owner.inbox), owner.position, self.lane_capacity)),
            None => Route::Nowhere,
        };
        self.owners.iter().map(route).collect()
    }
}
