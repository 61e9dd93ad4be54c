use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::Extensions;

use super::Message;
#[cfg(feature = "auth")]
use crate::auth::Principal;
#[cfg(feature = "session")]
use crate::session::Session;
use crate::{
    jsonrpc::{Kind, RequestId},
    message,
    protocol::Era,
};

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the server: the body of a POST.
    ToServer,
    /// From the server to the client: a JSON reply, or an event of a stream.
    ToClient,
}

/// What is known about a message besides its text.
///
/// A clone costs a reference count.
#[derive(Clone)]
pub struct Context {
    exchange: Arc<Exchange>,
    direction: Direction,
    /// Which of the requests a response answers.
    request: Option<u32>,
}

/// A request, and all that comes of it. A response that is inspected keeps it until its body is over: the
/// body of the request, and a clone of its extensions.
pub(super) struct Exchange {
    /// Those of the request, as it got here.
    extensions: Extensions,
    /// The requests in its body.
    requests: Box<[Message]>,
    /// Of many, each by its id.
    index: Option<HashMap<RequestId, usize>>,
    data: Mutex<Extensions>,
}

impl Exchange {
    /// As many are looked through as soon as looked up.
    const FEW: usize = 8;

    pub(super) fn new(extensions: Extensions, requests: Box<[Message]>) -> Arc<Self> {
        let index = (requests.len() > Self::FEW).then(|| {
            let ids = requests.iter().map(|one| one.envelope().id());
            // Of two with one id, the first.
            let all = ids.enumerate().rev();
            all.filter_map(|(nth, id)| Some((id?, nth))).collect()
        });
        Arc::new(Self {
            extensions,
            requests,
            index,
            data: Mutex::default(),
        })
    }

    pub(super) fn requests(&self) -> &[Message] {
        &self.requests
    }

    /// The body of the request, if it has one.
    pub(super) fn body(&self) -> Option<&message::Message> {
        self.extensions.get()
    }

    pub(super) fn era(&self) -> Option<Era> {
        Era::of(&self.extensions)
    }

    /// Which of the requests that response answers.
    pub(super) fn request_of(&self, response: &Message) -> Option<usize> {
        let response = response.envelope();
        if let Some(index) = &self.index {
            return index.get(&response.id()?).copied();
        }
        let mut requests = self.requests.iter();
        requests.position(|request| request.envelope().has_id_of(&response))
    }

    /// Interceptors are not called with it locked, so nobody has left it half done.
    fn data(&self) -> MutexGuard<'_, Extensions> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    /// The context of a message in no exchange, to test interceptors with. `extensions` are those of the
    /// request.
    #[must_use]
    pub fn new(direction: Direction, extensions: Extensions) -> Self {
        Self::of(Exchange::new(extensions, Box::default()), direction, None)
    }

    pub(super) fn of(
        exchange: Arc<Exchange>,
        direction: Direction,
        request: Option<usize>,
    ) -> Self {
        Self {
            exchange,
            direction,
            request: request.and_then(|nth| u32::try_from(nth).ok()),
        }
    }

    /// The same exchange, another message.
    pub(super) fn turn(&mut self, direction: Direction, request: Option<usize>) {
        self.direction = direction;
        self.request = request.and_then(|nth| u32::try_from(nth).ok());
    }

    pub(super) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Where the message goes.
    #[must_use]
    #[inline]
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// The request that a response answers, as its client sent it. `None` for other messages, and if it did
    /// not come with the same HTTP request.
    #[must_use]
    pub fn request(&self) -> Option<&Message> {
        self.exchange.requests.get(self.request? as usize)
    }

    /// The rules that the exchange follows, if somebody outside has told them.
    #[must_use]
    pub fn era(&self) -> Option<Era> {
        self.exchange.era()
    }

    /// Who the client is, if a layer outside has verified that.
    #[cfg(feature = "auth")]
    #[must_use]
    pub fn principal(&self) -> Option<&Principal> {
        self.extensions().get()
    }

    /// The session, if a layer outside has found one.
    #[cfg(feature = "session")]
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        self.extensions().get()
    }

    /// The extensions of the HTTP request, as they were when it got here.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.exchange.extensions
    }

    /// Keeps a value for later messages of the exchange: a request and all that comes of it. It takes the
    /// place of one of the same type, which is returned.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) -> Option<T> {
        self.exchange.data().insert(value)
    }

    /// A value that was kept.
    #[must_use]
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.exchange.data().get().cloned()
    }

    /// The method of a message, or of the request that it answers; `None` if nobody knows.
    #[inline]
    pub(super) fn method_of<'a>(&'a self, message: &'a Message) -> Option<Cow<'a, [u8]>> {
        match message.kind() {
            Kind::Response => self.request()?.method(),
            _ => message.method(),
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("direction", &self.direction)
            .field("era", &self.era())
            .field("request", &self.request())
            .finish_non_exhaustive()
    }
}
