//! Rate limit counters with reservations for requests in flight.
//!
//! [`Window`] is the arithmetic of a limit over time. [`LocalStore`] keeps counters in memory that
//! several workers share, behind the trait [`SharedData`]. [`service`] is the client of a rate limit
//! service that keeps counters for many instances.
//!
//! Nothing here reads a clock: time is passed in, as a [`Timestamp`]. Amounts are whole numbers of
//! whatever the limit counts.
//!
//! A request reserves in every counter that applies to it, in all of them or in none
//! ([`LocalStore::reserve`]). When it is over, its cost is added and its reservations are released
//! ([`LocalStore::settle`]).
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

mod counter;
mod local;
mod page;
mod rate;
mod reservation;
pub mod service;
mod shared_data;
mod time;
mod window;

pub use local::{LocalStore, Occupancy, StoreError};
pub use rate::Rate;
pub use reservation::{Reservation, Standing, Ticket, Verdict};
pub use shared_data::{CREATE, SharedData, SharedDataError};
pub use time::{Nanos, Timestamp};
pub use window::{Algorithm, Window};
