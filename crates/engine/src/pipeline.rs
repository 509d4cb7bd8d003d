//! [`admit`]: the fixed way of a request through every stage that may refuse it.
//!
//! Reading the body, choosing an endpoint and everything else that waits is the proxy's: where who
//! asks cannot be known without waiting, the proxy is told for what ([`Waiting`]), and resumes.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header, response};
use tidegate_auth::{Answer, Authenticated, Caller, Need, Permitted, Verdict as Access, Waited};
use tidegate_core::event::WafSummary;
use tidegate_core::trace::{Stage, Stages};
use tidegate_core::{Denial, Reason, Request};
use tidegate_guard::InForce;
use tidegate_guard::rate::{Known, RATE_LIMIT, RATE_LIMIT_POLICY};
use tidegate_traffic::Lookup;
use tidegate_waf::{Inspection, RequestFacts, Verdict};

use crate::enforcement::{Enforcement, Stopped};
use crate::snapshot::{Route, Snapshot};

/// Decides about a request's head; `facts` are what the firewall may know beyond it. A route with a body to inspect says so in
/// [`Admitted::body_cap`].
///
/// # Errors
///
/// The first stage's refusal, with what was known by then.
pub fn admit(
    snapshot: &Snapshot,
    request: &Request<'_>,
    facts: &RequestFacts<'_>,
    caller: &Caller<'_>,
) -> Result<Admission, Box<Refused>> {
    admit_in_stages(snapshot, request, facts, caller, &mut Stages::off())
}

/// As [`admit`], and tells how long each stage took.
///
/// # Errors
///
/// As [`admit`].
pub fn admit_in_stages(
    snapshot: &Snapshot,
    request: &Request<'_>,
    facts: &RequestFacts<'_>,
    caller: &Caller<'_>,
    stages: &mut Stages,
) -> Result<Admission, Box<Refused>> {
    let found = stages.time(Stage::Route, || find_route(snapshot, request));
    let meant = found.as_ref().ok().map(|(route, _)| *route);
    let measure = stages.time(Stage::Bans, || check_bans(snapshot, request, meant))?;
    let (route, matched_len) = match found {
        Ok(found) => found,
        Err(refused) => return Err(Box::new(Refused { measure, ..*refused })),
    };
    let mut admitted = Admitted::new(route, matched_len, snapshot.enforcement(), measure);
    stages.time(Stage::Addresses, || admitted.check_address(request))?;
    stages.time(Stage::RateLimits, || admitted.take_tokens(request, None))?;
    stages.time(Stage::WafHead, || admitted.inspect_head(request, facts))?;
    stages.time(Stage::Auth, || admitted.find_out_who_asks(request, caller, Waited::default()))
}

/// What [`admit`] decides about a request that it does not refuse.
#[derive(Debug)]
pub enum Admission {
    /// It may pass.
    Admitted(Box<Admitted>),
    /// Who asks cannot be known yet.
    Waiting(Box<Waiting>),
}

/// A request that may pass once it is known who asks.
#[derive(Debug)]
pub struct Waiting {
    admitted: Admitted,
    need: Need,
    waited: Waited,
}

impl Waiting {
    /// What has to be had first.
    #[must_use]
    pub fn need(&self) -> &Need {
        &self.need
    }

    /// The request's route.
    #[must_use]
    pub fn route(&self) -> &Arc<Route> {
        &self.admitted.route
    }

    /// Goes on, whether the need was met or could not be. Nobody waits for the same thing twice,
    /// so this ends. `answer` is what was said to this request alone.
    ///
    /// # Errors
    ///
    /// As [`admit`].
    pub fn resume(
        self,
        request: &Request<'_>,
        caller: &Caller<'_>,
        answer: Option<Answer>,
    ) -> Result<Admission, Box<Refused>> {
        let Self { admitted, need, mut waited } = self;
        waited.note(&need, answer);
        admitted.find_out_who_asks(request, caller, waited)
    }
}

/// What the firewall found in a request that is refused whatever it finds.
#[derive(Debug)]
pub struct Found {
    /// The route whose firewall looked.
    pub route: Arc<Route>,
    /// What it found.
    pub waf: Option<WafSummary>,
    /// What its shadow found, if the route has one.
    pub waf_shadow: Option<WafSummary>,
}

/// Lets the firewall look at the head of a request that was refused before [`admit`]; `None` if
/// there is no route for it, or nobody looks there.
#[must_use]
pub fn inspect_refused(
    snapshot: &Snapshot,
    request: &Request<'_>,
    facts: &RequestFacts<'_>,
) -> Option<Found> {
    let (route, matched_len) = find_route(snapshot, request).ok()?;
    if route.waf.is_off() && route.waf_shadow.is_off() {
        return None;
    }
    let mut looked = Admitted::new(route, matched_len, snapshot.enforcement(), None);
    // A refusal changes nothing here, and has its findings told as well.
    let refused = looked.inspect_head(request, facts).err();
    if let Some(refused) = refused {
        let Refused { waf, waf_shadow, .. } = *refused;
        return Some(Found { route: Arc::clone(route), waf, waf_shadow });
    }
    let (Ok(()) | Err(_)) = looked.inspect_body(None, b"", true);
    looked.finish();
    let (waf, waf_shadow) = (looked.waf_summary(), looked.waf_shadow_summary());
    Some(Found { route: Arc::clone(route), waf, waf_shadow })
}

/// A request that may pass; only [`admit`] makes one.
#[derive(Debug)]
pub struct Admitted {
    route: Arc<Route>,
    matched_len: usize,
    limits: Vec<(HeaderValue, HeaderValue)>,
    /// Which of the route's limits would have refused, by position.
    dry_run: u16,
    inspection: Option<Inspection>,
    shadow: Option<Inspection>,
    body_cap: Option<usize>,
    permitted: Option<Box<Permitted>>,
    enforcement: Arc<Enforcement>,
    measure: Option<InForce>,
}

/// A refused request, with what was known when it was refused.
#[derive(Debug)]
pub struct Refused {
    /// The refusal.
    pub denial: Denial,
    /// The route, if one was found.
    pub route: Option<Arc<Route>>,
    /// What the web application firewall found, if it looked.
    pub waf: Option<WafSummary>,
    /// What its shadow found, if the route has one and it looked.
    pub waf_shadow: Option<WafSummary>,
    /// Limits that would have refused, were they not in dry-run.
    pub dry_run_limits: Vec<Box<str>>,
    /// Who asked, if that was found out before.
    pub who: Option<Authenticated>,
    /// The measure that refused it or holds it back, if one does.
    pub measure: Option<InForce>,
}

impl Refused {
    /// A refusal before anything else was found out.
    fn at_once(denial: Denial, route: Option<Arc<Route>>) -> Self {
        Self {
            denial,
            route,
            waf: None,
            waf_shadow: None,
            dry_run_limits: Vec::new(),
            who: None,
            measure: None,
        }
    }
}

impl Admitted {
    fn new(
        route: &Arc<Route>,
        matched_len: usize,
        enforcement: &Arc<Enforcement>,
        measure: Option<InForce>,
    ) -> Self {
        Self {
            enforcement: Arc::clone(enforcement),
            measure,
            route: Arc::clone(route),
            matched_len,
            limits: Vec::new(),
            dry_run: 0,
            inspection: None,
            shadow: None,
            body_cap: None,
            permitted: None,
        }
    }

    /// The request's route.
    #[must_use]
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// How many bytes of the canonical path the route's own path took, for rewrite and redirect.
    #[must_use]
    pub fn matched_len(&self) -> usize {
        self.matched_len
    }

    /// Who asks, and what the upstream is told of them; `None` if the route is for everybody.
    #[must_use]
    pub fn permitted(&self) -> Option<&Permitted> {
        self.permitted.as_deref()
    }

    /// Whether the request is to be held back or isolated, and by whose decision.
    #[must_use]
    pub fn measure(&self) -> Option<&InForce> {
        self.measure.as_ref()
    }

    /// How many bytes of the body are to be held back for [`Admitted::inspect_body`]; `None` if
    /// the body is not inspected.
    #[must_use]
    pub fn body_cap(&self) -> Option<usize> {
        self.body_cap
    }

    /// Decides about the body's beginning, once, before any of it goes upstream. `complete` says
    /// that nothing follows.
    ///
    /// # Errors
    ///
    /// The firewall's refusal.
    pub fn inspect_body(
        &mut self,
        content_type: Option<&str>,
        bytes: &[u8],
        complete: bool,
    ) -> Result<(), Box<Denial>> {
        if let Some(shadow) = &mut self.shadow {
            let (Verdict::Pass | Verdict::Block(_)) = shadow.body(content_type, bytes, complete);
        }
        let Some(inspection) = &mut self.inspection else { return Ok(()) };
        match inspection.body(content_type, bytes, complete) {
            Verdict::Pass => Ok(()),
            Verdict::Block(denial) => Err(Box::new(denial)),
        }
    }

    /// Whether what the firewall finds is acted on, and not only reported.
    #[must_use]
    pub fn enforces(&self) -> bool {
        self.inspection.as_ref().is_some_and(Inspection::enforces)
    }

    /// Whether bodies of responses are inspected.
    #[must_use]
    pub fn reads_responses(&self) -> bool {
        [&self.inspection, &self.shadow].into_iter().flatten().any(Inspection::reads_responses)
    }

    /// Whether responses have to wait for the firewall's verdict.
    #[must_use]
    pub fn holds_responses(&self) -> bool {
        let holds = |it: &Inspection| it.enforces() && it.reads_responses();
        self.inspection.as_ref().is_some_and(holds)
    }

    /// Decides about a response's head, once. Returns how much of its body is to be collected for
    /// [`Admitted::inspect_response_body`], if any.
    ///
    /// # Errors
    ///
    /// The firewall's refusal.
    pub fn inspect_response_head(
        &mut self,
        head: &response::Parts,
    ) -> Result<Option<usize>, Box<Denial>> {
        let mut limit = None;
        if let Some(shadow) = &mut self.shadow {
            let (Verdict::Pass | Verdict::Block(_)) = shadow.response_head(head);
            limit = shadow.wants_response_body(head);
        }
        let Some(inspection) = &mut self.inspection else { return Ok(limit) };
        match inspection.response_head(head) {
            Verdict::Pass => Ok(limit.max(inspection.wants_response_body(head))),
            Verdict::Block(denial) => Err(Box::new(denial)),
        }
    }

    /// Decides about the beginning of a response's body, once. `complete` says that nothing
    /// follows.
    ///
    /// # Errors
    ///
    /// The firewall's refusal.
    pub fn inspect_response_body(
        &mut self,
        bytes: &[u8],
        complete: bool,
    ) -> Result<(), Box<Denial>> {
        if let Some(shadow) = &mut self.shadow {
            let (Verdict::Pass | Verdict::Block(_)) = shadow.response_body(bytes, complete);
        }
        let Some(inspection) = &mut self.inspection else { return Ok(()) };
        match inspection.response_body(bytes, complete) {
            Verdict::Pass => Ok(()),
            Verdict::Block(denial) => Err(Box::new(denial)),
        }
    }

    /// Tells the firewall that the exchange is over, for the rules that only take note of it. Call
    /// it once, however the request ends.
    pub fn finish(&mut self) {
        for inspection in [&mut self.inspection, &mut self.shadow].into_iter().flatten() {
            inspection.finish();
        }
    }

    /// What the web application firewall found so far; `None` if nothing.
    #[must_use]
    pub fn waf_summary(&self) -> Option<WafSummary> {
        self.inspection.as_ref().and_then(Inspection::summary)
    }

    /// What the firewall's shadow found so far; `None` if the route has none.
    #[must_use]
    pub fn waf_shadow_summary(&self) -> Option<WafSummary> {
        self.shadow.as_ref().map(|shadow| shadow.summary().unwrap_or_default())
    }

    /// The names of limits that would have refused, were they not in dry-run.
    pub fn dry_run_limits(&self) -> impl Iterator<Item = &str> {
        let marked = |(index, _): &(usize, _)| self.dry_run & (1 << (index % 16)) != 0;
        let limits = self.route.rate_limits.iter().enumerate().filter(marked);
        limits.map(|(_, limit)| limit.name())
    }

    /// The fields `RateLimit` and `RateLimit-Policy` that the response owes the client.
    pub fn rate_headers(&self) -> impl Iterator<Item = (HeaderName, &HeaderValue)> {
        let fields = |(left, policy)| [(RATE_LIMIT, left), (RATE_LIMIT_POLICY, policy)];
        self.limits.iter().map(|(left, policy)| (left, policy)).flat_map(fields)
    }

    fn check_address(&mut self, request: &Request<'_>) -> Result<(), Box<Refused>> {
        let checked = self.route.addresses.check(request.client);
        checked.map_err(|denied| self.refuse(denied.into()))
    }

    /// Takes tokens from the limits that need to know who asks, once that is known, or from the
    /// others.
    fn take_tokens(
        &mut self,
        request: &Request<'_>,
        who: Option<Known<'_>>,
    ) -> Result<(), Box<Refused>> {
        let route = Arc::clone(&self.route);
        for (index, limit) in route.rate_limits.iter().enumerate() {
            if limit.needs_identity() != who.is_some() {
                continue;
            }
            let known = who.unwrap_or_default();
            let decision = limit.check_known(request, &route.id, known, request.received_at);
            if decision.refuses() {
                return Err(self.refuse(decision.denial()));
            }
            if decision.would_refuse() {
                self.dry_run |= 1 << (index % 16);
            }
            if !decision.dry_run {
                self.limits.push(decision.headers());
            }
        }
        Ok(())
    }

    fn inspect_head(
        &mut self,
        request: &Request<'_>,
        facts: &RequestFacts<'_>,
    ) -> Result<(), Box<Refused>> {
        let Route { waf, waf_shadow, .. } = &*self.route;
        if !waf_shadow.is_off() {
            let shadow = self.shadow.insert(waf_shadow.begin());
            let (Verdict::Pass | Verdict::Block(_)) = shadow.head_with(request, facts);
            self.body_cap = waf_shadow.wants_body(request);
        }
        if waf.is_off() {
            return Ok(());
        }
        let inspection = self.inspection.insert(waf.begin());
        match inspection.head_with(request, facts) {
            Verdict::Pass => {
                self.body_cap = self.body_cap.max(waf.wants_body(request));
                Ok(())
            }
            Verdict::Block(denial) => Err(self.refuse(denial)),
        }
    }

    fn find_out_who_asks(
        mut self,
        request: &Request<'_>,
        caller: &Caller<'_>,
        waited: Waited,
    ) -> Result<Admission, Box<Refused>> {
        match self.route.access.check(request, caller, &waited) {
            Access::Open => {}
            Access::Permitted(permitted) => self.permitted = Some(permitted),
            Access::Wait(need) => {
                return Ok(Admission::Waiting(Box::new(Waiting { admitted: self, need, waited })));
            }
            Access::Refused(denial, who) => return Err(with(self.refuse(*denial), who)),
        }
        let permitted = self.permitted.take();
        let known = permitted.as_ref().map(|permitted| permitted.identity());
        let known = known.map_or_else(Known::default, |who| Known {
            provider: &who.provider,
            subject: who.subject.as_deref(),
            client: who.client.as_deref(),
        });
        let taken =
            self.enforce(request, known).and_then(|()| self.take_tokens(request, Some(known)));
        taken.map_err(|refused| {
            with(refused, permitted.as_ref().map(|permitted| permitted.who().clone()))
        })?;
        self.permitted = permitted;
        Ok(Admission::Admitted(Box::new(self)))
    }

    /// Does what measures about who asks demand.
    fn enforce(&mut self, request: &Request<'_>, known: Known<'_>) -> Result<(), Box<Refused>> {
        let already = self.measure.take();
        match self.enforcement.check_known(request, known, already) {
            Ok(measure) => {
                self.measure = measure;
                Ok(())
            }
            Err(stopped) => {
                let (denial, by) = *stopped;
                self.measure = Some(by);
                Err(self.refuse(denial))
            }
        }
    }

    fn refuse(&mut self, denial: Denial) -> Box<Refused> {
        self.finish();
        Box::new(Refused {
            denial,
            route: Some(Arc::clone(&self.route)),
            waf: self.waf_summary(),
            waf_shadow: self.waf_shadow_summary(),
            dry_run_limits: self.dry_run_limits().map(Box::from).collect(),
            who: None,
            measure: self.measure.clone(),
        })
    }
}

fn with(mut refused: Box<Refused>, who: Option<Authenticated>) -> Box<Refused> {
    refused.who = who;
    refused
}

/// Whoever is banned learns nothing of the routes, and is logged under the one that was meant.
/// Answers what else than refusing is to be done.
fn check_bans(
    snapshot: &Snapshot,
    request: &Request<'_>,
    route: Option<&Arc<Route>>,
) -> Result<Option<InForce>, Box<Refused>> {
    let checked = snapshot.enforcement().check_head(request, route.map(|route| &*route.id));
    checked.map_err(|stopped: Stopped| {
        let (denial, by) = *stopped;
        Box::new(Refused { measure: Some(by), ..Refused::at_once(denial, route.cloned()) })
    })
}

fn find_route<'s>(
    snapshot: &'s Snapshot,
    request: &Request<'_>,
) -> Result<(&'s Arc<Route>, usize), Box<Refused>> {
    let denial = match snapshot.router().find(request) {
        Lookup::Found { route, matched_len } => match snapshot.routes().get(route) {
            Some(route) => return Ok((route, matched_len)),
            None => Denial::new(Reason::Internal).with_evidence("a route that does not exist"),
        },
        Lookup::MethodNotAllowed(methods) => {
            let mut denial = Denial::new(Reason::MethodNotAllowed);
            let names: Vec<&str> = methods.iter().map(http::Method::as_str).collect();
            if let Ok(allow) = HeaderValue::try_from(names.join(", ")) {
                denial.headers.insert(header::ALLOW, allow);
            }
            denial
        }
        Lookup::NotFound => Denial::new(Reason::NoRoute),
    };
    Err(Box::new(Refused::at_once(denial, None)))
}
