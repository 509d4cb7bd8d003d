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
    /// Something that another site's page asks for.
    Lured(u32),
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
    /// Addresses are in one /24 for each 200 of them, rather than anywhere.
    pub(crate) neighbours: bool,
    pub(crate) user_agent: &'static str,
    /// Its subject, if who asks is known.
    pub(crate) known: bool,
    /// What each of them does.
    pub(crate) plan: Plan,
    /// What the policy must make of all of them.
    pub(crate) aim: Aim,
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
    Lured { files: u32 },
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
    Group { name, sources, neighbours: false, user_agent, known: false, plan, aim: Aim::Nothing }
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
    normal("visitors lured by another site", 10, Plan::Lured { files: 30 }),
    normal("crawlers", 3, Plan::Crawler { every: 3.0 }),
];

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
        neighbours: true,
        ..attack("passwords from 20 neighbours, three a minute each", 20, (20.0, HOUR), stuff)
    },
    Group {
        neighbours: true,
        aim: Aim::Told,
        ..attack("passwords from 240 neighbours, one a minute each", 240, (60.0, HOUR), stuff)
    },
    Group {
        aim: Aim::Told,
        ..attack("passwords from 1500 addresses, one each 2 min", 1_500, (120.0, 2.0 * HOUR), stuff)
    },
    Group { aim: Aim::Nothing, ..attack("passwords, one a minute", 3, (60.0, 4.0 * HOUR), stuff) },
    attack("guessed tokens, one a second", 5, (1.0, HOUR), Act::Forged),
    Group {
        neighbours: true,
        ..attack("a search from 25 neighbours, one each 15 s", 25, (15.0, HOUR), Act::Missing)
    },
    Group {
        aim: Aim::Nothing,
        ..attack("a search, one each 30 s", 3, (30.0, 4.0 * HOUR), Act::Missing)
    },
    attack("a flood against a rate limit", 3, (0.04, 600.0), |_| Act::Limited),
    attack("malformed requests, one a second", 3, (1.0, 600.0), |_| Act::Malformed),
    Group {
        known: true,
        ..attack("a user who tries others' records", 3, (2.0, HOUR), Act::Forbidden)
    },
];

fn probe(n: u32) -> Act {
    if n.is_multiple_of(3) { Act::Secret(n) } else { Act::Missing(n) }
}

fn stuff(n: u32) -> Act {
    if n % 100 == 99 { Act::Login } else { Act::LoginFailed }
}
