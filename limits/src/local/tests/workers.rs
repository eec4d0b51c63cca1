//! Workers on threads of their own.

use super::shared::Values;
use super::{NOW, Worker, per_minute};
use crate::reservation::Reservation;
use crate::shared_data::{SharedData, SharedDataError};
use std::sync::Mutex;
use std::thread;

/// Shared data that threads can share.
#[derive(Default)]
struct Memory(Mutex<Values>);

impl SharedData for Memory {
    fn shared_data(&self, key: &[u8]) -> Result<Option<(Vec<u8>, u32)>, SharedDataError> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    fn set_shared_data(
        &self,
        key: &[u8],
        value: &[u8],
        expected: u32,
    ) -> Result<(), SharedDataError> {
        let mut values = self.0.lock().unwrap();
        let version = values.get(key).map(|(_, version)| *version);
        if version.is_some_and(|version| version != expected) {
            return Err(SharedDataError::CasMismatch);
        }
        let next = version.unwrap_or(0) + 1;
        values.insert(key.to_vec(), (value.to_vec(), next));
        Ok(())
    }
}

#[test]
fn eight_workers_count_exactly_and_keep_the_limit() {
    let memory = Memory::default();
    let request = [
        Reservation::new(per_minute(1), 1, 1000, 10),
        Reservation::new(per_minute(2), 2, u64::MAX, 1),
    ];
    let admitted: u64 = thread::scope(|scope| {
        let worker = || {
            let mut worker = Worker::new(&memory, 65536);
            (0..500)
                .map(|_| {
                    let admitted = worker.admits(NOW, &request);
                    if admitted {
                        worker.settle(NOW, &[9, 1]);
                    }
                    u64::from(admitted)
                })
                .sum::<u64>()
        };
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum()
    });
    let worker = Worker::new(&memory, 65536);
    let [tokens, requests] = request.map(|reservation| worker.standing(NOW, reservation));
    assert_eq!((tokens.used, tokens.reserved), (9 * admitted, 0));
    assert_eq!((requests.used, requests.reserved), (admitted, 0));
    // The last request admitted may go past the limit, and none is rejected while there is room for it
    // alone.
    assert!((1000..1009).contains(&tokens.used), "{tokens:?}");
}
