//! Counters in the memory that Envoy's workers share.
//!
//! Counters lie on pages ([`super::page`]). An update reads a page, changes it and writes it back
//! unless another worker was there in between; then it starts over, a bounded number of times. As
//! every such failure is another worker's success, some worker always gets on.
//!
//! A request whose counters lie on several pages is judged on all of them before it writes any.
//! It then holds page after page and, if a later one has no room any more, gives back. Others may
//! meanwhile have been refused because of what it held; nobody is admitted past a limit.
//!
//! # Bounds
//! The number of pages follows from `max_counters`: one for every [`COUNTERS_A_PAGE`] of them. A
//! page has room for 16 counters of a rate, so that with `max_counters` live ones about one page in
//! seven thousand overflows. A counter takes 88 bytes, a page about 150 more in Envoy's map. Thus
//! `max_counters` counters of one rate take `max_counters * 113` bytes (7.4 MB for 65,536), and
//! whatever the callers do, no rate takes more than `max_counters / 6 * (17 * 88 + 150)` (18 MB).
//! What the counters of a rate took that no longer exists is reused when they have expired.
//!
//! A change of `max_counters` moves the counters of most callers to other pages: they start anew.

use super::exchange::{Admission, Settlement};
use super::holds::Ticket;
use super::page::{Page, Stored, Unreadable, VERSION};
use super::{Claim, SPREAD, Standing, Verdict, halves};
use crate::host::{CREATE, HostError, SharedData};
use std::cell::Cell;
use std::ops::ControlFlow;

/// How many live counters of a rate a page is meant to have. Smaller pages are faster to read, but
/// fill less evenly: this leaves as much room as chance needs.
const COUNTERS_A_PAGE: u32 = 6;

/// How often an update is tried while other workers are in the way.
const ATTEMPTS: u32 = 64;

/// Why counters could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// Other workers wrote the same page, each time it was tried.
    #[error("a page of counters was written by other workers at each of {ATTEMPTS} attempts")]
    Contended,
    /// Envoy did not read or write shared data.
    #[error("shared data: {0}")]
    Host(#[from] HostError),
    /// The rate limit service does not answer.
    #[error("the rate limit service does not answer")]
    Away,
    /// Some of the counters could not be settled; the others were.
    #[error("claims {claims:?} were not settled: {cause}")]
    Unsettled {
        /// Their positions among the claims.
        claims: Vec<usize>,
        /// Why the last of them could not be.
        cause: Box<StorageError>,
    },
}

/// What the storage has met, each a number that only goes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Times that a rate had more live counters than fit on a page, after all of them had fitted.
    pub pages_full: u64,
    /// Live counters that were pushed out of full pages.
    pub pushed_out: u64,
    /// Times that an update started over because another worker had written the page.
    pub retries: u64,
    /// Times that a page could not be read and was taken as empty.
    pub unreadable: u64,
}

/// Counters in shared data.
pub struct Local {
    pages: u64,
    occupancy: Cell<Occupancy>,
    /// The pages that were read last and not written since: those of a first look, in which nothing
    /// is held, serve the last look at the same request.
    loaded: Cell<Vec<Loaded>>,
}

/// A page as it was read.
struct Loaded {
    number: u64,
    /// Whether it was written since.
    stale: bool,
    page: Page,
    /// What the host tells a write from a later one by.
    written: u32,
}

// === impl Local ===

impl Local {
    /// A storage meant for so many live counters of each rate.
    #[must_use]
    pub fn new(max_counters: u32) -> Self {
        Self {
            pages: max_counters.div_ceil(COUNTERS_A_PAGE).max(1).into(),
            occupancy: Cell::default(),
            loaded: Cell::default(),
        }
    }

    /// Admits a request if all its claims have room, and then holds what they ask for, in all
    /// counters or in none. Holds that are not released live for one to two `hold_ttl`
    /// (nanoseconds). Where nothing is to be held, nothing is written.
    ///
    /// `tickets` and `standings` are overwritten with one for each claim: what [`Local::settle`]
    /// needs, and how the counters stood before this request.
    ///
    /// # Errors
    /// [`StorageError::Contended`] and [`StorageError::Host`]; nothing is held then, as far as it
    /// can be given back.
    pub fn admit(
        &self,
        shared: &dyn SharedData,
        now: u64,
        claims: &[Claim<'_>],
        hold_ttl: u64,
        tickets: &mut Vec<Ticket>,
        standings: &mut Vec<Standing>,
    ) -> Result<Verdict, StorageError> {
        tickets.clear();
        tickets.resize(claims.len(), Ticket::default());
        standings.clear();
        standings.resize(claims.len(), Standing::default());
        let mut admission = Admission {
            now,
            lifetime: hold_ttl,
            claims,
            tickets,
            standings,
            denied: None,
        };
        let mut loaded = self.loaded.take();
        let admitted = self.admit_all(shared, &mut admission, &mut loaded);
        if admitted.is_err() {
            loaded.clear();
        }
        self.loaded.set(loaded);
        admitted.map(|()| admission.verdict())
    }

    /// Settles a request that was admitted: adds what it cost to each counter, and releases what
    /// it held. The claims are those that were admitted, the tickets what the admission gave for
    /// them, `costs` one amount for each. All claims are tried, even where others fail.
    ///
    /// `standings` is overwritten with one for each claim: how the counters stand now. Those that
    /// could not be settled stand at their default.
    ///
    /// # Errors
    /// [`StorageError::Unsettled`] tells which could not be settled.
    pub fn settle(
        &self,
        shared: &dyn SharedData,
        now: u64,
        claims: &[Claim<'_>],
        tickets: &[Ticket],
        costs: &[u64],
        standings: &mut Vec<Standing>,
    ) -> Result<(), StorageError> {
        standings.clear();
        standings.resize(claims.len(), Standing::default());
        let settlement = Settlement {
            now,
            claims,
            tickets,
            costs,
        };
        let mut unsettled = Vec::new();
        let mut cause = None;
        for (position, claim) in claims.iter().enumerate() {
            let number = self.page_of(claim);
            let mut earlier = claims.iter().take(position);
            if earlier.any(|other| self.page_of(other) == number) {
                continue;
            }
            if let Err(error) = self.settle_page(shared, &settlement, number, standings) {
                unsettled.extend(self.claims_on(number, claims).map(|(position, _)| position));
                cause = Some(Box::new(error));
            }
        }
        cause.map_or(Ok(()), |cause| {
            Err(StorageError::Unsettled {
                claims: unsettled,
                cause,
            })
        })
    }

    /// What has been met so far.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        self.occupancy.get()
    }

    /// Judges all claims, then holds page by page; gives back if a later page refuses or fails.
    fn admit_all(
        &self,
        shared: &dyn SharedData,
        admission: &mut Admission<'_>,
        loaded: &mut Vec<Loaded>,
    ) -> Result<(), StorageError> {
        // What is written is compared with what is there. What is not has to be read now.
        let remembers = admission.claims.iter().all(|claim| claim.hold > 0);
        loaded.retain(|loaded| {
            let on_it = |claim: &Claim<'_>| self.page_of(claim) == loaded.number;
            remembers && !loaded.stale && admission.claims.iter().any(on_it)
        });
        let remembered = !loaded.is_empty();
        self.judge_all(shared, admission, loaded)?;
        if remembered && admission.denied.take().is_some() {
            // There may be room by now.
            loaded.clear();
            self.judge_all(shared, admission, loaded)?;
        }
        if admission.denied.is_some() {
            for loaded in loaded {
                // Counters may have been brought back to the present. If that cannot be written,
                // the refusal stands, and the next look tries again.
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
                    admission.judge(self.claims_on(number, admission.claims), page);
                }
                if admission.denied.is_some() {
                    return ControlFlow::Break(());
                }
                for (position, claim) in self.claims_on(number, admission.claims) {
                    let stored = admission.hold(position, claim, page);
                    self.note(stored);
                }
                ControlFlow::Continue(())
            });
            if updated.is_err() || admission.denied.is_some() {
                for taken in loaded.iter().take(position) {
                    // What cannot be given back is forgotten in time, as the hold of a lost stream.
                    let _ =
                        self.settle_page(shared, &admission.given_back(), taken.number, &mut []);
                }
                return updated;
            }
        }
        Ok(())
    }

    /// Reads the pages that are not at hand, and finds how all claims stand.
    fn judge_all(
        &self,
        shared: &dyn SharedData,
        admission: &mut Admission<'_>,
        loaded: &mut Vec<Loaded>,
    ) -> Result<(), StorageError> {
        for claim in admission.claims {
            let number = self.page_of(claim);
            if loaded.iter().all(|loaded| loaded.number != number) {
                loaded.push(self.load(shared, number)?);
            }
        }
        for Loaded { number, page, .. } in loaded.iter_mut() {
            admission.judge(self.claims_on(*number, admission.claims), page);
        }
        Ok(())
    }

    fn settle_page(
        &self,
        shared: &dyn SharedData,
        settlement: &Settlement<'_>,
        number: u64,
        standings: &mut [Standing],
    ) -> Result<(), StorageError> {
        let mut loaded = self.load(shared, number)?;
        self.update(shared, &mut loaded, |page| {
            for (position, claim) in self.claims_on(number, settlement.claims) {
                let (counter, stored) = settlement.settle(position, claim, page);
                self.note(stored);
                if let Some(standing) = standings.get_mut(position) {
                    *standing = counter.standing(claim, settlement.now);
                }
            }
            ControlFlow::Continue(())
        })
    }

    /// The claims on a page, with their positions.
    fn claims_on<'a, 'b>(
        &self,
        number: u64,
        claims: &'a [Claim<'b>],
    ) -> impl Iterator<Item = (usize, &'a Claim<'b>)> + use<'_, 'a, 'b> {
        let claims = claims.iter().enumerate();
        claims.filter(move |(_, claim)| self.page_of(claim) == number)
    }

    /// The page that a claim's counter lies on. It follows from the key alone, so that all
    /// counters of a caller lie on the same.
    fn page_of(&self, claim: &Claim<'_>) -> u64 {
        let [low, high] = halves(claim.key);
        let spread = (low ^ high).wrapping_mul(SPREAD) >> 32;
        spread.checked_rem(self.pages).unwrap_or_default()
    }

    fn load(&self, shared: &dyn SharedData, number: u64) -> Result<Loaded, StorageError> {
        let (page, written) = match shared.shared_data(&page_key(number))? {
            None => (Page::default(), CREATE),
            Some((bytes, written)) => {
                let page = Page::read(bytes).unwrap_or_else(|Unreadable| {
                    self.count(|occupancy| &mut occupancy.unreadable);
                    Page::default()
                });
                (page, written)
            }
        };
        Ok(Loaded {
            number,
            stale: false,
            page,
            written,
        })
    }

    /// Changes a page and writes it, again from the start if another worker wrote it in between.
    /// Nothing is written if nothing has changed, or when the change breaks off.
    fn update(
        &self,
        shared: &dyn SharedData,
        loaded: &mut Loaded,
        mut change: impl FnMut(&mut Page) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        for _ in 0..ATTEMPTS {
            if change(&mut loaded.page).is_break() || !loaded.page.changed() {
                return Ok(());
            }
            let key = page_key(loaded.number);
            match shared.set_shared_data(&key, loaded.page.bytes(), loaded.written) {
                Ok(()) => {
                    loaded.stale = true;
                    return Ok(());
                }
                Err(HostError::CasMismatch) => {
                    self.count(|occupancy| &mut occupancy.retries);
                    *loaded = self.load(shared, loaded.number)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StorageError::Contended)
    }

    fn note(&self, stored: Stored) {
        match stored {
            Stored::Kept => {}
            Stored::Overflowed => {
                self.count(|occupancy| &mut occupancy.pages_full);
                self.count(|occupancy| &mut occupancy.pushed_out);
            }
            Stored::PushedOut => self.count(|occupancy| &mut occupancy.pushed_out),
        }
    }

    fn count(&self, which: impl Fn(&mut Occupancy) -> &mut u64) {
        let mut occupancy = self.occupancy.get();
        let count = which(&mut occupancy);
        *count = count.saturating_add(1);
        self.occupancy.set(occupancy);
    }
}

/// The key of a page in shared data: "tollgate", the version of the format, the page's number.
fn page_key(number: u64) -> [u8; 16] {
    let prefix = u64::from_be_bytes(*b"tollgate");
    let number = u64::from(VERSION) << 56 | number;
    (u128::from(prefix) << 64 | u128::from(number)).to_be_bytes()
}
