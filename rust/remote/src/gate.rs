//! Limit on concurrent operations.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A counting semaphore.
#[derive(Debug)]
pub(crate) struct Gate {
    free: Mutex<usize>,
    changed: Condvar,
}

/// A slot of the semaphore, released on drop.
#[derive(Debug)]
pub(crate) struct Place(Arc<Gate>);

impl Gate {
    pub fn new(n_places: usize) -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(n_places), changed: Condvar::new() })
    }

    /// Waits for a free slot.
    pub fn enter(self: &Arc<Self>) -> Place {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.changed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Place(self.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.changed.notify_one();
    }
}
