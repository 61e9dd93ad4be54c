use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use tokio::runtime::Handle;

use super::{
    ResponseBody,
    asked::{self, Asked},
    expect::About,
    layer::Shared,
    pages::{PAGE_BYTES, Pages},
    produce::Produce,
    source::Connect,
    stream::{Attach, Stream},
    subscriber::{Greeting, Subscriber},
    synthetic::{self, CursorForm, GapReason},
    tail::Tail,
};
use crate::{
    jsonrpc::{ErrorObject, code},
    refusal::{Recipient, Refusal},
    sse::EventId,
    store::{End, EventStore, Owner, Page, StoreError, StoreErrorKind},
};

/// Who wants to go on where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) id: EventId,
    pub(super) owner: Owner,
    pub(super) is_mcp: bool,
    pub(super) form: CursorForm,
    pub(super) may_close_early: bool,
}

impl Claim {
    pub(super) fn new(id: EventId, asked: &Asked) -> Self {
        let is_mcp = asked.is_mcp();
        Self {
            id,
            owner: asked.owner(),
            is_mcp,
            form: asked.cursor_form(is_mcp),
            may_close_early: asked.may_close_early(is_mcp),
        }
    }
}

/// What becomes of a request with a cursor.
pub(super) enum Verdict {
    Refused(Refusal),
    /// The stream is over, and a browser has to be told not to come back (SWF-11).
    NothingMore,
    /// The server has to be asked for the rest of the stream, from that id of its own on.
    Reopen {
        page: Page,
        stream: Arc<Stream>,
        theirs: Vec<u8>,
    },
    /// What there was has been read, and the client wants what comes: a stream of its own, that
    /// begins with these bytes.
    Anew(Bytes),
    Attached(Box<Subscriber>),
}

/// Looks up what a cursor stands for, and attaches the client if there is nothing to ask the server.
pub(super) async fn resume<T: EventStore>(shared: Arc<Shared<T>>, claim: Claim) -> Verdict {
    let Shared { store, hub } = &*shared;
    let Claim { id, owner, .. } = claim;
    let Some(purges) = hub.purges(&owner) else {
        return Verdict::Refused(unknown());
    };
    // Before the log is read: a stream that ends in between is found in the log, whole.
    let stream = hub.get(&id.stream()).filter(|stream| stream.owner == owner);
    let read = store
        .read(id.stream(), owner, id.sequence(), PAGE_BYTES)
        .await;
    // What was read may have been forgotten meanwhile, and is not for anybody any more (RPL-10).
    if hub.was_purged(&owner, purges) {
        return Verdict::Refused(unknown());
    }
    let verdict = judge(&shared, claim, stream, read);
    // Looked at once more, because now whoever forgets finds the client's stream.
    if let Verdict::Attached(subscriber) = &verdict
        && hub.was_purged(&owner, purges)
    {
        subscriber.terminate();
        return Verdict::Refused(unknown());
    }
    verdict
}

fn judge<T: EventStore>(
    shared: &Shared<T>,
    claim: Claim,
    stream: Option<Arc<Stream>>,
    read: Result<Page, StoreError>,
) -> Verdict {
    let id = claim.id;
    let page = match read {
        Ok(page) => page,
        Err(error) if error.kind() == StoreErrorKind::NotFound => {
            // Only the client of a stream that nobody has heard of comes so early.
            return match stream.filter(|stream| stream.is_opening()) {
                Some(stream) => attach(shared, claim, Page::new(1, 0), stream, None),
                None => Verdict::Refused(unknown()),
            };
        }
        Err(error) => {
            tracing::warn!(%error, "a stream cannot be resumed now");
            return Verdict::Refused(unavailable());
        }
    };
    let (about, _) = About::decode(page.about());
    if id.sequence() > page.tail() {
        return Verdict::Refused(unknown());
    }
    if page.floor() > id.sequence() + 1 && !about.is_get {
        return Verdict::Refused(forgotten());
    }
    match stream {
        Some(stream) => attach(shared, claim, page, stream, None),
        None => from_log(shared, claim, page),
    }
}

/// Makes the client the driver of a stream that is going on here, if it still is.
pub(super) fn attach<T: EventStore>(
    shared: &Shared<T>,
    claim: Claim,
    page: Page,
    stream: Arc<Stream>,
    connect: Option<Connect>,
) -> Verdict {
    let Claim {
        id, owner, form, ..
    } = claim;
    let attached = match stream.attach(id.sequence(), connect) {
        Attach::Attached(attached) => attached,
        Attach::Suspended(theirs) => {
            return Verdict::Reopen {
                page,
                stream,
                theirs,
            };
        }
        // The log says how it has ended.
        Attach::Over => return from_log(shared, claim, page),
    };
    let greeting = Greeting::Cursor { id, form };
    let pages = Pages::new(
        shared.store.clone(),
        id.stream(),
        owner,
        id.sequence(),
        page,
    );
    let mut subscriber = Subscriber::new(stream, attached.generation, greeting)
        .with_backlog(id.sequence(), Box::new(pages));
    if let Some(retry) = attached.retry {
        subscriber = subscriber.with_first(synthetic::retry(retry));
    }
    Verdict::Attached(Box::new(subscriber))
}

/// Reads a stream from its log alone: it is over, or somebody else drives it.
fn from_log<T: EventStore>(shared: &Shared<T>, claim: Claim, page: Page) -> Verdict {
    let Claim {
        id,
        owner,
        is_mcp,
        form,
        may_close_early,
    } = claim;
    let (about, expect) = About::decode(page.about());
    let is_read = id.sequence() == page.tail();
    match page.end() {
        Some(End::Complete) if is_read && !is_mcp => return Verdict::NothingMore,
        Some(End::Lost) if is_read && about.is_get => {
            let gap = synthetic::gap(id.sequence() + 1, None, GapReason::Lost);
            return Verdict::Anew(gap);
        }
        Some(_) if is_read && about.is_get => return Verdict::Anew(Bytes::new()),
        _ => {}
    }
    let (Ok(runtime), Some(key)) = (Handle::try_current(), asked::random_key()) else {
        return Verdict::Refused(unavailable());
    };
    let pages = Pages::new(
        shared.store.clone(),
        id.stream(),
        owner,
        id.sequence(),
        page,
    );
    let producer: Pin<Box<dyn Produce>> = Box::pin(Tail::new(pages, about, expect));
    let hub = Arc::clone(&shared.hub);
    let stream = Stream::new(key, owner, about, may_close_early, hub, runtime, producer);
    let greeting = Greeting::Cursor { id, form };
    let subscriber = Subscriber::new(stream, 0, greeting).with_delivered(id.sequence());
    Verdict::Attached(Box::new(subscriber))
}

/// The response to a client whose request does not go to the server.
pub(super) fn answer<T, B>(shared: &Shared<T>, verdict: Verdict) -> Response<ResponseBody<B>> {
    match verdict {
        Verdict::Attached(subscriber) => {
            shared.hub.count_resumed();
            response(*subscriber)
        }
        Verdict::NothingMore => nothing_more(),
        Verdict::Refused(refusal) => {
            shared.hub.count_refused();
            refuse(refusal)
        }
        // The request was spent on a stream that ended meanwhile: the next one will find that.
        Verdict::Anew(_) | Verdict::Reopen { .. } => refuse(unavailable()),
    }
}

/// The response that a resumed stream begins with.
fn response<B>(subscriber: Subscriber) -> Response<ResponseBody<B>> {
    let mut response = Response::new(ResponseBody::stream(subscriber));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    asked::stream_headers(headers);
    response
}

fn nothing_more<B>() -> Response<ResponseBody<B>> {
    let mut response = Response::new(ResponseBody::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(super) fn refuse<B>(refusal: Refusal) -> Response<ResponseBody<B>> {
    refusal
        .into_response(&Recipient::default())
        .map(ResponseBody::plain)
}

/// A cursor that was never given out, or to somebody else: the two look alike (B24), and 404 would
/// end the client's session (AMB-5).
pub(super) fn unknown() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        ErrorObject::new(
            code::INVALID_CURSOR,
            "Last-Event-ID names no event of a stream that can be resumed",
        ),
    )
}

/// The client's own cursor, but what follows it is gone.
fn forgotten() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        ErrorObject::new(
            code::INVALID_CURSOR,
            "the events after Last-Event-ID are no longer kept",
        ),
    )
}

/// A cursor where none belongs (A32).
pub(super) fn misplaced() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        ErrorObject::new(
            code::INVALID_CURSOR,
            "Last-Event-ID resumes a stream by GET, not by POST",
        ),
    )
}

fn unavailable() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        ErrorObject::new(
            code::SERVICE_UNAVAILABLE,
            "the stream cannot be resumed now",
        ),
    )
    .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
}
