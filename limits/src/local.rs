//! Counters in memory that several workers share.
//!
//! Counters lie on pages ([`crate::page`]). An update reads a page, changes it, and writes it back
//! unless another worker has written it meanwhile; then it starts over, a bounded number of times. As
//! every such failure is another worker's success, some worker always makes progress.
//!
//! A request whose counters lie on several pages is judged on all of them before it writes any. Then it
//! reserves page by page and, if a later page has no room any more, releases what it has reserved.
//! Other requests may meanwhile have been rejected because of that; none is admitted past a limit.

mod administer;
mod exchange;
#[cfg(test)]
mod tests;

use crate::page::{Page, Stored, Unreadable, VERSION};
use crate::rate::{SPREAD, halves};
use crate::reservation::{Reservation, Standing, Verdict};
use crate::shared_data::{CREATE, SharedData, SharedDataError};
use crate::time::{Nanos, Timestamp};
use exchange::{Admission, OnPage};
use std::cell::Cell;
use std::ops::ControlFlow;

/// The number of live counters of a rate that a page is meant to have. Smaller pages are faster to
/// read, but fill less evenly: this leaves as much room as chance needs.
const COUNTERS_PER_PAGE: u32 = 6;

/// The attempts of an update while other workers write the same page.
pub(crate) const ATTEMPTS: u32 = 64;

/// Why counters could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Other workers wrote the same page during each attempt.
    #[error("a page of counters was written by other workers at each of {ATTEMPTS} attempts")]
    Contended,
    /// Shared data could not be read or written.
    #[error("shared data: {0}")]
    SharedData(#[from] SharedDataError),
    /// Some of the counters could not be settled; the others were.
    #[error("counters {indices:?} were not settled: {cause}")]
    Unsettled {
        /// The indices of their reservations.
        indices: Vec<usize>,
        /// Why the last of them could not be settled.
        cause: Box<StoreError>,
    },
}

/// What a store has met, as numbers that only increase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Times that a rate had more live counters than fit on a page, after all of them had fitted.
    pub page_overflows: u64,
    /// Live counters that were evicted from full pages.
    pub evictions: u64,
    /// Times that an update started over because another worker had written the page.
    pub retries: u64,
    /// Times that a page could not be read and was taken as empty.
    pub unreadable: u64,
}

/// A store of counters in shared data.
///
/// # Memory
/// The number of pages follows from `max_counters`: one per six counters. A page has room for 16
/// counters of a rate, so that with `max_counters` live ones about one page in seven thousand
/// overflows. A counter takes 88 bytes, and a page about 150 more in a map such as Envoy's. Thus
/// `max_counters` counters of one rate take `max_counters * 113` bytes (7.4 MB for 65,536), and whatever
/// the callers do, no rate takes more than `max_counters / 6 * (17 * 88 + 150)` (18 MB). The space of
/// counters whose rate no longer exists is reused when they have expired.
///
/// A change of `max_counters` moves the counters of most callers to other pages: they start anew.
pub struct LocalStore {
    pages: u64,
    occupancy: Cell<Occupancy>,
    /// The pages that were read last and not written since: those of a check that reserves nothing
    /// serve the reservation that follows it.
    loaded: Cell<Vec<Loaded>>,
}

/// A page as it was read.
struct Loaded {
    number: u64,
    /// Whether it was written since.
    stale: bool,
    page: Page,
    /// The version that it was read with.
    version: u32,
}

// === impl LocalStore ===

impl LocalStore {
    /// Returns a store meant for so many live counters of each rate.
    #[must_use]
    pub fn new(max_counters: u32) -> Self {
        Self {
            pages: max_counters.div_ceil(COUNTERS_PER_PAGE).max(1).into(),
            occupancy: Cell::default(),
            loaded: Cell::default(),
        }
    }

    /// Makes all reservations of a request if every counter has room, else none. A reservation that is
    /// never settled lives for one to two `ttl`. If all amounts are 0, nothing is written.
    ///
    /// Sets each reservation's generation, and its standing as it was before this request.
    ///
    /// # Errors
    /// [`StoreError::Contended`] and [`StoreError::SharedData`]; nothing is reserved then, as far as it
    /// can be released.
    pub fn reserve<R: AsMut<Reservation>>(
        &self,
        shared: &dyn SharedData,
        now: Timestamp,
        reservations: &mut [R],
        ttl: Nanos,
    ) -> Result<Verdict, StoreError> {
        let mut admission = Admission::new(now, ttl, self.on_pages(reservations));
        let mut loaded = self.loaded.take();
        let reserved = self.reserve_all(shared, &mut admission, &mut loaded);
        let verdict = admission.verdict();
        if let Err(error) = reserved {
            loaded.clear();
            self.loaded.set(loaded);
            return Err(error);
        }
        self.loaded.set(loaded);
        Ok(verdict)
    }

    /// Settles a request that was admitted: adds each reservation's cost to its counter, and releases
    /// what is reserved. All counters are tried, even if some fail.
    ///
    /// A reservation that was settled already is corrected: its counter then stands as if it had been
    /// settled with the new cost. A cost that is higher is added now. One that is lower is taken back
    /// from the window in which it was added, as far as it still counts there; a reservation can be
    /// corrected downwards once.
    ///
    /// Sets each reservation's standing as it is now, and what was charged. Those that could not be
    /// settled have a default standing.
    ///
    /// # Errors
    /// [`StoreError::Unsettled`], with those that could not be settled.
    pub fn settle<R: AsMut<Reservation>>(
        &self,
        shared: &dyn SharedData,
        now: Timestamp,
        reservations: &mut [R],
    ) -> Result<(), StoreError> {
        self.settle_all(shared, now, &mut self.on_pages(reservations))
    }

    /// Returns what the store has met so far.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        self.occupancy.get()
    }

    /// Judges all reservations, then makes them page by page; releases them if a later page has no room
    /// or fails.
    fn reserve_all(
        &self,
        shared: &dyn SharedData,
        admission: &mut Admission<'_>,
        loaded: &mut Vec<Loaded>,
    ) -> Result<(), StoreError> {
        // A write is compared with what is there. A check that reserves nothing has to read now.
        let mut reservations = admission.reservations().iter();
        let reserves_everywhere = reservations.all(|it| it.reservation.amount > 0);
        loaded.retain(|loaded| {
            reserves_everywhere
                && !loaded.stale
                && admission
                    .reservations()
                    .iter()
                    .any(|it| it.page == loaded.number)
        });
        let was_loaded = !loaded.is_empty();
        self.judge_all(shared, admission, loaded)?;
        if was_loaded && admission.reconsider() {
            // There may be room by now.
            loaded.clear();
            self.judge_all(shared, admission, loaded)?;
        }
        if admission.is_rejected() {
            for loaded in loaded {
                // Counters of a clock that was ahead may have been corrected. If that cannot be
                // written, the rejection stands, and the next request tries again.
                let _ = self.update(shared, loaded, |_| ControlFlow::Continue(()));
            }
            return Ok(());
        }
        for position in 0..loaded.len() {
            let Some(next) = loaded.get_mut(position) else {
                break;
            };
            let number = next.number;
            // At the first attempt the page is the one that was judged.
            let mut judged = true;
            let updated = self.update(shared, next, |page| {
                if !std::mem::take(&mut judged) {
                    admission.judge(page, number);
                }
                if admission.is_rejected() {
                    return ControlFlow::Break(());
                }
                admission.reserve(page, number, |stored| self.note(stored));
                ControlFlow::Continue(())
            });
            if updated.is_err() || admission.is_rejected() {
                for loaded in loaded.iter().take(position) {
                    // What cannot be released expires, like the reservation of a lost request.
                    let _ = self.release_page(shared, admission, loaded.number);
                }
                return updated;
            }
        }
        Ok(())
    }

    /// Reads the pages that are not at hand, and judges all reservations.
    fn judge_all(
        &self,
        shared: &dyn SharedData,
        admission: &mut Admission<'_>,
        loaded: &mut Vec<Loaded>,
    ) -> Result<(), StoreError> {
        for OnPage { page: number, .. } in admission.reservations() {
            if loaded.iter().all(|loaded| loaded.number != *number) {
                loaded.push(self.load(shared, *number)?);
            }
        }
        for Loaded { number, page, .. } in loaded.iter_mut() {
            admission.judge(page, *number);
        }
        Ok(())
    }

    /// Releases the reservations of a page, of a request that is not admitted.
    fn release_page(
        &self,
        shared: &dyn SharedData,
        admission: &Admission<'_>,
        number: u64,
    ) -> Result<(), StoreError> {
        let mut loaded = self.load(shared, number)?;
        self.update(shared, &mut loaded, |page| {
            let reservations = admission.reservations().iter();
            for OnPage { reservation, .. } in reservations.filter(|it| it.page == number) {
                let (_, stored) = exchange::settle(reservation, admission.now(), 0, page);
                self.note(stored);
            }
            ControlFlow::Continue(())
        })
    }

    fn settle_all(
        &self,
        shared: &dyn SharedData,
        now: Timestamp,
        reservations: &mut [OnPage<'_>],
    ) -> Result<(), StoreError> {
        let mut pages = Vec::new();
        for OnPage { page, reservation } in &mut *reservations {
            reservation.standing = Standing::UNKNOWN;
            if !pages.contains(page) {
                pages.push(*page);
            }
        }
        let mut indices = Vec::new();
        let mut cause = None;
        for number in pages {
            if let Err(error) = self.settle_page(shared, now, reservations, number) {
                for (index, it) in reservations.iter_mut().enumerate() {
                    if it.page == number {
                        it.reservation.standing = Standing::UNKNOWN;
                        indices.push(index);
                    }
                }
                cause = Some(Box::new(error));
            }
        }
        cause.map_or(Ok(()), |cause| {
            Err(StoreError::Unsettled { indices, cause })
        })
    }

    fn settle_page(
        &self,
        shared: &dyn SharedData,
        now: Timestamp,
        reservations: &mut [OnPage<'_>],
        number: u64,
    ) -> Result<(), StoreError> {
        let mut loaded = self.load(shared, number)?;
        let mut charges = Vec::new();
        self.update(shared, &mut loaded, |page| {
            charges.clear();
            for (
                index,
                OnPage {
                    page: lies_on,
                    reservation,
                },
            ) in reservations.iter_mut().enumerate()
            {
                if *lies_on == number {
                    let (counter, stored) =
                        exchange::settle(reservation, now, reservation.cost, page);
                    self.note(stored);
                    reservation.standing = counter.standing(reservation, now);
                    charges.push((index, exchange::charged(reservation, &counter)));
                }
            }
            ControlFlow::Continue(())
        })?;
        for (index, charged) in charges {
            if let Some(it) = reservations.get_mut(index) {
                it.reservation.charged = Some(charged);
            }
        }
        Ok(())
    }

    /// Returns the reservations, each with the page that its counter lies on.
    fn on_pages<'r, R: AsMut<Reservation>>(&self, reservations: &'r mut [R]) -> Vec<OnPage<'r>> {
        let reservations = reservations.iter_mut().map(AsMut::as_mut);
        reservations
            .map(|reservation| OnPage {
                page: self.page_of(reservation),
                reservation,
            })
            .collect()
    }

    /// Returns the page that a counter lies on. It follows from the key alone, so that all counters of
    /// a caller lie on the same.
    fn page_of(&self, reservation: &Reservation) -> u64 {
        let [low, high] = halves(reservation.key);
        let spread = (low ^ high).wrapping_mul(SPREAD) >> 32;
        spread.checked_rem(self.pages).unwrap_or_default()
    }

    fn load(&self, shared: &dyn SharedData, number: u64) -> Result<Loaded, StoreError> {
        let (page, version) = match shared.shared_data(&page_key(number))? {
            None => (Page::default(), CREATE),
            Some((bytes, version)) => {
                let page = Page::read(bytes).unwrap_or_else(|Unreadable| {
                    self.count(|occupancy| &mut occupancy.unreadable);
                    Page::default()
                });
                (page, version)
            }
        };
        Ok(Loaded {
            number,
            stale: false,
            page,
            version,
        })
    }

    /// Changes a page and writes it; reads it anew and starts over if another worker wrote it
    /// meanwhile. Nothing is written if nothing has changed, or if the change breaks off.
    fn update(
        &self,
        shared: &dyn SharedData,
        loaded: &mut Loaded,
        mut change: impl FnMut(&mut Page) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            if change(&mut loaded.page).is_break() || !loaded.page.changed() {
                return Ok(());
            }
            let key = page_key(loaded.number);
            match shared.set_shared_data(&key, loaded.page.bytes(), loaded.version) {
                Ok(()) => {
                    loaded.stale = true;
                    return Ok(());
                }
                Err(SharedDataError::CasMismatch) => {
                    self.count(|occupancy| &mut occupancy.retries);
                    *loaded = self.load(shared, loaded.number)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Contended)
    }

    fn note(&self, stored: Stored) {
        match stored {
            Stored::Kept => {}
            Stored::Overflowed => {
                self.count(|occupancy| &mut occupancy.page_overflows);
                self.count(|occupancy| &mut occupancy.evictions);
            }
            Stored::Evicted => self.count(|occupancy| &mut occupancy.evictions),
        }
    }

    fn count(&self, which: impl Fn(&mut Occupancy) -> &mut u64) {
        let mut occupancy = self.occupancy.get();
        let count = which(&mut occupancy);
        *count = count.saturating_add(1);
        self.occupancy.set(occupancy);
    }
}

/// Returns the key of a page of counters in shared data.
fn page_key(number: u64) -> [u8; 16] {
    shared_key(*b"tollgate", VERSION, number)
}

/// Returns the key of a page in shared data: a prefix, the version of the format, the page's number.
pub(crate) fn shared_key(prefix: [u8; 8], version: u8, number: u64) -> [u8; 16] {
    let prefix = u64::from_be_bytes(prefix);
    let number = u64::from(version) << 56 | number;
    (u128::from(prefix) << 64 | u128::from(number)).to_be_bytes()
}
