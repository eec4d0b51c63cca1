//! The allocator of the module, which counts what it has handed out.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The bytes that the allocator of wasi-libc keeps before each piece.
const HEADER_BYTES: usize = 4;

/// The bytes of which each piece of the allocator of wasi-libc is a multiple.
const GRANULE_BYTES: usize = 16;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

thread_local! {
    /// The bytes that are allocated. A VM has one thread; in tests, each has its own filter.
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
    /// The most bytes that were allocated at once.
    #[cfg(test)]
    static PEAK: Cell<usize> = const { Cell::new(0) };
    /// The bytes that were handed out in all.
    #[cfg(test)]
    static HANDED_OUT: Cell<usize> = const { Cell::new(0) };
    /// Is called when there is no memory left, before the module traps.
    static ON_FAILURE: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// The system's allocator, which counts.
struct CountingAllocator;

// === impl CountingAllocator ===

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        counted(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        counted(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(piece, layout) };
        release(layout.size());
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        let piece = counted(unsafe { System.realloc(piece, layout, size) }, size);
        if !piece.is_null() {
            release(layout.size());
        }
        piece
    }
}

/// Counts a piece that was handed out.
#[inline]
fn counted(piece: *mut u8, size: usize) -> *mut u8 {
    if piece.is_null() {
        failed();
    } else {
        // Memory that one thread allocates and another frees wraps around, as happens in tests only.
        ALLOCATED.set(ALLOCATED.get().wrapping_add(taken(size)));
        #[cfg(test)]
        {
            PEAK.set(PEAK.get().max(allocated()));
            HANDED_OUT.set(HANDED_OUT.get().wrapping_add(size));
        }
    }
    piece
}

#[inline]
fn release(size: usize) {
    ALLOCATED.set(ALLOCATED.get().wrapping_sub(taken(size)));
}

#[cold]
fn failed() {
    if let Some(hook) = ON_FAILURE.get() {
        hook();
    }
}

/// Returns what a piece takes.
#[inline]
const fn taken(size: usize) -> usize {
    size.wrapping_add(HEADER_BYTES + GRANULE_BYTES - 1) & !(GRANULE_BYTES - 1)
}

/// Returns the bytes that the module has allocated in this worker.
#[must_use]
pub fn allocated() -> usize {
    // Below zero is what this thread has freed of others.
    usize::try_from(ALLOCATED.get().cast_signed()).unwrap_or_default()
}

/// Returns a result, and the bytes that are allocated since it was asked for: what it keeps.
pub(crate) fn measured<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = allocated();
    let result = work();
    (result, allocated().saturating_sub(before))
}

/// Allocates a boxed slice of bytes, which the caller owns and has to write. It is null if there is no memory for it.
#[cfg(any(test, target_arch = "wasm32"))]
pub(crate) fn allocate_slice(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size) {
        Ok(layout) if size > 0 => {
            // SAFETY: the size is not zero.
            unsafe { std::alloc::alloc(layout) }
        }
        Ok(_) => std::ptr::NonNull::dangling().as_ptr(),
        Err(_) => std::ptr::null_mut(),
    }
}

/// Returns the most bytes that were allocated at once in this thread.
#[cfg(test)]
pub(crate) fn peak() -> usize {
    PEAK.get()
}

/// Returns the bytes that were handed out in all in this thread, also those that are free again.
#[cfg(test)]
pub(crate) fn handed_out() -> usize {
    HANDED_OUT.get()
}

/// Forgets what was allocated before.
#[cfg(test)]
pub(crate) fn reset_peak() {
    PEAK.set(allocated());
}

/// Sets what is called when there is no memory left, before the module traps. It must not allocate.
#[cfg(target_arch = "wasm32")]
pub(crate) fn set_failure_hook(hook: fn()) {
    ON_FAILURE.set(Some(hook));
}
