//! The laws for the control node's own kinds: what is planned is what is done, once done there is nothing to do, and it can
//! be taken back.
#![allow(clippy::unwrap_used)]

use okd_agent::param::Params;
use okd_agent::path::AbsPath;
use okd_agent::resource::undo::Undo;
use okd_agent::resource::{Resource, Status, converge};
use okd_agent::system::System;
use okd_agent::system::fake::Fake;
use okd_agent::system::journal::Journal;
use okd_agent::system::overlay::Overlay;
use okd_agent::value::map;
use std::sync::Arc;

/// Checks fidelity, idempotence and the way back of a resource that makes a file in a world, which is changed by it.
pub(super) fn laws<R: Resource<World = dyn System>>(resource: &R, dest: &str, machine: Fake) {
    let machine = Arc::new(machine.dir("/var/lib"));
    let here = || {
        let path = AbsPath::new(dest).unwrap();
        let meta = machine
            .stat(&path)
            .unwrap()
            .map(|meta| (meta.kind, meta.mode, meta.uid, meta.gid));
        (meta, machine.read(&path, u64::MAX).ok())
    };
    let before = here();
    let journal = Arc::new(Journal::new(machine.clone()));
    journal.begin("20260101-000000-laws");
    let world: &Arc<dyn System> = &(journal as Arc<dyn System>);
    let plan: Arc<dyn System> = Arc::new(Overlay::new(Arc::clone(world)));
    let planned = converge(resource, plan.as_ref(), None);
    let again = resource.inspect(world.as_ref()).map(|state| format!("{state:?}"));
    let applied = converge(resource, world.as_ref(), None);
    let failed = applied.is_err();
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
    if failed {
        return;
    }
    let undo = Undo::decode(&map([("run", "20260101-000000-laws".into())])).unwrap();
    let plan: Arc<dyn System> = Arc::new(Overlay::new(machine.clone()));
    let planned = converge(&undo, plan.as_ref(), None).unwrap();
    let undone = converge(&undo, machine.as_ref() as &(dyn System + 'static), None).unwrap();
    assert_eq!(
        (planned.status, planned.diff),
        (undone.status, undone.diff),
        "undo: {resource:?}"
    );
    assert_eq!(here(), before, "undo: {resource:?}");
}
