//! A request that is being answered, in room that its thread keeps: the future is large, and to make room for it on the
//! heap each time costs as much as to read a head. A connection that rests has none of it.

use crate::answer::Answer;
use std::cell::RefCell;
use std::task::{Context, Poll};
use tokio_util::sync::ReusableBoxFuture;

/// How many requests' room a thread keeps.
const MOST: usize = 64;

/// What answers one request.
type Room = ReusableBoxFuture<'static, Answer>;

thread_local! {
    /// Each of them has answered.
    static ROOMS: RefCell<Vec<Room>> = const { RefCell::new(Vec::new()) };
}

/// Answers one request; dropped before, it gives the request up.
#[derive(Debug)]
pub(super) struct Answering(Option<Room>);

impl Answering {
    /// To be polled until `answers` is over.
    pub(super) fn new(answers: impl Future<Output = Answer> + Send + 'static) -> Self {
        // A thread that ends has none.
        let kept = ROOMS.try_with(|rooms| rooms.borrow_mut().pop()).ok().flatten();
        Self(Some(match kept {
            Some(mut room) => {
                room.set(answers);
                room
            }
            None => ReusableBoxFuture::new(answers),
        }))
    }

    /// Ready, once, with the answer.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let Some(room) = &mut self.0 else { return Poll::Pending };
        let polled = room.poll(cx);
        if polled.is_ready()
            && let Some(room) = self.0.take()
        {
            let _ended = ROOMS.try_with(|rooms| {
                let mut rooms = rooms.borrow_mut();
                if rooms.len() < MOST {
                    rooms.push(room);
                }
            });
        }
        polled
    }
}
