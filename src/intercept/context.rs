use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
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
    store::Owner,
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
    /// Which of them has an id, if they are many and somebody has asked.
    by_id: OnceLock<HashMap<RequestId, usize>>,
    /// Each value in an `Arc`, so that none is cloned with it locked.
    data: Mutex<Extensions>,
}

/// How many requests are looked through one by one.
const FEW: usize = 16;

impl Exchange {
    pub(super) fn new(extensions: Extensions, requests: Box<[Message]>) -> Arc<Self> {
        Arc::new(Self {
            extensions,
            requests,
            by_id: OnceLock::new(),
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
        if self.requests.len() <= FEW {
            let mut requests = self.requests.iter();
            return requests.position(|request| request.envelope().has_id_of(&response));
        }
        let by_id = self.by_id.get_or_init(|| {
            let mut by_id = HashMap::with_capacity(self.requests.len());
            for (nth, request) in self.requests.iter().enumerate() {
                if let Some(id) = request.envelope().id() {
                    by_id.entry(id).or_insert(nth);
                }
            }
            by_id
        });
        by_id.get(&response.id()?).copied()
    }

    /// Nothing of others runs with it locked, so nobody has left it half done.
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
        let value = Arc::new(value);
        let old = self.exchange.data().insert(value);
        old.map(Arc::unwrap_or_clone)
    }

    /// A value that was kept.
    #[must_use]
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        let value: Option<Arc<T>> = self.exchange.data().get().cloned();
        value.as_deref().cloned()
    }

    /// Whom a message that is held counts for: the principal, else the session, else everybody together.
    pub(super) fn owner(&self) -> Owner {
        #[cfg(feature = "auth")]
        if let Some(principal) = self.principal() {
            return principal.owner();
        }
        #[cfg(feature = "session")]
        if let Some(session) = self.session() {
            return session.owner();
        }
        Owner::ANONYMOUS
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
