//! Who owns which lport, and how packets get from any thread to any lport.

use std::sync::Arc;

use crate::deployment::Deployment;
use crate::lport::Lport;
use crate::worker::{Inbox, Outlet, Route};

/// Who owns each lport that is open.
pub(super) struct OwnerMap<'a> {
    /// By lport id: the owner's thread number and the lport's position among the owner's.
    owners: Vec<Option<(usize, usize)>>,
    inboxes: &'a [Arc<Inbox>],
    lane_capacity: usize,
}

impl<'a> OwnerMap<'a> {
    /// The owners of all open `queues`; lanes between threads hold `lane_capacity` packets.
    pub(super) fn new(
        deployment: &Deployment,
        queues: &[Option<Lport>],
        inboxes: &'a [Arc<Inbox>],
        lane_capacity: usize,
    ) -> Self {
        let mut owners = vec![None; queues.len()];
        for (thread, spec) in deployment.threads.iter().enumerate() {
            let open = spec.lports.iter().map(|id| usize::from(id.0)).filter(|lport| queues[*lport].is_some());
            for (position, lport) in open.enumerate() {
                owners[lport] = Some((thread, position));
            }
        }
        Self { owners, inboxes, lane_capacity }
    }

    /// The routes from `thread` to every lport.
    pub(super) fn routes_from(&self, thread: usize) -> Vec<Route> {
        let route = |owner: &Option<(usize, usize)>| match *owner {
            Some((owner, position)) if owner == thread => Route::Own(position),
            Some((owner, position)) => {
                Route::Foreign(Outlet::new(Arc::clone(&self.inboxes[owner]), position, self.lane_capacity))
            }
            None => Route::Nowhere,
        };
        self.owners.iter().map(route).collect()
    }
}
