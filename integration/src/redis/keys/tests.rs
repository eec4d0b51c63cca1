use std::{collections::HashMap, sync::Arc};

use limitador::{
    counter::Counter,
    limit::{Context, Limit},
};

use super::{counter, counter_of, counters_of};

fn limit(max_value: u64) -> Limit {
    let variable = "descriptors[0][\"user\"]".try_into().unwrap();
    Limit::new("a/b", max_value, 60, [], [variable])
}

fn counter_for(limit: Limit, user: &str) -> Counter {
    let mut context = Context::default();
    let descriptor = HashMap::from([("user".to_owned(), user.to_owned())]);
    context.list_binding("descriptors".to_owned(), vec![descriptor]);
    Counter::new(limit, &context).unwrap().unwrap()
}

#[test]
fn counter_round_trips_through_key() {
    let key = counter(&counter_for(limit(10), "o\"connor"));
    let found = counter_of(&key, &Arc::new(limit(10))).unwrap();
    assert_eq!(found, counter_for(limit(10), "o\"connor"));
    assert_eq!(found.set_variables().values().next().unwrap(), "o\"connor");
}

#[test]
fn key_excludes_limit_value_and_remaining() {
    let before = counter(&counter_for(limit(10), "alice"));
    let mut later = counter_for(limit(20), "alice");
    later.set_remaining(3);
    assert_eq!(counter(&later), before);
    assert_ne!(counter(&counter_for(limit(10), "bob")), before);
    assert_eq!(counters_of(&limit(10)), counters_of(&limit(20)));
}
