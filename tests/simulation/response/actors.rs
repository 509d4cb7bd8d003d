//! Who takes part in the day: normal clients that do everything that looks bad at times, and
//! attackers of each kind.

/// What somebody asks for, and what comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Page,
    /// A page or a file that is not there.
    Missing(u32),
    /// A file that only probes ask for.
    Secret(u32),
    LoginFailed,
    Login,
    /// A session that is over, and a page that asks again and again.
    Anonymous,
    /// What another site's page asks for: files that are not there, what is malformed, and too much.
    Lured(u32),
    LuredMalformed,
    LuredFlood,
    /// A token that expired, and one that never held.
    Expired(u32),
    Forged(u32),
    /// The firewall refuses it.
    Attack(u32),
    /// A rate limit refuses it.
    Limited,
    Malformed,
    /// Something known asks for what it may not have.
    Forbidden(u32),
    /// The application fails.
    Failed,
}

/// One kind of them.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) sources: u32,
    /// Where their addresses are.
    pub(crate) home: Home,
    pub(crate) user_agent: &'static str,
    /// Its subject, if who asks is known.
    pub(crate) known: bool,
    /// What each of them does.
    pub(crate) plan: Plan,
    /// What the policy must make of all of them.
    pub(crate) aim: Aim,
}

/// Where addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// Anywhere, each its own.
    Anywhere,
    /// In one /24 for each 200 of them.
    Neighbours,
    /// In an IPv6 network of this length each, another address for each visit or request.
    Hopping(u8),
    /// Behind the address of the first source of this group.
    Behind(&'static str),
}

/// What the policy must make of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    Nothing,
    Told,
    Stopped,
}

/// What a source does in a day.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plan {
    /// So many people behind one address, each with so many sessions.
    People { people: u32, sessions: u32 },
    /// An application that asks every so many seconds for an hour, its session being over.
    Polling { every: f64 },
    /// A visit to a page of somebody else's that asks for so many files of ours.
    Lured { times: u32, every: f64, act: fn(u32) -> Act },
    /// A program of a partner: a request each so many seconds; it may be broken for an hour.
    Program { every: f64, broken: bool },
    /// Pages one after the other, a few of them gone.
    Crawler { every: f64 },
    /// An attack that begins at a random time and goes on for so many seconds.
    Attack { every: f64, lasts: f64, act: fn(u32) -> Act },
}

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

const fn normal(name: &'static str, sources: u32, plan: Plan) -> Group {
    let user_agent = BROWSER;
    Group { name, sources, home: Home::Anywhere, user_agent, known: false, plan, aim: Aim::Nothing }
}

const fn attack(
    name: &'static str,
    sources: u32,
    (every, lasts): (f64, f64),
    act: fn(u32) -> Act,
) -> Group {
    let plan = Plan::Attack { every, lasts, act };
    Group { aim: Aim::Stopped, ..normal(name, sources, plan) }
}

pub(crate) const NORMAL: &[Group] = &[
    normal("households", 2_000, Plan::People { people: 2, sessions: 2 }),
    normal("offices behind one address", 20, Plan::People { people: 200, sessions: 3 }),
    normal("mobile carriers behind one address", 6, Plan::People { people: 2_000, sessions: 2 }),
    Group { known: true, ..normal("partners", 30, Plan::Program { every: 4.0, broken: false }) },
    normal("a partner with an old token", 2, Plan::Program { every: 2.0, broken: true }),
    normal("pages that poll without a session", 50, Plan::Polling { every: 10.0 }),
    normal("visitors lured by another site", 10, lured(30, 0.05, Act::Lured)),
    normal("visitors lured to malformed paths", 10, lured(60, 0.05, |_| Act::LuredMalformed)),
    normal("visitors lured to a flood", 10, lured(3_000, 0.02, |_| Act::LuredFlood)),
    Group {
        home: Home::Hopping(64),
        ..normal("households with IPv6", 500, Plan::People { people: 3, sessions: 2 })
    },
    normal(NAT, 1, Plan::People { people: 3_000, sessions: 2 }),
    // Whoever does more than a quarter of what all others behind an address do has them hit with him.
    Group {
        aim: Aim::Stopped,
        ..normal(OTHER_NAT, 1, Plan::People { people: 3_000, sessions: 2 })
    },
    Group { aim: Aim::Stopped, ..normal(PROXY, 1, Plan::People { people: 4_000, sessions: 3 }) },
    normal("crawlers", 3, Plan::Crawler { every: 3.0 }),
];

const fn lured(times: u32, every: f64, act: fn(u32) -> Act) -> Plan {
    Plan::Lured { times, every, act }
}

/// Addresses that attackers share with many others.
pub(crate) const NAT: &str = "a carrier with a slow attacker in it";
pub(crate) const OTHER_NAT: &str = "a carrier with a fast attacker in it";
pub(crate) const PROXY: &str = "a proxy that is not trusted, as one address";

const HOUR: f64 = 3_600.0;

pub(crate) const ATTACKERS: &[Group] = &[
    Group {
        user_agent: "Mozilla/5.00 (Nikto/2.5.0)",
        ..attack("nikto, by its name", 3, (0.1, 180.0), probe)
    },
    attack("a scanner that poses as a browser", 5, (0.2, 600.0), Act::Missing),
    attack("a search for secret files, one a minute", 5, (60.0, 2.0 * HOUR), Act::Secret),
    attack("sqlmap that poses as a browser", 5, (0.3, 600.0), Act::Attack),
    attack("passwords, two a second", 5, (0.5, HOUR), stuff),
    attack("passwords, one each 6 s", 5, (6.0, 2.0 * HOUR), stuff),
    Group {
        home: Home::Neighbours,
        ..attack("passwords from 20 neighbours, three a minute each", 20, (20.0, HOUR), stuff)
    },
    Group {
        home: Home::Neighbours,
        aim: Aim::Told,
        ..attack("passwords from 240 neighbours, one a minute each", 240, (60.0, HOUR), stuff)
    },
    Group {
        aim: Aim::Told,
        ..attack("passwords from 1500 addresses, one each 2 min", 1_500, (120.0, 2.0 * HOUR), stuff)
    },
    attack("passwords from 600 addresses, one each 5 s", 600, (5.0, 900.0), stuff),
    Group { aim: Aim::Told, ..attack("passwords, one a minute", 3, (60.0, 4.0 * HOUR), stuff) },
    attack("guessed tokens, one a second", 5, (1.0, HOUR), Act::Forged),
    Group {
        home: Home::Neighbours,
        ..attack("a search from 25 neighbours, one each 15 s", 25, (15.0, HOUR), Act::Missing)
    },
    Group {
        aim: Aim::Told,
        ..attack("a search, one each 30 s", 3, (30.0, 4.0 * HOUR), Act::Missing)
    },
    attack("a flood against a rate limit", 3, (0.04, 600.0), |_| Act::Limited),
    attack("malformed requests, one a second", 3, (1.0, 600.0), |_| Act::Malformed),
    Group {
        known: true,
        ..attack("a user who tries others' records", 3, (2.0, HOUR), Act::Forbidden)
    },
    hopping("passwords from one IPv6 /64, two a second", 64, (0.5, HOUR), stuff),
    hopping("passwords from one IPv6 /48, two a second", 48, (0.5, HOUR), stuff),
    hopping("a search from one IPv6 /48, one a second", 48, (1.0, HOUR), Act::Missing),
    hopping("secret files from one IPv6 /48, one a minute", 48, (60.0, 2.0 * HOUR), Act::Secret),
    Group {
        home: Home::Behind(NAT),
        aim: Aim::Told,
        ..attack("passwords in a carrier's NAT, one each 6 s", 1, (6.0, HOUR), stuff)
    },
    Group {
        home: Home::Behind(OTHER_NAT),
        aim: Aim::Told,
        ..attack("passwords in a carrier's NAT, two a second", 1, (0.5, HOUR), stuff)
    },
    Group {
        home: Home::Behind(PROXY),
        aim: Aim::Told,
        ..attack("a scanner behind a proxy that is not trusted", 1, (0.2, 600.0), Act::Missing)
    },
];

const fn hopping(
    name: &'static str,
    bits: u8,
    (every, lasts): (f64, f64),
    act: fn(u32) -> Act,
) -> Group {
    Group { home: Home::Hopping(bits), ..attack(name, 3, (every, lasts), act) }
}

fn probe(n: u32) -> Act {
    if n.is_multiple_of(3) { Act::Secret(n) } else { Act::Missing(n) }
}

fn stuff(n: u32) -> Act {
    if n % 100 == 99 { Act::Login } else { Act::LoginFailed }
}
