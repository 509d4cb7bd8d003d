//! Thousands of virtual seconds with endpoints that flap, from a seed that replays: picks go to
//! healthy endpoints only, nothing healthy means `None`, and the pool recovers by itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tidegate_core::Clock;
use tidegate_core::clock::ManualClock;

use super::Pool;
use crate::health::Outcome;
use crate::random::{below, mix};
use crate::testing::pick;
use crate::zones::Locality;

struct World {
    seed: u64,
    pool: Pool,
    clock: Clock,
    hand: ManualClock,
    /// Whether the program behind each address runs, and when it is checked next.
    programs: BTreeMap<SocketAddr, (bool, Duration)>,
    elapsed: Duration,
}

const TICK: Duration = Duration::from_millis(100);

impl World {
    fn new(balance: &str, count: usize, seed: u64) -> Self {
        let endpoints: Vec<String> =
            (0..count).map(|n| format!(r#""10.0.{}.{}:80""#, n / 250, n % 250)).collect();
        let json = format!(
            r#"{{"endpoints":[{}],"balance":{balance},"health":{{"interval":"1s"}},
            "panic_threshold":"0%"}}"#,
            endpoints.join(",")
        );
        let pool =
            Pool::compile("api", &serde_json::from_str(&json).unwrap(), &Locality::default(), None)
                .unwrap();
        let programs =
            pool.endpoints().iter().map(|e| (e.address(), (true, Duration::ZERO))).collect();
        let hand = ManualClock::new();
        let clock = Clock::Manual(hand.clone());
        Self { seed, pool, clock, hand, programs, elapsed: Duration::ZERO }
    }

    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(1);
        mix(self.seed)
    }

    /// Programs stop and start with these chances per tick, in a thousand.
    fn flap(&mut self, stop: usize, start: usize) {
        let addresses: Vec<_> = self.programs.keys().copied().collect();
        for address in addresses {
            let chance = below(self.random(), 1_000);
            let (runs, _) = self.programs.get_mut(&address).unwrap();
            *runs = if *runs { chance >= stop } else { chance < start };
        }
    }

    fn check_due(&mut self) {
        let addresses: Vec<_> = self.programs.keys().copied().collect();
        for address in addresses {
            let random = self.random();
            let (runs, due) = self.programs.get_mut(&address).unwrap();
            if *due > self.elapsed {
                continue;
            }
            *due = self.elapsed + self.pool.health().unwrap().delay(random);
            let outcome = if *runs { Outcome::Passed } else { Outcome::Failed };
            self.pool.observe(address, outcome, self.clock.now());
        }
    }

    /// Ten requests, each with up to three attempts; returns how many found a running program.
    fn serve(&mut self) -> u32 {
        let healthy = self.pool.endpoints().iter().filter(|e| e.is_healthy()).count();
        let mut served = 0;
        for _ in 0..10 {
            let mut tried = Vec::new();
            for attempt in 0..3 {
                let (key, random) = (self.random(), self.random());
                let Some(lease) = pick(&self.pool, key, &tried, random) else {
                    assert_eq!(healthy, 0, "seed {}: none while some are healthy", self.seed);
                    break;
                };
                assert!(lease.is_healthy(), "seed {}: an unhealthy one", self.seed);
                let again = tried.contains(&lease.address());
                assert!(!again || attempt >= healthy, "seed {}: one tried before", self.seed);
                if self.programs.get(&lease.address()).is_some_and(|(runs, _)| *runs) {
                    served += 1;
                    break;
                }
                tried.push(lease.address());
            }
        }
        served
    }

    fn tick(&mut self) -> u32 {
        self.hand.advance(TICK);
        self.elapsed += TICK;
        self.check_due();
        self.serve()
    }
}

/// Flaps for 200 virtual seconds, loses all, and recovers. Returns the share served while flapping.
#[track_caller]
fn check(balance: &str, count: usize, seed: u64) -> f64 {
    let mut world = World::new(balance, count, seed);
    let mut served = 0;
    for _ in 0..2_000 {
        world.flap(5, 50);
        served += world.tick();
    }
    world.flap(1_000, 0);
    let dark: Vec<u32> = (0..100).map(|_| world.tick()).collect();
    assert!(pick(&world.pool, 0, &[], 0).is_none());
    assert_eq!(dark.iter().sum::<u32>(), 0);
    world.flap(0, 1_000);
    let light: Vec<u32> = (0..100).map(|_| world.tick()).collect();
    assert!(light.iter().rev().take(60).all(|served| *served == 10), "{light:?}");
    let before: Vec<u64> = world.pool.endpoints().iter().map(|e| e.picks()).collect();
    for _ in 0..count * 100 {
        let (key, random) = (world.random(), world.random());
        drop(pick(&world.pool, key, &[], random));
    }
    let all = world.pool.endpoints();
    assert!(all.iter().zip(before).all(|(endpoint, before)| endpoint.picks() > before));
    assert!(all.iter().all(|endpoint| endpoint.in_flight() == 0));
    f64::from(served) / 20_000.0
}

#[test]
fn flapping_endpoints_are_avoided_and_come_back() {
    for seed in [1, 2, 3] {
        for balance in
            [r#""round_robin""#, r#""random""#, r#""least_request""#, r#"{"hash":"path"}"#]
        {
            let small = check(balance, 3, seed << 32);
            let middle = check(balance, 20, seed << 32);
            assert!(small > 0.99 && middle > 0.997, "{balance}: {small} {middle}");
        }
    }
}

#[test]
fn a_large_pool_is_rebuilt_at_a_bounded_pace() {
    let share = check(r#""round_robin""#, 600, 7 << 32);
    assert!(share > 0.997, "{share}");
}
