//! Errors of Redis as errors of a storage of the limitador library.

use std::{collections::HashSet, sync::Arc, time::Duration};

use limitador::{
    counter::Counter,
    limit::Limit,
    reservation::ReservationId,
    storage::{AsyncCounterStorage, Authorization, StorageErr},
};
use redis::RedisError;

/// Converts a result to the library's type. An error is logged here, as the library's error has no place for its cause.
pub(super) async fn of<T>(result: Result<T, RedisError>) -> Result<T, StorageErr> {
    match result {
        Ok(value) => Ok(value),
        Err(error) => {
            eprintln!("limitador: redis: {error}");
            Err(failure().await)
        }
    }
}

/// Only the library can construct its error. It does so for a storage without reservations.
async fn failure() -> StorageErr {
    let id = ReservationId::default();
    let mut none = Vec::new();
    let reserved = Unavailable.reserve(&mut none, &id, 0, 0, Duration::ZERO);
    match reserved.await {
        Err(error) => error,
        Ok(_) => unreachable!("a storage without reservations cannot reserve"),
    }
}

/// A storage whose methods all fail.
struct Unavailable;

#[tonic::async_trait]
impl AsyncCounterStorage for Unavailable {
    async fn is_within_limits(&self, _: &Counter, _: u64) -> Result<bool, StorageErr> {
        Err(failure().await)
    }

    async fn update_counter(&self, _: &Counter, _: u64) -> Result<(), StorageErr> {
        Err(failure().await)
    }

    async fn check<'a>(&self, _: &mut Vec<Counter>, _: u64) -> Result<Authorization, StorageErr> {
        Err(failure().await)
    }

    async fn check_and_update<'a>(
        &self,
        _: &mut Vec<Counter>,
        _: u64,
    ) -> Result<Authorization, StorageErr> {
        Err(failure().await)
    }

    async fn get_counters(&self, _: &HashSet<Arc<Limit>>) -> Result<HashSet<Counter>, StorageErr> {
        Err(failure().await)
    }

    async fn delete_counters(&self, _: &HashSet<Arc<Limit>>) -> Result<(), StorageErr> {
        Err(failure().await)
    }

    async fn clear(&self) -> Result<(), StorageErr> {
        Err(failure().await)
    }
}
