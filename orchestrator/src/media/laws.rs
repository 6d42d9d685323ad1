//! The laws for the control node's own kinds: what is planned is what is done, and once done there is nothing to do.
#![allow(clippy::unwrap_used)]

use okd_agent::resource::{Resource, Status, converge};
use okd_agent::system::System;
use okd_agent::system::overlay::Overlay;
use std::sync::Arc;

/// Checks fidelity and idempotence of a resource in a world, which is changed by it.
pub(super) fn laws<R: Resource<World = dyn System>>(resource: &R, world: &Arc<dyn System>) {
    let plan: Arc<dyn System> = Arc::new(Overlay::new(Arc::clone(world)));
    let planned = converge(resource, plan.as_ref(), None);
    let again = resource.inspect(world.as_ref()).map(|state| format!("{state:?}"));
    let applied = converge(resource, world.as_ref(), None);
    match (planned, applied) {
        (Ok(planned), Ok(applied)) => {
            assert_eq!(
                (&planned.status, &planned.diff),
                (&applied.status, &applied.diff),
                "fidelity: {resource:?}"
            );
            for world in [&plan, world] {
                let settled = converge(resource, world.as_ref(), None).unwrap();
                assert_eq!(
                    (settled.status, settled.diff),
                    (Status::Same, Vec::new()),
                    "idempotence: {resource:?}"
                );
            }
        }
        (Err(planned), Err(applied)) => assert_eq!(planned.message, applied.message),
        (planned, applied) => assert_eq!(planned, applied, "fidelity: {resource:?}, begun at {again:?}"),
    }
}
