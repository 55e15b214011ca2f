//! What becomes of this process' memory: private keys and passphrases are in it.

use std::alloc::System;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use zeroizing_alloc::ZeroAlloc;

/// Everything that was on the heap is overwritten when it is freed, also what libraries copy: the buffers of encoders, of JSON
/// and of strings that grow.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// Keeps the memory out of core dumps and from other processes of the same user. The size limit is for kernels that write a
/// file, the attribute for those that start a program with the dump (core(5)).
pub fn keep_private() {
    // Each can only fail where the kernel does not know it, and the other still counts.
    let _unknown = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _refused = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: getrlimit(Resource::Core).maximum });
}
