//! A request that is being answered, in room that its thread keeps: what it takes to answer one is large, and to make
//! room for it on the heap and to move it there costs as much as to read a head. A connection that rests has none of it.

use crate::answer::Answer;
use crate::client_io::Busy;
use crate::connection::Client;
use crate::forward;
use crate::message::Request;
use crate::notable::Notable;
use crate::request_body::Incoming;
use crate::sync::lock;
use std::cell::RefCell;
use std::fmt::{self, Debug};
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// For how many requests at a time a thread keeps room.
const MOST: usize = 64;

thread_local! {
    /// Each of them waits for the next request.
    static DESKS: RefCell<Vec<Desk>> = const { RefCell::new(Vec::new()) };
}

/// Where one request after the other is answered.
struct Desk {
    works: Pin<Box<dyn Future<Output = ()> + Send>>,
    tray: Arc<Mutex<Tray>>,
}

/// What lies there.
enum Tray {
    Nothing,
    Request(Arc<Client>, Request<Incoming>, Notable),
    Answer(Answer),
}

impl Desk {
    fn new() -> Self {
        let tray = Arc::new(Mutex::new(Tray::Nothing));
        let (take, put) = (Arc::clone(&tray), Arc::clone(&tray));
        let works = async move {
            loop {
                let next = poll_fn(|_| {
                    let mut tray = lock(&take);
                    match mem::replace(&mut *tray, Tray::Nothing) {
                        Tray::Request(client, request, notable) => Poll::Ready((client, request, notable)),
                        other => {
                            *tray = other;
                            Poll::Pending
                        }
                    }
                });
                let (client, mut request, notable) = next.await;
                let answer = forward::answer(&client, &mut request, notable, Busy::alone()).await;
                *lock(&put) = Tray::Answer(answer);
            }
        };
        Self { works: Box::pin(works), tray }
    }
}

/// A request that is alone on its connection, and is being answered. Dropped before it is, it is given up.
pub(super) struct Answering(Option<Desk>);

impl Answering {
    pub(super) fn new(client: Arc<Client>, request: Request<Incoming>, notable: Notable) -> Self {
        // A thread that ends has none.
        let kept = DESKS.try_with(|desks| desks.borrow_mut().pop()).ok().flatten();
        let desk = kept.unwrap_or_else(Desk::new);
        *lock(&desk.tray) = Tray::Request(client, request, notable);
        Self(Some(desk))
    }

    /// Ready, once, with the answer.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let Some(desk) = &mut self.0 else { return Poll::Pending };
        // It never ends.
        let _waits = desk.works.as_mut().poll(cx);
        let mut tray = lock(&desk.tray);
        if !matches!(*tray, Tray::Answer(_)) {
            return Poll::Pending;
        }
        let Tray::Answer(answer) = mem::replace(&mut *tray, Tray::Nothing) else { return Poll::Pending };
        drop(tray);
        if let Some(desk) = self.0.take() {
            let _ended = DESKS.try_with(|desks| {
                let mut desks = desks.borrow_mut();
                if desks.len() < MOST {
                    desks.push(desk);
                }
            });
        }
        Poll::Ready(answer)
    }
}

impl Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Answering").field(&self.0.is_some()).finish()
    }
}
