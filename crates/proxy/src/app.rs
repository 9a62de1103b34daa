//! An app as the table in force has it: where its requests are counted, and what they may take. How they are carried is
//! not its business.

use crate::limits::Limits;
use crate::meter::Tally;
use crate::pages::Page;
use crate::room::{Room, Seat};
use crate::upstream::Kind;
use dockswap_core::limits::TrafficLimits;
use dockswap_core::routes::AppRoutes;
use dockswap_core::{AppName, Color, DeploymentId};
use hyper::body::Body;
use std::sync::Arc;
use std::time::Duration;

/// What all requests to an app have in common.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) name: AppName,
    /// The one that has its traffic.
    pub(crate) color: Option<Color>,
    /// The one that created what serves.
    pub(crate) deployment: Option<DeploymentId>,
    /// Where outcomes are counted.
    pub(crate) tally: Arc<Tally>,
    pub(crate) terms: Terms,
    rooms: Rooms,
}

/// What a request may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Of its body.
    pub(crate) body_bytes: u64,
    /// How long an upstream may take to accept a connection.
    pub(crate) connect_time: Duration,
    /// How long it may take for the head of its answer, from the last byte of the request that it was sent.
    pub(crate) answer_time: Duration,
    /// How long it may send nothing in the middle of an ordinary answer.
    pub(crate) silence_time: Duration,
    /// How long a client may neither send the next bytes of a body nor take any of an answer.
    pub(crate) stall_time: Duration,
    /// How long a stream may be silent: events, a call, what was upgraded. `None`: as long as it likes.
    pub(crate) stream_silence_time: Option<Duration>,
    /// In flight at a time.
    requests: u32,
    /// Upgraded connections at a time.
    upgrades: u32,
}

/// What of an app is in flight, as far as there is a limit to it. It outlives tables, whatever changes in them.
#[derive(Clone, Debug, Default)]
struct Rooms {
    requests: Arc<Room>,
    upgrades: Arc<Room>,
}

/// Of what there may only be so many at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// An exchange of a request and its answer.
    Request,
    /// A request to change to another protocol.
    Upgrade,
}

impl App {
    /// The app of `routes`, with what is in flight of it since the table `before`.
    pub(crate) fn new(
        routes: &AppRoutes,
        limits: &Limits,
        tally: Arc<Tally>,
        before: Option<&Arc<Self>>,
    ) -> Self {
        let rooms = before.map(|before| before.rooms.clone()).unwrap_or_default();
        Self {
            name: routes.app.clone(),
            color: routes.target.as_ref().map(|target| target.color),
            deployment: routes.target.as_ref().map(|target| target.deployment),
            tally,
            terms: Terms::new(&routes.limits, limits),
            rooms,
        }
    }

    /// A place among all that is in flight, where these are numbered; [`Page::Busy`] when none is free.
    pub(crate) fn admit(&self, sort: Sort) -> Result<Option<Seat>, Page> {
        let (room, most) = match sort {
            Sort::Request => (&self.rooms.requests, self.terms.requests),
            Sort::Upgrade => (&self.rooms.upgrades, self.terms.upgrades),
        };
        if most == u32::MAX {
            return Ok(None);
        }
        room.take(most).map(Some).ok_or(Page::Busy)
    }
}

impl Terms {
    fn new(own: &TrafficLimits, limits: &Limits) -> Self {
        Self {
            body_bytes: own.max_body_bytes.unwrap_or(u64::MAX),
            connect_time: own.connect_timeout.unwrap_or(limits.connect_time),
            answer_time: own.response_timeout.unwrap_or(limits.answer_time),
            silence_time: own.idle_timeout.unwrap_or(limits.silence_time),
            stall_time: own.idle_timeout.unwrap_or(limits.stall_time),
            stream_silence_time: own.stream_idle_timeout,
            requests: own.max_requests.unwrap_or(u32::MAX),
            upgrades: own.max_websockets.unwrap_or(u32::MAX),
        }
    }

    /// How long an app may be silent in the middle of an answer of this kind; `None`: as long as it likes.
    pub(crate) fn silence_of(&self, kind: Option<Kind>) -> Option<Duration> {
        kind.map_or(Some(self.silence_time), |_| self.stream_silence_time)
    }

    /// How long a client may be silent in the middle of a request of this kind.
    pub(crate) fn stall_of(&self, kind: Option<Kind>) -> Option<Duration> {
        kind.map_or(Some(self.stall_time), |_| self.stream_silence_time)
    }

    /// Whether `body` says by itself that it is too long: then nobody needs to see any of it.
    pub(crate) fn check_length(&self, body: &impl Body) -> Result<(), Page> {
        if body.size_hint().lower() > self.body_bytes { Err(Page::BodyTooLong) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;
    use crate::meter::Meter;
    use dockswap_core::routes::Gate;

    fn app(limits: TrafficLimits, before: Option<&Arc<App>>) -> Arc<App> {
        let routes = AppRoutes {
            app: "web".parse().unwrap(),
            routes: Vec::new(),
            target: None,
            gate: Gate::Open,
            limits,
        };
        let tally = Meter::new().tally(&routes.app, None);
        Arc::new(App::new(&routes, &Limits::default(), tally, before))
    }

    #[test]
    fn what_an_app_does_not_say_holds_as_for_all() {
        let all = Limits::default();
        let terms = &app(TrafficLimits::default(), None).terms;
        assert_eq!((terms.body_bytes, terms.stream_silence_time), (u64::MAX, None));
        assert_eq!((terms.connect_time, terms.answer_time), (all.connect_time, all.answer_time));
        assert_eq!((terms.silence_time, terms.stall_time), (all.silence_time, all.stall_time));

        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let own = TrafficLimits {
            max_body_bytes: Some(1),
            connect_timeout: seconds(2),
            response_timeout: seconds(3),
            idle_timeout: seconds(4),
            stream_idle_timeout: seconds(5),
            ..TrafficLimits::default()
        };
        let terms = &app(own, None).terms;
        assert_eq!((terms.body_bytes, terms.stream_silence_time), (1, seconds(5)));
        assert_eq!((Some(terms.connect_time), Some(terms.answer_time)), (seconds(2), seconds(3)));
        assert_eq!((Some(terms.silence_time), Some(terms.stall_time)), (seconds(4), seconds(4)));
    }

    #[test]
    fn requests_and_upgrades_are_capped_apart_and_counted_on_in_the_next_table() {
        let limits =
            TrafficLimits { max_requests: Some(2), max_websockets: Some(1), ..TrafficLimits::default() };
        let one = app(limits.clone(), None);
        let request = |app: &Arc<App>| app.admit(Sort::Request);
        let (first, second) = (request(&one).unwrap(), request(&one).unwrap());
        assert!(first.is_some() && second.is_some());
        assert_eq!(request(&one).unwrap_err(), Page::Busy);
        let upgrade = one.admit(Sort::Upgrade).unwrap();
        assert_eq!(one.admit(Sort::Upgrade).unwrap_err(), Page::Busy);

        let wider = TrafficLimits { max_requests: Some(3), ..limits };
        let two = app(wider, Some(&one));
        let third = request(&two).unwrap();
        assert_eq!(request(&two).unwrap_err(), Page::Busy);
        assert_eq!(two.admit(Sort::Upgrade).unwrap_err(), Page::Busy);
        drop((first, second, third, upgrade));
        let again: Vec<_> = (0..4).map(|_| request(&two)).collect();
        assert_eq!(again.iter().filter(|seat| seat.is_ok()).count(), 3);

        // Nobody is counted where nothing is capped.
        assert!(request(&app(TrafficLimits::default(), Some(&two))).unwrap().is_none());
    }
}
