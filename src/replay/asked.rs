use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH},
};
use http_body::Body;
use tokio::runtime::Handle;

use super::{
    ResponseBody,
    expect::{About, Expect},
    hub::Hub,
    inert::KeepAlive,
    layer::Shared,
    produce::Produce,
    producer::{Options, Producer},
    purge::{purge, purge_at_end},
    record::Recorder,
    stream::Stream,
    subscriber::{Greeting, Subscriber},
    synthetic::CursorForm,
    whose::Whose,
};
use crate::{
    BoxError,
    header::{LAST_EVENT_ID, MCP_PROTOCOL_VERSION, MCP_SESSION_ID, X_ACCEL_BUFFERING},
    jsonrpc::Kind,
    message::{Message, classify},
    protocol::Era,
    sse::{EventId, StreamKey, is_event_stream},
    store::{EventStore, Owner},
};

/// What has to be known of a request once its response is there.
pub(super) struct Asked {
    pub(super) era: Era,
    /// Whether a header says that it is MCP.
    has_mcp_header: bool,
    has_session: bool,
    /// Whether a header says where to resume, however wrongly.
    has_cursor: bool,
    method: Asks,
    /// The body of a message. Its shape would have to be copied for each request, and is of use only if
    /// the response is a stream.
    message: Option<Bytes>,
    whose: Whose,
    /// How often streams had been forgotten when the request came.
    purges: u64,
    /// A resume brought the request about: its client is given a cursor at once, after this.
    pub(super) resumed: Option<Box<Bytes>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Get,
    Post,
    Delete,
    Other,
}

/// What the headers of a request say, found in one pass: each look-up costs as much.
#[derive(Default)]
struct Said<'a> {
    session: Option<&'a HeaderValue>,
    has_version: bool,
    has_cursor: bool,
}

impl<'a> Said<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut said = Self::default();
        for (name, value) in headers {
            if *name == MCP_SESSION_ID {
                said.session = said.session.or(Some(value));
            } else if *name == MCP_PROTOCOL_VERSION {
                said.has_version = true;
            } else if *name == LAST_EVENT_ID {
                said.has_cursor |= !value.is_empty();
            }
        }
        said
    }
}

/// What the message of a request says.
struct What {
    is_mcp: bool,
    is_initialize: bool,
    expect: Expect,
}

impl Asked {
    pub(super) fn new(
        method: &Method,
        headers: &HeaderMap,
        extensions: &Extensions,
        hub: &Hub,
    ) -> Self {
        let message = extensions.get::<Message>();
        let era = Era::told(extensions, message);
        let asks = match *method {
            Method::GET => Asks::Get,
            Method::POST => Asks::Post,
            Method::DELETE => Asks::Delete,
            _ => Asks::Other,
        };
        let said = Said::of(headers);
        let has_session = said.session.is_some();
        Self {
            era: era.unwrap_or_else(|| classify(method, headers, None).era),
            has_session,
            has_mcp_header: has_session || said.has_version,
            has_cursor: said.has_cursor,
            method: asks,
            message: message.map(|message| message.body().clone()),
            whose: Whose::new(said.session, extensions),
            purges: hub.purge_count(),
            resumed: None,
        }
    }

    /// Whose the streams are that the request can see.
    pub(super) fn owner(&self) -> Owner {
        self.whose.owner()
    }

    pub(super) fn is_post(&self) -> bool {
        self.method == Asks::Post
    }

    pub(super) fn is_get(&self) -> bool {
        self.method == Asks::Get
    }

    /// Whether an MCP client sends a cursor with a POST, where none belongs (A32). What other endpoints
    /// take is not ours to say.
    pub(super) fn misplaces_cursor(&self) -> bool {
        self.is_post() && self.has_cursor && self.era.has_event_ids() && self.is_mcp()
    }

    /// Whether the client speaks MCP, as far as the request shows.
    pub(super) fn is_mcp(&self) -> bool {
        self.has_mcp_header || self.what().is_mcp
    }

    /// Reads the message again, if there is one.
    fn what(&self) -> What {
        let message = self.message.clone().map(Message::new);
        let Some(Ok(peek)) = message.as_ref().map(Message::peek) else {
            return What {
                is_mcp: self.has_mcp_header,
                is_initialize: false,
                expect: Expect::default(),
            };
        };
        let mut all = peek.envelopes();
        let is_jsonrpc = all.any(|one| one.kind() != Kind::Invalid && one.is_jsonrpc_2());
        let method = peek.single().and_then(|one| one.method());
        What {
            is_mcp: self.has_mcp_header || is_jsonrpc,
            is_initialize: method.as_deref() == Some("initialize"),
            expect: Expect::of(&peek),
        }
    }

    /// Forgets the streams of a session if the response says that it has ended.
    pub(super) fn purge_ended<T: EventStore>(&self, status: StatusCode, shared: &Shared<T>) {
        let is_ended =
            self.method == Asks::Delete && self.era.has_sessions() && status.is_success();
        if !is_ended {
            return;
        }
        let runtime = Handle::try_current().ok();
        if let Some(session) = self.whose.session() {
            // Whoever keeps it ends it after this. Said here too, because what another node has
            // recorded of it is to be forgotten as well.
            purge_at_end(shared, session, runtime);
        } else if let Some(owner) = self.session() {
            purge(&shared.store, &shared.hub, owner, runtime.as_ref());
        }
    }

    /// Who owns the streams of the session that the request names.
    pub(super) fn session(&self) -> Option<Owner> {
        self.has_session.then(|| self.owner())
    }

    /// How a client that has resumed a stream is given its cursor.
    pub(super) fn cursor_form(&self, is_mcp: bool) -> CursorForm {
        match (is_mcp, self.era.allows_priming()) {
            (true, true) => CursorForm::Priming,
            (true, false) => CursorForm::Typed,
            (false, _) => CursorForm::Silent,
        }
    }

    /// Whether a client with a cursor can be sent away before the stream is over (SSE-4, SSE-5).
    pub(super) fn may_close_early(&self, is_mcp: bool) -> bool {
        is_mcp && self.era.allows_early_close()
    }

    /// Makes the response one that can be resumed, if it is an event stream.
    pub(super) fn respond<B, T>(
        self,
        response: Response<B>,
        shared: &Shared<T>,
    ) -> Response<ResponseBody<B>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        T: EventStore,
    {
        let may_stream = matches!(self.method, Asks::Get | Asks::Post);
        if !may_stream || !is_readable_stream(&response) {
            return response.map(ResponseBody::inner);
        }
        // Outside of a runtime there is nobody to look after a stream.
        let Ok(runtime) = Handle::try_current() else {
            return response.map(ResponseBody::inner);
        };
        let key = self.era.has_event_ids().then(random_key).flatten();
        let (mut parts, body) = response.into_parts();
        stream_headers(&mut parts.headers);
        let Some(key) = key else {
            let body = match shared.hub.config.keep_alive {
                Some(every) => ResponseBody::kept_alive(body, KeepAlive::new(every)),
                None => ResponseBody::inner(body),
            };
            return Response::from_parts(parts, body);
        };
        if self.is_session_over(&shared.hub) {
            // The session ended while the server was answering: nothing of it is kept (D06).
            return Response::from_parts(parts, ResponseBody::inner(body));
        }
        let subscriber = self.track(key, &parts.headers, body, shared, runtime);
        Response::from_parts(parts, ResponseBody::stream(subscriber))
    }

    fn is_session_over(&self, hub: &Hub) -> bool {
        match self.whose.session() {
            Some(session) => session.is_ended(),
            None => self
                .session()
                .is_some_and(|owner| hub.was_purged(&owner, self.purges)),
        }
    }

    fn track<B, T>(
        self,
        key: StreamKey,
        response: &HeaderMap,
        body: B,
        shared: &Shared<T>,
        runtime: Handle,
    ) -> Subscriber
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        T: EventStore,
    {
        let Shared { store, hub } = shared;
        let what = self.what();
        let (owner, session) = self.whose.of_response(what.is_initialize, response);
        // SSE-3: to clients that know it, and not before they have said so.
        let is_primed =
            self.is_post() && self.era.allows_priming() && what.is_mcp && !what.is_initialize;
        let has_cursor = is_primed || self.resumed.is_some();
        let greeting = if has_cursor {
            Greeting::Cursor {
                id: EventId::new(key, 0),
                form: self.cursor_form(what.is_mcp),
            }
        } else {
            Greeting::Comment
        };
        let may_close_early = has_cursor && self.may_close_early(what.is_mcp);
        let What { is_mcp, expect, .. } = what;
        let about = About {
            is_get: self.is_get(),
            is_mcp,
        };
        let open = store.open(key, owner, about.encode(&expect));
        let options = Options {
            max_event_bytes: hub.config.max_event_bytes,
            on_store_failure: hub.config.on_store_failure,
        };
        let record = Recorder::<T>::new(key, open);
        let producer = Producer::new(body, record, about, expect, options);
        let producer: Pin<Box<dyn Produce>> = Box::pin(producer);
        let stream = Stream::new(
            key,
            owner,
            about,
            may_close_early,
            Arc::clone(hub),
            runtime.clone(),
            producer,
        );
        if let Some(session) = session {
            // After the hub knows the stream: if the session has ended meanwhile, that is now.
            purge_at_end(shared, session, Some(runtime));
        }
        let mut subscriber = Subscriber::new(stream, 0, greeting);
        if let Some(first) = self.resumed {
            subscriber = subscriber.with_first(*first);
        }
        subscriber
    }
}

/// A key that nobody can guess; `None` if the system has no randomness to give.
pub(super) fn random_key() -> Option<StreamKey> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Some(StreamKey::from_bytes(bytes)),
        Err(error) => {
            tracing::error!(%error, "no randomness: a stream is not tracked");
            None
        }
    }
}

/// What an event stream's response says about itself (SSE-13).
pub(super) fn stream_headers(headers: &mut HeaderMap) {
    headers.remove(CONTENT_LENGTH);
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-cache"));
    headers
        .entry(X_ACCEL_BUFFERING)
        .or_insert(HeaderValue::from_static("no"));
}

/// Whether the response is an event stream whose bytes can be read (SWF-1).
pub(super) fn is_readable_stream<B>(response: &Response<B>) -> bool {
    let headers = response.headers();
    response.status() == StatusCode::OK
        && is_event_stream(headers)
        && headers
            .get(CONTENT_ENCODING)
            .is_none_or(|coding| coding == "identity")
}

/// Where a client wants to go on, as far as its request says so.
pub(super) enum Cursor {
    Absent,
    At(EventId),
    /// No id of ours, or several.
    Invalid,
}

impl Cursor {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(LAST_EVENT_ID).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Absent,
            (Some(value), None) if value.is_empty() => Self::Absent,
            (Some(value), None) => EventId::decode(value).map_or(Self::Invalid, Self::At),
            (Some(_), Some(_)) => Self::Invalid,
        }
    }
}
