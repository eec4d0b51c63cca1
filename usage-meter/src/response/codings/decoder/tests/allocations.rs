//! The heap of a thread, counted, so that tests can compare it with what decoders have paid for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static CURRENT: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends has no counters any more.
    let _ = CURRENT.try_with(|current| {
        current.set(current.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(current.get())));
    });
}

// SAFETY: every call is passed on to the allocator of the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // It may be moved, so that both are allocated.
        count(size.cast_signed());
        count(-layout.size().cast_signed());
        // SAFETY: as the caller's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What was allocated since [`begin`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Allocations(isize);

/// Begins to count.
pub(super) fn begin() -> Allocations {
    let current = CURRENT.get();
    PEAK.set(current);
    Allocations(current)
}

impl Allocations {
    /// Returns the bytes that are allocated now.
    pub(super) fn current(self) -> usize {
        usize::try_from(CURRENT.get() - self.0).unwrap_or(0)
    }

    /// Returns the most bytes that were allocated at once.
    pub(super) fn peak(self) -> usize {
        usize::try_from(PEAK.get() - self.0).unwrap_or(0)
    }
}
