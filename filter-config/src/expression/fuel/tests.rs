//! Tests of fuel.

use super::{Exhausted, Fuel, FuelLimits};

#[test]
fn exhausted_fuel_stays_exhausted() {
    let fuel = Fuel::new(FuelLimits {
        steps: 10,
        bytes: 100,
    });
    assert_eq!(fuel.step(10), Ok(()));
    assert!(fuel.step(1).is_err());
    assert_eq!(fuel.exhausted(), Some(Exhausted::Steps));
    assert!(fuel.step(1).is_err());
}

#[test]
fn produced_bytes_exhaust_the_steps_too() {
    let fuel = Fuel::new(FuelLimits {
        steps: 10,
        bytes: 100,
    });
    assert_eq!(fuel.produce(1, 60), Ok(()));
    assert_eq!(fuel.steps(), 9);
    assert!(fuel.produce(1, 60).is_err());
    assert_eq!(fuel.exhausted(), Some(Exhausted::Bytes));
    assert!(fuel.step(1).is_err());
    assert_eq!(fuel.exhausted(), Some(Exhausted::Bytes));
}

#[test]
fn long_texts_take_a_step_for_each_block() {
    let fuel = Fuel::new(FuelLimits {
        steps: 100,
        bytes: 0,
    });
    assert_eq!(fuel.compare(640), Ok(()));
    assert_eq!(fuel.steps(), 90);
    assert_eq!(fuel.scan(640), Ok(()));
    assert_eq!(fuel.steps(), 50);
}
