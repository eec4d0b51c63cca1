//! Properties: whatever happens in whatever order, the sum that is counted is the sum that was settled.

use super::super::limitador::{Limitador, Said};
use super::super::{Answer, Question, Remote, Trace, message};
use super::{SECOND, subject};
use crate::host::Host;
use crate::host::double::Double;
use filter_config::{Protocol, RemoteFailureMode};
use proptest::collection::vec;
use proptest::prelude::*;

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// An exchange of a caller asks, and settles so much.
    Exchange { caller: u32, cost: u64 },
    /// The oldest calls that are under way are answered, or fail.
    Answer { calls: usize, said: Option<u32> },
    /// So many milliseconds pass, and there is a tick.
    Tick(u64),
    /// The service forgets or learns `Reserve`.
    Age(bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let said = prop_oneof![
        3 => Just(None),
        1 => prop::sample::select(vec![4_u32, 12, 13, 14]).prop_map(Some),
        // What no status stands for: a reply that is none.
        1 => Just(Some(u32::MAX)),
    ];
    let event = prop_oneof![
        4 => (0..4_u32, 0..100_u64).prop_map(|(caller, cost)| Event::Exchange { caller, cost }),
        4 => (1..6_usize, said).prop_map(|(calls, said)| Event::Answer { calls, said }),
        3 => (1..3_000_u64).prop_map(Event::Tick),
        1 => any::<bool>().prop_map(Event::Age),
    ];
    vec(event, 1..120)
}

/// A service, and the calls to it that are under way.
struct World {
    host: Double,
    remote: Remote,
    limitador: Limitador,
    answered: usize,
    now: u64,
    /// Costs of exchanges whose questions are under way, by the token.
    open: Vec<(u32, u32, u64)>,
}

impl World {
    fn new(protocol: Protocol, flush_ms: u32) -> Self {
        let host = Double::default();
        let settings = filter_config::Remote {
            cluster: "limitador".to_owned(),
            protocol,
            domain: None,
            timeout_ms: 100,
            failure_mode: RemoteFailureMode::Local,
            flush_ms,
            max_counters: 64,
        };
        Self {
            remote: Remote::new(&host, settings).unwrap(),
            host,
            limitador: Limitador::new(u64::MAX / 2),
            answered: 0,
            now: SECOND,
            open: Vec::new(),
        }
    }

    fn settle(&self, caller: u32, reservation: Option<String>, cost: u64) {
        let subject = subject(1, caller);
        let trace = Trace::new();
        self.remote
            .settle(&self.host, self.now, &subject, reservation, cost, &trace);
    }

    fn exchange(&mut self, caller: u32, cost: u64) {
        let question = Question {
            subject: subject(1, caller),
            amount: 10,
            ttl: SECOND,
        };
        let asked = if self.remote.is_away() {
            None
        } else {
            let trace = Trace::new();
            self.remote.ask(&self.host, self.now, 1, &question, &trace)
        };
        match asked {
            Some(token) => self.open.push((token, caller, cost)),
            None => self.settle(caller, None, cost),
        }
    }

    fn answer(&mut self, fault: Option<u32>) {
        if self.answered >= self.host.grpc.borrow().len() {
            return;
        }
        let call = self.host.grpc.borrow()[self.answered].clone();
        self.answered += 1;
        let token = u32::try_from(self.answered).unwrap();
        let said: Said = match fault {
            None => self.limitador.answer(&call.method, &call.message),
            Some(u32::MAX) => Ok(vec![0x0a, 0xff]),
            Some(status) => Err(status),
        };
        let reply = said.as_deref().map_err(|status| *status);
        let answered = self.remote.on_reply(&self.host, self.now, token, reply);
        let position = self.open.iter().position(|(open, ..)| *open == token);
        if let Some(position) = position {
            let (_, caller, cost) = self.open.remove(position);
            let reservation = match answered.unwrap().answer {
                Answer::Reply(message::Reply { reservation, .. }) => reservation,
                Answer::AskAgain | Answer::Failed => None,
            };
            self.settle(caller, reservation, cost);
        } else {
            assert!(answered.is_none());
        }
    }

    fn tick(&mut self, milliseconds: u64) {
        self.now += milliseconds * 1_000_000;
        self.remote.on_tick(&self.host, self.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_sum_counted_is_the_sum_settled(
        events in events(),
        reserves in any::<bool>(),
        flush_ms in prop::sample::select(vec![0_u32, 20]),
    ) {
        let protocol = if reserves { Protocol::Reserve } else { Protocol::CheckReport };
        let mut world = World::new(protocol, flush_ms);
        let mut settled = [0; 4];
        for event in events {
            match event {
                Event::Exchange { caller, cost } => {
                    settled[usize::try_from(caller).unwrap()] += cost;
                    world.exchange(caller, cost);
                }
                Event::Answer { calls, said } => {
                    for _ in 0..calls {
                        world.answer(said);
                    }
                }
                Event::Tick(milliseconds) => world.tick(milliseconds),
                Event::Age(is_old) => world.limitador.is_old = is_old,
            }
        }
        // The service is well again.
        world.limitador.is_old = false;
        for _ in 0..1_000 {
            while world.answered < world.host.grpc.borrow().len() {
                world.answer(None);
            }
            world.tick(50);
        }
        prop_assert!(world.remote.is_drained());
        for (caller, settled) in settled.into_iter().enumerate() {
            let descriptor = &subject(1, u32::try_from(caller).unwrap()).descriptors[0];
            let counted = world.limitador.used.get(&("test".to_owned(), descriptor.clone()));
            prop_assert_eq!(counted.copied().unwrap_or_default(), settled);
        }
        prop_assert_eq!(world.host.metric("tollgate.storage_settlements_waiting"), 0);
        prop_assert_eq!(world.host.metric("tollgate.storage_away"), 0);
        prop_assert!(world.host.now().is_ok());
    }

    #[test]
    fn no_reply_is_more_than_refused(bytes in vec(any::<u8>(), 0..200)) {
        let _ = message::reserved(&bytes);
        let _ = message::checked(&bytes);
        let _ = message::committed(&bytes);
    }
}
