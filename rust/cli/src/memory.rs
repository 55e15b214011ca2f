//! Protection of this process' memory, which holds private keys and passphrases.

use std::alloc::System;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use zeroizing_alloc::ZeroAlloc;

/// Overwrites all heap memory when it is freed, including copies by libraries: the buffers of encoders, of JSON and of
/// strings that grow.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// Keeps the memory out of core dumps and from other processes of the same user. The size limit applies to kernels that
/// write a file, the attribute to those that pipe the dump to a program (core(5)).
pub fn keep_private() {
    // Each call fails only on a kernel without support for it, and the other call still takes effect.
    let _unknown = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _refused = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: getrlimit(Resource::Core).maximum });
}
