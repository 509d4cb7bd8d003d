//! Who counts, who is hit, and when the cap is reached.

use std::net::{IpAddr, Ipv4Addr};

use tidegate_core::decision::Party;
use tidegate_core::event::Identity;

use super::*;

const SECOND: u64 = 1_000_000_000;
const CAP: Cap = Cap { share: 500, floor: 1 };

fn client(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + n).into()
}

fn from(client: IpAddr) -> Event<'static> {
    Event { client, ..Event::default() }
}

/// Somebody whom an upstream answered.
fn answered(client: IpAddr, status: u16) -> Event<'static> {
    Event { status, upstream_status: Some(status), ..from(client) }
}

impl Population {
    fn met(&self, event: &Event<'_>, now: u64) {
        self.see(event, now, false, || false);
    }
}

fn people(count: u32) -> Population {
    let population = Population::new(Secret::new(5));
    for n in 0..count {
        let route = Some(if n < 10 { "few" } else { "many" });
        population.met(&Event { route, ..from(client(n)) }, 0);
    }
    population
}

fn hit(population: &Population, target: &str, now: u64) -> bool {
    judged(population, target, now, false) == Verdict::Hit
}

fn judged(population: &Population, target: &str, now: u64, warned: bool) -> Verdict {
    let target = match target.parse() {
        Ok(network) => Target::Network(network),
        Err(_) => Target::Route(target.into()),
    };
    population.hit(&target, wish(now, warned), CAP, now)
}

fn wish(now: u64, warned: bool) -> Wish {
    Wish { until: now + 600 * SECOND, warned }
}

/// 200 clients who are served, and 1,000 addresses that only ever do harm.
fn attacked() -> Population {
    let population = Population::new(Secret::new(5));
    (0..200).for_each(|n| population.met(&answered(client(n), 200), 0));
    (200..1_200).for_each(|n| population.met(&answered(client(n), 401), 0));
    population
}

#[test]
fn one_of_few_may_be_hit_and_of_many_a_share() {
    let few = people(3);
    assert!(hit(&few, "10.0.0.1", 0));
    assert!(!hit(&few, "10.0.0.2", 0));
    let many = people(1_000);
    let taken = (0..100).filter(|n| hit(&many, &client(*n).to_string(), 0)).count();
    assert_eq!(taken, 50);
}

#[test]
fn a_network_and_a_route_count_with_everybody_in_them() {
    let people = people(1_000);
    assert!(!hit(&people, "10.0.0.0/16", 0));
    assert_eq!(people.count(0), (Counted { clients: 1_000, hit: 0 }, false));
    assert_eq!(people.tick(CAP, SECOND), None);
    assert!(hit(&people, "10.0.0.0/27", SECOND));
    assert_eq!(people.count(SECOND).0, Counted { clients: 1_000, hit: 32 });
    assert!(hit(&people, "few", SECOND), "they are hit already");
    assert!(!hit(&people, "many", SECOND));
}

#[test]
fn once_capped_only_time_or_mercy_helps() {
    let people = people(100);
    (0..5).for_each(|n| assert!(hit(&people, &client(n).to_string(), 0)));
    assert!(!hit(&people, "10.0.0.9", 0));
    assert_eq!(people.tick(CAP, SECOND), None);
    people.spare(&Target::Network("10.0.0.4".parse().unwrap()), SECOND);
    assert_eq!(people.tick(CAP, 2 * SECOND), Some((false, Counted { clients: 100, hit: 4 })));
    assert!(hit(&people, "10.0.0.9", 2 * SECOND));
    assert!(!hit(&people, "10.0.0.8", 2 * SECOND));
    for n in 0..100 {
        people.met(&from(client(n)), 601 * SECOND);
    }
    assert_eq!(people.tick(CAP, 700 * SECOND), Some((false, Counted { clients: 100, hit: 0 })));
}

#[test]
fn a_million_clients_are_a_sample_and_the_share_stays_right() {
    let people = people(1_000_000);
    let (counted, _) = people.count(0);
    assert!((900_000..1_100_000).contains(&counted.clients), "{counted:?}");
    assert!(people.bytes() < 2_000_000, "{}", people.bytes());
    let taken =
        (0..1_000_000).step_by(4).filter(|n| hit(&people, &client(*n).to_string(), 0)).count();
    // 5 % of a million, by a sample of a few thousand.
    assert!((35_000..65_000).contains(&taken), "{taken}");
}

#[test]
fn a_shared_identity_counts_with_everybody_who_shows_it() {
    let people = people(1_000);
    let identity =
        Identity { provider: "corp".into(), client: Some("web-app".into()), ..Identity::default() };
    for n in 0..800 {
        people.met(&Event { identity: Some(&identity), ..from(client(n)) }, 0);
    }
    let party = Party { provider: "corp".into(), id: "web-app".into() };
    let everybody = people.hit(&Target::Client(party.clone()), wish(0, false), CAP, 0);
    assert_ne!(everybody, Verdict::Hit);
    let nobody = Party { id: "other".into(), ..party };
    assert_eq!(people.hit(&Target::Client(nobody), wish(0, false), CAP, 0), Verdict::Hit);
    assert_eq!(people.count(0).0, Counted { clients: 1_000, hit: 0 });
}

#[test]
fn a_site_of_ipv6_is_one_client_however_many_addresses_it_has() {
    let people = people(100);
    for n in 0..1_000_u32 {
        people.met(&from(format!("2001:db8:7:{n:x}::1").parse().unwrap()), 0);
    }
    assert_eq!(people.count(0).0.clients, 101);
    assert!((0..1_000).all(|n| hit(&people, &format!("2001:db8:7:{n:x}::/64"), 0)));
    assert_eq!(people.count(0).0.hit, 1);
}

#[test]
fn who_was_not_seen_for_long_is_no_client() {
    let people = people(1_000);
    people.met(&from(client(7)), RECENT);
    assert_eq!(people.tick(CAP, RECENT + 1), None);
    assert_eq!(people.count(RECENT + 1).0.clients, 1);
}

#[test]
fn who_never_got_anything_is_hit_beyond_the_cap_at_first_lightly() {
    let people = attacked();
    let verdicts: Vec<Verdict> =
        (200..1_200).map(|n| judged(&people, &client(n).to_string(), 0, false)).collect();
    let of = |verdict| verdicts.iter().filter(|one| **one == verdict).count();
    // 5 % of all, and then the others, of whom none is served.
    assert_eq!((of(Verdict::Hit), of(Verdict::Lightly)), (60, 940));
    assert_eq!(people.count(0), (Counted { clients: 1_200, hit: 1_000 }, false));
    let again = |n| judged(&people, &client(n).to_string(), 60 * SECOND, true);
    (0..200).for_each(|n| people.met(&answered(client(n), 200), 60 * SECOND));
    assert!((200..1_200).all(|n| again(n) == Verdict::Hit));
    // That took nothing of what may be hit of the others.
    let served = |n: &u32| hit(&people, &client(*n).to_string(), 60 * SECOND);
    assert_eq!((0..200).filter(served).count(), 10);
}

#[test]
fn when_those_who_are_served_get_bad_answers_nobody_can_tell_who_is_honest() {
    let people = attacked();
    (0..120).for_each(|n| people.met(&answered(client(n), 404), SECOND));
    let verdict = |n| judged(&people, &client(n).to_string(), SECOND, true);
    let hit = (200..1_200).filter(|n| verdict(*n) == Verdict::Hit).count();
    assert_eq!(hit, 60);
    // It does well again.
    (0..120).for_each(|n| people.met(&answered(client(n), 200), 2 * SECOND));
    assert!(
        (200..1_200)
            .all(|n| { judged(&people, &client(n).to_string(), 2 * SECOND, true) == Verdict::Hit })
    );
}

#[test]
fn who_turns_out_to_be_served_ends_what_goes_beyond_the_cap() {
    let people = attacked();
    let verdict = |n: u32, now| judged(&people, &client(n).to_string(), now, false);
    assert!((200..300).all(|n| matches!(verdict(n, 0), Verdict::Hit | Verdict::Lightly)));
    // A rule that means newcomers: under the light measure they get good answers.
    (260..290).for_each(|n| people.met(&answered(client(n), 200), SECOND));
    let told = Counted { clients: 230, hit: 30 };
    assert_eq!(people.tick(CAP, SECOND), Some((true, told)));
    assert_eq!(verdict(400, SECOND), Verdict::Capped { newly: None });
    // The light measure ends, and with it the doubt.
    let later = SECOND + LIGHTLY;
    (0..200).for_each(|n| people.met(&answered(client(n), 200), later));
    assert!(people.tick(CAP, later).is_some_and(|(capped, _)| !capped));
    assert_eq!(verdict(402, later), Verdict::Lightly);
}

#[test]
fn the_protected_are_no_clients() {
    let people = people(10);
    people.see(&from(client(77)), 0, false, || true);
    assert_eq!(people.count(0).0.clients, 10);
}

#[test]
fn those_who_are_hit_and_leave_make_no_room_for_others() {
    let people = people(100);
    let mut hit_in_all = 0;
    for minute in 0..120 {
        let now = minute * 60 * SECOND;
        for n in 0..100 {
            let day = now + 24 * 3_600 * SECOND;
            // Who was hit is seen no more.
            if people.wish_for(n, day, now) {
                hit_in_all += 1;
            } else if !people.is_hit(n, now) {
                people.met(&from(client(n)), now);
            }
        }
        people.tick(CAP, now);
    }
    assert_eq!(hit_in_all, 5);
}

impl Population {
    /// Whether a wish to hit the client, who is not hit, is granted.
    fn wish_for(&self, n: u32, until: u64, now: u64) -> bool {
        let target = Target::Network(client(n).into());
        let wish = Wish { until, warned: false };
        !self.is_hit(n, now) && self.hit(&target, wish, CAP, now) == Verdict::Hit
    }

    fn is_hit(&self, n: u32, now: u64) -> bool {
        let mut hit = false;
        let meant = Meant::new(&Target::Network(client(n).into()), self.secret);
        self.each(&meant, now, |client, _| hit = client.is_hit(now));
        hit
    }
}

#[test]
fn whom_a_measure_meets_is_hit_whenever_they_came() {
    let people = people(100);
    // A network that was nearly empty when it was hit fills, or another process decided it.
    for n in 0..50 {
        people.see(&from(client(n)), SECOND, true, || false);
        people.met(&answered(client(n + 50), 200), SECOND);
    }
    assert_eq!(people.count(SECOND + COUNTED_FOR).0, Counted { clients: 100, hit: 50 });
    for n in 0..50 {
        people.see(&answered(client(n), 200), SECOND, true, || false);
    }
    let told = Counted { clients: 100, hit: 50 };
    assert_eq!(people.tick(CAP, 2 * SECOND), Some((true, told)));
}

#[test]
fn an_address_of_many_people_is_told_of_and_they_by_name_are_hit() {
    let people = attacked();
    let agents: Vec<String> = (0..40).map(|n| format!("Browser/{n}.0")).collect();
    let identity =
        Identity { provider: "corp".into(), subject: Some("eve".into()), ..Identity::default() };
    for agent in &agents {
        let event = Event { user_agent: Some(agent), ..answered(client(7), 200) };
        people.met(&Event { identity: Some(&identity), ..event }, 0);
    }
    let told = Verdict::Capped { newly: None };
    assert_eq!(judged(&people, "10.0.0.7", 0, false), told);
    assert_eq!(judged(&people, "10.0.0.0/29", 0, false), told);
    assert_eq!(judged(&people, "10.0.0.8", 0, false), Verdict::Hit);
    let eve = Target::Subject(Party { provider: "corp".into(), id: "eve".into() });
    assert_eq!(people.hit(&eve, wish(0, false), CAP, 0), Verdict::Hit);
}
