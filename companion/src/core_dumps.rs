//! Keeping this process's memory, in which values lie, from core dumps and from other processes of the same
//! account.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// From now on there are none. Where the system does not let us, the process runs all the same: whoever
/// runs it may look into it anyway.
pub fn refuse() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let limited = setrlimit(Resource::Core, none).is_ok();
    // prctl(2), PR_SET_DUMPABLE
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok();
    if !limited || !hidden {
        tracing::warn!("this process cannot keep its memory from core dumps");
    }
}
