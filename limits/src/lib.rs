//! Rate limit counters with reservations for requests in flight.
//!
//! [`Window`] is the arithmetic of a limit over time. [`LocalStore`] keeps counters in memory that
//! several workers share, behind the trait [`SharedData`]. [`service`] is the client of a rate limit
//! service that keeps counters for many instances. [`RecordStore`] keeps other records in the same memory, and [`TopCounters`] the
//! largest counters.
//!
//! Nothing here reads a clock: time is passed in, as a [`Timestamp`]. Amounts are whole numbers of
//! whatever the limit counts.
//!
//! A request reserves in every counter that applies to it, in all of them or in none
//! ([`LocalStore::reserve`]). When it is over, its cost is added and its reservations are released
//! ([`LocalStore::settle`]):
//!
//! ```
//! # use limits::{Algorithm, LocalStore, Nanos, Rate, Reservation, Timestamp, Verdict, Window};
//! # use limits::{SharedData, SharedDataError};
//! # #[derive(Default)]
//! # struct Memory(std::cell::RefCell<std::collections::HashMap<Vec<u8>, (Vec<u8>, u32)>>);
//! # impl SharedData for Memory {
//! #     fn shared_data(&self, key: &[u8]) -> Result<Option<(Vec<u8>, u32)>, SharedDataError> {
//! #         Ok(self.0.borrow().get(key).cloned())
//! #     }
//! #     fn set_shared_data(
//! #         &self,
//! #         key: &[u8],
//! #         value: &[u8],
//! #         _expected: u32,
//! #     ) -> Result<(), SharedDataError> {
//! #         self.0.borrow_mut().insert(key.to_vec(), (value.to_vec(), 1));
//! #         Ok(())
//! #     }
//! # }
//! # fn main() -> Result<(), limits::StoreError> {
//! # let memory = Memory::default(); // implements `SharedData`
//! # let now = Timestamp::new(1_780_000_000_000_000_000);
//! let store = LocalStore::new(65_536);
//! let window = Window { algorithm: Algorithm::Fixed, length: Nanos::MINUTE };
//! let per_minute = Rate::new(1, window);
//!
//! // The caller with this key may use 100 a minute; its request reserves 30, and costs 45 in the end.
//! let mut request = [Reservation::new(per_minute, 0x9e37_79b9_7f4a_7c15, 100, 30)];
//! let verdict = store.reserve(&memory, now, &mut request, Nanos::from_secs(600))?;
//! assert_eq!(verdict, Verdict::Admitted);
//!
//! request[0].cost = 45;
//! store.settle(&memory, now, &mut request)?;
//! assert_eq!(request[0].standing.remaining(), 55);
//! # Ok(())
//! # }
//! ```
//!
//! The README has the whole example, the rule of admission, the bounds of memory, and what is exact.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

/// Runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod counter;
mod local;
mod page;
mod rate;
mod records;
mod reservation;
pub mod service;
mod shared_data;
mod time;
mod top;
mod window;

pub use local::{LocalStore, Occupancy, StoreError};
pub use rate::Rate;
pub use records::{Insertion, RecordStore, Taken, WithExpired};
pub use reservation::{Charged, GenerationId, Reservation, Standing, Verdict};
pub use shared_data::{CREATE, SharedData, SharedDataError};
pub use time::{Nanos, Timestamp};
pub use top::{TopCounter, TopCounters};
pub use window::{Algorithm, Window};
