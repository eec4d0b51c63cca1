//! Counters of the limitador library in Redis.
//!
//! The library's own Redis storage needs a build of `RocksDB`. This one implements the same trait: a counter is a
//! number that expires with its window, its reservations are a hash beside it, and each step is one atomic script.

mod failure;
mod keys;

use std::{collections::HashSet, sync::Arc, time::Duration};

use limitador::{
    counter::Counter,
    limit::Limit,
    reservation::ReservationId,
    storage::{AsyncCounterStorage, Authorization, StorageErr},
};
use redis::{
    AsyncCommands, Client, RedisError, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

/// Counters in Redis, shared by all services that use it.
pub(crate) struct RedisStorage {
    connection: ConnectionManager,
    check: Script,
    add: Script,
}

/// Checks whether an amount fits every counter, and if so adds and reserves the given amounts.
///
/// KEYS: for each counter its own key, that of its reservations, and that of the counters of its limit.
/// ARGV: the amount to check, the amount to add, the amount to reserve, the milliseconds until the reservation
/// expires, and its id: without one, other reservations are ignored. Then for each counter the seconds of its window
/// and its limit.
/// Returns for each counter the usage, the reserved amount, and the milliseconds until its window ends; then 1 if the
/// amount fits.
const CHECK: &str = r"
local check, add, reserve = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local lifetime, id = tonumber(ARGV[4]), ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local reply, fits, ends = {}, 1, {}
for i = 1, #KEYS / 3 do
  local counter, reservations = KEYS[3 * i - 2], KEYS[3 * i - 1]
  local seconds, limit = tonumber(ARGV[4 + 2 * i]), tonumber(ARGV[5 + 2 * i])
  local used = tonumber(redis.call('GET', counter) or 0)
  ends[i] = redis.call('PTTL', counter)
  if ends[i] < 0 then ends[i] = seconds * 1000 end
  local reserved = 0
  local entries = id ~= '' and redis.call('HGETALL', reservations) or {}
  for j = 1, #entries, 2 do
    local amount, expires = string.match(entries[j + 1], '^(%d+):(%d+)$')
    if tonumber(expires) > now then
      reserved = reserved + tonumber(amount)
    else
      redis.call('HDEL', reservations, entries[j])
    end
  end
  if used + reserved + check > limit then fits = 0 end
  table.insert(reply, used)
  table.insert(reply, reserved)
  table.insert(reply, ends[i])
end
if fits == 1 then
  for i = 1, #KEYS / 3 do
    local counter, reservations, siblings = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
    if add > 0 or reserve > 0 then
      redis.call('INCRBY', counter, add)
      if redis.call('PTTL', counter) < 0 then
        redis.call('EXPIRE', counter, ARGV[4 + 2 * i])
        redis.call('SADD', siblings, counter)
      end
    end
    if reserve > 0 then
      redis.call('HSET', reservations, id,
        string.format('%.0f:%.0f', reserve, now + math.min(lifetime, ends[i])))
      redis.call('PEXPIRE', reservations, ends[i])
    end
  end
end
table.insert(reply, fits)
return reply";

/// Adds an amount to a counter, and starts its window if it has none.
///
/// KEYS: the counter, and the set of counters of its limit. ARGV: the amount, and the seconds of the window.
const ADD: &str = r"
redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
  redis.call('SADD', KEYS[2], KEYS[1])
end";

/// How long to wait for Redis before a call fails: longer than callers wait, as a call that fails after Redis has
/// executed it is repeated, and counts twice.
const TIMEOUT: Duration = Duration::from_secs(90);

/// The arguments of [`CHECK`].
#[derive(Default)]
struct Amounts<'a> {
    check: u64,
    add: u64,
    reserve: u64,
    lifetime: Duration,
    id: &'a str,
}

// === impl RedisStorage ===

impl RedisStorage {
    /// # Errors
    /// When Redis cannot be reached at this URL.
    pub(crate) async fn connect(url: &str) -> Result<Self, RedisError> {
        let configuration = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT))
            .set_number_of_retries(1);
        let client = Client::open(url)?;
        Ok(Self {
            connection: ConnectionManager::new_with_config(client, configuration).await?,
            check: Script::new(CHECK),
            add: Script::new(ADD),
        })
    }

    /// Runs [`CHECK`], and sets the remaining amount of each counter. Reservations are subtracted from it, `add` is
    /// not: the library does so itself.
    async fn run_check(
        &self,
        counters: &mut [Counter],
        amounts: Amounts<'_>,
    ) -> Result<Authorization, RedisError> {
        let mut connection = self.connection.clone();
        let mut script = self.check.prepare_invoke();
        for counter in counters.iter() {
            let key = keys::counter(counter);
            script.key(&key);
            script.key(keys::reservations(&key));
            script.key(keys::counters_of(counter.limit()));
        }
        script
            .arg(amounts.check)
            .arg(amounts.add)
            .arg(amounts.reserve)
            .arg(u64::try_from(amounts.lifetime.as_millis()).unwrap_or(u64::MAX))
            .arg(amounts.id);
        for counter in counters.iter() {
            script.arg(counter.window().as_secs());
            script.arg(counter.max_value());
        }
        let reply: Vec<u64> = script.invoke_async(&mut connection).await?;
        let fits = reply.last() == Some(&1);
        let mut rejected_by = None;
        for (counter, reply) in counters.iter_mut().zip(reply.chunks_exact(3)) {
            let taken = reply[0].saturating_add(reply[1]);
            let left = counter.max_value().saturating_sub(taken);
            let reserved = if fits { amounts.reserve } else { 0 };
            counter.set_remaining(left.saturating_sub(reserved));
            counter.set_expires_in(Duration::from_millis(reply[2]));
            if taken.saturating_add(amounts.check) > counter.max_value() && rejected_by.is_none() {
                rejected_by = Some(counter.limit().name().map(str::to_owned));
            }
        }
        Ok(if fits {
            Authorization::Ok
        } else {
            Authorization::Limited(rejected_by.flatten())
        })
    }

    async fn add(&self, counter: &Counter, amount: u64) -> Result<(), RedisError> {
        let mut connection = self.connection.clone();
        self.add
            .key(keys::counter(counter))
            .key(keys::counters_of(counter.limit()))
            .arg(amount)
            .arg(counter.window().as_secs())
            .invoke_async(&mut connection)
            .await
    }

    async fn of_limits(
        &self,
        limits: &HashSet<Arc<Limit>>,
    ) -> Result<HashSet<Counter>, RedisError> {
        let mut connection = self.connection.clone();
        let mut counters = HashSet::new();
        for limit in limits {
            let siblings = keys::counters_of(limit);
            let keys: Vec<String> = connection.smembers(&siblings).await?;
            for key in keys {
                let used: Option<u64> = connection.get(&key).await?;
                let Some(used) = used else {
                    let () = connection.srem(&siblings, &key).await?;
                    continue;
                };
                let ends: i64 = connection.pttl(&key).await?;
                let Some(mut counter) = keys::counter_of(&key, limit) else {
                    continue;
                };
                counter.set_remaining(limit.max_value().saturating_sub(used));
                counter.set_expires_in(Duration::from_millis(ends.try_into().unwrap_or(0)));
                counters.insert(counter);
            }
        }
        Ok(counters)
    }

    async fn delete(&self, limits: &HashSet<Arc<Limit>>) -> Result<(), RedisError> {
        let mut connection = self.connection.clone();
        for limit in limits {
            let siblings = keys::counters_of(limit);
            let keys: Vec<String> = connection.smembers(&siblings).await?;
            for key in keys {
                let () = connection.del(keys::reservations(&key)).await?;
                let () = connection.del(&key).await?;
            }
            let () = connection.del(&siblings).await?;
        }
        Ok(())
    }

    async fn release(&self, counters: &[Counter], id: &str) -> Result<bool, RedisError> {
        let mut connection = self.connection.clone();
        let mut released = false;
        for counter in counters {
            let key = keys::reservations(&keys::counter(counter));
            let removed: u64 = connection.hdel(key, id).await?;
            released |= removed > 0;
        }
        Ok(released)
    }
}

#[tonic::async_trait]
impl AsyncCounterStorage for RedisStorage {
    async fn is_within_limits(&self, counter: &Counter, delta: u64) -> Result<bool, StorageErr> {
        let counters = &mut vec![counter.clone()];
        let authorization = self.check(counters, delta).await?;
        Ok(matches!(authorization, Authorization::Ok))
    }

    async fn update_counter(&self, counter: &Counter, delta: u64) -> Result<(), StorageErr> {
        failure::of(self.add(counter, delta).await).await
    }

    async fn check<'a>(
        &self,
        counters: &mut Vec<Counter>,
        delta: u64,
    ) -> Result<Authorization, StorageErr> {
        let amounts = Amounts {
            check: delta,
            ..Amounts::default()
        };
        failure::of(self.run_check(counters, amounts).await).await
    }

    async fn check_and_update<'a>(
        &self,
        counters: &mut Vec<Counter>,
        delta: u64,
    ) -> Result<Authorization, StorageErr> {
        let amounts = Amounts {
            check: delta,
            add: delta,
            ..Amounts::default()
        };
        failure::of(self.run_check(counters, amounts).await).await
    }

    async fn get_counters(
        &self,
        limits: &HashSet<Arc<Limit>>,
    ) -> Result<HashSet<Counter>, StorageErr> {
        failure::of(self.of_limits(limits).await).await
    }

    async fn delete_counters(&self, limits: &HashSet<Arc<Limit>>) -> Result<(), StorageErr> {
        failure::of(self.delete(limits).await).await
    }

    async fn clear(&self) -> Result<(), StorageErr> {
        let mut connection = self.connection.clone();
        failure::of(redis::cmd("FLUSHDB").query_async(&mut connection).await).await
    }

    async fn reserve(
        &self,
        counters: &mut Vec<Counter>,
        reservation_id: &ReservationId,
        check_amount: u64,
        hold_amount: u64,
        ttl: Duration,
    ) -> Result<Authorization, StorageErr> {
        let amounts = Amounts {
            check: check_amount,
            add: 0,
            reserve: hold_amount,
            lifetime: ttl,
            id: reservation_id.as_str(),
        };
        failure::of(self.run_check(counters, amounts).await).await
    }

    async fn release_reservation(
        &self,
        counters: &[Counter],
        reservation_id: &ReservationId,
    ) -> Result<bool, StorageErr> {
        failure::of(self.release(counters, reservation_id.as_str()).await).await
    }
}
