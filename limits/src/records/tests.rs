//! Records are found by one worker, once, or expire.

use super::{CAPACITY, Insertion, RecordStore, Taken};
use crate::local::StoreError;
use crate::shared_data::{SharedData, SharedDataError};
use crate::time::{Nanos, Timestamp};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

const NOW: Timestamp = Timestamp::new(1_000);

/// Returns the instant that lies so many nanoseconds after the beginning.
fn at(nanoseconds: u64) -> Timestamp {
    NOW.saturating_add(Nanos::new(nanoseconds))
}

/// Returns a store of records that all are its own.
fn store_of(pages: u32) -> RecordStore {
    RecordStore::new(pages, |_| true)
}

#[test]
fn record_is_replaced_until_it_is_taken() {
    let (store, memory) = (store_of(4), Memory::default());
    let replace = |key, bytes: &'static [u8]| {
        let change = &mut |_: &[u8]| Some(bytes.to_vec());
        store.replace(&memory, NOW, key, change).unwrap()
    };
    let take = || store.take(&memory, NOW, 7).unwrap().0;
    store.insert(&memory, NOW, 0, 7, at(9), b"one").unwrap();
    replace(7, b"two");
    replace(7, b"");
    replace(8, b"other");
    assert_eq!(take(), Taken::Record(b"two".to_vec()));
    replace(7, b"three");
    assert_eq!(take(), Taken::Before);
}

#[test]
fn records_of_one_page_are_distinguished() {
    let (store, memory) = (store_of(1), Memory::default());
    store.insert(&memory, NOW, 0, 7, at(9), b"one").unwrap();
    store.insert(&memory, NOW, 0, 8, at(9), b"two").unwrap();
    let change = &mut |before: &[u8]| Some([before, b" changed"].concat());
    store.replace(&memory, NOW, 8, change).unwrap();
    let take = |key| store.take(&memory, NOW, key).unwrap().0;
    assert_eq!(take(8), Taken::Record(b"two changed".to_vec()));
    assert_eq!(take(7), Taken::Record(b"one".to_vec()));
}

#[test]
fn pages_share_the_records() {
    let (store, memory) = (store_of(64), Memory::default());
    let largest = [1; RecordStore::MAX_BYTES];
    for key in 0..256 {
        let inserted = store.insert(&memory, NOW, 0, key, at(9), &largest).unwrap();
        assert!(matches!(inserted.0, Insertion::Stored(_)), "{key}");
    }
    assert!(memory.values.borrow().len() > 48);
}

/// A value, and the number of its last write.
type Written = (Vec<u8>, u32);

/// What another worker does in between.
type Intrusion = Box<dyn FnOnce(&Memory)>;

/// Memory in which another worker may do something just before a write.
#[derive(Default)]
struct Memory {
    values: RefCell<HashMap<Vec<u8>, Written>>,
    intruder: RefCell<Option<Intrusion>>,
}

impl SharedData for Memory {
    fn shared_data(&self, key: &[u8]) -> Result<Option<(Vec<u8>, u32)>, SharedDataError> {
        Ok(self.values.borrow().get(key).cloned())
    }

    fn set_shared_data(
        &self,
        key: &[u8],
        value: &[u8],
        expected: u32,
    ) -> Result<(), SharedDataError> {
        if let Some(intruder) = self.intruder.take() {
            intruder(self);
        }
        let mut values = self.values.borrow_mut();
        let version = values.get(key).map_or(u32::MAX, |(_, version)| *version);
        if version != expected {
            return Err(SharedDataError::CasMismatch);
        }
        let next = version.wrapping_add(2);
        values.insert(key.to_vec(), (value.to_vec(), next));
        Ok(())
    }
}

#[test]
fn record_is_taken_once() {
    let (memory, store) = (Memory::default(), store_of(4));
    let insert = |key| {
        store
            .insert(&memory, NOW, 0, key, at(10), b"record")
            .unwrap()
    };
    assert!(matches!(insert(7), (Insertion::Stored(_), _)));
    assert_eq!(insert(7).0, Insertion::Known);
    let take = |key, now| store.take(&memory, now, key).unwrap();
    assert_eq!(take(8, NOW).0, Taken::Nothing);
    assert_eq!(take(7, NOW).0, Taken::Record(b"record".to_vec()));
    assert_eq!(take(7, at(9)), (Taken::Before, vec![]));
    assert_eq!(
        insert(7).0,
        Insertion::Known,
        "as long as it would have lived"
    );
    assert_eq!(take(7, at(10)), (Taken::Nothing, vec![]));
}

#[test]
fn expired_record_is_returned_once() {
    let (memory, store) = (Memory::default(), store_of(1));
    let (stored, _) = store.insert(&memory, NOW, 0, 7, at(10), b"old").unwrap();
    let Insertion::Stored(page) = stored else {
        panic!("{stored:?}");
    };
    assert!(store.expired(&memory, at(9), page).unwrap().is_empty());
    let (taken, expired) = store.take(&memory, at(10), 7).unwrap();
    assert_eq!((taken, expired), (Taken::Nothing, vec![b"old".to_vec()]));
    assert!(store.expired(&memory, at(11), page).unwrap().is_empty());
}

#[test]
fn full_page_rejects_records_until_one_is_taken() {
    let (memory, store) = (Memory::default(), store_of(1));
    let insert = |key: usize| {
        let key = u128::try_from(key).unwrap();
        store.insert(&memory, NOW, 0, key, at(10), b"r").unwrap().0
    };
    for key in 0..CAPACITY {
        assert!(matches!(insert(key), Insertion::Stored(_)));
    }
    assert_eq!(insert(CAPACITY), Insertion::Full);
    store.take(&memory, NOW, 3).unwrap();
    assert!(matches!(insert(CAPACITY), Insertion::Stored(_)));
    let large = vec![1; RecordStore::MAX_BYTES + 1];
    let large = store_of(64).insert(&memory, NOW, 0, 1 << 70, at(10), &large);
    assert_eq!(large.unwrap().0, Insertion::Full);
}

#[test]
fn owner_with_most_records_makes_room() {
    let (memory, store) = (Memory::default(), store_of(1));
    let insert = |owner, key: u8| {
        let insertion = store.insert(&memory, NOW, owner, key.into(), at(10), &[key]);
        insertion.unwrap()
    };
    for key in 0..16 {
        assert!(matches!(insert(1, key), (Insertion::Stored(_), _)));
    }
    assert_eq!(
        insert(1, 16),
        (Insertion::Full, vec![]),
        "its own are first"
    );
    let mut displaced = Vec::new();
    for key in 17..25 {
        let (insertion, removed) = insert(2, key);
        assert!(matches!(insertion, Insertion::Stored(_)), "{key}");
        displaced.extend(removed);
    }
    let newest: Vec<Vec<u8>> = (8..16).rev().map(|key| vec![key]).collect();
    assert_eq!(displaced, newest);
    assert_eq!(insert(2, 30).0, Insertion::Full, "both have eight");
    assert_eq!(store.take(&memory, NOW, 15).unwrap().0, Taken::Nothing);
    assert_eq!(
        store.take(&memory, NOW, 7).unwrap().0,
        Taken::Record(vec![7])
    );
    // What was taken makes room first.
    assert_eq!(insert(3, 31).1, Vec::<Vec<u8>>::new());
    // Records of other stores are not displaced: this one cannot settle them.
    let other = RecordStore::new(1, |bytes| bytes.first() > Some(&100));
    let inserted = other.insert(&memory, NOW, 4, 200, at(10), &[200]);
    assert_eq!(inserted.unwrap().0, Insertion::Full);
}

#[test]
fn owner_displaces_no_record_to_have_as_many() {
    let (memory, store) = (Memory::default(), store_of(1));
    let insert = |owner, key: u8| {
        let insertion = store.insert(&memory, NOW, owner, key.into(), at(10), &[key]);
        insertion.unwrap()
    };
    for (owner, keys) in [(1, 0..8), (2, 8..15), (3, 15..16)] {
        for key in keys {
            assert!(matches!(insert(owner, key), (Insertion::Stored(_), _)));
        }
    }
    assert_eq!(insert(2, 20), (Insertion::Full, vec![]));
    assert_eq!(insert(3, 21).1, vec![vec![7]]);
}

#[test]
fn worker_that_writes_first_takes_the_record() {
    let (memory, store) = (Memory::default(), store_of(1));
    store.insert(&memory, NOW, 0, 7, at(10), b"record").unwrap();
    *memory.intruder.borrow_mut() = Some(Box::new(|memory| {
        let (taken, _) = store_of(1).take(memory, NOW, 7).unwrap();
        assert_eq!(taken, Taken::Record(b"record".to_vec()));
    }));
    assert_eq!(store.take(&memory, NOW, 7).unwrap().0, Taken::Before);
}

#[test]
fn failing_memory_is_an_error() {
    struct Failing;
    impl SharedData for Failing {
        fn shared_data(&self, _: &[u8]) -> Result<Option<(Vec<u8>, u32)>, SharedDataError> {
            Ok(None)
        }
        fn set_shared_data(&self, _: &[u8], _: &[u8], _: u32) -> Result<(), SharedDataError> {
            Err(SharedDataError::CasMismatch)
        }
    }
    let inserted = store_of(1).insert(&Failing, NOW, 0, 7, at(10), b"record");
    assert_eq!(inserted, Err(StoreError::Contended));
    let taken = store_of(1).take(&Failing, NOW, 7);
    assert_eq!(taken, Ok((Taken::Nothing, vec![])), "it writes nothing");
}

/// What a worker does, after so many nanoseconds.
#[derive(Clone, Debug)]
enum Operation {
    Insert { key: u128, ttl: u64 },
    Take { key: u128 },
    Sweep { page: u64 },
}

fn operations() -> impl Strategy<Value = Vec<(u64, Operation)>> {
    let operation = prop_oneof![
        3 => (0..200_u128, 1..60_u64).prop_map(|(key, ttl)| Operation::Insert { key, ttl }),
        2 => (0..200_u128).prop_map(|key| Operation::Take { key }),
        1 => (0..3_u64).prop_map(|page| Operation::Sweep { page }),
    ];
    prop::collection::vec((0..8_u64, operation), 0..200)
}

proptest! {
    #[test]
    fn every_stored_record_is_returned_once(operations in operations()) {
        let (memory, store) = (Memory::default(), store_of(3));
        let mut now = NOW;
        let mut stored = BTreeMap::new();
        let mut number = 0_u64;
        let mut returned = Vec::new();
        for (wait, operation) in operations {
            now = now.saturating_add(Nanos::new(wait));
            match operation {
                Operation::Insert { key, ttl } => {
                    number += 1;
                    let bytes = number.to_le_bytes();
                    let expires = now.saturating_add(Nanos::new(ttl));
                    let (inserted, expired) = store.insert(&memory, now, 0, key, expires, &bytes).unwrap();
                    returned.extend(expired.into_iter().map(|bytes| (bytes, now)));
                    if let Insertion::Stored(_) = inserted {
                        stored.insert(bytes.to_vec(), expires);
                    }
                }
                Operation::Take { key } => {
                    let (taken, expired) = store.take(&memory, now, key).unwrap();
                    returned.extend(expired.into_iter().map(|bytes| (bytes, now)));
                    if let Taken::Record(bytes) = taken {
                        prop_assert!(now < stored[&bytes]);
                        returned.push((bytes, Timestamp::MAX));
                    }
                }
                Operation::Sweep { page } => {
                    let expired = store.expired(&memory, now, page).unwrap();
                    returned.extend(expired.into_iter().map(|bytes| (bytes, now)));
                }
            }
        }
        for page in 0..3 {
            let expired = store.expired(&memory, Timestamp::MAX, page).unwrap();
            returned.extend(expired.into_iter().map(|bytes| (bytes, Timestamp::MAX)));
        }
        for (bytes, at) in returned {
            let expires = stored.remove(&bytes);
            prop_assert!(expires.is_some_and(|expires| expires <= at), "returned twice, or early");
        }
        prop_assert!(stored.is_empty());
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let memory = Memory::default();
        let mut page = super::HEADER.to_vec();
        page.extend(bytes);
        let key = super::shared_key(*b"tollrecs", super::VERSION, 0);
        memory.values.borrow_mut().insert(key.to_vec(), (page, 1));
        let _ = store_of(1).take(&memory, NOW, 7);
    }
}

#[test]
fn record_of_another_store_stays() {
    let memory = Memory::default();
    let [mine, other] = [b'm', b'o']
        .map(|first| RecordStore::new(1, move |bytes: &[u8]| bytes.first() == Some(&first)));
    mine.insert(&memory, NOW, 0, 7, at(10), b"mine").unwrap();
    assert_eq!(other.take(&memory, NOW, 7).unwrap().0, Taken::Nothing);
    assert!(other.expired(&memory, at(20), 0).unwrap().is_empty());
    assert_eq!(mine.expired(&memory, at(20), 0).unwrap(), [b"mine"]);
    mine.insert(&memory, NOW, 0, 8, at(10), b"mine").unwrap();
    let much_later = at(20).saturating_add(super::GRACE);
    assert!(other.expired(&memory, much_later, 0).unwrap().is_empty());
    assert!(
        mine.expired(&memory, much_later, 0).unwrap().is_empty(),
        "dropped"
    );
}
