//! Streams of one connection that stand still because their client takes nothing: the socket does not show it,
//! for other streams may well move.

use crate::alarm::Alarm;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Who has to do something next, so that an answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Ours,
    /// The client's, since so many pieces of the answer were handed over.
    Clients(u64),
}

tokio::task_local! {
    /// Of the stream whose task it is.
    static STREAM: Watched;
}

/// What is known of a stream.
#[derive(Debug)]
struct Watched {
    turn: Cell<Turn>,
    /// How long its client may take nothing.
    stall_time: Cell<Duration>,
}

/// The stream's client may take nothing for so long.
pub(crate) fn after(stall_time: Duration) {
    let _noted = STREAM.try_with(|stream| stream.stall_time.set(stall_time));
}

/// The stream's answer has handed over a piece of itself: the next is asked for when this one has room.
pub(crate) fn handed_over() {
    note(|turn| match turn {
        Turn::Ours => Turn::Clients(1),
        Turn::Clients(pieces) => Turn::Clients(pieces + 1),
    });
}

/// The stream's answer waits for its upstream.
pub(crate) fn waits_for_upstream() {
    note(|_| Turn::Ours);
}

/// Outside of a stream (an HTTP/1.1 connection sees by its socket) nothing is noted.
fn note(next: impl FnOnce(Turn) -> Turn) {
    // That there is no such variable is the case just said.
    let _noted = STREAM.try_with(|stream| stream.turn.set(next(stream.turn.get())));
}

/// Runs `stream` to its end, or until its client has taken nothing of its answer for `stall_time`
/// (unless [`after`] says otherwise): it is dropped then, which resets it.
pub(crate) async fn unless_stalled<F: Future>(stream: F, stall_time: Duration) {
    let watched = async move {
        let mut stream = pin!(stream);
        let mut alarm = Alarm::default();
        let mut set_for = Turn::Ours;
        poll_fn(move |cx| {
            if stream.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let turn = STREAM.with(|stream| stream.turn.get());
            if turn == Turn::Ours {
                set_for = turn;
                return Poll::Pending;
            }
            if set_for != turn {
                set_for = turn;
                alarm.set(STREAM.with(|stream| stream.stall_time.get()));
            }
            let stalled = alarm.poll(cx);
            if stalled.is_ready() {
                tracing::debug!("a client has taken nothing of an answer for too long");
            }
            stalled
        })
        .await;
    };
    let stream = Watched { turn: Cell::new(Turn::Ours), stall_time: Cell::new(stall_time) };
    STREAM.scope(stream, watched).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::time::{Instant, sleep};

    const STALL: Duration = Duration::from_secs(60);

    /// How long a stream lasts that does this.
    async fn lasts(stream: impl Future) -> Duration {
        let began = Instant::now();
        unless_stalled(stream, STALL).await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_client_that_takes_nothing_ends_its_stream() {
        let never_asked = async {
            handed_over();
            pending::<()>().await;
        };
        assert_eq!(lasts(never_asked).await, STALL);

        let asks_now_and_then = async {
            for _ in 0..10 {
                handed_over();
                sleep(STALL / 10 * 9).await;
            }
        };
        assert_eq!(lasts(asks_now_and_then).await, 9 * STALL);

        let told_otherwise = async {
            after(STALL / 2);
            handed_over();
            pending::<()>().await;
        };
        assert_eq!(lasts(told_otherwise).await, STALL / 2);

        let slow_upstream = async {
            handed_over();
            waits_for_upstream();
            sleep(10 * STALL).await;
        };
        assert_eq!(lasts(slow_upstream).await, 10 * STALL);
    }

    #[test]
    fn nothing_is_noted_outside_of_a_stream() {
        handed_over();
        waits_for_upstream();
    }
}
