//! Queued requests that a service decides on.

use crate::stream::tests::service::harness::{CHECK, MILLISECOND, RESERVE, RLS, with_queue};

#[test]
fn only_first_queued_request_rechecks() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = with_queue(storage, 2, "5m");
        assert_eq!(gateway.exchange(60), "admitted");
        let (mut second, mut third, fourth) = (gateway.come(), gateway.come(), gateway.come());
        drop(fourth);
        let waiting = (gateway.queued(), gateway.replies());
        assert_eq!(waiting, (2, 1), "two may wait: {storage}");
        let (was_checked, resumed) = (gateway.was_checked(), gateway.resumed());
        gateway.ticks(300, &mut [&mut second, &mut third]);
        assert_eq!(gateway.resumed(), resumed, "{storage}");
        let times = gateway.was_checked() - was_checked;
        assert!((2..=6).contains(&times), "{storage}: {times} in 3 seconds");
        // Exchanges of another Envoy have ended, or a window.
        gateway.limitador.used.clear();
        gateway.ticks(101, &mut [&mut second, &mut third]);
        assert!(gateway.resumed() > resumed, "{storage}");
        gateway.end(&mut second, 60);
        let state = |key: &str| gateway.envoy.state(key);
        assert_eq!(state("tollgate.decision").as_deref(), Some("queued"));
        assert_eq!(state("tollgate.limit").as_deref(), Some("free"));
    }
}

#[test]
fn released_room_is_checked_at_once() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = with_queue(storage, 9, "5m");
        let (mut first, mut second, mut third) = (gateway.come(), gateway.come(), gateway.come());
        assert_eq!((gateway.queued(), gateway.replies()), (2, 0));
        let (was_checked, resumed) = (gateway.was_checked(), gateway.resumed());
        gateway.ticks(5, &mut [&mut second, &mut third]);
        assert_eq!(gateway.was_checked(), was_checked, "nothing has changed");
        gateway.end(&mut first, 1);
        gateway.ticks(2, &mut [&mut second, &mut third]);
        assert_eq!(gateway.queued(), 1, "{storage}");
        gateway.end(&mut second, 1);
        gateway.ticks(2, &mut [&mut third]);
        assert_eq!(gateway.queued(), 0, "{storage}");
        gateway.end(&mut third, 1);
        gateway.answer(&mut None);
        assert_eq!(gateway.resumed() - resumed, 2);
        assert_eq!(gateway.limitador.total(), 3);
        assert!(gateway.limitador.reserved.is_empty());
    }
}

#[test]
fn queue_timeout_rejects_while_service_pending() {
    for storage in [RESERVE, CHECK, RLS] {
        let mut gateway = with_queue(storage, 9, "500ms");
        gateway.exchange(60);
        let resumed = gateway.resumed();
        let (mut second, mut third) = (gateway.come(), gateway.come());
        gateway.ticks(49, &mut [&mut second, &mut third]);
        assert_eq!((gateway.replies(), gateway.queued()), (0, 2), "{storage}");
        gateway.ticks(2, &mut [&mut second, &mut third]);
        assert_eq!((gateway.replies(), gateway.queued()), (2, 0), "{storage}");
        assert_eq!(gateway.envoy.host.replies.borrow()[0].status, 429);
        second.on_log();
        third.on_log();
        gateway.answer(&mut None);
        assert_eq!(gateway.resumed(), resumed);
        assert!(gateway.limitador.reserved.is_empty());
    }
}

#[test]
fn disconnect_of_rechecking_request_frees_queue() {
    let mut gateway = with_queue(RESERVE, 9, "5m");
    gateway.exchange(60);
    let (mut second, mut third) = (gateway.come(), gateway.come());
    gateway.limitador.used.clear();
    let clock = &gateway.envoy.host.clock;
    clock.set(clock.get() + 2_000 * MILLISECOND);
    let was_checked = gateway.was_checked();
    gateway.poll_queue(&mut [&mut second, &mut third]);
    assert_eq!(
        gateway.was_checked(),
        was_checked + 1,
        "only the first queued request checks"
    );
    second.on_log();
    drop(second);
    assert_eq!(gateway.queued(), 1);
    gateway.answer(&mut None);
    assert!(gateway.limitador.reserved.is_empty());
    let resumed = gateway.resumed();
    gateway.ticks(2, &mut [&mut third]);
    assert_eq!((gateway.queued(), gateway.resumed()), (0, resumed + 1));
    gateway.end(&mut third, 1);
    gateway.answer(&mut None);
    assert_eq!(gateway.limitador.total(), 1);
}

#[test]
fn failure_mode_decides_on_queued_requests() {
    for (mode, resumed, replies) in [("local", 0, 0), ("allow", 1, 0), ("deny", 0, 1)] {
        let storage = RESERVE.replace('}', &format!(r#", "failureMode": "{mode}" }}"#));
        let mut gateway = with_queue(&storage, 9, "5m");
        gateway.exchange(60);
        let mut second = gateway.come();
        let before = gateway.resumed();
        let clock = &gateway.envoy.host.clock;
        clock.set(clock.get() + 2_000 * MILLISECOND);
        gateway.poll_queue(&mut [&mut second]);
        let mut second = Some(second);
        gateway.answer_by(&mut second, &mut |_| Some(Err(14)));
        assert_eq!(gateway.resumed() - before, resumed, "{mode}");
        assert_eq!(gateway.replies(), replies, "{mode}");
        assert_eq!(gateway.queued(), i64::from(mode == "local"), "{mode}");
    }
}
