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
    producer::Produce,
    source::Connect,
    stream::Stream,
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
    loop {
        let Some(purges) = hub.purges(&owner) else {
            return Verdict::Refused(unknown());
        };
        // Before the log is read: a stream that ends in between is found in the log, whole.
        let stream = hub.get(&id.stream()).filter(|stream| stream.owner == owner);
        let read = store
            .read(id.stream(), owner, id.sequence(), PAGE_BYTES)
            .await;
        // What was read may have been forgotten meanwhile, and is not for anybody any more (RPL-10).
        if hub.purges(&owner) == Some(purges) {
            return judge(&shared, claim, stream, read);
        }
    }
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
            if let Some(stream) = stream.filter(|stream| stream.is_opening())
                && let Ok(subscriber) = attach(shared, claim, Page::new(1, 0), stream, None)
            {
                return Verdict::Attached(Box::new(subscriber));
            }
            return Verdict::Refused(unknown());
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
    if let Some(stream) = stream {
        if let Some(theirs) = stream.suspended_at() {
            return Verdict::Reopen {
                page,
                stream,
                theirs,
            };
        }
        match attach(shared, claim, page, stream, None) {
            Ok(subscriber) => return Verdict::Attached(Box::new(subscriber)),
            // It has ended meanwhile: the log says how.
            Err(page) => return from_log(shared, claim, page),
        }
    }
    from_log(shared, claim, page)
}

/// Makes the client the driver of a stream that is going on here.
///
/// # Errors
///
/// Gives `page` back if the stream is not going on any more.
pub(super) fn attach<T: EventStore>(
    shared: &Shared<T>,
    claim: Claim,
    page: Page,
    stream: Arc<Stream>,
    connect: Option<Connect>,
) -> Result<Subscriber, Page> {
    let Claim {
        id, owner, form, ..
    } = claim;
    let Some(attached) = stream.attach(id.sequence(), connect) else {
        return Err(page);
    };
    let first = attached.retry.map(synthetic::retry);
    let greeting = Greeting::Cursor {
        id,
        form,
        retry: None,
    };
    let pages = Pages::new(
        shared.store.clone(),
        id.stream(),
        owner,
        id.sequence(),
        page,
    );
    let subscriber = Subscriber::new(stream, attached.generation, greeting)
        .with_backlog(id.sequence(), Box::new(pages));
    Ok(match first {
        Some(first) => subscriber.with_first(first),
        None => subscriber,
    })
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
    if about.is_get
        && id.sequence() == page.tail()
        && let Some(end) = page.end()
    {
        if !is_mcp && end != End::Lost {
            return Verdict::NothingMore;
        }
        let is_cut_short = synthetic::is_cut_short(end);
        return Verdict::Anew(if is_cut_short {
            synthetic::gap(id.sequence() + 1, None, GapReason::Lost)
        } else {
            Bytes::new()
        });
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
    let greeting = Greeting::Cursor {
        id,
        form,
        retry: None,
    };
    let subscriber = Subscriber::new(stream, 0, greeting).with_delivered(id.sequence());
    Verdict::Attached(Box::new(subscriber))
}

/// The response that a resumed stream begins with.
pub(super) fn response<B>(subscriber: Subscriber) -> Response<ResponseBody<B>> {
    let mut response = Response::new(ResponseBody::stream(subscriber));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    asked::stream_headers(headers);
    response
}

pub(super) fn nothing_more<B>() -> Response<ResponseBody<B>> {
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
